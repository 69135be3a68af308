"""GGUF files of small random models, written by the gguf package with its own names."""

import math
import re
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import transformers as hf

SHAPE = {
    "vocab_size": 101,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
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
    "original_max_position_embeddings": 8192,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 32,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0 + 0.125 * i for i in range(8)],
    "long_factor": [2.0 + 0.25 * i for i in range(8)],
}
EXPERTS = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "decoder_sparse_step": 1,
}
# case -> (architecture, family in transformers, what differs from SHAPE)
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("llama", "Llama", {}),
    "llama-tied": ("llama", "Llama", {"tie_word_embeddings": True}),
    "llama3": ("llama", "Llama", {"rope_parameters": LLAMA3}),
    "llama-yarn": ("llama", "Llama", {"rope_parameters": YARN}),
    "llama-biased": ("llama", "Llama", {"attention_bias": True, "mlp_bias": True}),
    "mixtral": ("llama", "Mixtral", {"num_local_experts": 4, "sliding_window": None}),
    "qwen2": ("qwen2", "Qwen2", {}),
    "qwen3": ("qwen3", "Qwen3", {"head_dim": 24}),
    "qwen2_moe": ("qwen2moe", "Qwen2Moe", EXPERTS | {"shared_expert_intermediate_size": 48}),
    "qwen3_moe": ("qwen3moe", "Qwen3Moe", EXPERTS | {"head_dim": 16, "norm_topk_prob": True}),
    "gemma": ("gemma", "Gemma", {"head_dim": 16, "tie_word_embeddings": True}),
    "gemma2": (
        "gemma2",
        "Gemma2",
        {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 8,
         "tie_word_embeddings": True},
    ),
    "gemma3": (
        "gemma3",
        "Gemma3",
        {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 8, "num_hidden_layers": 7,
         "tie_word_embeddings": True},
    ),
    "phi3": ("phi3", "Phi3", {"sliding_window": None}),
    "phi3-long": (
        "phi3",
        "Phi3",
        {"sliding_window": 64, "rope_parameters": LONGROPE, "original_max_position_embeddings": 32},
    ),
    "gpt2": ("gpt2", "GPT2", {"tie_word_embeddings": True}),
    "gptneox": ("gptneox", "GPTNeoX", {"rotary_pct": 0.25}),
    "starcoder2": ("starcoder2", "Starcoder2", {"tie_word_embeddings": True}),
    "olmo2": ("olmo2", "Olmo2", {}),
    "smollm3": ("smollm3", "SmolLM3", {"num_hidden_layers": 5}),
    "granite": (
        "granite",
        "Granite",
        {"embedding_multiplier": 12.0, "residual_multiplier": 0.25, "attention_multiplier": 0.125,
         "logits_scaling": 8.0},
    ),
}  # fmt: skip
_ABSENT = {
    "GPT2": ("intermediate_size", "num_key_value_heads"),
    "GPTNeoX": ("num_key_value_heads",),
}
_CLASSES = {"GPT2": "GPT2LMHeadModel"}
_PAIRED = ("llama", "granite", "smollm3")


def outside_model(case: str) -> Any:
    """The transformers model of a case with random weights."""
    _, name, changes = CASES[case]
    torch.manual_seed(0)
    shape = SHAPE | changes
    for unknown in _ABSENT.get(name, ()):
        shape.pop(unknown)
    kind = "Gemma3TextConfig" if name == "Gemma3" else f"{name}Config"
    config = getattr(hf, kind)(**shape)
    model = getattr(hf, _CLASSES.get(name, f"{name}ForCausalLM"))(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            spread = 0.3 if parameter.ndim == 1 else parameter.shape[-1] ** -0.5
            parameter.normal_(0.0 if "Gemma" in name else float(parameter.ndim == 1), spread)
    return model


def write_gguf(
    case: str, folder: Path, path: Path, *, tokens: dict[str, Any] | None = None
) -> Path:
    """A file of the Hugging Face `folder` of the case, as llama.cpp's converter lays it out."""
    from safetensors.numpy import load_file

    architecture, _, _ = CASES[case]
    config = hf.AutoConfig.from_pretrained(folder)
    writer = gguf.GGUFWriter(path, architecture)
    _add_pairs(writer, architecture, config)
    arch = next(a for a, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    stacked: dict[str, dict[int, np.ndarray]] = {}
    for name, array in load_file(folder / "model.safetensors").items():
        expert = re.search(r"\.experts\.(\d+)\.(\w+)\.weight", name)
        array = _as_stored(architecture, name, array, config)
        if expert:
            joined = name.replace(f".experts.{expert[1]}.", ".experts.")
            stacked.setdefault(joined, {})[int(expert[1])] = array
            continue
        writer.add_tensor(names.get_name(name, (".weight", ".bias")) or name, array)
    for name, arrays in stacked.items():
        whole = np.stack([arrays[expert] for expert in sorted(arrays)])
        writer.add_tensor(names.get_name(name, (".weight",)), whole)
    for name, factors in _rope_tensors(config).items():
        writer.add_tensor(name, np.array(factors, np.float32))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _as_stored(architecture: str, name: str, array: np.ndarray, config: Any) -> np.ndarray:
    """What llama.cpp's converter does to a tensor."""
    if architecture in _PAIRED and re.search(r"\.[qk]_proj\.", name):
        heads = config.num_attention_heads if ".q_proj" in name else config.num_key_value_heads
        pairs = array.reshape(heads, 2, -1, *array.shape[1:]).swapaxes(1, 2)
        array = pairs.reshape(array.shape)
    if architecture.startswith("gemma") and name.endswith("norm.weight"):
        array = array + 1
    if architecture == "gpt2" and re.search(r"\.(c_attn|c_proj|c_fc)\.weight", name):
        array = array.T
    if architecture == "gptneox" and ".query_key_value." in name:
        apart = array.reshape(config.num_attention_heads, 3, -1, *array.shape[1:])
        array = apart.swapaxes(0, 1).reshape(array.shape)
    return np.ascontiguousarray(array, dtype=np.float32)


def _rope_tensors(config: Any) -> dict[str, list[float]]:
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "longrope":
        return {
            "rope_factors_long.weight": rope["long_factor"],
            "rope_factors_short.weight": rope["short_factor"],
        }
    if rope.get("rope_type") != "llama3":
        return {}
    return {"rope_freqs.weight": _llama3_factors(rope, config)}


def _llama3_factors(rope: dict[str, Any], config: Any) -> list[float]:
    """As transformers' own rule changes the frequencies."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    width = config.hidden_size // config.num_attention_heads
    plain = 1.0 / rope["rope_theta"] ** (torch.arange(0, width, 2).float() / width)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    return (plain / scaled).tolist()


def _add_pairs(writer: gguf.GGUFWriter, architecture: str, config: Any) -> None:
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    hidden = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(heads)
    writer.add_head_count_kv(getattr(config, "num_key_value_heads", None) or heads)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    if architecture not in ("gpt2",):
        writer.add_key_length(width)
        writer.add_value_length(width)
    if architecture in ("gpt2", "gptneox", "starcoder2"):
        eps = ("layer_norm_epsilon", "layer_norm_eps", "norm_epsilon")
        writer.add_layer_norm_eps(next(getattr(config, e) for e in eps if hasattr(config, e)))
    else:
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    _add_rope(writer, architecture, config, width)
    _add_experts(writer, config)
    if architecture in ("gemma2", "gemma3", "phi3", "starcoder2"):
        window = config.sliding_window
        if window:
            writer.add_sliding_window(window)
    if architecture == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if architecture == "gptneox":
        writer.add_parallel_residual(config.use_parallel_residual)
    if architecture == "granite":
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_logit_scale(config.logits_scaling)


def _add_rope(writer: gguf.GGUFWriter, architecture: str, config: Any, width: int) -> None:
    rope = getattr(config, "rope_parameters", None)
    if not rope:
        return
    rope = rope.get("full_attention", rope)
    share = rope.get("partial_rotary_factor") or 1.0
    writer.add_rope_dimension_count(int(width * share))
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if rope["rope_type"] == "longrope":
        original = rope.get("original_max_position_embeddings") or 32
        writer.add_rope_scaling_orig_ctx_len(original)
        scale = config.max_position_embeddings / original
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(original)))


def _add_experts(writer: gguf.GGUFWriter, config: Any) -> None:
    count = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None)
    if not count:
        return
    writer.add_expert_count(count)
    writer.add_expert_used_count(config.num_experts_per_tok)
    if getattr(config, "moe_intermediate_size", None):
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    if getattr(config, "shared_expert_intermediate_size", None):
        writer.add_expert_shared_feed_forward_length(config.shared_expert_intermediate_size)
