"""Traits that many families write under the same names; what a family lacks is refused."""

from collections.abc import Callable
from typing import Any

from sparing.base.errors import ArtefactError
from sparing.models.config import MOST_LAYERS
from sparing.models.fields import Fields
from sparing.models.hf_rope import read_rope, read_rotary_share

Traits = dict[str, Any]
_ACTIVATIONS = {
    "swish": "silu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
}
_FULL, _SLIDING = "full_attention", "sliding_attention"


def sizes_of(field: Fields, *, head_width: int | None = None, tied: bool = False) -> Traits:
    """What nearly every family writes under the same names."""
    heads, width = field.integer("num_attention_heads"), field.integer("hidden_size")
    return {
        "vocab": field.integer("vocab_size"),
        "width": width,
        "layers": field.integer("num_hidden_layers"),
        "heads": heads,
        "kv_heads": field.integer("num_key_value_heads", heads),
        "head_width": field.integer("head_dim", head_width or width // max(heads, 1)),
        "hidden": field.integer("intermediate_size"),
        "context": field.integer("max_position_embeddings"),
        "tied": field.boolean("tie_word_embeddings", default=tied),
    }


def rope_of(field: Fields, sizes: Traits, *, theta: float = 10000.0) -> Traits:
    theta, scaling = read_rope(field, sizes["context"], theta=theta)
    return {"rope_theta": theta, "rope_scaling": scaling}


def whole_heads(field: Fields) -> None:
    """Refuse a share of each head that is turned, in families that have none."""
    if read_rotary_share(field, "partial_rotary_factor", 1.0) != 1.0:
        raise ArtefactError(f"{field.name}: partial_rotary_factor: expected 1 in this family")


def norm_of(field: Fields, default: float = 1e-6) -> Traits:
    return {"norm_eps": field.number("rms_norm_eps", default)}


def activation_of(field: Fields, key: str = "hidden_act", default: str = "silu") -> Traits:
    name = field.get(key) or default
    return {"activation": _ACTIVATIONS.get(name, name) if isinstance(name, str) else str(name)}


def attention_bias(field: Fields) -> Traits:
    bias = field.boolean("attention_bias")
    return {"qkv_bias": bias, "output_bias": bias}


def _windows(layers: int, windowed: Callable[[int], bool], window: int | None) -> Traits:
    """Lengths per layer; empty when none has a window."""
    if not 0 <= layers <= MOST_LAYERS or window is None:
        return {}
    lengths = tuple(window if windowed(layer) else 0 for layer in range(layers))
    return {"windows": lengths if any(lengths) else ()}


def window_everywhere(field: Fields, layers: int, default: int | None = None) -> Traits:
    stated = "sliding_window" in field.tree
    window = _positive(field, None if stated else default)
    return _windows(layers, lambda _: True, window)


def _positive(field: Fields, default: int | None) -> int | None:
    window = field.get("sliding_window")
    window = default if window is None else field.integer("sliding_window")
    if window is not None and window < 1:
        raise ArtefactError(f"{field.name}: sliding_window: expected at least 1, got {window}")
    return window


def windows_by_kind(
    field: Fields, layers: int, rule: Callable[[int], bool], default: int | None = None
) -> Traits:
    """Windows where `layer_types` says so, or else `rule`."""
    kinds = field.get("layer_types")
    if kinds is None:
        return _windows(layers, rule, _positive(field, default))
    known = isinstance(kinds, list) and all(kind in (_FULL, _SLIDING) for kind in kinds)
    if not known or len(kinds) != layers:
        raise ArtefactError(
            f"{field.name}: layer_types: expected {layers} of {_FULL} and {_SLIDING}, "
            f"got {kinds!s:.80}"
        )
    if _SLIDING not in kinds:
        return {}
    window = _positive(field, default)
    if window is None:
        raise ArtefactError(f"{field.name}: sliding_window: expected a length, got none")
    return _windows(layers, lambda layer: kinds[layer] == _SLIDING, window)


def no_windows(field: Fields) -> None:
    """Refuse windows in families that have none."""
    kinds = field.get("layer_types")
    if kinds is not None and (not isinstance(kinds, list) or any(kind != _FULL for kind in kinds)):
        raise ArtefactError(f"{field.name}: layer_types: only {_FULL} here, got {kinds!s:.80}")
    if field.boolean("use_sliding_window"):
        raise ArtefactError(f"{field.name}: use_sliding_window: no windows in this family")


def part_turned(head_width: int, share: float) -> Traits:
    turned = int(head_width * share)
    return {} if turned == head_width else {"rotary_width": turned}


def plain_mlp(*, bias: bool) -> Traits:
    """LayerNorm and a feed-forward map without a gate, with biases everywhere or nowhere else."""
    biases = dict.fromkeys(("qkv_bias", "output_bias", "mlp_bias"), bias)
    return biases | {"norm": "layer", "gated": False}
