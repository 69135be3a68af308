"""Published weight names of encoders and encoder-decoders, and the shape that each must have.

A family's older and newer names, and those with a prefix, are brought to one spelling first
(`canonical`); the tables here are in that spelling.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from sparing.base.errors import ArtefactError
from sparing.models.encoder_config import (
    EncoderConfig,
    ImageShape,
    Seq2SeqConfig,
    StackConfig,
    TowersConfig,
)
from sparing.models.names import Rows

_SUFFIX = re.compile(r"(?<=\.weight)_(packed|scale|shape)$")
# family: what is replaced, and by what, one after another
_SPELLING: Mapping[str, tuple[tuple[str, str], ...]] = {
    "bert": (
        (r"^(bert|roberta)\.", ""),
        (r"LayerNorm\.gamma$", "LayerNorm.weight"),
        (r"LayerNorm\.beta$", "LayerNorm.bias"),
    ),
    "vit": (
        (r"^vit\.", ""),
        (r"^encoder\.layer\.", "layers."),
        (r"attention\.attention\.query", "attention.q_proj"),
        (r"attention\.attention\.key", "attention.k_proj"),
        (r"attention\.attention\.value", "attention.v_proj"),
        (r"attention\.output\.dense", "attention.o_proj"),
        (r"intermediate\.dense", "mlp.fc1"),
        (r"^(layers\.[0-9]+)\.output\.dense", r"\1.mlp.fc2"),
    ),
    "towers": (),
    "image_tower": ((r"^(embeddings|encoder|pre_layrnorm|post_layernorm|head)\.",
                     r"vision_model.\1."),),
    "text_tower": ((r"^(embeddings|encoder|final_layer_norm|head)\.", r"text_model.\1."),),
    "t5": (),
}  # fmt: skip
# What folders hold beside what we compute with: other heads, and what follows from the config.
_UNUSED: Mapping[str, str] = {
    "bert": r"embeddings\.(position_ids|token_type_ids)|pooler\.dense\.(weight|bias)"
    r"|cls\.(predictions|seq_relationship)\.[a-zA-Z_.]+"
    r"|lm_head\.(bias|dense\.(weight|bias)|layer_norm\.(weight|bias)|decoder\.(weight|bias))",
    "vit": r"embeddings\.mask_token|classifier\.(weight|bias)",
    "towers": r"logit_scale|logit_bias|(text|vision)_model\.embeddings\.position_ids",
    "t5": r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one of our tensors lies."""

    name: str
    """Published, in the canonical spelling."""
    stored: tuple[int, ...]
    """Shape of the published tensor."""
    shape: tuple[int, ...]
    """Shape of ours, with the same numbers in the same order."""
    rows: Rows | None = None
    """Which rows of the published tensor are ours; None for all."""


Places = dict[str, Place]
Add = Callable[..., None]


def canonical(name: str, family: str) -> str:
    """The one spelling of a published name."""
    for pattern, replacement in _SPELLING[family]:
        name = re.sub(pattern, replacement, name)
    return name


def spellings(names: Collection[str], family: str) -> dict[str, str]:
    """Canonical names to those that a folder uses; of a quantised map, without the suffix.

    Errors: ArtefactError when two tensors have one canonical name.
    """
    found: dict[str, str] = {}
    for name in dict.fromkeys(_SUFFIX.sub("", name) for name in names):
        other = found.setdefault(canonical(name, family), name)
        if other != name or (name in names and f"{name}_packed" in names):
            raise ArtefactError(f"{name[:120]}: given twice, also as {other[:120]}")
    return found


def is_unused(canonical_name: str, family: str) -> bool:
    """Whether this tensor has no part in what we compute."""
    pattern = _UNUSED["towers" if family.endswith("tower") else family]
    return re.fullmatch(pattern, canonical_name) is not None


def text_places(config: EncoderConfig) -> Places:
    """BERT and RoBERTa."""
    places, D = Places(), config.stack.width
    add = _adder(places)
    add("embed", "embeddings.word_embeddings", (config.vocab, D))
    add("positions", "embeddings.position_embeddings", (_positions(config), D))
    if config.types:
        add("types", "embeddings.token_type_embeddings", (config.types, D))
    add("embed_norm", "embeddings.LayerNorm", (D,), bias=True)
    _blocks(add, config.stack, "encoder.layer.", {
        "attention.query": "attention.self.query",
        "attention.key": "attention.self.key",
        "attention.value": "attention.self.value",
        "attention.output": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "mlp.up": "intermediate.dense",
        "mlp.down": "output.dense",
        "mlp_norm": "output.LayerNorm",
    })  # fmt: skip
    return places


def vit_places(config: EncoderConfig) -> Places:
    """ViT, with its pooler where the config has a head."""
    places, D = Places(), config.stack.width
    add = _adder(places)
    assert config.image is not None
    add("first", "embeddings.cls_token", (1, 1, D), ours_shape=(D,), leaf="")
    shape = (config.context, D)
    add("positions", "embeddings.position_embeddings", (1, *shape), ours_shape=shape, leaf="")
    _patch(add, "embeddings.patch_embeddings.projection", config.image, D, bias=config.patch_bias)
    _blocks(add, config.stack, "layers.", {
        "attention.query": "attention.q_proj",
        "attention.key": "attention.k_proj",
        "attention.value": "attention.v_proj",
        "attention.output": "attention.o_proj",
        "attention_norm": "layernorm_before",
        "mlp.up": "mlp.fc1",
        "mlp.down": "mlp.fc2",
        "mlp_norm": "layernorm_after",
    })  # fmt: skip
    add("final_norm", "layernorm", (D,), bias=True)
    if config.head.width is not None:
        add("head", "pooler.dense", (config.head.width, D), bias=True)
    return places


_TOWER_BLOCK = {
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.out_proj",
    "attention_norm": "layer_norm1",
    "mlp.up": "mlp.fc1",
    "mlp.down": "mlp.fc2",
    "mlp_norm": "layer_norm2",
}


def towers_places(config: TowersConfig) -> Places:
    """CLIP and SigLIP: `text.` and `image.` before the names of each tower."""
    places = Places()
    if config.text is not None:
        places |= {f"text.{name}": place for name, place in _text_tower(config.text).items()}
    if config.image is not None:
        places |= {f"image.{name}": place for name, place in _image_tower(config.image).items()}
    return places


def _text_tower(config: EncoderConfig) -> Places:
    places, D = Places(), config.stack.width
    add = _adder(places)
    add("embed", "text_model.embeddings.token_embedding", (config.vocab, D))
    add("positions", "text_model.embeddings.position_embedding", (_positions(config), D))
    _blocks(add, config.stack, "text_model.encoder.layers.", _TOWER_BLOCK)
    add("final_norm", "text_model.final_layer_norm", (D,), bias=True)
    if config.head.width is not None:
        name = "text_model.head" if config.head.bias else "text_projection"
        add("head", name, (config.head.width, D), bias=config.head.bias)
    return places


def _image_tower(config: EncoderConfig) -> Places:
    places, D, at = Places(), config.stack.width, "vision_model."
    add = _adder(places)
    assert config.image is not None
    if config.first_row:
        add("first", at + "embeddings.class_embedding", (D,), leaf="")
    _patch(add, at + "embeddings.patch_embedding", config.image, D, bias=config.patch_bias)
    add("positions", at + "embeddings.position_embedding", (config.context, D))
    if config.embed_norm:
        add("embed_norm", at + "pre_layrnorm", (D,), bias=True)
    _blocks(add, config.stack, at + "encoder.layers.", _TOWER_BLOCK)
    add("head_norm" if config.head.norm else "final_norm", at + "post_layernorm", (D,), bias=True)
    if config.pooling == "probe":
        _probe(add, config.stack, at + "head.")
    if config.head.width is not None:
        add("head", "visual_projection", (config.head.width, D))
    return places


def _probe(add: Add, stack: StackConfig, at: str) -> None:
    """SigLIP's pooling by attention; its queries, keys and values are one published tensor."""
    D, M = stack.width, stack.hidden
    add("probe", at + "probe", (1, 1, D), ours_shape=(D,), leaf="")
    for number, name in enumerate(("query", "key", "value")):
        rows = Rows(number * D, (number + 1) * D, 3 * D)
        for leaf, ours in (("weight", (D, D)), ("bias", (D,))):
            stored = (3 * D, *ours[1:])
            add(f"probe.{name}.{leaf}", f"{at}attention.in_proj_{leaf}", stored, ours_shape=ours,
                rows=rows, whole=True)  # fmt: skip
    add("probe.output", at + "attention.out_proj", (D, D), bias=True)
    add("probe_norm", at + "layernorm", (D,), bias=True)
    add("probe.up", at + "mlp.fc1", (M, D), bias=True)
    add("probe.down", at + "mlp.fc2", (D, M), bias=True)


def seq2seq_places(config: Seq2SeqConfig) -> Places:
    """T5 in all its versions."""
    places, V, D = Places(), config.vocab, config.encoder.width
    add = _adder(places)
    add("embed", "shared", (V, D))
    for side, stack, last in (("encoder", config.encoder, 1), ("decoder", config.decoder, 2)):
        inner = {f"attention.{name}": f"layer.0.SelfAttention.{name[0]}" for name in _MAPS}
        inner |= {"attention_norm": "layer.0.layer_norm", "mlp_norm": f"layer.{last}.layer_norm"}
        if side == "decoder":
            inner |= {f"cross.{name}": f"layer.1.EncDecAttention.{name[0]}" for name in _MAPS}
            inner |= {"cross_norm": "layer.1.layer_norm"}
        dense = f"layer.{last}.DenseReluDense."
        up = {"mlp.gate": "wi_0", "mlp.up": "wi_1"} if stack.gated else {"mlp.up": "wi"}
        inner |= {ours: dense + theirs for ours, theirs in (up | {"mlp.down": "wo"}).items()}
        _blocks(add, stack, f"{side}.block.", inner, prefix=f"{side}.")
        assert stack.relative is not None
        add(f"{side}.relative", f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias",
            (stack.relative.buckets, stack.heads))  # fmt: skip
        add(f"{side}.final_norm", f"{side}.final_layer_norm", (D,))
    if not config.tied:
        add("head", "lm_head", (V, D))
    return places


_MAPS = ("query", "key", "value", "output")


def _adder(places: Places) -> Add:
    def add(
        ours: str,
        theirs: str,
        stored: tuple[int, ...],
        *,
        ours_shape: tuple[int, ...] | None = None,
        bias: bool = False,
        leaf: str = ".weight",
        rows: Rows | None = None,
        whole: bool = False,
    ) -> None:
        shape = ours_shape or stored
        name = ours if whole else f"{ours}.weight"
        places[name] = Place(theirs if whole else theirs + leaf, stored, shape, rows)
        if bias:
            places[f"{ours}.bias"] = Place(f"{theirs}.bias", stored[:1], stored[:1])

    return add


def _patch(add: Add, theirs: str, image: ImageShape, D: int, *, bias: bool) -> None:
    stored = (D, image.channels, image.patch_height, image.patch_width)
    add("patch", theirs, stored, ours_shape=(D, image.numbers), bias=bias)


def _blocks(
    add: Add, stack: StackConfig, at: str, inner: Mapping[str, str], *, prefix: str = ""
) -> None:
    """Every tensor of every block; `inner` maps our modules to theirs."""
    D, Q, M = stack.width, stack.inner_width, stack.hidden
    shapes = {"query": (Q, D), "key": (Q, D), "value": (Q, D), "output": (D, Q),
              "gate": (M, D), "up": (M, D), "down": (D, M)}  # fmt: skip
    biases = {"output": stack.output_bias, "gate": stack.mlp_bias, "up": stack.mlp_bias,
              "down": stack.mlp_bias}  # fmt: skip
    for layer in range(stack.layers):
        for ours, theirs in inner.items():
            leaf = ours.rpartition(".")[2]
            norm = leaf.endswith("_norm")
            shape = (D,) if norm else shapes[leaf]
            bias = stack.norm == "layer" if norm else biases.get(leaf, stack.qkv_bias)
            add(f"{prefix}layers.{layer}.{ours}", f"{at}{layer}.{theirs}", shape, bias=bias)


def _positions(config: EncoderConfig) -> int:
    """Rows of the position table."""
    return config.context + config.position_offset
