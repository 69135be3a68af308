"""Named shapes to train from nothing; everything else about them is a default."""

from collections.abc import Mapping
from dataclasses import dataclass

from sparing.base.config import nearest
from sparing.base.errors import ConfigError
from sparing.models.config import DecoderConfig


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes that a preset fixes; the vocabulary comes from the tokenizer."""

    width: int
    """Features of the residual stream."""
    layers: int
    """Blocks."""
    heads: int
    """Query heads."""
    kv_heads: int
    """Key-value heads."""
    hidden: int
    """Features inside the MLP."""
    context: int
    """Most positions of a sequence."""
    tied: bool = True
    """Whether the head is the embedding; apart, each may learn at its own rate."""
    qk_norm: bool = False
    """Whether queries and keys are normed, which keeps high rates stable (then it is a Qwen3)."""


# Widths are multiples of 64 and of the head width, so that int4 groups of 64 divide them.
PRESETS: Mapping[str, Shape] = {
    "tiny": Shape(width=64, layers=2, heads=4, kv_heads=2, hidden=192, context=128),
    "demo": Shape(
        width=128,
        layers=3,
        heads=2,
        kv_heads=1,
        hidden=256,
        context=512,
        tied=False,
        qk_norm=True,
    ),
    "small": Shape(
        width=256,
        layers=10,
        heads=4,
        kv_heads=2,
        hidden=896,
        context=512,
        tied=False,
        qk_norm=True,
    ),
    "medium": Shape(width=512, layers=12, heads=8, kv_heads=4, hidden=1408, context=1024),
}


def preset(
    name: str, vocab: int, *, bos: int | None = 0, eos: tuple[int, ...] = (1, 3)
) -> DecoderConfig:
    """The decoder named `name` over `vocab` tokens: a Llama or Qwen3, theta 10000.

    The defaults of `bos` and `eos` are the ids of our own tokenizers (end of text, end of turn).
    Errors: ConfigError when there is no such preset.
    """
    shape = PRESETS.get(name)
    if shape is None:
        known = ", ".join(PRESETS)
        raise ConfigError(f"model: expected one of {known}, got {name!r}{nearest(name, PRESETS)}")
    return DecoderConfig(
        vocab=vocab,
        width=shape.width,
        layers=shape.layers,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        head_width=shape.width // shape.heads,
        hidden=shape.hidden,
        context=shape.context,
        norm_eps=1e-5,
        tied=shape.tied,
        qk_norm="head" if shape.qk_norm else None,
        bos=bos,
        eos=eos,
    )
