"""Weight records: how the numbers of one weight lie in memory.  numpy only.

Float32, BFloat16    plain numbers
Int8, Int4           symmetric codes with one float32 scale per group of U = D / J columns

Column c of a row belongs to group c // U; its value is code * scale.
"""

from dataclasses import dataclass

import numpy as np

from sparing.base.errors import ShapeError


@dataclass(frozen=True, slots=True, eq=False)
class Float32:
    """Numbers as float32; vectors are held as they are."""

    array_ZD: np.ndarray

    def __post_init__(self) -> None:
        _check(self.array_ZD, np.float32, "array_ZD")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array_ZD.shape

    @property
    def nbytes(self) -> int:
        return self.array_ZD.nbytes

    def dequantise(self) -> np.ndarray:
        return self.array_ZD


@dataclass(frozen=True, slots=True, eq=False)
class BFloat16:
    """Numbers as the upper halves of float32, in uint16."""

    bits_ZD: np.ndarray

    def __post_init__(self) -> None:
        _check(self.bits_ZD, np.uint16, "bits_ZD")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.bits_ZD.shape

    @property
    def nbytes(self) -> int:
        return self.bits_ZD.nbytes

    def dequantise(self) -> np.ndarray:
        return from_bfloat16(self.bits_ZD)


@dataclass(frozen=True, slots=True, eq=False)
class Int8:
    """Codes -128 to 127 and their scales."""

    code_ZD: np.ndarray
    scale_ZJ: np.ndarray

    def __post_init__(self) -> None:
        _check(self.code_ZD, np.int8, "code_ZD")
        _check_scale(self.scale_ZJ, self.code_ZD.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.code_ZD.shape

    @property
    def nbytes(self) -> int:
        return self.code_ZD.nbytes + self.scale_ZJ.nbytes

    def dequantise(self) -> np.ndarray:
        return _scaled(self.code_ZD, self.scale_ZJ)


@dataclass(frozen=True, slots=True, eq=False)
class Int4:
    """Codes -8 to 7 stored as code + 8, two to a byte, the even column in the low half."""

    packed: np.ndarray
    scale_ZJ: np.ndarray

    def __post_init__(self) -> None:
        _check(self.packed, np.uint8, "packed")
        _check_scale(self.scale_ZJ, self.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.packed.shape[0], self.packed.shape[1] * 2)

    @property
    def nbytes(self) -> int:
        return self.packed.nbytes + self.scale_ZJ.nbytes

    def dequantise(self) -> np.ndarray:
        return _scaled(unpack_int4(self.packed), self.scale_ZJ)


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """The bits of the nearest bfloat16, ties to even; a NaN stays a NaN."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    quiet = (bits >> np.uint32(16)) | np.uint32(0x40)
    return np.where(np.isnan(values), quiet, rounded).astype(np.uint16).reshape(np.shape(values))


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """The float32 numbers whose upper halves are `bits`; exact."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def pack_int4(code_ZD: np.ndarray) -> np.ndarray:
    """Two codes (-8 to 7) to a byte.  Errors: ShapeError for an odd number of columns."""
    if code_ZD.ndim != 2 or code_ZD.shape[1] % 2:
        raise ShapeError(f"code_ZD: expected an even number of columns, got {code_ZD.shape}")
    stored = (code_ZD + 8).astype(np.uint8)
    return stored[:, 0::2] | (stored[:, 1::2] << np.uint8(4))


def unpack_int4(packed: np.ndarray) -> np.ndarray:
    """The codes, int8, of packed bytes."""
    both = np.stack((packed & np.uint8(15), packed >> np.uint8(4)), axis=-1)
    return both.reshape(len(packed), -1).astype(np.int8) - np.int8(8)


def _scaled(code_ZD: np.ndarray, scale_ZJ: np.ndarray) -> np.ndarray:
    rows, groups = scale_ZJ.shape
    grouped = code_ZD.reshape(rows, groups, -1).astype(np.float32) * scale_ZJ[..., None]
    return grouped.reshape(code_ZD.shape)


def _check(array: np.ndarray, dtype: type, name: str) -> None:
    if array.dtype != dtype or not array.flags.c_contiguous:
        raise ShapeError(f"{name}: expected contiguous {dtype.__name__}, got {array.dtype}")


def _check_scale(scale_ZJ: np.ndarray, shape: tuple[int, ...]) -> None:
    _check(scale_ZJ, np.float32, "scale_ZJ")
    fits = scale_ZJ.ndim == len(shape) == 2 and scale_ZJ.shape[0] == shape[0]
    if not fits or scale_ZJ.shape[1] == 0 or shape[1] % scale_ZJ.shape[1]:
        raise ShapeError(
            f"scale_ZJ: expected [{shape[0]}, J dividing {shape[1]}], got {scale_ZJ.shape}"
        )
