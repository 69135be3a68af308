"""What the config.json files of encoders have in common: settings without effect, activations."""

from collections.abc import Collection, Mapping
from typing import Any

from sparing.base.config import nearest
from sparing.base.errors import ArtefactError
from sparing.models.encoder_config import Activation
from sparing.models.fields import Fields

# Training, initialisation, bookkeeping, and defaults of generation that older writers put here.
HARMLESS = frozenset(
    [
        "add_cross_attention",
        "architectures",
        "attention_dropout",
        "attention_probs_dropout_prob",
        "bad_words_ids",
        "begin_suppress_tokens",
        "bos_token_id",
        "chunk_size_feed_forward",
        "classifier_dropout",
        "cross_attention_hidden_size",
        "decoder_start_token_id",
        "directionality",
        "diversity_penalty",
        "do_sample",
        "dropout",
        "dropout_rate",
        "dtype",
        "early_stopping",
        "encoder_no_repeat_ngram_size",
        "encoder_stride",
        "eos_token_id",
        "exponential_decay_length_penalty",
        "finetuning_task",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "gradient_checkpointing",
        "hidden_dropout_prob",
        "id2label",
        "initializer_factor",
        "initializer_range",
        "label2id",
        "length_penalty",
        "logit_scale_init_value",
        "max_length",
        "min_length",
        "model_max_length",
        "model_type",
        "name_or_path",
        "no_repeat_ngram_size",
        "num_beam_groups",
        "num_beams",
        "num_return_sequences",
        "output_attentions",
        "output_hidden_states",
        "output_past",
        "output_scores",
        "pad_token_id",
        "pooler_fc_size",
        "pooler_num_attention_heads",
        "pooler_num_fc_layers",
        "pooler_size_per_head",
        "pooler_type",
        "prefix",
        "problem_type",
        "pruned_heads",
        "remove_invalid_values",
        "repetition_penalty",
        "return_dict",
        "return_dict_in_generate",
        "sep_token_id",
        "suppress_tokens",
        "task_specific_params",
        "temperature",
        "tf_legacy_loss",
        "tie_encoder_decoder",
        "tie_word_embeddings",
        "tokenizer_class",
        "top_k",
        "top_p",
        "torch_dtype",
        "torchscript",
        "transformers_version",
        "typical_p",
        "use_bfloat16",
        "use_cache",
    ]
)
_ACTIVATIONS: Mapping[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}


def refuse_unknown(tree: Mapping[str, Any], read: Collection[str], name: str) -> None:
    """Errors: ArtefactError naming a setting that is neither read nor known to have no effect."""
    if tree.get("auto_map"):
        raise ArtefactError(f"{name}: auto_map: code of model folders is never run")
    for key, value in tree.items():
        off = value is None or value is False or value in ({}, [])
        if key in read or key in HARMLESS or key.startswith("_") or off:
            continue
        raise ArtefactError(
            f"{name}: {key[:80]}: not supported, got {str(value)[:80]!r}" + nearest(key[:80], read)
        )
    if tree.get("is_decoder") or tree.get("add_cross_attention"):
        raise ArtefactError(f"{name}: is_decoder: expected an encoder")


def activation(word: object, name: str) -> Activation:
    """Our name of a published activation.  Errors: ArtefactError when it is not known."""
    found = _ACTIVATIONS.get(word) if isinstance(word, str) else None
    if found is None:
        known = ", ".join(_ACTIVATIONS)
        raise ArtefactError(f"{name}: expected one of {known}, got {str(word)[:80]!r}")
    return found


def pair(field: Fields, key: str, default: int) -> tuple[int, int]:
    """Height and width, given as one number or as two.  Errors: ArtefactError."""
    value = field.tree.get(key)
    if isinstance(value, list) and len(value) == 2 and all(type(each) is int for each in value):
        return value[0], value[1]
    size = field.integer(key, default)
    return size, size


def section(tree: Mapping[str, Any], key: str, name: str) -> Mapping[str, Any]:
    """An object within the config.  Errors: ArtefactError when it is not there."""
    value = tree.get(key)
    if not isinstance(value, dict):
        raise ArtefactError(f"{name}: {key}: expected an object, got {str(value)[:80]!r}")
    return value
