"""The limits of one serving engine."""

from dataclasses import dataclass
from typing import Literal

from sparing.base.errors import require
from sparing.base.limits import LIMITS


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Sizes of one engine, per process; None is resolved when a model is loaded."""

    max_num_seqs: int = 16
    """Most requests that compute at once."""
    max_num_batched_tokens: int = 512
    """Most tokens one step may compute, prompts and decodes together."""
    max_model_len: int | None = None
    """Most tokens of a prompt and its answer; None takes the model's context."""
    kv_cache_tokens: int | None = None
    """Tokens the KV cache holds; None sizes it from free memory."""
    kv_cache_share: float = 0.25
    """Most of the free memory that an automatic KV cache may take."""
    block_tokens: int = 16
    """Tokens per KV block; a power of two."""
    threads: int | None = None
    """Compute threads; None takes the cores this process may use."""
    kv_cache_dtype: Literal["auto", "fp32", "bf16", "int8", "int4"] = "auto"
    """How keys and values are kept, codes with a scale per token and head; auto takes fp32."""
    activations: Literal["int8", "exact"] = "int8"
    """How rows meet quantised weights: rounded to int8 (fast), or in float32 (for checking)."""
    packed_cache: Literal["auto", "off"] = "auto"
    """Whether packed weights are kept beside a large model for its next start."""
    max_waiting: int = LIMITS.waiting_requests
    """Requests in the queue before new ones are refused with 503."""

    def __post_init__(self) -> None:
        require(self.max_num_seqs >= 1, "max_num_seqs", "at least 1", self.max_num_seqs)
        require(
            self.max_num_batched_tokens >= self.max_num_seqs,
            "max_num_batched_tokens",
            f"at least max_num_seqs ({self.max_num_seqs})",
            self.max_num_batched_tokens,
        )
        power = self.block_tokens > 0 and self.block_tokens & (self.block_tokens - 1) == 0
        require(power, "block_tokens", "a power of two", self.block_tokens)
        for name in ("max_model_len", "kv_cache_tokens", "threads"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, "at least 1, or nothing", value)
        share = self.kv_cache_share
        require(0.0 < share <= 0.9, "kv_cache_share", "a share in (0, 0.9]", share)
        known = self.activations in ("int8", "exact")
        require(known, "activations", "int8 or exact", self.activations)
        known = self.packed_cache in ("auto", "off")
        require(known, "packed_cache", "auto or off", self.packed_cache)
        require(self.max_waiting >= 1, "max_waiting", "at least 1", self.max_waiting)
