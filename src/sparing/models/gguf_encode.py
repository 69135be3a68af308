"""Weight records as tensors of a GGUF file: without loss where asked, else rounded as ggml does.

    Int8, symmetric, groups of 32 n      Q8_0     the scale repeated for each 32 columns
    Int4, Int3, symmetric                Q4_0     likewise
    Int4 with offsets                    Q4_1     its minimum is the offset less 8 scales
    BFloat16                             BF16
    anything else, or a scale that       F16 where every number fits, else F32
    float16 does not hold

Vectors are always F32, as llama.cpp wants them.
Source: quantize_row_q8_0_ref and quantize_row_q4_0_ref of ggml-quants.c for rounding.
"""

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np

from sparing.base.errors import require
from sparing.base.gguf_writer import Stored
from sparing.kernels.formats import (
    BFloat16,
    Float32,
    Int3,
    Int4,
    Int8,
    Quantised,
    Weight,
    to_bfloat16,
    unpack_int3,
    unpack_int4,
)

Kind = Literal["keep", "f32", "f16", "bf16", "q8_0", "q4_0"]
KINDS: tuple[Kind, ...] = ("keep", "f32", "f16", "bf16", "q8_0", "q4_0")
_BLOCK = 32
_CHUNK_WEIGHTS = 1 << 20


def encode(weight: Weight, kind: Kind, order: np.ndarray | None = None) -> Stored:
    """One tensor; `order` says which of our rows each row of the file is.

    With "keep" every number stays what it is.  With another kind, matrices are rounded to it
    where their rows divide into blocks, and stay as with "keep" where they do not.
    """
    require(kind in KINDS, "type", f"one of {', '.join(KINDS)}", kind)
    if len(weight.shape) != 2:
        values = weight.dequantise()
        values = values if order is None else values[order]
        return Stored("F32", weight.shape, [np.ascontiguousarray(values, np.float32)])
    blocked = kind in ("q8_0", "q4_0")
    if kind == "keep" or (blocked and weight.shape[1] % _BLOCK):
        return _kept(weight, order)
    return Stored(kind.upper(), weight.shape, _runs(weight, order, _ROUND[kind]))


def _kept(weight: Weight, order: np.ndarray | None) -> Stored:
    if isinstance(weight, BFloat16):
        bits = weight.bits_ZD if order is None else weight.bits_ZD[order]
        return Stored("BF16", weight.shape, [bits])
    if isinstance(weight, Quantised):
        found = _blocks(weight, order)
        if found is not None:
            return found
    halves = all(_fits_half(values) for values in _values(weight, None))
    kind: Kind = "f16" if halves else "f32"
    return Stored(kind.upper(), weight.shape, _runs(weight, order, _ROUND[kind]))


def _blocks(weight: Int8 | Int4 | Int3, order: np.ndarray | None) -> Stored | None:
    """Blocks that hold exactly these codes; None when there are none."""
    Z, D = weight.shape
    group = D // weight.scale_ZJ.shape[1]
    if group % _BLOCK or not _fits_half(weight.scale_ZJ):
        return None
    if weight.offset_ZJ is None:
        kind, minimum_ZJ = "Q8_0" if isinstance(weight, Int8) else "Q4_0", None
    else:
        kind, minimum_ZJ = "Q4_1", weight.offset_ZJ - 8 * weight.scale_ZJ
        exact = np.array_equal(minimum_ZJ + 8 * weight.scale_ZJ, weight.offset_ZJ)
        if not isinstance(weight, Int4) or not exact or not _fits_half(minimum_ZJ):
            return None

    def rows() -> Iterator[np.ndarray]:
        for part in _parts(Z, D, order):
            code_ZD = _codes(weight, part)
            factors = [_spread(weight.scale_ZJ[part], group)]
            if minimum_ZJ is not None:
                factors.append(_spread(minimum_ZJ[part], group))
            yield _block_bytes(kind, code_ZD, factors)

    return Stored(kind, weight.shape, rows())


def _codes(weight: Int8 | Int4 | Int3, part: np.ndarray) -> np.ndarray:
    if isinstance(weight, Int8):
        return weight.code_ZD[part]
    packed = np.ascontiguousarray(weight.packed[part])
    return unpack_int4(packed) if isinstance(weight, Int4) else unpack_int3(packed)


def _spread(factor_ZJ: np.ndarray, group: int) -> np.ndarray:
    """One factor for each block of 32 columns."""
    return np.repeat(factor_ZJ, group // _BLOCK, axis=1)


def _block_bytes(kind: str, code_ZD: np.ndarray, factors: list[np.ndarray]) -> np.ndarray:
    """The bytes of blocks from signed codes and the float16 numbers before them."""
    halves = [factor.astype("<f2").reshape(-1, 1).view(np.uint8) for factor in factors]
    code_nU = code_ZD.reshape(-1, _BLOCK)
    if kind == "Q8_0":
        body = code_nU.view(np.uint8)
    else:
        stored = (code_nU + 8).astype(np.uint8)
        body = stored[:, :16] | (stored[:, 16:] << np.uint8(4))
    return np.concatenate([*halves, body], axis=1)


def _parts(rows: int, columns: int, order: np.ndarray | None) -> Iterator[np.ndarray]:
    """Our rows in the order of the file, some at a time."""
    order = np.arange(rows) if order is None else order
    step = max(1, _CHUNK_WEIGHTS // columns)
    return (order[start : start + step] for start in range(0, rows, step))


def _values(weight: Weight, order: np.ndarray | None) -> Iterator[np.ndarray]:
    """The numbers of some rows at a time, float32."""
    for part in _parts(weight.shape[0], weight.shape[1], order):
        if isinstance(weight, Float32):
            yield weight.array_ZD[part]
        elif isinstance(weight, BFloat16):
            yield BFloat16(np.ascontiguousarray(weight.bits_ZD[part])).dequantise()
        else:
            offset_ZJ = None if weight.offset_ZJ is None else weight.offset_ZJ[part]
            code_ZD = np.ascontiguousarray(_codes(weight, part))
            yield Int8(code_ZD, weight.scale_ZJ[part], offset_ZJ).dequantise()


def _runs(
    weight: Weight, order: np.ndarray | None, rounded: Callable[[np.ndarray], np.ndarray]
) -> Iterator[np.ndarray]:
    return (rounded(values_ZD) for values_ZD in _values(weight, order))


def _fits_half(values: np.ndarray) -> bool:
    """Whether float16 holds every number exactly."""
    with np.errstate(over="ignore"):
        return bool((values.astype(np.float16).astype(np.float32) == values).all())


def _q8_0(values_ZD: np.ndarray) -> np.ndarray:
    values_nU = values_ZD.reshape(-1, _BLOCK)
    scale_n = np.abs(values_nU).max(axis=1) / np.float32(127)
    code_nU = values_nU * _inverse(scale_n)[:, None]
    away = np.trunc(code_nU + np.copysign(np.float32(0.5), code_nU))  # halves away from zero
    return _block_bytes("Q8_0", away.astype(np.int8), [scale_n])


def _q4_0(values_ZD: np.ndarray) -> np.ndarray:
    values_nU = values_ZD.reshape(-1, _BLOCK)
    largest = np.abs(values_nU).argmax(axis=1)[:, None]
    scale_n = np.take_along_axis(values_nU, largest, axis=1)[:, 0] / np.float32(-8)
    raised = np.trunc(values_nU * _inverse(scale_n)[:, None] + np.float32(8.5))
    return _block_bytes("Q4_0", np.minimum(raised, 15).astype(np.int8) - np.int8(8), [scale_n])


def _inverse(scale_n: np.ndarray) -> np.ndarray:
    """1 over each scale, 0 where it is 0."""
    zero_n = scale_n == 0
    return np.where(zero_n, np.float32(0), np.float32(1) / np.where(zero_n, 1, scale_n))


_ROUND: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "f32": lambda values: np.ascontiguousarray(values, "<f4"),
    "f16": lambda values: values.astype("<f2"),
    "bf16": to_bfloat16,
    "q8_0": _q8_0,
    "q4_0": _q4_0,
}
