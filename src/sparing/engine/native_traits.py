"""A model's traits as the C++ `DecoderShape` takes them."""

from typing import Any

from sparing.models.config import DecoderConfig
from sparing.models.rope import attention_scale, inverse_frequencies

_SAME = (
    "vocab", "width", "layers", "heads", "kv_heads", "head_width", "hidden", "context",
    "norm", "norm_place", "norm_eps", "parallel", "qkv_bias", "output_bias", "mlp_bias", "tied",
    "gated", "activation", "embedding_scale", "residual_scale", "logit_scale",
)  # fmt: skip


def native_traits(config: DecoderConfig) -> dict[str, Any]:
    """Every trait by name: rotary scalings become plain frequencies, None a 0 or "none".

    Dynamic stretching begins beyond `config.context`, which no sequence may pass, so its
    frequencies here are the plain ones.
    """
    experts, layers = config.experts, range(config.layers)
    scale = config.query_scale
    return {name: getattr(config, name) for name in _SAME} | {
        "qk_norm": config.qk_norm or "none",
        "learned_positions": config.positions == "learned",
        "query_scale": config.head_width**-0.5 if scale is None else scale,
        "attention_softcap": config.attention_softcap or 0.0,
        "logit_softcap": config.logit_softcap or 0.0,
        "experts": experts.count if experts else 0,
        "experts_per_token": experts.per_token if experts else 0,
        "expert_hidden": experts.hidden if experts else 0,
        "shared_hidden": experts.shared_hidden if experts else 0,
        "normalised_experts": experts is not None and experts.normalised,
        "rotations": _rotations(config),
        "layer_windows": [config.window(layer) for layer in layers],
        "layer_rotations": [_rotation(config, layer) for layer in layers],
        "layer_experts": [config.has_experts(layer) for layer in layers],
    }


def _rotations(config: DecoderConfig) -> list[dict[str, Any]]:
    """The rotation of layers that see everything, and, where it differs, of the others."""
    if config.positions != "rope":
        return []
    scaling = config.rope_scaling
    original = scaling.original_context or 0 if scaling and scaling.kind == "longrope" else 0
    beyond = inverse_frequencies(config, length=original + 1).tolist() if original else []
    found = [_rotation_of(inverse_frequencies(config).tolist(), attention_scale(config))]
    found[0] |= {"long_frequencies": beyond, "original": original}
    if config.window_rope_theta is not None:
        found.append(_rotation_of(inverse_frequencies(config, windowed=True).tolist(), 1.0))
    return found


def _rotation_of(frequencies: list[float], scale: float) -> dict[str, Any]:
    plain = {"long_frequencies": [], "original": 0}
    return {"frequencies": frequencies, "scale": float(scale)} | plain


def _rotation(config: DecoderConfig, layer: int) -> int:
    if config.positions != "rope" or layer in config.unrotated_layers:
        return -1
    return int(config.window_rope_theta is not None and config.window(layer) > 0)
