"""config.json of encoders and encoder-decoders, read strictly into traits.

Text: bert, roberta, xlm-roberta.  Images: vit.  Both: clip, siglip and their single towers.
Encoder-decoders: t5, mt5.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from sparing.base.errors import ArtefactError, ConfigError
from sparing.models.encoder_config import (
    EncoderConfig,
    Relative,
    Seq2SeqConfig,
    StackConfig,
    TowersConfig,
)
from sparing.models.fields import Fields
from sparing.models.hf_common import activation, refuse_unknown
from sparing.models.hf_towers import read_siglip_or_clip, read_vit

AnyConfig = EncoderConfig | TowersConfig | Seq2SeqConfig
# model_type: the names and tables of its weights, and the classes that hold what we compute
KINDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "bert": ("bert", ("BertModel", "BertForMaskedLM", "BertForPreTraining")),
    "roberta": ("bert", ("RobertaModel", "RobertaForMaskedLM")),
    "xlm-roberta": ("bert", ("XLMRobertaModel", "XLMRobertaForMaskedLM")),
    "vit": ("vit", ("ViTModel", "ViTForImageClassification")),
    "clip": ("towers", ("CLIPModel",)),
    "clip_vision_model": ("image_tower", ("CLIPVisionModel", "CLIPVisionModelWithProjection")),
    "clip_text_model": ("text_tower", ("CLIPTextModel", "CLIPTextModelWithProjection")),
    "siglip": ("towers", ("SiglipModel",)),
    "siglip_vision_model": ("image_tower", ("SiglipVisionModel",)),
    "siglip_text_model": ("text_tower", ("SiglipTextModel",)),
    "t5": ("t5", ("T5ForConditionalGeneration", "T5WithLMHeadModel")),
    "mt5": ("t5", ("MT5ForConditionalGeneration",)),
}
_BERT = {
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "max_position_embeddings",
    "type_vocab_size",
    "layer_norm_eps",
    "position_embedding_type",
    "quantization_config",
}
_T5 = {
    "vocab_size",
    "d_model",
    "d_kv",
    "d_ff",
    "num_layers",
    "num_decoder_layers",
    "num_heads",
    "relative_attention_num_buckets",
    "relative_attention_max_distance",
    "layer_norm_epsilon",
    "feed_forward_proj",
    "dense_act_fn",
    "is_gated_act",
    "is_encoder_decoder",
    "n_positions",
    "scale_decoder_outputs",
    "quantization_config",
}
_T5_TOKENS = 512  # of a source, and of an answer, where n_positions does not say


def read_traits(tree: Mapping[str, Any], stored: Collection[str], name: str) -> AnyConfig:
    """The traits of the model described by `tree`, whose folder has the tensors `stored`.

    Folders leave out poolers, projections and heads without saying so, hence `stored`: canonical
    names.
    Errors: ArtefactError naming the field: an unknown or unsupported one, a wrong type, a size
            out of range.
    """
    kind = tree["model_type"]
    _, classes = KINDS[kind]
    found = tree.get("architectures")
    if found is not None and not (isinstance(found, list) and len(found) == 1
                                  and found[0] in classes):  # fmt: skip
        raise ArtefactError(
            f"{name}: architectures: expected one of {', '.join(classes)}, got {found!s:.80}"
        )
    try:
        return _READERS[kind](tree, stored, name)
    except ConfigError as error:
        raise ArtefactError(f"{name}: {error}") from None


def _bert(tree: Mapping[str, Any], stored: Collection[str], name: str) -> EncoderConfig:
    refuse_unknown(tree, _BERT, name)
    field, kind = Fields(tree, name), tree["model_type"]
    placing = tree.get("position_embedding_type")
    if placing not in (None, "absolute"):
        raise ArtefactError(
            f"{name}: position_embedding_type: expected absolute, got {placing!s:.80}"
        )
    width, heads = field.integer("hidden_size", 768), field.integer("num_attention_heads", 12)
    # RoBERTa counts positions from the padding token's id on
    offset = 0 if kind == "bert" else field.integer("pad_token_id", 1) + 1
    return EncoderConfig(
        stack=StackConfig(
            width=width,
            layers=field.integer("num_hidden_layers", 12),
            heads=heads,
            head_width=_head_width(width, heads, name),
            hidden=field.integer("intermediate_size", 3072),
            post=True,
            norm_eps=field.number("layer_norm_eps", 1e-12),
            activation=activation(tree.get("hidden_act", "gelu"), f"{name}: hidden_act"),
        ),
        vocab=field.integer("vocab_size"),
        context=field.integer("max_position_embeddings", 512) - offset,
        position_offset=offset,
        types=field.integer("type_vocab_size", 2),
        embed_norm=True,
    )


def _head_width(width: int, heads: int, name: str) -> int:
    if heads < 1 or width % heads:
        raise ArtefactError(f"{name}: hidden_size: expected a multiple of {heads} heads")
    return width // heads


def _t5(tree: Mapping[str, Any], stored: Collection[str], name: str) -> Seq2SeqConfig:
    refuse_unknown(tree, _T5, name)
    field = Fields(tree, name)
    if tree.get("is_encoder_decoder") is False:
        raise ArtefactError(f"{name}: is_encoder_decoder: expected true")
    gated, word = _projection(tree, name)
    layers, heads = field.integer("num_layers", 6), field.integer("num_heads", 8)
    relative = Relative(
        buckets=field.integer("relative_attention_num_buckets", 32),
        farthest=field.integer("relative_attention_max_distance", 128),
    )

    def stack(layers: int, *, causal: bool) -> StackConfig:
        return StackConfig(
            width=field.integer("d_model", 512),
            layers=layers,
            heads=heads,
            head_width=field.integer("d_kv", 64),
            hidden=field.integer("d_ff", 2048),
            norm="rms",
            norm_eps=field.number("layer_norm_epsilon", 1e-6),
            qkv_bias=False,
            output_bias=False,
            mlp_bias=False,
            gated=gated,
            activation=activation(word, f"{name}: feed_forward_proj"),
            query_scale=1.0,
            causal=causal,
            relative=relative,
            final_norm=True,
        )

    eos = field.tokens("eos_token_id") or (1,)
    return Seq2SeqConfig(
        encoder=stack(layers, causal=False),
        decoder=stack(field.integer("num_decoder_layers", layers), causal=True),
        vocab=field.integer("vocab_size"),
        context=2 * field.integer("n_positions", _T5_TOKENS),
        start=field.integer("decoder_start_token_id", field.integer("pad_token_id", 0)),
        eos=eos,
        tied="lm_head.weight" not in stored,
        scaled=_is_scaled(field),
    )


def _is_scaled(field: Fields) -> bool:
    """T5's first version scales what its tied head sees; the later ones do not.

    Newer writers say so; older ones leave `tie_word_embeddings` false where it is not scaled.
    """
    if field.tree["model_type"] == "mt5":
        return False
    return field.boolean(
        "scale_decoder_outputs", default=field.boolean("tie_word_embeddings", default=True)
    )


def _projection(tree: Mapping[str, Any], name: str) -> tuple[bool, str]:
    """Whether the feed-forward map is gated, and its activation, as Hugging Face calls it."""
    default = "gated-gelu" if tree["model_type"] == "mt5" else "relu"
    word = tree.get("feed_forward_proj", default)
    if not isinstance(word, str):
        raise ArtefactError(f"{name}: feed_forward_proj: expected a name, got {word!s:.80}")
    gated = word.startswith("gated-")
    return gated, "gelu_new" if word == "gated-gelu" else word.removeprefix("gated-")


Reader = Callable[[Mapping[str, Any], Collection[str], str], AnyConfig]
_READERS: Mapping[str, Reader] = {
    "bert": _bert,
    "roberta": _bert,
    "xlm-roberta": _bert,
    "vit": read_vit,
    "t5": _t5,
    "mt5": _t5,
} | {kind: read_siglip_or_clip for kind in KINDS if kind.startswith(("clip", "siglip"))}
