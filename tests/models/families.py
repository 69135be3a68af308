"""Small random models of every family, made by transformers: the outside implementation."""

from pathlib import Path
from typing import Any

import torch
import transformers

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
    "pad_token_id": 0,
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
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.1, 1.3, 1.4, 1.7],
    "long_factor": [1.0, 1.5, 2.0, 4.0, 6.5],
    "original_max_position_embeddings": 24,
}
TWO_ROPES = {
    "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
}
EXPERTS = {"num_experts": 7, "num_experts_per_tok": 3, "moe_intermediate_size": 44}
GPT2_KEYS = {"vocab_size", "bos_token_id", "eos_token_id", "tie_word_embeddings", "n_inner"}
GPT2_KEYS |= {"n_embd", "n_layer", "n_head", "n_positions"}
GPT2 = {"n_embd": 60, "n_layer": 2, "n_head": 6, "n_positions": 96}

# name -> (family's classes, what differs from ODD); these are also written by us.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama-biased": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama-wide-head": ("Llama", {"head_dim": 14, "rms_norm_eps": 1e-3}),
    "llama3-tied": ("Llama", {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
    "llama-yarn": ("Llama", {"rope_parameters": YARN}),
    "qwen2": ("Qwen2", {"num_key_value_heads": 1}),
    "qwen2-tied": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3", {"head_dim": 16, "num_attention_heads": 4}),
    "qwen3-tied": ("Qwen3", {"head_dim": 6, "tie_word_embeddings": True}),
}
# Read and run, not written.
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2-windows": (
        "Qwen2",
        {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1},
    ),
    "mistral": ("Mistral", {"sliding_window": None, "head_dim": 14}),
    "mistral-window": ("Mistral", {"sliding_window": 11}),
    "gemma": ("Gemma", {"head_dim": 12}),
    "gemma2": (
        "Gemma2",
        {"head_dim": 12, "sliding_window": 9, "query_pre_attn_scalar": 20,
         "attn_logit_softcapping": 3.0, "final_logit_softcapping": 5.0},
    ),
    "gemma3": (
        "Gemma3Text",
        {"head_dim": 12, "sliding_window": 9, "num_hidden_layers": 3,
         "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
         "rope_parameters": TWO_ROPES, "query_pre_attn_scalar": 20},
    ),
    "phi3": ("Phi3", {"original_max_position_embeddings": 96}),
    "phi3-longrope": (
        "Phi3", {"rope_parameters": LONGROPE, "original_max_position_embeddings": 24}
    ),
    "phi3-part-turned": (
        "Phi3",
        {"num_attention_heads": 5, "num_key_value_heads": 5, "sliding_window": 13,
         "rope_parameters": {
             "rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}},
    ),
    "gpt2": ("GPT2", GPT2),
    "gpt2-narrow": ("GPT2", GPT2 | {"n_inner": 52, "n_head": 4, "tie_word_embeddings": False}),
    "gpt-neox": ("GPTNeoX", {"num_key_value_heads": 6, "rope_parameters": {
        "rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.4}}),
    "gpt-neox-in-turn": ("GPTNeoX", {
        "num_key_value_heads": 6,
        "use_parallel_residual": False, "attention_bias": False, "hidden_act": "gelu_new",
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 1.0}}),
    "starcoder2": ("Starcoder2", {"sliding_window": 12, "attention_dropout": 0.0}),
    "starcoder2-plain": ("Starcoder2", {"use_bias": False, "tie_word_embeddings": False}),
    "olmo2": ("Olmo2", {}),
    "olmo2-biased": ("Olmo2", {"attention_bias": True, "num_key_value_heads": 6}),
    "mixtral": ("Mixtral", {"num_local_experts": 5, "num_experts_per_tok": 2}),
    "qwen2-moe": (
        "Qwen2Moe",
        EXPERTS | {"shared_expert_intermediate_size": 36, "mlp_only_layers": [1],
                   "num_hidden_layers": 3},
    ),
    "qwen3-moe": ("Qwen3Moe", EXPERTS | {"norm_topk_prob": True, "head_dim": 16}),
    "qwen3-moe-every-second": (
        "Qwen3Moe",
        EXPERTS | {"decoder_sparse_step": 2, "num_hidden_layers": 3, "num_experts_per_tok": 1},
    ),
    "smollm3": ("SmolLM3", {"num_hidden_layers": 4, "no_rope_layer_interval": 2}),
    "granite": (
        "Granite",
        {"embedding_multiplier": 3.0, "logits_scaling": 2.5, "residual_multiplier": 0.4,
         "attention_multiplier": 0.2},
    ),
}  # fmt: skip
ALL = CASES | OTHERS


def classes(name: str) -> tuple[Any, Any]:
    """Config and model of transformers for a case."""
    family = ALL[name][0]
    kind = {"GPT2": "GPT2LMHeadModel", "Gemma3Text": "Gemma3ForCausalLM"}
    model = getattr(transformers, kind.get(family, f"{family}ForCausalLM"))
    return getattr(transformers, f"{family}Config"), model


def outside_model(name: str, seed: int = 0, **changes: Any) -> Any:
    """The transformers model of a case, with large random weights (norms and biases too)."""
    config_class, model_class = classes(name)
    torch.manual_seed(seed)
    sizes = ODD | ALL[name][1] | changes
    if "GPT2" in model_class.__name__:  # has other names for the sizes
        sizes = {key: value for key, value in sizes.items() if key in GPT2_KEYS}
    model = model_class(config_class(**sizes)).eval()
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
