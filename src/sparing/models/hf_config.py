"""config.json of decoder folders, read strictly into traits; and written back for three families.

What would change the computation and is not understood is refused by name; what only concerns
training, initialisation or bookkeeping is passed over.  No code named by a folder is ever run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sparing.base.config import nearest
from sparing.base.errors import ArtefactError, ConfigError, require
from sparing.models.config import DecoderConfig, refuse_traits
from sparing.models.fields import Fields
from sparing.models.hf_families import READERS
from sparing.models.hf_rope import rope_tree
from sparing.models.names import FAMILIES, NAMES, Family
from sparing.models.quantised import Scheme, read_schemes

# Read for every family, here.
_READ = {"model_type", "bos_token_id", "eos_token_id", "quantization_config", "architectures"}
_HARMLESS = {
    "attention_dropout",
    "attn_pdrop",
    "cache_implementation",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "dtype",
    "embd_pdrop",
    "embedding_dropout",
    "hidden_dropout",
    "torch_dtype",
    "id2label",
    "label2id",
    "initializer_range",
    "max_window_layers",  # has effect only with use_sliding_window, whose readers read it
    "model_max_length",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "pad_token_id",
    "problem_type",
    "reorder_and_upcast_attn",
    "resid_pdrop",
    "residual_dropout",
    "return_dict",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "sliding_window",  # has effect only with use_sliding_window or layer_types, which are read
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "task_specific_params",
    "transformers_version",
    "transformers.js_config",
    "unsloth_fixed",
    "unsloth_version",
    "use_cache",
    "is_llama_config",
    "is_decoder",
    "is_encoder_decoder",
    "name_or_path",
}
# Families that `to_tree` writes, and the traits that they can hold.
WRITTEN: tuple[Family, ...] = ("llama", "qwen2", "qwen3")
_ACT = {"gelu_tanh": "gelu_pytorch_tanh"}
_HELD = {
    "norm_eps",
    "rope_theta",
    "rope_scaling",
    "qkv_bias",
    "output_bias",
    "mlp_bias",
    "qk_norm",
    "activation",
    "tied",
    "bos",
    "eos",
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
    field = Fields(tree, name)
    quantisation = tree.get("quantization_config")
    try:
        config = DecoderConfig(
            **READERS[family](field),
            bos=field.token("bos_token_id"),
            eos=field.tokens("eos_token_id"),
        )
        _refuse_unread(field, family)
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


def _refuse_unread(field: Fields, family: Family) -> None:
    """Refuse fields in use that no reader asked for."""
    known = field.read | _READ
    for key, value in field.tree.items():
        off = value is None or value is False or value in ({}, [])
        if key in known or key in _HARMLESS or key.startswith("_") or off:
            continue
        raise ArtefactError(
            f"{field.name}: {key[:80]}: not supported, got {str(value)[:80]!r}"
            + nearest(key[:80], known)
        )
    wanted, kinds = NAMES[family].architecture, field.tree.get("architectures")
    if kinds is not None and kinds != [wanted]:
        raise ArtefactError(
            f"{field.name}: architectures: expected [{wanted!r}], got {kinds!s:.80}"
        )


def family_of(config: DecoderConfig) -> Family:
    """The family whose published form can hold these traits.

    Errors: ConfigError when none can.
    """
    for family in WRITTEN:
        try:
            check_family(config, family)
        except ConfigError:
            continue
        return family
    raise ConfigError(
        f"config: no family of {', '.join(WRITTEN)} has qkv_bias={config.qkv_bias}, "
        f"output_bias={config.output_bias}, mlp_bias={config.mlp_bias}, qk_norm={config.qk_norm}"
    )


def check_family(config: DecoderConfig, family: Family) -> None:
    """Refuse traits that `family` does not have.  Errors: ConfigError naming the trait."""
    require(family in WRITTEN, "family", f"one of {', '.join(WRITTEN)} to be written", family)
    refuse_traits(config, _HELD, family)
    qk_norm = "head" if family == "qwen3" else None
    require(config.qk_norm == qk_norm, "qk_norm", f"what {family} has", config.qk_norm)
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
    tree: dict[str, Any] = {
        "architectures": [NAMES[family].architecture],
        "model_type": family,
        "vocab_size": config.vocab,
        "hidden_size": config.width,
        "intermediate_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_width,
        "hidden_act": _ACT.get(config.activation, config.activation),
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
