"""What a decoder is, as a small set of named traits; no code here knows a family by name."""

from dataclasses import dataclass
from typing import Literal

from sparing.base.errors import require

MOST_LAYERS = 4096
MOST_FEATURES = 1 << 20
MOST_TOKENS = 1 << 26


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeScaling:
    """How rotary frequencies are stretched beyond the length that they were trained for."""

    kind: Literal["linear", "dynamic", "yarn", "llama3"]
    """Which published rule; the formulas are in `models/rope.py`."""

    factor: float
    """How many times longer the context becomes; at least 1."""

    original_context: int | None = None
    """Positions seen before stretching (yarn, llama3)."""

    low_freq_factor: float | None = None
    """llama3: wavelengths above original_context / this are divided by `factor`."""

    high_freq_factor: float | None = None
    """llama3: wavelengths below original_context / this are left alone."""

    beta_fast: float = 32.0
    """yarn: pairs that turn more often than this within original_context are left alone."""

    beta_slow: float = 1.0
    """yarn: pairs that turn less often than this within original_context are divided."""

    attention_factor: float | None = None
    """yarn: what cosines and sines are multiplied by; None derives it from `factor`."""

    mscale: float | None = None
    """yarn: numerator weight of the derived attention factor; used with mscale_all_dim."""

    mscale_all_dim: float | None = None
    """yarn: denominator weight of the derived attention factor; used with mscale."""

    truncate: bool = True
    """yarn: whether the ramp's ends are rounded to whole rotary pairs."""

    def __post_init__(self) -> None:
        require(
            self.kind in ("linear", "dynamic", "yarn", "llama3"),
            "rope_scaling.kind",
            "linear, dynamic, yarn or llama3",
            self.kind,
        )
        require(1.0 <= self.factor < 1e6, "rope_scaling.factor", "1 to 1e6", self.factor)
        if self.kind in ("yarn", "llama3"):
            original = self.original_context
            good = original is not None and 1 <= original <= MOST_TOKENS
            require(good, "rope_scaling.original_context", "a positive integer", original)
        if self.kind == "llama3":
            low, high = self.low_freq_factor, self.high_freq_factor
            good = low is not None and high is not None and 0 < low < high < 1e6
            require(good, "rope_scaling.low_freq_factor", "0 < low < high_freq_factor", (low, high))
        if self.kind == "yarn":
            fast, slow = self.beta_fast, self.beta_slow
            require(0 < slow <= fast < 1e6, "rope_scaling.beta_slow", "0 < slow <= fast", slow)
            scale = self.attention_factor
            good = scale is None or 0 < scale < 1e6
            require(good, "rope_scaling.attention_factor", "a positive number", scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """A pre-norm decoder with RMSNorm, rotary positions, grouped queries and a gated MLP."""

    vocab: int
    """Rows of the token embedding (V)."""

    width: int
    """Features of the residual stream (D)."""

    layers: int
    """Blocks, one above the other."""

    heads: int
    """Query heads (H); a multiple of kv_heads."""

    kv_heads: int
    """Key-value heads (G)."""

    head_width: int
    """Features of one head (K); even, because rotary positions turn pairs."""

    hidden: int
    """Features inside the gated MLP (M)."""

    context: int
    """Most positions that one sequence may have."""

    norm_eps: float = 1e-6
    """Added to the mean square in RMSNorm."""

    rope_theta: float = 10000.0
    """Base of the rotary frequencies."""

    rope_scaling: RopeScaling | None = None
    """How the rotary frequencies are stretched; None for not at all."""

    qkv_bias: bool = False
    """Whether the query, key and value maps add a bias."""

    output_bias: bool = False
    """Whether the attention's output map adds a bias."""

    mlp_bias: bool = False
    """Whether the gate, up and down maps add a bias."""

    qk_norm: bool = False
    """Whether each query and key head passes an RMSNorm before it is turned."""

    tied: bool = False
    """Whether the output head is the embedding."""

    activation: Literal["silu"] = "silu"
    """Non-linearity of the gate."""

    bos: int | None = None
    """Token that begins a document, when the model has one."""

    eos: tuple[int, ...] = ()
    """Tokens that end an answer."""

    def __post_init__(self) -> None:
        for name in ("vocab", "width", "heads", "kv_heads", "head_width", "hidden"):
            size = getattr(self, name)
            require(1 <= size <= MOST_FEATURES * 16, name, "1 to 2^24", size)
        require(1 <= self.layers <= MOST_LAYERS, "layers", f"1 to {MOST_LAYERS}", self.layers)
        require(1 <= self.context <= MOST_TOKENS, "context", "1 to 2^26", self.context)
        require(self.width <= MOST_FEATURES, "width", "at most 2^20", self.width)
        require(
            self.heads % self.kv_heads == 0,
            "heads",
            f"a multiple of kv_heads={self.kv_heads}",
            self.heads,
        )
        require(self.head_width % 2 == 0, "head_width", "an even number", self.head_width)
        require(0.0 < self.norm_eps < 1.0, "norm_eps", "between 0 and 1", self.norm_eps)
        require(1.0 < self.rope_theta < 1e15, "rope_theta", "between 1 and 1e15", self.rope_theta)
        require(self.activation == "silu", "activation", "'silu'", self.activation)
        for name, ids in (("bos", () if self.bos is None else (self.bos,)), ("eos", self.eos)):
            require(all(0 <= i < self.vocab for i in ids), name, f"ids below {self.vocab}", ids)

    @property
    def query_width(self) -> int:
        """Features of all query heads together, H K."""
        return self.heads * self.head_width

    @property
    def kv_width(self) -> int:
        """Features of all key (or value) heads together, G K."""
        return self.kv_heads * self.head_width
