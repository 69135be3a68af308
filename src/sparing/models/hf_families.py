"""What each family's config.json says, as traits; one reader per family.

Defaults are those of transformers for a field that is absent.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from sparing.base.errors import ArtefactError
from sparing.models.config import MOST_LAYERS, Experts
from sparing.models.fields import Fields
from sparing.models.hf_rope import read_rope, read_rotary_share, read_two_ropes
from sparing.models.names import Family

Traits = dict[str, Any]
_ACTIVATIONS = {
    "swish": "silu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
}
_FULL, _SLIDING = "full_attention", "sliding_attention"


def _sizes(field: Fields, *, head_width: int | None = None, tied: bool = False) -> Traits:
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


def _rope(field: Fields, sizes: Traits, *, theta: float = 10000.0) -> Traits:
    theta, scaling = read_rope(field, sizes["context"], theta=theta)
    return {"rope_theta": theta, "rope_scaling": scaling}


def _whole_heads(field: Fields) -> None:
    """Refuse a share of each head that is turned, in families that have none."""
    if read_rotary_share(field, "partial_rotary_factor", 1.0) != 1.0:
        raise ArtefactError(f"{field.name}: partial_rotary_factor: expected 1 in this family")


def _rms(field: Fields, default: float = 1e-6) -> Traits:
    return {"norm_eps": field.number("rms_norm_eps", default)}


def _activation(field: Fields, key: str = "hidden_act", default: str = "silu") -> Traits:
    name = field.get(key) or default
    return {"activation": _ACTIVATIONS.get(name, name) if isinstance(name, str) else str(name)}


def _attention_bias(field: Fields) -> Traits:
    bias = field.boolean("attention_bias")
    return {"qkv_bias": bias, "output_bias": bias}


def _windows(layers: int, windowed: Callable[[int], bool], window: int | None) -> Traits:
    """Lengths per layer; empty when none has a window."""
    if not 0 <= layers <= MOST_LAYERS or window is None:
        return {}
    lengths = tuple(window if windowed(layer) else 0 for layer in range(layers))
    return {"windows": lengths if any(lengths) else ()}


def _window_everywhere(field: Fields, layers: int, default: int | None = None) -> Traits:
    stated = "sliding_window" in field.tree
    window = _positive(field, None if stated else default)
    return _windows(layers, lambda _: True, window)


def _positive(field: Fields, default: int | None) -> int | None:
    window = field.get("sliding_window")
    window = default if window is None else field.integer("sliding_window")
    if window is not None and window < 1:
        raise ArtefactError(f"{field.name}: sliding_window: expected at least 1, got {window}")
    return window


def _windows_by_kind(
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


def _no_windows(field: Fields) -> None:
    """Refuse windows in families that have none."""
    kinds = field.get("layer_types")
    if kinds is not None and (not isinstance(kinds, list) or any(kind != _FULL for kind in kinds)):
        raise ArtefactError(f"{field.name}: layer_types: only {_FULL} here, got {kinds!s:.80}")
    if field.boolean("use_sliding_window"):
        raise ArtefactError(f"{field.name}: use_sliding_window: no windows in this family")


def _llama(field: Fields) -> Traits:
    sizes = _sizes(field)
    _whole_heads(field)
    _no_windows(field)
    if field.get("pretraining_tp") not in (None, 1):
        raise ArtefactError(f"{field.name}: pretraining_tp: expected 1")
    traits = sizes | _rope(field, sizes) | _rms(field) | _activation(field)
    return traits | _attention_bias(field) | {"mlp_bias": field.boolean("mlp_bias")}


def _qwen(field: Fields, sizes: Traits) -> Traits:
    """Windows from layer `max_window_layers` on, if they are used at all."""
    _whole_heads(field)
    traits = sizes | _rope(field, sizes) | _rms(field) | _activation(field)
    used = field.boolean("use_sliding_window")
    if not used:
        _no_windows(field)
        return traits
    first = field.integer("max_window_layers", 28)
    return traits | _windows_by_kind(field, sizes["layers"], lambda layer: layer >= first, 4096)


def _qwen2(field: Fields) -> Traits:
    return _qwen(field, _sizes(field)) | {"qkv_bias": True}


def _qwen3(field: Fields) -> Traits:
    sizes = _sizes(field, head_width=128)
    return _qwen(field, sizes) | _attention_bias(field) | {"qk_norm": "head"}


def _mistral(field: Fields) -> Traits:
    sizes = _sizes(field)
    _whole_heads(field)
    traits = sizes | _rope(field, sizes) | _rms(field) | _activation(field)
    return traits | _window_everywhere(field, sizes["layers"], 4096)


def _mixtral(field: Fields) -> Traits:
    sizes = _sizes(field)
    _whole_heads(field)
    experts = Experts(
        count=field.integer("num_local_experts", 8),
        per_token=field.integer("num_experts_per_tok", 2),
        hidden=sizes["hidden"],
    )
    traits = sizes | _rope(field, sizes, theta=1e6) | _rms(field, 1e-5) | _activation(field)
    return traits | _window_everywhere(field, sizes["layers"]) | {"experts": experts}


def _qwen_experts(field: Fields, layers: int, *, shared: int, defaults: tuple[int, int]) -> Traits:
    """Experts in every decoder_sparse_step-th layer but those of mlp_only_layers."""
    step = field.integer("decoder_sparse_step", 1)
    if step < 1:
        raise ArtefactError(f"{field.name}: decoder_sparse_step: expected at least 1, got {step}")
    dense = set(field.integers("mlp_only_layers", MOST_LAYERS) or ())
    dense |= {i for i in range(min(layers, MOST_LAYERS)) if (i + 1) % step}
    # newer folders of transformers may say num_local_experts
    count = field.integer("num_experts", field.integer("num_local_experts", defaults[0]))
    if count == 0 or (layers > 0 and dense >= set(range(min(layers, MOST_LAYERS)))):
        return {}
    experts = Experts(
        count=count,
        per_token=field.integer("num_experts_per_tok", defaults[1]),
        hidden=field.integer("moe_intermediate_size"),
        normalised=field.boolean("norm_topk_prob"),
        shared_hidden=shared,
    )
    return {"experts": experts, "dense_layers": tuple(sorted(i for i in dense if i < layers))}


def _qwen2_moe(field: Fields) -> Traits:
    sizes = _sizes(field)
    _whole_heads(field)
    traits = sizes | _rope(field, sizes) | _rms(field) | _activation(field)
    traits |= {"qkv_bias": field.boolean("qkv_bias", default=True)}
    if field.boolean("use_sliding_window"):
        last = field.integer("max_window_layers", 28)
        even = lambda layer: layer % 2 == 0 and layer < last  # noqa: E731
        traits |= _windows_by_kind(field, sizes["layers"], even, 4096)
    else:
        _no_windows(field)
    shared = field.integer("shared_expert_intermediate_size", 5632)
    return traits | _qwen_experts(field, sizes["layers"], shared=shared, defaults=(60, 4))


def _qwen3_moe(field: Fields) -> Traits:
    sizes = _sizes(field)
    _whole_heads(field)
    traits = sizes | _rope(field, sizes) | _rms(field) | _activation(field)
    traits |= _attention_bias(field) | {"qk_norm": "head"}
    if field.boolean("use_sliding_window"):
        traits |= _window_everywhere(field, sizes["layers"], 4096)
    _no_windows(Fields({"layer_types": field.get("layer_types")}, field.name))
    return traits | _qwen_experts(field, sizes["layers"], shared=0, defaults=(128, 8))


def _gemma(field: Fields) -> Traits:
    """Embeddings times the root of the width; its gelu is always the one with tanh."""
    sizes = _sizes(field, head_width=256, tied=True)
    _whole_heads(field)
    if field.boolean("use_bidirectional_attention"):
        raise ArtefactError(f"{field.name}: use_bidirectional_attention: not supported")
    key = "hidden_activation" if field.get("hidden_activation") else "hidden_act"
    field.read.update(("hidden_act", "hidden_activation"))
    traits = sizes | _rms(field) | _activation(field, key, "gelu_tanh") | _attention_bias(field)
    if traits["activation"] == "gelu":
        traits["activation"] = "gelu_tanh"
    return traits | {"embedding_scale": math.sqrt(max(sizes["width"], 1))}


def _gemma1(field: Fields) -> Traits:
    traits = _gemma(field)
    return traits | _rope(field, traits)


def _gemma_scores(field: Fields, caps: tuple[float | None, float | None]) -> Traits:
    """Scale and caps of scores and logits."""
    scalar = field.number("query_pre_attn_scalar", 256)
    if scalar <= 0:
        raise ArtefactError(f"{field.name}: query_pre_attn_scalar: expected above 0, got {scalar}")
    found: Traits = {"query_scale": scalar**-0.5}
    keys = ("attn_logit_softcapping", "final_logit_softcapping")
    for name, key, default in zip(("attention_softcap", "logit_softcap"), keys, caps, strict=True):
        found[name] = field.maybe(key) if key in field.tree else default
        field.read.add(key)
    return found


def _gemma2(field: Fields) -> Traits:
    traits = _gemma(field)
    windows = _windows_by_kind(field, traits["layers"], lambda layer: layer % 2 == 0, 4096)
    scores = _gemma_scores(field, (50.0, 30.0))
    return traits | _rope(field, traits) | windows | scores | {"norm_place": "both"}


def _gemma3(field: Fields) -> Traits:
    traits = _gemma(field)
    every = field.integer("sliding_window_pattern", 6)
    if every < 1:
        raise ArtefactError(f"{field.name}: sliding_window_pattern: expected at least 1")
    windows = _windows_by_kind(field, traits["layers"], lambda i: (i + 1) % every != 0, 4096)
    theta, scaling, local = read_two_ropes(
        field, traits["context"], theta=1e6, window_theta=10000.0
    )
    traits |= {"rope_theta": theta, "rope_scaling": scaling, "window_rope_theta": local}
    traits |= {"norm_place": "both", "qk_norm": "head"}
    return traits | windows | _gemma_scores(field, (None, None))


def _phi3(field: Fields) -> Traits:
    sizes = _sizes(field)
    share = read_rotary_share(field, "partial_rotary_factor", 1.0)
    traits = sizes | _rope(field, sizes) | _rms(field, 1e-5) | _activation(field)
    traits |= _part_turned(sizes["head_width"], share)
    return traits | _window_everywhere(field, sizes["layers"])


def _part_turned(head_width: int, share: float) -> Traits:
    turned = int(head_width * share)
    return {} if turned == head_width else {"rotary_width": turned}


def _gpt2(field: Fields) -> Traits:
    heads, width = field.integer("n_head"), field.integer("n_embd")
    field.read.add("n_ctx")  # older folders repeat n_positions there
    for key, wanted in (
        ("scale_attn_weights", True),
        ("scale_attn_by_inverse_layer_idx", False),
        ("add_cross_attention", False),
    ):
        if field.boolean(key, default=wanted) != wanted:
            raise ArtefactError(f"{field.name}: {key}: expected {wanted}")
    sizes = {
        "vocab": field.integer("vocab_size"),
        "width": width,
        "layers": field.integer("n_layer"),
        "heads": heads,
        "kv_heads": heads,
        "head_width": width // max(heads, 1),
        "hidden": field.integer("n_inner", 4 * width),
        "context": field.integer("n_positions"),
        "tied": field.boolean("tie_word_embeddings", default=True),
        "norm_eps": field.number("layer_norm_epsilon", 1e-5),
        "positions": "learned",
    }
    return sizes | _plain_mlp(bias=True) | _activation(field, "activation_function", "gelu_new")


def _plain_mlp(*, bias: bool) -> Traits:
    """LayerNorm and a feed-forward map without a gate, with biases everywhere or nowhere else."""
    biases = dict.fromkeys(("qkv_bias", "output_bias", "mlp_bias"), bias)
    return biases | {"norm": "layer", "gated": False}


def _gpt_neox(field: Fields) -> Traits:
    sizes = _sizes(field)
    if sizes["kv_heads"] != sizes["heads"]:
        raise ArtefactError(f"{field.name}: num_key_value_heads: expected num_attention_heads")
    share = read_rotary_share(field, "rotary_pct", 0.25)
    theta, scaling = read_rope(field, sizes["context"], theta_key="rotary_emb_base")
    bias = field.boolean("attention_bias", default=True)
    traits = sizes | _plain_mlp(bias=True) | {"qkv_bias": bias, "output_bias": bias}
    traits |= {"rope_theta": theta, "rope_scaling": scaling}
    traits |= {"norm_eps": field.number("layer_norm_eps", 1e-5)}
    traits |= {"parallel": field.boolean("use_parallel_residual", default=True)}
    traits |= _part_turned(sizes["head_width"], share)
    return traits | _activation(field, default="gelu")


def _starcoder2(field: Fields) -> Traits:
    sizes = _sizes(field, tied=True)
    _whole_heads(field)
    traits = sizes | _plain_mlp(bias=field.boolean("use_bias", default=True))
    traits |= {"norm_eps": field.number("norm_epsilon", 1e-5)}
    traits |= _rope(field, sizes) | _activation(field, default="gelu_tanh")
    return traits | _window_everywhere(field, sizes["layers"])


def _olmo2(field: Fields) -> Traits:
    sizes = _sizes(field)
    _whole_heads(field)
    traits = sizes | _rope(field, sizes) | _rms(field, 1e-5) | _activation(field)
    return traits | _attention_bias(field) | {"norm_place": "post", "qk_norm": "full"}


def _smollm3(field: Fields) -> Traits:
    sizes = _sizes(field, tied=True)
    _whole_heads(field)
    layers, every = sizes["layers"], field.integer("no_rope_layer_interval", 4)
    turned = field.integers("no_rope_layers", MOST_LAYERS)
    if turned is None:
        turned = tuple(int((i + 1) % max(every, 1) != 0) for i in range(min(layers, MOST_LAYERS)))
    if len(turned) < layers or any(flag not in (0, 1) for flag in turned):
        raise ArtefactError(f"{field.name}: no_rope_layers: expected {layers} of 0 and 1")
    traits = sizes | _rope(field, sizes, theta=2e6) | _rms(field) | _activation(field)
    traits |= _attention_bias(field) | {"mlp_bias": field.boolean("mlp_bias")}
    traits |= {"unrotated_layers": tuple(i for i in range(layers) if not turned[i])}
    if field.boolean("use_sliding_window"):
        return traits | _windows_by_kind(field, layers, lambda layer: not turned[layer])
    _no_windows(field)
    return traits


def _granite(field: Fields) -> Traits:
    sizes = _sizes(field)
    _whole_heads(field)
    traits = sizes | _rope(field, sizes) | _rms(field) | _activation(field)
    scaling = field.number("logits_scaling", 1.0)
    return (
        traits
        | _attention_bias(field)
        | {
            "mlp_bias": field.boolean("mlp_bias"),
            "embedding_scale": field.number("embedding_multiplier", 1.0),
            "residual_scale": field.number("residual_multiplier", 1.0),
            "query_scale": field.number("attention_multiplier", 1.0),
            "logit_scale": 1.0 / scaling if scaling else math.nan,
        }
    )


READERS: Mapping[Family, Callable[[Fields], Traits]] = {
    "llama": _llama,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "mistral": _mistral,
    "mixtral": _mixtral,
    "qwen2_moe": _qwen2_moe,
    "qwen3_moe": _qwen3_moe,
    "gemma": _gemma1,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "phi3": _phi3,
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "starcoder2": _starcoder2,
    "olmo2": _olmo2,
    "smollm3": _smollm3,
    "granite": _granite,
}
