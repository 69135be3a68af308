"""What a decoder is, as a small set of named traits; no code here knows a family by name."""

import math
from collections.abc import Collection
from dataclasses import MISSING, dataclass, fields
from typing import Literal

from sparing.base.errors import require

MOST_LAYERS = 4096
MOST_FEATURES = 1 << 20
MOST_TOKENS = 1 << 26


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeScaling:
    """How rotary frequencies are stretched beyond the length that they were trained for."""

    kind: Literal["linear", "dynamic", "yarn", "llama3", "longrope"]
    """Which published rule; the formulas are in `models/rope.py`."""

    factor: float
    """How many times longer the context becomes; at least 1."""

    original_context: int | None = None
    """Positions seen before stretching (yarn, llama3, longrope)."""

    low_freq_factor: float | None = None
    """llama3: wavelengths above original_context / this are divided by `factor`."""

    high_freq_factor: float | None = None
    """llama3: wavelengths below original_context / this are left alone."""

    beta_fast: float = 32.0
    """yarn: pairs that turn more often than this within original_context are left alone."""

    beta_slow: float = 1.0
    """yarn: pairs that turn less often than this within original_context are divided."""

    attention_factor: float | None = None
    """yarn, longrope: what cosines and sines are multiplied by; None derives it from `factor`."""

    mscale: float | None = None
    """yarn: numerator weight of the derived attention factor; used with mscale_all_dim."""

    mscale_all_dim: float | None = None
    """yarn: denominator weight of the derived attention factor; used with mscale."""

    truncate: bool = True
    """yarn: whether the ramp's ends are rounded to whole rotary pairs."""

    short_factors: tuple[float, ...] = ()
    """longrope: what each pair's frequency is divided by in sequences up to original_context."""

    long_factors: tuple[float, ...] = ()
    """longrope: the same for longer sequences, at all of their positions."""

    def __post_init__(self) -> None:
        require(
            self.kind in ("linear", "dynamic", "yarn", "llama3", "longrope"),
            "rope_scaling.kind",
            "linear, dynamic, yarn, llama3 or longrope",
            self.kind,
        )
        require(1.0 <= self.factor < 1e6, "rope_scaling.factor", "1 to 1e6", self.factor)
        if self.kind in ("yarn", "llama3", "longrope"):
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
        for name in ("short_factors", "long_factors"):
            factors = getattr(self, name)
            good = bool(factors) == (self.kind == "longrope") and all(0 < f < 1e6 for f in factors)
            require(good, f"rope_scaling.{name}", "positive numbers, in longrope only", factors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """A feed-forward map of which each token uses a few parts, chosen by a router.

    Source: Shazeer et al. 2017, arXiv:1701.06538; Jiang et al. 2024, arXiv:2401.04088 (Mixtral).
    """

    count: int
    """Experts (E)."""

    per_token: int
    """Experts that a token passes through (X), the likeliest by the router's softmax."""

    hidden: int
    """Features inside one expert."""

    normalised: bool = True
    """Whether the probabilities of the chosen experts are scaled to sum to 1."""

    shared_hidden: int = 0
    """Features inside an expert of every token, weighed by its own sigmoid; 0 for none."""

    def __post_init__(self) -> None:
        require(1 <= self.count <= 4096, "experts.count", "1 to 4096", self.count)
        good = 1 <= self.per_token <= min(self.count, 256)
        require(good, "experts.per_token", f"1 to {min(self.count, 256)}", self.per_token)
        require(1 <= self.hidden <= MOST_FEATURES, "experts.hidden", "1 to 2^20", self.hidden)
        good = 0 <= self.shared_hidden <= MOST_FEATURES
        require(good, "experts.shared_hidden", "0 to 2^20", self.shared_hidden)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """A causal decoder; the defaults are a pre-norm one with RMSNorm, rotary positions and SwiGLU.

    A block is x + attention(norm(x)), then x + mlp(norm(x)); `norm_place` and `parallel` say
    where other families differ.
    """

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
    """Features of one head (K)."""

    hidden: int
    """Features inside the feed-forward map (M), where it is not made of experts."""

    context: int
    """Most positions that one sequence may have."""

    norm: Literal["rms", "layer"] = "rms"
    """RMSNorm, or LayerNorm with a bias, everywhere but on queries and keys (always RMSNorm)."""

    norm_place: Literal["pre", "post", "both"] = "pre"
    """Whether norms stand before attention and mlp, after them (before the addition), or both."""

    norm_eps: float = 1e-6
    """Added to the mean square (or variance) in norms."""

    parallel: bool = False
    """Whether attention and mlp both read the block's input, and are added together."""

    positions: Literal["rope", "learned", "none"] = "rope"
    """Rotations of queries and keys, a learned table added to the embedding, or nothing."""

    rotary_width: int | None = None
    """Leading features of a head that are turned; None for all of them."""

    rope_theta: float = 10000.0
    """Base of the rotary frequencies."""

    rope_scaling: RopeScaling | None = None
    """How the rotary frequencies are stretched; None for not at all."""

    window_rope_theta: float | None = None
    """Base in layers with a window, which are then not stretched; None for as in the others."""

    unrotated_layers: tuple[int, ...] = ()
    """Layers whose queries and keys are not turned."""

    windows: tuple[int, ...] = ()
    """Positions that each layer attends to, the present one among them; 0 for all.

    Empty when no layer has a window.
    """

    attention_softcap: float | None = None
    """Attention scores become cap * tanh(score / cap); None for no cap."""

    logit_softcap: float | None = None
    """Logits become cap * tanh(logit / cap); None for no cap."""

    embedding_scale: float = 1.0
    """What embeddings are multiplied by."""

    query_scale: float | None = None
    """What the products of queries and keys are multiplied by; None for head_width ** -0.5."""

    residual_scale: float = 1.0
    """What the outputs of attention and mlp are multiplied by before they are added."""

    logit_scale: float = 1.0
    """What logits are multiplied by (before they are capped)."""

    qkv_bias: bool = False
    """Whether the query, key and value maps add a bias."""

    output_bias: bool = False
    """Whether the attention's output map adds a bias."""

    mlp_bias: bool = False
    """Whether the maps of the feed-forward map add a bias."""

    qk_norm: Literal["head", "full"] | None = None
    """RMSNorm of queries and keys before they are turned: of each head, of all heads as one."""

    gated: bool = True
    """Whether the mlp is down(activation(gate(x)) * up(x)); otherwise down(activation(up(x)))."""

    activation: Literal["silu", "gelu", "gelu_tanh", "relu"] = "silu"
    """Non-linearity of the feed-forward map; gelu is the exact one."""

    experts: Experts | None = None
    """Experts in place of the feed-forward map; None for none."""

    dense_layers: tuple[int, ...] = ()
    """Layers that have no experts although `experts` is set."""

    tied: bool = False
    """Whether the output head is the embedding."""

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
        for name, known in _CHOICES.items():
            require(getattr(self, name) in known, name, f"one of {known}", getattr(self, name))
        require(0.0 < self.norm_eps < 1.0, "norm_eps", "between 0 and 1", self.norm_eps)
        self._check_positions()
        self._check_layers()
        self._check_scales()
        for name, ids in (("bos", () if self.bos is None else (self.bos,)), ("eos", self.eos)):
            require(all(0 <= i < self.vocab for i in ids), name, f"ids below {self.vocab}", ids)

    def _check_positions(self) -> None:
        require(self.head_width <= 65536, "head_width", "at most 65536", self.head_width)
        Y2, rope = self.turned_width, self.positions == "rope"
        require(Y2 % 2 == 0, "head_width" if self.rotary_width is None else "rotary_width",
                "an even number, because pairs are turned", Y2)  # fmt: skip
        good = self.rotary_width is None or (rope and 2 <= Y2 <= self.head_width)
        require(good, "rotary_width", "2 to head_width, with rotary positions", self.rotary_width)
        for name in ("rope_theta", "window_rope_theta"):
            theta = getattr(self, name)
            require(theta is None or 1.0 < theta < 1e15, name, "between 1 and 1e15", theta)
        scaling = self.rope_scaling
        require(rope or not scaling, "rope_scaling", "rotary positions", self.positions)
        if scaling is not None and scaling.kind == "longrope":
            for name in ("short_factors", "long_factors"):
                count = len(getattr(scaling, name))
                require(count == Y2 // 2, f"rope_scaling.{name}", f"{Y2 // 2} numbers", count)

    def _check_layers(self) -> None:
        good = len(self.windows) in (0, self.layers) and all(
            0 <= window <= MOST_TOKENS for window in self.windows
        )
        require(good, "windows", f"none or {self.layers} lengths", self.windows[:8])
        for name in ("unrotated_layers", "dense_layers"):
            chosen = getattr(self, name)
            good = all(0 <= i < self.layers for i in chosen) and len(set(chosen)) == len(chosen)
            require(good, name, f"different layers below {self.layers}", chosen[:8])
        mixed = self.experts is not None or not self.dense_layers
        require(mixed, "dense_layers", "none without experts", self.dense_layers[:8])
        require(self.experts is None or self.gated, "gated", "true with experts", self.gated)
        plain = self.experts is None or not self.mlp_bias
        require(plain, "mlp_bias", "none with experts", self.mlp_bias)
        alone = not self.parallel or self.norm_place == "pre"
        require(alone, "parallel", "norm_place='pre'", self.norm_place)

    def _check_scales(self) -> None:
        for name in ("attention_softcap", "logit_softcap", "embedding_scale", "query_scale",
                     "residual_scale", "logit_scale"):  # fmt: skip
            value = getattr(self, name)
            good = value is None or (math.isfinite(value) and 1e-6 < value < 1e6)
            require(good, name, "a positive number", value)

    @property
    def query_width(self) -> int:
        """Features of all query heads together, H K."""
        return self.heads * self.head_width

    @property
    def kv_width(self) -> int:
        """Features of all key (or value) heads together, G K."""
        return self.kv_heads * self.head_width

    @property
    def turned_width(self) -> int:
        """Leading features of a head that rotary positions turn, 2 Y; 0 without them."""
        if self.positions != "rope":
            return 0
        return self.head_width if self.rotary_width is None else self.rotary_width

    @property
    def short_context(self) -> int | None:
        """Longest sequence under the first of two sets of rotary frequencies; None for one set.

        What was computed of a sequence before it grew past this is of no use afterwards.
        """
        scaling = self.rope_scaling
        if scaling is None or scaling.kind != "longrope":
            return None
        return scaling.original_context

    def window(self, layer: int) -> int:
        """Positions that `layer` attends to, the present one among them; 0 for all."""
        return self.windows[layer] if self.windows else 0

    def has_experts(self, layer: int) -> bool:
        """Whether the feed-forward map of `layer` is made of experts."""
        return self.experts is not None and layer not in self.dense_layers


def refuse_traits(config: DecoderConfig, held: Collection[str], who: str) -> None:
    """Refuse traits that differ from their defaults, but for those `held` (sizes always are).

    Errors: ConfigError naming the trait and `who` lacks it.
    """
    for trait in fields(config):
        if trait.name not in held and trait.default is not MISSING:
            got = getattr(config, trait.name)
            require(got == trait.default, trait.name, f"{trait.default} in {who}", got)


_CHOICES = {
    "norm": ("rms", "layer"),
    "norm_place": ("pre", "post", "both"),
    "positions": ("rope", "learned", "none"),
    "qk_norm": (None, "head", "full"),
    "activation": ("silu", "gelu", "gelu_tanh", "relu"),
}
