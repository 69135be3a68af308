"""One layer's paged keys and values, and attention over them, without a model around them.

The decoder holds its own cache in C++; this is for tests, measurements and sizes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from sparing.base.errors import ShapeError
from sparing.kernels.native import chosen, library, named_errors

KvDtype = Literal["fp32", "bf16", "int8", "int4"]
KV_DTYPES: tuple[str, ...] = get_args(KvDtype)
_BITS = {"fp32": 32, "bf16": 16, "int8": 8, "int4": 4}
_SCALE_BYTES = {"fp32": 0, "bf16": 0, "int8": 4, "int4": 4}


def kv_token_bytes(kv_dtype: str, *, layers: int, kv_heads: int, head_width: int) -> int:
    """Bytes that the keys and values of one token take in all layers.

    A head is padded to a multiple of 16 numbers; int8 and int4 add a float32 scale to each.
    """
    width = -(-head_width // 16) * 16
    return 2 * layers * kv_heads * (width * _BITS[kv_dtype] // 8 + _SCALE_BYTES[kv_dtype])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rule:
    """What attention is in a layer; None where it has no such part."""

    scale: float
    """Multiplies the products of queries and keys."""
    causal: bool = True
    window: int = 0
    """Positions seen, the own one among them; 0 for all."""
    softcap: float = 0.0
    """Scores become softcap * tanh(score / softcap); 0 for none."""
    slopes_H: np.ndarray | None = None
    """ALiBi: a score loses slope * distance."""
    sinks_H: np.ndarray | None = None
    """Logits that join the softmax's sum and have no value."""
    bias_HC: np.ndarray | None = None
    """Added to a score by distance s - p, which stands at column s - p + C // 2."""

    def options(self) -> dict[str, object]:
        """The fields by name."""
        return {name: getattr(self, name) for name in Rule.__slots__}


class PagedAttention:
    """Blocks of keys and values of one layer, and the threads that attend to them."""

    def __init__(
        self,
        *,
        kv_dtype: str,
        kv_heads: int,
        head_width: int,
        blocks: int,
        block_tokens: int = 16,
        threads: int = 1,
        isa: str | None = None,
    ) -> None:
        """Set aside zeroed blocks.  Errors: ShapeError for a name or an extent out of range."""
        with named_errors():
            self._native = library().PagedAttention(
                isa or chosen().isa, threads, kv_dtype, kv_heads, head_width, block_tokens, blocks
            )
        self.shape = (kv_heads, head_width)

    @property
    def token_bytes(self) -> int:
        """Bytes of one token's keys and values."""
        return self._native.token_bytes

    def write(
        self, blocks_P: np.ndarray, position: int, k_TGK: np.ndarray, v_TGK: np.ndarray
    ) -> None:
        """Keep keys and values of positions `position` and on in a sequence's blocks."""
        with named_errors():
            self._native.write(blocks_P, position, k_TGK, v_TGK)

    def read(self, blocks_P: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """What attention computes with: k_SGK and v_SGK of the first `length` positions."""
        k_SGK, v_SGK = (np.empty((length, *self.shape), np.float32) for _ in range(2))
        with named_errors():
            self._native.read(blocks_P, k_SGK, v_SGK)
        return k_SGK, v_SGK

    def attend(
        self,
        q_NHK: np.ndarray,
        rule: Rule,
        *,
        positions_N: np.ndarray,
        blocks_RP: np.ndarray,
        starts_R1: Sequence[int] | None = None,
        lengths_R: Sequence[int] | None = None,
    ) -> np.ndarray:
        """As `reference.attention` of each sequence; one sequence unless `starts_R1` says more.

        `lengths_R` are the positions that were written, and by default end with the last row.
        """
        starts = np.asarray([0, len(q_NHK)] if starts_R1 is None else starts_R1, np.int32)
        if lengths_R is None and len(q_NHK):
            lengths_R = [int(positions_N[end - 1]) + 1 for end in starts[1:]]
        out_NHK = np.empty_like(q_NHK)
        if not len(q_NHK):
            raise ShapeError("q_NHK: expected rows")
        with named_errors():
            self._native.attend(
                q_NHK,
                starts,
                np.asarray(positions_N, np.int32),
                np.asarray(lengths_R, np.int32),
                np.asarray(blocks_RP, np.int32),
                out_NHK,
                rule.options(),
            )
        return out_NHK
