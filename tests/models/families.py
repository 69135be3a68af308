"""Small random models of every family, made by transformers: the outside implementation."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

ODD = {
    "vocab_size": 101,
    "hidden_size": 60,
    "intermediate_size": 92,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 96,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 24,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 24,
}
# name -> (config class, model class, what differs from ODD)
CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama": (LlamaConfig, LlamaForCausalLM, {}),
    "llama-biased": (LlamaConfig, LlamaForCausalLM, {"attention_bias": True, "mlp_bias": True}),
    "llama-wide-head": (LlamaConfig, LlamaForCausalLM, {"head_dim": 14, "rms_norm_eps": 1e-3}),
    "llama3-tied": (
        LlamaConfig,
        LlamaForCausalLM,
        {"rope_parameters": LLAMA3, "tie_word_embeddings": True},
    ),
    "llama-yarn": (LlamaConfig, LlamaForCausalLM, {"rope_parameters": YARN}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {"num_key_value_heads": 1}),
    "qwen2-tied": (Qwen2Config, Qwen2ForCausalLM, {"tie_word_embeddings": True}),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 16, "num_attention_heads": 4}),
    "qwen3-tied": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 6, "tie_word_embeddings": True}),
}


def outside_model(name: str, seed: int = 0) -> Any:
    """The transformers model of a case, with large random weights (norms and biases too)."""
    config_class, model_class, changes = CASES[name]
    torch.manual_seed(seed)
    model = model_class(config_class(**(ODD | changes))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            spread = 0.3 if parameter.ndim == 1 else parameter.shape[-1] ** -0.5
            parameter.normal_(float(parameter.ndim == 1), spread)
    return model


def save(model: Any, folder: Path, **options: Any) -> Path:
    """As transformers writes it."""
    model.save_pretrained(folder, **options)
    return folder


def ids(count: int = 40, rows: int = 1, seed: int = 1) -> torch.Tensor:
    """Random token ids of the odd vocabulary."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, ODD["vocab_size"], (rows, count), generator=generator)
