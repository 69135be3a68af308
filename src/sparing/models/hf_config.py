"""config.json of Llama, Qwen2 and Qwen3 folders, read strictly into traits and written back.

What would change the computation and is not understood is refused by name; what only concerns
training, initialisation or bookkeeping is passed over.  No code named by a folder is ever run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sparing.base.config import nearest
from sparing.base.errors import ArtefactError, ConfigError, require
from sparing.models.config import DecoderConfig
from sparing.models.fields import Fields
from sparing.models.hf_rope import read_rope, rope_tree
from sparing.models.names import FAMILIES, Family
from sparing.models.quantised import Scheme, read_schemes

_READ = {
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "rms_norm_eps",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "attention_bias",
    "mlp_bias",
    "tie_word_embeddings",
    "hidden_act",
    "bos_token_id",
    "eos_token_id",
    "use_sliding_window",
    "layer_types",
    "quantization_config",
    "pretraining_tp",
    "architectures",
}
_HARMLESS = {
    "attention_dropout",
    "chunk_size_feed_forward",
    "dtype",
    "torch_dtype",
    "id2label",
    "label2id",
    "initializer_range",
    "max_window_layers",
    "model_max_length",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "problem_type",
    "return_dict",
    "sliding_window",  # has effect only with use_sliding_window or layer_types, which are read
    "transformers_version",
    "transformers.js_config",
    "unsloth_fixed",
    "unsloth_version",
    "use_cache",
    "is_llama_config",
    "is_encoder_decoder",
    "name_or_path",
}


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a config.json says."""

    config: DecoderConfig
    family: Family
    schemes: tuple[Scheme, ...]
    """Quantisation schemes in use; empty when no weight is quantised."""


def parse_config(tree: Mapping[str, Any], name: str = "config.json") -> Parsed:
    """The traits of the model described by `tree`.

    Errors: ArtefactError naming the field: an unknown model type or rope type, an unsupported or
            unknown field in use, a wrong type, a size out of range.
    """
    family = _family(tree, name)
    _refuse_unknown(tree, family, name)
    quantisation = tree.get("quantization_config")
    try:
        config = _traits(tree, family, name)
        schemes = read_schemes(quantisation) if quantisation is not None else ()
    except ConfigError as error:
        raise ArtefactError(f"{name}: {error}") from None
    except ArtefactError as error:
        message = str(error)
        raise ArtefactError(message if message.startswith(name) else f"{name}: {message}") from None
    return Parsed(config, family, schemes)


def _family(tree: Mapping[str, Any], name: str) -> Family:
    if tree.get("auto_map"):
        raise ArtefactError(f"{name}: auto_map: code of model folders is never run")
    kind = tree.get("model_type")
    for family in FAMILIES:
        if kind == family:
            return family
    known = ", ".join(FAMILIES)
    raise ArtefactError(
        f"{name}: model_type: expected one of {known}, got {str(kind)[:80]!r}"
        + nearest(str(kind)[:80], FAMILIES)
    )


def _refuse_unknown(tree: Mapping[str, Any], family: Family, name: str) -> None:
    for key, value in tree.items():
        off = value is None or value is False or value in ({}, [])
        if key in _READ or key in _HARMLESS or key.startswith("_") or off:
            continue
        raise ArtefactError(
            f"{name}: {key[:80]}: not supported, got {str(value)[:80]!r}" + nearest(key[:80], _READ)
        )
    wanted = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
    kinds = tree.get("architectures")
    if kinds is not None and kinds != [wanted[family]]:
        raise ArtefactError(
            f"{name}: architectures: expected [{wanted[family]!r}], got {kinds!s:.80}"
        )
    if tree.get("use_sliding_window"):
        raise ArtefactError(f"{name}: use_sliding_window: sliding windows are not supported")
    kinds = tree.get("layer_types")
    if kinds is not None and (
        not isinstance(kinds, list) or any(kind != "full_attention" for kind in kinds)
    ):
        raise ArtefactError(
            f"{name}: layer_types: only full_attention is supported, got {kinds!s:.80}"
        )
    if tree.get("pretraining_tp") not in (None, 1):
        raise ArtefactError(
            f"{name}: pretraining_tp: expected 1, got {tree['pretraining_tp']!r:.80}"
        )


def _traits(tree: Mapping[str, Any], family: Family, name: str) -> DecoderConfig:
    field = Fields(tree, name)
    heads = field.integer("num_attention_heads")
    width = field.integer("hidden_size")
    context = field.integer("max_position_embeddings")
    head_width = field.integer("head_dim", 128 if family == "qwen3" else width // max(heads, 1))
    activation = tree.get("hidden_act", "silu")
    attention_bias = family != "qwen2" and field.boolean("attention_bias")
    theta, scaling = read_rope(field, context)
    return DecoderConfig(
        vocab=field.integer("vocab_size"),
        width=width,
        layers=field.integer("num_hidden_layers"),
        heads=heads,
        kv_heads=field.integer("num_key_value_heads", heads),
        head_width=head_width,
        hidden=field.integer("intermediate_size"),
        context=context,
        norm_eps=field.number("rms_norm_eps", 1e-6),
        rope_theta=theta,
        rope_scaling=scaling,
        qkv_bias=family == "qwen2" or attention_bias,
        output_bias=attention_bias,
        mlp_bias=family == "llama" and field.boolean("mlp_bias"),
        qk_norm=family == "qwen3",
        tied=field.boolean("tie_word_embeddings"),
        activation=activation,
        bos=field.token("bos_token_id"),
        eos=field.tokens("eos_token_id"),
    )


def family_of(config: DecoderConfig) -> Family:
    """The family whose published form can hold these traits.

    Errors: ConfigError when none can.
    """
    for family in FAMILIES:
        try:
            check_family(config, family)
        except ConfigError:
            continue
        return family
    raise ConfigError(
        f"config: no family of {', '.join(FAMILIES)} has qkv_bias={config.qkv_bias}, "
        f"output_bias={config.output_bias}, mlp_bias={config.mlp_bias}, qk_norm={config.qk_norm}"
    )


def check_family(config: DecoderConfig, family: Family) -> None:
    """Refuse traits that `family` does not have.  Errors: ConfigError naming the trait."""
    require(config.qk_norm == (family == "qwen3"), "qk_norm", f"what {family} has", config.qk_norm)
    if family == "qwen2":
        require(config.qkv_bias and not config.output_bias, "qkv_bias", "qkv_bias alone", "other")
    else:
        same = config.qkv_bias == config.output_bias
        require(same, "output_bias", f"as qkv_bias in {family}", config.output_bias)
    require(family == "llama" or not config.mlp_bias, "mlp_bias", f"none in {family}", True)
    if family == "llama":
        require(
            config.width % config.heads == 0,
            "width",
            "a multiple of heads in llama",
            (config.width, config.heads),
        )


def to_tree(config: DecoderConfig, family: Family, *, dtype: str) -> dict[str, Any]:
    """The config.json that transformers (4 and 5) and `parse_config` read as `config`.

    Errors: ConfigError when `family` cannot hold the traits.
    """
    check_family(config, family)
    class_name = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3"}[family]
    tree: dict[str, Any] = {
        "architectures": [f"{class_name}ForCausalLM"],
        "model_type": family,
        "vocab_size": config.vocab,
        "hidden_size": config.width,
        "intermediate_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_width,
        "hidden_act": config.activation,
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied,
        "bos_token_id": config.bos,
        "eos_token_id": _one_or_many(config.eos),
        "dtype": dtype,
        "torch_dtype": dtype,
    }
    tree |= rope_tree(config)
    if family != "qwen2":
        tree["attention_bias"] = config.qkv_bias
    if family == "llama":
        tree["mlp_bias"] = config.mlp_bias
    else:
        tree["use_sliding_window"] = False
    return tree


def _one_or_many(eos: tuple[int, ...]) -> int | list[int] | None:
    return None if not eos else eos[0] if len(eos) == 1 else list(eos)
