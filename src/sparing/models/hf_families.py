"""What each family's config.json says, as traits; one reader per family.

Defaults are those of transformers for a field that is absent.
"""

import math
from collections.abc import Callable, Mapping

from sparing.base.errors import ArtefactError
from sparing.models.config import MOST_LAYERS, Experts
from sparing.models.fields import Fields
from sparing.models.hf_rope import read_rope, read_rotary_share, read_two_ropes
from sparing.models.hf_traits import (
    Traits,
    activation_of,
    attention_bias,
    no_windows,
    norm_of,
    part_turned,
    plain_mlp,
    rope_of,
    sizes_of,
    whole_heads,
    window_everywhere,
    windows_by_kind,
)
from sparing.models.names import Family


def _llama(field: Fields) -> Traits:
    sizes = sizes_of(field)
    whole_heads(field)
    no_windows(field)
    if field.get("pretraining_tp") not in (None, 1):
        raise ArtefactError(f"{field.name}: pretraining_tp: expected 1")
    traits = sizes | rope_of(field, sizes) | norm_of(field) | activation_of(field)
    return traits | attention_bias(field) | {"mlp_bias": field.boolean("mlp_bias")}


def _qwen(field: Fields, sizes: Traits) -> Traits:
    """Windows from layer `max_window_layers` on, if they are used at all."""
    whole_heads(field)
    traits = sizes | rope_of(field, sizes) | norm_of(field) | activation_of(field)
    used = field.boolean("use_sliding_window")
    if not used:
        no_windows(field)
        return traits
    first = field.integer("max_window_layers", 28)
    return traits | windows_by_kind(field, sizes["layers"], lambda layer: layer >= first, 4096)


def _qwen2(field: Fields) -> Traits:
    return _qwen(field, sizes_of(field)) | {"qkv_bias": True}


def _qwen3(field: Fields) -> Traits:
    sizes = sizes_of(field, head_width=128)
    return _qwen(field, sizes) | attention_bias(field) | {"qk_norm": "head"}


def _mistral(field: Fields) -> Traits:
    sizes = sizes_of(field)
    whole_heads(field)
    traits = sizes | rope_of(field, sizes) | norm_of(field) | activation_of(field)
    return traits | window_everywhere(field, sizes["layers"], 4096)


def _mixtral(field: Fields) -> Traits:
    sizes = sizes_of(field)
    whole_heads(field)
    experts = Experts(
        count=field.integer("num_local_experts", 8),
        per_token=field.integer("num_experts_per_tok", 2),
        hidden=sizes["hidden"],
    )
    traits = sizes | rope_of(field, sizes, theta=1e6) | norm_of(field, 1e-5) | activation_of(field)
    return traits | window_everywhere(field, sizes["layers"]) | {"experts": experts}


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
    sizes = sizes_of(field)
    whole_heads(field)
    traits = sizes | rope_of(field, sizes) | norm_of(field) | activation_of(field)
    traits |= {"qkv_bias": field.boolean("qkv_bias", default=True)}
    if field.boolean("use_sliding_window"):
        last = field.integer("max_window_layers", 28)
        even = lambda layer: layer % 2 == 0 and layer < last  # noqa: E731
        traits |= windows_by_kind(field, sizes["layers"], even, 4096)
    else:
        no_windows(field)
    shared = field.integer("shared_expert_intermediate_size", 5632)
    return traits | _qwen_experts(field, sizes["layers"], shared=shared, defaults=(60, 4))


def _qwen3_moe(field: Fields) -> Traits:
    sizes = sizes_of(field)
    whole_heads(field)
    traits = sizes | rope_of(field, sizes) | norm_of(field) | activation_of(field)
    traits |= attention_bias(field) | {"qk_norm": "head"}
    if field.boolean("use_sliding_window"):
        traits |= window_everywhere(field, sizes["layers"], 4096)
    no_windows(Fields({"layer_types": field.get("layer_types")}, field.name))
    return traits | _qwen_experts(field, sizes["layers"], shared=0, defaults=(128, 8))


def _gemma(field: Fields) -> Traits:
    """Embeddings times the root of the width; its gelu is always the one with tanh."""
    sizes = sizes_of(field, head_width=256, tied=True)
    whole_heads(field)
    if field.boolean("use_bidirectional_attention"):
        raise ArtefactError(f"{field.name}: use_bidirectional_attention: not supported")
    key = "hidden_activation" if field.get("hidden_activation") else "hidden_act"
    field.read.update(("hidden_act", "hidden_activation"))
    traits = sizes | norm_of(field) | activation_of(field, key, "gelu_tanh") | attention_bias(field)
    if traits["activation"] == "gelu":
        traits["activation"] = "gelu_tanh"
    return traits | {"embedding_scale": math.sqrt(max(sizes["width"], 1))}


def _gemma1(field: Fields) -> Traits:
    traits = _gemma(field)
    return traits | rope_of(field, traits)


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
    windows = windows_by_kind(field, traits["layers"], lambda layer: layer % 2 == 0, 4096)
    scores = _gemma_scores(field, (50.0, 30.0))
    return traits | rope_of(field, traits) | windows | scores | {"norm_place": "both"}


def _gemma3(field: Fields) -> Traits:
    traits = _gemma(field)
    every = field.integer("sliding_window_pattern", 6)
    if every < 1:
        raise ArtefactError(f"{field.name}: sliding_window_pattern: expected at least 1")
    windows = windows_by_kind(field, traits["layers"], lambda i: (i + 1) % every != 0, 4096)
    theta, scaling, local = read_two_ropes(
        field, traits["context"], theta=1e6, window_theta=10000.0
    )
    traits |= {"rope_theta": theta, "rope_scaling": scaling, "window_rope_theta": local}
    traits |= {"norm_place": "both", "qk_norm": "head"}
    return traits | windows | _gemma_scores(field, (None, None))


def _phi3(field: Fields) -> Traits:
    sizes = sizes_of(field)
    share = read_rotary_share(field, "partial_rotary_factor", 1.0)
    traits = sizes | rope_of(field, sizes) | norm_of(field, 1e-5) | activation_of(field)
    traits |= part_turned(sizes["head_width"], share)
    return traits | window_everywhere(field, sizes["layers"])


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
    return sizes | plain_mlp(bias=True) | activation_of(field, "activation_function", "gelu_new")


def _gpt_neox(field: Fields) -> Traits:
    sizes = sizes_of(field)
    if sizes["kv_heads"] != sizes["heads"]:
        raise ArtefactError(f"{field.name}: num_key_value_heads: expected num_attention_heads")
    share = read_rotary_share(field, "rotary_pct", 0.25)
    theta, scaling = read_rope(field, sizes["context"], theta_key="rotary_emb_base")
    bias = field.boolean("attention_bias", default=True)
    traits = sizes | plain_mlp(bias=True) | {"qkv_bias": bias, "output_bias": bias}
    traits |= {"rope_theta": theta, "rope_scaling": scaling}
    traits |= {"norm_eps": field.number("layer_norm_eps", 1e-5)}
    traits |= {"parallel": field.boolean("use_parallel_residual", default=True)}
    traits |= part_turned(sizes["head_width"], share)
    return traits | activation_of(field, default="gelu")


def _starcoder2(field: Fields) -> Traits:
    sizes = sizes_of(field, tied=True)
    whole_heads(field)
    eps = field.number("norm_epsilon", 1e-5)
    for key, wanted in (
        ("mlp_type", "default"),
        ("norm_type", "layer_norm"),
        ("scale_attn_weights", True),
        ("layer_norm_epsilon", eps),
    ):
        if field.get(key) not in (None, wanted):
            raise ArtefactError(f"{field.name}: {key}: expected {wanted}")
    # older folders repeat the activation under another name, and say where softmax is computed
    field.read.update(
        ("activation_function", "attention_softmax_in_fp32", "scale_attention_softmax_in_fp32")
    )
    traits = sizes | plain_mlp(bias=field.boolean("use_bias", default=True))
    traits |= {"norm_eps": eps}
    traits |= rope_of(field, sizes) | activation_of(field, default="gelu_tanh")
    return traits | window_everywhere(field, sizes["layers"])


def _olmo2(field: Fields) -> Traits:
    sizes = sizes_of(field)
    whole_heads(field)
    traits = sizes | rope_of(field, sizes) | norm_of(field, 1e-5) | activation_of(field)
    return traits | attention_bias(field) | {"norm_place": "post", "qk_norm": "full"}


def _smollm3(field: Fields) -> Traits:
    sizes = sizes_of(field, tied=True)
    field.read.add("pretraining_tp")  # has no effect in this family
    whole_heads(field)
    layers, every = sizes["layers"], field.integer("no_rope_layer_interval", 4)
    turned = field.integers("no_rope_layers", MOST_LAYERS)
    if turned is None:
        turned = tuple(int((i + 1) % max(every, 1) != 0) for i in range(min(layers, MOST_LAYERS)))
    if len(turned) < layers or any(flag not in (0, 1) for flag in turned):
        raise ArtefactError(f"{field.name}: no_rope_layers: expected {layers} of 0 and 1")
    traits = sizes | rope_of(field, sizes, theta=2e6) | norm_of(field) | activation_of(field)
    traits |= attention_bias(field) | {"mlp_bias": field.boolean("mlp_bias")}
    traits |= {"unrotated_layers": tuple(i for i in range(layers) if not turned[i])}
    if field.boolean("use_sliding_window"):
        return traits | windows_by_kind(field, layers, lambda layer: not turned[layer])
    no_windows(field)
    return traits


def _granite(field: Fields) -> Traits:
    sizes = sizes_of(field)
    whole_heads(field)
    traits = sizes | rope_of(field, sizes) | norm_of(field) | activation_of(field)
    scaling = field.number("logits_scaling", 1.0)
    return (
        traits
        | attention_bias(field)
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
