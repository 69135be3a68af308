"""Published weight names and ours, and the shape that each weight must have."""

import re
from collections.abc import Mapping
from typing import Literal

from sparing.models.config import DecoderConfig

Family = Literal["llama", "qwen2", "qwen3"]
FAMILIES: tuple[Family, ...] = ("llama", "qwen2", "qwen3")

# The three families publish the same names; they differ in which of them exist.
_OUTER = {
    "embed": "model.embed_tokens",
    "final_norm": "model.norm",
    "head": "lm_head",
}
_INNER = {
    "attention_norm": "input_layernorm",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj",
    "attention.q_norm": "self_attn.q_norm",
    "attention.k_norm": "self_attn.k_norm",
    "mlp_norm": "post_attention_layernorm",
    "mlp.gate": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.down": "mlp.down_proj",
}
NAMES: Mapping[Family, tuple[Mapping[str, str], Mapping[str, str]]] = {
    "llama": (_OUTER, _INNER),
    "qwen2": (_OUTER, _INNER),
    "qwen3": (_OUTER, _INNER),
}

_OURS = re.compile(r"layers\.([0-9]{1,4})\.([a-z_.]+)\.(weight|bias)")
_IGNORED = re.compile(r"model\.layers\.[0-9]{1,4}\.self_attn\.rotary_emb\.inv_freq")


def published(name: str, family: Family) -> str:
    """The name under which `family` publishes our tensor `name` (which must be one of ours)."""
    outer, inner = NAMES[family]
    matched = _OURS.fullmatch(name)
    if matched:
        layer, part, leaf = matched.groups()
        return f"model.layers.{layer}.{inner[part]}.{leaf}"
    part, _, leaf = name.rpartition(".")
    return f"{outer[part]}.{leaf}"


def is_harmless(published_name: str) -> bool:
    """Whether old folders hold this tensor although it follows from the config."""
    return _IGNORED.fullmatch(published_name) is not None


def shapes(config: DecoderConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of the model in the order of the forward pass, our name to shape."""
    D, V = config.width, config.vocab
    found: dict[str, tuple[int, ...]] = {"embed.weight": (V, D)}
    for layer in range(config.layers):
        for name, shape in _layer_shapes(config).items():
            found[f"layers.{layer}.{name}"] = shape
    found["final_norm.weight"] = (D,)
    if not config.tied:
        found["head.weight"] = (V, D)
    return found


def _layer_shapes(config: DecoderConfig) -> dict[str, tuple[int, ...]]:
    D, K, M = config.width, config.head_width, config.hidden
    Q, G = config.query_width, config.kv_width
    found: dict[str, tuple[int, ...]] = {"attention_norm.weight": (D,)}

    def linear(name: str, rows: int, columns: int, *, bias: bool) -> None:
        found[f"{name}.weight"] = (rows, columns)
        if bias:
            found[f"{name}.bias"] = (rows,)

    linear("attention.query", Q, D, bias=config.qkv_bias)
    linear("attention.key", G, D, bias=config.qkv_bias)
    linear("attention.value", G, D, bias=config.qkv_bias)
    if config.qk_norm:
        found["attention.q_norm.weight"] = found["attention.k_norm.weight"] = (K,)
    linear("attention.output", D, Q, bias=config.output_bias)
    found["mlp_norm.weight"] = (D,)
    linear("mlp.gate", M, D, bias=config.mlp_bias)
    linear("mlp.up", M, D, bias=config.mlp_bias)
    linear("mlp.down", D, M, bias=config.mlp_bias)
    return found
