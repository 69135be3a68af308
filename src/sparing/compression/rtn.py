"""Round to nearest in groups of a row: the plainest quantiser, with its bound."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np

from sparing.base.errors import ConfigError, ShapeError

SEARCH = tuple(round(1.0 - 0.025 * step, 3) for step in range(17))
"""Scales tried by the search, as shares of the one that reaches the largest weight: 1 to 0.6."""

PLAIN = (1.0,)
"""No search: the scale reaches the largest weight and nothing is clipped."""

SMALLEST_GROUP = 16
"""Halving the wanted group stops here: below it the scales weigh more than they help."""

CHUNK_WEIGHTS = 1 << 17
"""Weights rounded at a time; the search then works within the processor's caches."""


@dataclass(frozen=True, slots=True)
class Rounded:
    """Integer codes with one scale per group of neighbours in a row."""

    code_ZD: np.ndarray
    """int8"""
    scale_ZJ: np.ndarray
    """float32, each exact in bfloat16; D // J weights share one"""

    def dequantise(self) -> np.ndarray:
        """float32 [Z, D]: code times the scale of its group."""
        Z, J = self.scale_ZJ.shape
        code_ZJU = self.code_ZD.reshape(Z, J, -1).astype(np.float32)
        return (code_ZJU * self.scale_ZJ[..., None]).reshape(Z, -1)


def round_to_nearest(
    weight_ZD: np.ndarray, *, bits: int, group: int, shares: Sequence[float] = PLAIN
) -> Rounded:
    """Round each run of `group` neighbours in a row to multiples of its own symmetric scale.

    With `PLAIN` shares the scale is max|w| / limit, limit = 2^(bits - 1) - 1. With several, each
    group takes the share of that scale whose squared error over the group is least, which clips a
    few large weights to serve the many; the earliest share wins a tie. It is rounding to nearest
    in both cases: no data is looked at and no weight is moved for another's sake.

    Shapes:   weight_ZD -> code_ZD, scale_ZJ with J = D / group.
    Numerics: scales are rounded to bfloat16 first, so that codes fit the scale that is stored.
    Bound:    |weight - dequantised| <= scale / 2 with `PLAIN`, and wherever nothing was clipped.
    Errors:   ShapeError when the row length is not a multiple of `group`.
    """
    Z, D = weight_ZD.shape
    if D % group:
        raise ShapeError(f"weight_ZD: rows of {D} do not divide into groups of {group}")
    code_ZD = np.empty((Z, D), dtype=np.int8)
    scale_ZJ = np.empty((Z, D // group), dtype=np.float32)
    step = max(1, CHUNK_WEIGHTS // D)
    for start in range(0, Z, step):
        rows = slice(start, start + step)
        grouped_NU = weight_ZD[rows].astype(np.float32).reshape(-1, group)
        code_NU, scale_N = _round_groups(grouped_NU, bits, shares)
        code_ZD[rows] = code_NU.reshape(-1, D)
        scale_ZJ[rows] = scale_N.reshape(-1, D // group)
    return Rounded(code_ZD, scale_ZJ)


def _round_groups(
    weight_NU: np.ndarray, bits: int, shares: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    limit = 2 ** (bits - 1) - 1
    lowest = -limit - 1 if bits < 8 else -limit  # int8 kernels may rely on |code| <= 127
    peak_N = np.abs(weight_NU).max(axis=-1)
    best: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    for share in shares:
        scale_N = bfloat16_scale(peak_N * np.float32(share / limit))
        code_NU = np.rint(weight_NU / scale_N[:, None])
        np.clip(code_NU, lowest, limit, out=code_NU)
        if len(shares) == 1:
            return code_NU.astype(np.int8), scale_N
        error_N = np.square(code_NU * scale_N[:, None] - weight_NU).sum(axis=-1)
        found = (error_N, code_NU.astype(np.int8), scale_N)
        best = found if best is None else _better(best, found)
    if best is None:
        raise ConfigError("shares: expected at least one share of the scale, got none")
    return best[1], best[2]


def _better(
    best: tuple[np.ndarray, np.ndarray, np.ndarray], new: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each group, the attempt with the smaller error; the earlier one on a tie."""
    takes_N = new[0] < best[0]
    error_N = np.where(takes_N, new[0], best[0])
    code_NU = np.where(takes_N[:, None], new[1], best[1])
    return error_N, code_NU, np.where(takes_N, new[2], best[2])


def bfloat16_scale(scale_N: np.ndarray) -> np.ndarray:
    """Scales rounded to the nearest bfloat16, ties to even; a group of zeros gets 1.

    Scales below the smallest normal number are raised to it, so that none is ever zero.
    """
    bits_N = scale_N.astype(np.float32).view(np.uint32)
    bits_N = (bits_N + 0x7FFF + ((bits_N >> 16) & 1)) & np.uint32(0xFFFF0000)
    rounded_N = np.maximum(bits_N.view(np.float32), np.finfo(np.float32).tiny)
    return np.where(scale_N > 0, rounded_N, np.float32(1.0))


def fitting_group(row_lengths: Iterable[int], wanted: int) -> int:
    """The largest of `wanted`, half of it, a quarter ... that divides every row length.

    Errors:
        ConfigError: none does; the groups that would are listed.
    """
    shared = gcd(*row_lengths)
    group = wanted
    while shared % group:
        if group % 2 or group // 2 < SMALLEST_GROUP:
            valid = [size for size in range(2, min(shared, 1024) + 1, 2) if shared % size == 0]
            listed = ", ".join(map(str, reversed(valid))) or "none (an odd row length)"
            raise ConfigError(
                f"group: neither {wanted} nor its halves divide the rows; valid groups: {listed}"
            )
        group //= 2
    return group
