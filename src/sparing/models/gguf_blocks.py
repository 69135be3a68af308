"""Blocks of GGUF tensors as weight records: the same numbers, in our layout.

Every kind of block is codes with a scale and perhaps an offset per 16 or 32 columns, so that none
has to be rounded again.

    Q4_0 Q4_1          Int4, groups of 32        Q2_K          Int4, groups of 16
    Q4_K               Int4, groups of 32        Q3_K          Int3, groups of 16
    Q5_0 Q5_1 Q5_K     Int8, groups of 32        Q6_K          Int8, groups of 16
    Q8_0               Int8, groups of 32        F16           Float32

Numerics: code * scale + offset in float32.  Where a block's own formula is code * scale - minimum
with codes from 0, its first code becomes -8 and the offset takes 8 scales: one rounding apart.
Source: the structures block_q4_0 ... block_q6_K in ggml-common.h of github.com/ggml-org/ggml.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from sparing.base.errors import ArtefactError
from sparing.base.gguf import BLOCKS
from sparing.kernels.formats import (
    BFloat16,
    Float32,
    Int3,
    Int4,
    Int8,
    Weight,
    pack_int3,
    pack_int4,
)
from sparing.models.scheme import Scheme

CHUNK_WEIGHTS = 1 << 20
"""Weights unpacked at a time."""


@dataclass(frozen=True, slots=True)
class Codes:
    """Unpacked blocks: n blocks of U columns each, in the order of the row."""

    code_nU: np.ndarray
    """int8"""
    scale_n: np.ndarray
    """float32"""
    offset_n: np.ndarray | None


def read_blocks(rows_ZB: np.ndarray, kind: str, shape: tuple[int, ...], name: str) -> Weight:
    """The record of a matrix (or vector) of `shape` from the bytes of its rows.

    Errors: ArtefactError for a scale that is NaN or infinite, or a vector of blocks.
    """
    if kind == "F32":
        return Float32(_numbers(rows_ZB, "<f4").reshape(shape))
    if kind == "F16":
        return Float32(_numbers(rows_ZB, "<f2").astype(np.float32).reshape(shape))
    if kind == "BF16":
        return BFloat16(_numbers(rows_ZB, "<u2").reshape(shape))
    if len(shape) != 2:
        raise ArtefactError(f"{name}: expected plain numbers, got {kind}")
    unpack, group, record, bits = _KINDS[kind]
    Z, D = shape
    code = np.empty((Z, D * bits // 8), dtype=np.int8 if bits == 8 else np.uint8)
    scale_ZJ = np.empty((Z, D // group), dtype=np.float32)
    offset_ZJ: np.ndarray | None = None
    for rows in _chunks(Z, D):
        block_bytes = BLOCKS[kind][2]
        found = unpack(rows_ZB[rows].reshape(-1, block_bytes))
        code_ZD = found.code_nU.reshape(-1, D)
        code[rows] = code_ZD if bits == 8 else _PACK[bits](code_ZD)
        scale_ZJ[rows] = found.scale_n.reshape(-1, D // group)
        if found.offset_n is not None:
            offset_ZJ = np.empty_like(scale_ZJ) if offset_ZJ is None else offset_ZJ
            offset_ZJ[rows] = found.offset_n.reshape(-1, D // group)
    for values in (scale_ZJ, offset_ZJ):
        if values is not None and not np.isfinite(values).all():
            raise ArtefactError(f"{name}: holds NaN or infinite values")
    return record(code, scale_ZJ, offset_ZJ)


def _numbers(rows_ZB: np.ndarray, dtype: str) -> np.ndarray:
    """A view where the bytes lie aligned, else a copy."""
    numbers = np.ascontiguousarray(rows_ZB).view(dtype)
    return numbers if numbers.flags.aligned else numbers.copy()


def _chunks(rows: int, columns: int) -> Iterator[slice]:
    step = max(1, CHUNK_WEIGHTS // columns)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def _half(block_nB: np.ndarray, at: int) -> np.ndarray:
    """The float16 at byte `at` of each block, as float32."""
    return np.ascontiguousarray(block_nB[:, at : at + 2]).view("<f2").astype(np.float32)[:, 0]


def _nibbles(bytes_nB: np.ndarray) -> np.ndarray:
    """Low halves of all bytes, then the high halves: n blocks of 2 B codes 0 to 15."""
    return np.concatenate((bytes_nB & 15, bytes_nB >> 4), axis=1).astype(np.int8)


def _fifth_bits(block_nB: np.ndarray, at: int) -> np.ndarray:
    """The 32 bits at byte `at`, each as 0 or 16."""
    bits = np.unpackbits(block_nB[:, at : at + 4], axis=1, bitorder="little")
    return bits.astype(np.int8) << 4


def _q4_0(block_nB: np.ndarray) -> Codes:
    return Codes(_nibbles(block_nB[:, 2:]) - np.int8(8), _half(block_nB, 0), None)


def _q4_1(block_nB: np.ndarray) -> Codes:
    scale_n = _half(block_nB, 0)
    return Codes(_nibbles(block_nB[:, 4:]) - np.int8(8), scale_n, _half(block_nB, 2) + 8 * scale_n)


def _q5_0(block_nB: np.ndarray) -> Codes:
    code = (_nibbles(block_nB[:, 6:]) | _fifth_bits(block_nB, 2)) - np.int8(16)
    return Codes(code, _half(block_nB, 0), None)


def _q5_1(block_nB: np.ndarray) -> Codes:
    code = _nibbles(block_nB[:, 8:]) | _fifth_bits(block_nB, 4)
    return Codes(code, _half(block_nB, 0), _half(block_nB, 2))


def _q8_0(block_nB: np.ndarray) -> Codes:
    return Codes(np.ascontiguousarray(block_nB[:, 2:]).view(np.int8), _half(block_nB, 0), None)


def _two_bits(bytes_nB: np.ndarray) -> np.ndarray:
    """256 codes 0 to 3 from 64 bytes: of each 32 bytes first the lowest pairs of bits, then up."""
    halves = bytes_nB.reshape(len(bytes_nB), 2, 1, 32)
    shift = np.arange(0, 8, 2, dtype=np.uint8).reshape(1, 1, 4, 1)
    return ((halves >> shift) & 3).astype(np.int8).reshape(len(bytes_nB), 256)


def _scaled(code: np.ndarray, group: int, scale: np.ndarray, offset: np.ndarray | None) -> Codes:
    flat = None if offset is None else offset.reshape(-1)
    return Codes(code.reshape(-1, group), scale.reshape(-1), flat)


def _q2_k(block_nB: np.ndarray) -> Codes:
    scale_n, minimum_n = _half(block_nB, 80)[:, None], _half(block_nB, 82)[:, None]
    fine = block_nB[:, :16]
    code = _two_bits(block_nB[:, 16:80])
    return _scaled(code, 16, scale_n * (fine & 15), -(minimum_n * (fine >> 4)))


def _q3_k(block_nB: np.ndarray) -> Codes:
    high = block_nB[:, :32].reshape(-1, 1, 32)
    bit = np.arange(8, dtype=np.uint8).reshape(1, 8, 1)
    unset = (((high >> bit) & 1) ^ 1).astype(np.int8).reshape(-1, 256)
    code = _two_bits(block_nB[:, 32:96]) - (unset << 2)
    packed = block_nB[:, 96:108]
    low = np.concatenate((packed[:, :8] & 15, packed[:, :8] >> 4), axis=1)
    pair = np.arange(0, 8, 2, dtype=np.uint8).reshape(1, 4, 1)
    top = ((packed[:, None, 8:] >> pair) & 3).reshape(-1, 16)
    fine = (low | (top << 4)).astype(np.int8) - np.int8(32)
    return _scaled(code, 16, _half(block_nB, 108)[:, None] * fine, None)


def _fine_pairs(packed_nB: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eight 6-bit scales and eight 6-bit minima from 12 bytes (Q4_K, Q5_K)."""
    first, second, third = packed_nB[:, :4], packed_nB[:, 4:8], packed_nB[:, 8:]
    scale = np.concatenate((first & 63, (third & 15) | ((first >> 6) << 4)), axis=1)
    minimum = np.concatenate((second & 63, (third >> 4) | ((second >> 6) << 4)), axis=1)
    return scale, minimum


def _by_64(bytes_nB: np.ndarray) -> np.ndarray:
    """256 codes from 128 bytes: of each 32 bytes the low halves, then the high halves."""
    return _nibbles(bytes_nB.reshape(-1, 32)).reshape(-1, 256)


def _q4_k(block_nB: np.ndarray) -> Codes:
    fine, least = _fine_pairs(block_nB[:, 4:16])
    scale, minimum = _half(block_nB, 0)[:, None] * fine, _half(block_nB, 2)[:, None] * least
    code = _by_64(block_nB[:, 16:]) - np.int8(8)
    return _scaled(code, 32, scale, 8 * scale - minimum)


def _q5_k(block_nB: np.ndarray) -> Codes:
    fine, least = _fine_pairs(block_nB[:, 4:16])
    scale, minimum = _half(block_nB, 0)[:, None] * fine, _half(block_nB, 2)[:, None] * least
    bit = np.arange(8, dtype=np.uint8).reshape(1, 8, 1)
    fifth = ((block_nB[:, None, 16:48] >> bit) & 1).astype(np.int8).reshape(-1, 256)
    return _scaled(_by_64(block_nB[:, 48:]) | (fifth << 4), 32, scale, -minimum)


def _q6_k(block_nB: np.ndarray) -> Codes:
    low = _nibbles(block_nB[:, :128].reshape(-1, 64)).reshape(-1, 256)
    code = (low | (_two_bits(block_nB[:, 128:192]) << 4)) - np.int8(32)
    fine = np.ascontiguousarray(block_nB[:, 192:208]).view(np.int8)
    return _scaled(code, 16, _half(block_nB, 208)[:, None] * fine, None)


_PACK: Mapping[int, Callable[[np.ndarray], np.ndarray]] = {3: pack_int3, 4: pack_int4}
_SYMMETRIC = ("Q4_0", "Q5_0", "Q8_0", "Q3_K", "Q6_K")
# kind -> (how a block is unpacked, columns of a group, the record, bits of its codes)
_KINDS: Mapping[str, tuple[Callable[[np.ndarray], Codes], int, type, int]] = {
    "Q4_0": (_q4_0, 32, Int4, 4),
    "Q4_1": (_q4_1, 32, Int4, 4),
    "Q5_0": (_q5_0, 32, Int8, 8),
    "Q5_1": (_q5_1, 32, Int8, 8),
    "Q8_0": (_q8_0, 32, Int8, 8),
    "Q2_K": (_q2_k, 16, Int4, 4),
    "Q3_K": (_q3_k, 16, Int3, 3),
    "Q4_K": (_q4_k, 32, Int4, 4),
    "Q5_K": (_q5_k, 32, Int8, 8),
    "Q6_K": (_q6_k, 16, Int8, 8),
}


def scheme_of_kind(kind: str) -> Scheme | None:
    """How weights of `kind` are quantised in memory; None for plain numbers."""
    if kind not in _KINDS:
        return None
    _, group, _, bits = _KINDS[kind]
    return Scheme(bits, group, "gguf", kind in _SYMMETRIC)
