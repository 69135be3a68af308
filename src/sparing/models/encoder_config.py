"""What encoders of texts and images, and encoder-decoders, are, as named traits."""

from dataclasses import dataclass
from typing import Literal

from sparing.base.errors import require

MOST_FEATURES = 1 << 20
MOST_LAYERS = 4096
MOST_TOKENS = 1 << 20
MOST_SPAN = 1 << 16

Activation = Literal["silu", "gelu", "gelu_tanh", "relu", "quick_gelu"]
Pooling = Literal["mean", "max", "first", "last", "end", "probe"]
_CHOICES = {
    "norm": ("rms", "layer"),
    "activation": ("silu", "gelu", "gelu_tanh", "relu", "quick_gelu"),
    "pooling": ("mean", "max", "first", "last", "end", "probe"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Relative:
    """T5's biases of attention scores, by the bucket of the distance between two positions."""

    buckets: int
    """Different biases of a head; half of them for each direction where both are seen."""

    farthest: int
    """Distances from here on share the last bucket."""

    def __post_init__(self) -> None:
        good = 4 <= self.buckets <= 4096 and self.buckets % 2 == 0
        require(good, "relative.buckets", "an even number, 4 to 4096", self.buckets)
        good = self.buckets < self.farthest <= MOST_SPAN
        require(good, "relative.farthest", f"more than buckets, at most {MOST_SPAN}", self.farthest)


@dataclass(frozen=True, slots=True, kw_only=True)
class StackConfig:
    """Blocks one above the other: attention, then a feed-forward map."""

    width: int
    """Features of the residual stream (D)."""

    layers: int
    """Blocks."""

    heads: int
    """Heads (H); each has keys and values of its own."""

    head_width: int
    """Features of one head (K)."""

    hidden: int
    """Features inside the feed-forward map (M)."""

    norm: Literal["rms", "layer"] = "layer"
    """RMSNorm, or LayerNorm with a bias."""

    post: bool = False
    """Whether a block is norm(x + map(x)); otherwise it is x + map(norm(x))."""

    norm_eps: float = 1e-12
    """Added to the variance (or mean square) in norms."""

    qkv_bias: bool = True
    """Whether the query, key and value maps add a bias."""

    output_bias: bool = True
    """Whether the attention's output map adds a bias."""

    mlp_bias: bool = True
    """Whether the maps of the feed-forward map add a bias."""

    gated: bool = False
    """Whether it is down(activation(gate(x)) * up(x)); otherwise down(activation(up(x)))."""

    activation: Activation = "gelu"
    """Non-linearity of the feed-forward map; gelu is the exact one."""

    query_scale: float | None = None
    """What products of queries and keys are multiplied by; None for head_width ** -0.5."""

    causal: bool = False
    """Whether a position sees only those before it, and itself."""

    relative: Relative | None = None
    """Biases by distance, which all layers share; None for none."""

    final_norm: bool = False
    """Whether a norm follows the last block."""

    def __post_init__(self) -> None:
        for name in ("width", "heads", "head_width", "hidden"):
            size = getattr(self, name)
            require(1 <= size <= MOST_FEATURES, name, "1 to 2^20", size)
        require(self.heads <= 65536, "heads", "at most 65536", self.heads)
        require(self.head_width <= 65536, "head_width", "at most 65536", self.head_width)
        require(1 <= self.layers <= MOST_LAYERS, "layers", f"1 to {MOST_LAYERS}", self.layers)
        require(0.0 < self.norm_eps < 1.0, "norm_eps", "between 0 and 1", self.norm_eps)
        for name in ("norm", "activation"):
            require(getattr(self, name) in _CHOICES[name], name, f"one of {_CHOICES[name]}",
                    getattr(self, name))  # fmt: skip

    @property
    def inner_width(self) -> int:
        """Features of all heads together, H K."""
        return self.heads * self.head_width


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageShape:
    """What an image is to the model, and how it is cut up."""

    height: int
    width: int
    patch_height: int
    patch_width: int
    channels: int = 3

    def __post_init__(self) -> None:
        for name in ("height", "width", "patch_height", "patch_width"):
            size = getattr(self, name)
            require(1 <= size <= 1 << 14, f"image.{name}", "1 to 2^14", size)
        require(1 <= self.channels <= 64, "image.channels", "1 to 64", self.channels)
        require(self.patches >= 1, "image.height", "at least one patch", self.height)
        require(self.numbers <= MOST_FEATURES, "image.patch", "at most 2^20 numbers", self.numbers)

    @property
    def patches(self) -> int:
        """Patches of an image (P); what is left at the right and the bottom is not seen."""
        return (self.height // self.patch_height) * (self.width // self.patch_width)

    @property
    def numbers(self) -> int:
        """Numbers in a patch."""
        return self.channels * self.patch_height * self.patch_width


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What pooled rows pass through."""

    norm: bool = False
    """A norm first."""

    width: int | None = None
    """Then a map to so many features; None for none."""

    bias: bool = False
    """Whether the map adds a bias."""

    tanh: bool = False
    """Whether a tanh follows."""

    def __post_init__(self) -> None:
        good = self.width is None or 1 <= self.width <= MOST_FEATURES
        require(good, "head.width", "1 to 2^20", self.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """One tower: texts or images in, one row of features for each out."""

    stack: StackConfig

    vocab: int | None = None
    """Rows of the token embedding (V); None for images."""

    image: ImageShape | None = None
    """What an image is; None for texts."""

    context: int
    """Most rows of one text, or the rows of an image."""

    position_offset: int = 0
    """Row of the position table that the first position has."""

    types: int = 0
    """Rows of a segment table, the first of which every token gets; 0 for none."""

    patch_bias: bool = True
    """Whether the map of patches adds a bias."""

    first_row: bool = False
    """Whether a learned row stands before the patches."""

    embed_norm: bool = False
    """Whether a norm stands between the embedding and the blocks."""

    pooling: Pooling = "mean"
    """Which row stands for a text or image: mean or maximum of all, the first, the last, that of
    the first end token, or attention from a learned query."""

    head: Head = Head()
    """What the pooled row passes through."""

    normalised: bool = True
    """Whether the result is scaled to length 1."""

    pad: int | None = None
    """Token that fills every text up to `context`, as the model was trained; None for none."""

    end: int | None = None
    """End token, for pooling by it; None takes the largest id of the text."""

    def __post_init__(self) -> None:
        require((self.vocab is None) != (self.image is None), "vocab", "texts or images", "both")
        require(self.vocab is None or 1 <= self.vocab <= 1 << 24, "vocab", "1 to 2^24", self.vocab)
        require(1 <= self.context <= MOST_TOKENS, "context", "1 to 2^20", self.context)
        require(0 <= self.position_offset <= 1024, "position_offset", "0 to 1024",
                self.position_offset)  # fmt: skip
        require(0 <= self.types <= 1 << 16, "types", "0 to 2^16", self.types)
        known = _CHOICES["pooling"]
        require(self.pooling in known, "pooling", f"one of {known}", self.pooling)
        for name in ("pad", "end"):
            id = getattr(self, name)
            good = id is None or (self.vocab is not None and 0 <= id < self.vocab)
            require(good, name, f"an id below {self.vocab}", id)
        if self.pooling == "probe":
            square = self.stack.inner_width == self.stack.width and not self.stack.gated
            require(square, "pooling", "probe only where heads fill the width, ungated", "other")
        if self.image is not None:
            rows = self.image.patches + self.first_row
            require(self.context == rows, "context", f"{rows} rows of an image", self.context)

    @property
    def features(self) -> int:
        """Numbers of a result."""
        return self.head.width or self.stack.width


@dataclass(frozen=True, slots=True, kw_only=True)
class TowersConfig:
    """One tower, or one for texts and one for images, whose results can be compared."""

    text: EncoderConfig | None = None
    image: EncoderConfig | None = None

    def __post_init__(self) -> None:
        require(bool(self.text or self.image), "towers", "at least one", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seq2SeqConfig:
    """An encoder, and a decoder that attends to what it made of the source."""

    encoder: StackConfig
    decoder: StackConfig

    vocab: int
    """Rows of the token embedding, which both share (V)."""

    context: int
    """Most tokens of a source and its answer together."""

    start: int
    """Token that every answer begins after."""

    eos: tuple[int, ...] = ()
    """Tokens that end an answer."""

    tied: bool = False
    """Whether the output head is the embedding."""

    scaled: bool = False
    """Whether the last rows are multiplied by width ** -0.5 before the head."""

    def __post_init__(self) -> None:
        require(1 <= self.vocab <= 1 << 24, "vocab", "1 to 2^24", self.vocab)
        require(2 <= self.context <= MOST_TOKENS, "context", "2 to 2^20", self.context)
        require(self.encoder.width == self.decoder.width, "width", "one for both",
                (self.encoder.width, self.decoder.width))  # fmt: skip
        good = self.decoder.causal and not self.encoder.causal
        require(good, "causal", "the decoder alone", self.encoder.causal)
        for name, ids in (("start", (self.start,)), ("eos", self.eos)):
            require(all(0 <= i < self.vocab for i in ids), name, f"ids below {self.vocab}", ids)
