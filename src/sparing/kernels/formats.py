"""Weight records: how the numbers of one weight lie in memory.  numpy only.

Float32, BFloat16    plain numbers
Packed               any of the others as the C++ reads it fastest
Int8, Int4, Int3     codes with one float32 scale, and perhaps one offset, per group of U = D / J

Column c of a row belongs to group c // U; its value is code * scale + offset, the product rounded
to float32 before the sum. No offsets means symmetric codes. A zero point z of unsigned codes is
the offset (8 - z) * scale for int4, (4 - z) * scale for int3 and (128 - z) * scale for int8.
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
    """Codes -128 to 127, their scales, and offsets if there are any."""

    code_ZD: np.ndarray
    scale_ZJ: np.ndarray
    offset_ZJ: np.ndarray | None = None

    def __post_init__(self) -> None:
        _check(self.code_ZD, np.int8, "code_ZD")
        _check_scale(self.scale_ZJ, self.code_ZD.shape)
        _check_offset(self.offset_ZJ, self.scale_ZJ)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.code_ZD.shape

    @property
    def nbytes(self) -> int:
        return self.code_ZD.nbytes + _factor_bytes(self.scale_ZJ, self.offset_ZJ)

    def dequantise(self) -> np.ndarray:
        return _scaled(self.code_ZD, self.scale_ZJ, self.offset_ZJ)


@dataclass(frozen=True, slots=True, eq=False)
class Int4:
    """Codes -8 to 7 stored as code + 8, two to a byte, the even column in the low half."""

    packed: np.ndarray
    scale_ZJ: np.ndarray
    offset_ZJ: np.ndarray | None = None

    def __post_init__(self) -> None:
        _check_packed(self.packed, 1)
        _check_scale(self.scale_ZJ, self.shape)
        _check_offset(self.offset_ZJ, self.scale_ZJ)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.packed.shape[0], self.packed.shape[1] * 2)

    @property
    def nbytes(self) -> int:
        return self.packed.nbytes + _factor_bytes(self.scale_ZJ, self.offset_ZJ)

    def dequantise(self) -> np.ndarray:
        return _scaled(unpack_int4(self.packed), self.scale_ZJ, self.offset_ZJ)


@dataclass(frozen=True, slots=True, eq=False)
class Int3:
    """Codes -4 to 3 stored as code + 4, eight to three bytes.

    A row is a stream of bits, lowest bit of the lowest byte first: column c is bits 3c to 3c + 2.
    """

    packed: np.ndarray
    scale_ZJ: np.ndarray
    offset_ZJ: np.ndarray | None = None

    def __post_init__(self) -> None:
        _check_packed(self.packed, 3)
        _check_scale(self.scale_ZJ, self.shape)
        _check_offset(self.offset_ZJ, self.scale_ZJ)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.packed.shape[0], self.packed.shape[1] // 3 * 8)

    @property
    def nbytes(self) -> int:
        return self.packed.nbytes + _factor_bytes(self.scale_ZJ, self.offset_ZJ)

    def dequantise(self) -> np.ndarray:
        return _scaled(unpack_int3(self.packed), self.scale_ZJ, self.offset_ZJ)


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """A matrix in the order in which one instruction set reads it; made by `native.pack`."""

    data: np.ndarray
    """Bytes, uint8; may be a mapped file."""

    layout: str
    """`native.packed_layout` of the instruction set."""

    kind: str
    rows: int
    columns: int
    group: int
    half: bool
    """Whether scales and offsets are half floats."""

    shifted: bool
    """Whether there are offsets."""

    def __post_init__(self) -> None:
        _check(self.data, np.uint8, "data")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.rows, self.columns)

    @property
    def nbytes(self) -> int:
        return self.data.nbytes

    @property
    def form(self) -> tuple[str, str, int, int, int, bool, bool]:
        """All but the bytes, as the library takes it."""
        return (
            self.layout,
            self.kind,
            self.rows,
            self.columns,
            self.group,
            self.half,
            self.shifted,
        )


Weight = Float32 | BFloat16 | Int8 | Int4 | Int3
Quantised = (Int8, Int4, Int3)
"""Kinds that hold codes, scales and perhaps offsets."""


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


def pack_int3(code_ZD: np.ndarray) -> np.ndarray:
    """Eight codes (-4 to 3) to three bytes.  Errors: ShapeError unless 8 divides the columns."""
    if code_ZD.ndim != 2 or code_ZD.shape[1] % 8:
        raise ShapeError(f"code_ZD: expected a multiple of 8 columns, got {code_ZD.shape}")
    stored = (code_ZD + 4).astype(np.uint32).reshape(len(code_ZD), -1, 8)
    words = np.bitwise_or.reduce(stored << np.arange(0, 24, 3, dtype=np.uint32), axis=-1)
    three = words[..., None] >> np.array([0, 8, 16], np.uint32)
    return three.astype(np.uint8).reshape(len(code_ZD), -1)


def unpack_int3(packed: np.ndarray) -> np.ndarray:
    """The codes, int8, of a stream of 3 bits."""
    three = packed.reshape(len(packed), -1, 3).astype(np.uint32)
    words = three[..., 0] | three[..., 1] << np.uint32(8) | three[..., 2] << np.uint32(16)
    stored = words[..., None] >> np.arange(0, 24, 3, dtype=np.uint32) & np.uint32(7)
    return stored.reshape(len(packed), -1).astype(np.int8) - np.int8(4)


def _scaled(code_ZD: np.ndarray, scale_ZJ: np.ndarray, offset_ZJ: np.ndarray | None) -> np.ndarray:
    rows, groups = scale_ZJ.shape
    grouped = code_ZD.reshape(rows, groups, -1).astype(np.float32) * scale_ZJ[..., None]
    if offset_ZJ is not None:
        grouped += offset_ZJ[..., None]
    return grouped.reshape(code_ZD.shape)


def _factor_bytes(scale_ZJ: np.ndarray, offset_ZJ: np.ndarray | None) -> int:
    return scale_ZJ.nbytes + (0 if offset_ZJ is None else offset_ZJ.nbytes)


def _check(array: np.ndarray, dtype: type, name: str) -> None:
    if array.dtype != dtype or not array.flags.c_contiguous:
        raise ShapeError(f"{name}: expected contiguous {dtype.__name__}, got {array.dtype}")


def _check_packed(packed: np.ndarray, unit: int) -> None:
    _check(packed, np.uint8, "packed")
    if packed.ndim != 2 or packed.shape[1] % unit:
        raise ShapeError(f"packed: expected rows of whole {unit} bytes, got {packed.shape}")


def _check_scale(scale_ZJ: np.ndarray, shape: tuple[int, ...]) -> None:
    _check(scale_ZJ, np.float32, "scale_ZJ")
    fits = scale_ZJ.ndim == len(shape) == 2 and scale_ZJ.shape[0] == shape[0]
    if not fits or scale_ZJ.shape[1] == 0 or shape[1] % scale_ZJ.shape[1]:
        raise ShapeError(
            f"scale_ZJ: expected [{shape[0]}, J dividing {shape[1]}], got {scale_ZJ.shape}"
        )


def _check_offset(offset_ZJ: np.ndarray | None, scale_ZJ: np.ndarray) -> None:
    if offset_ZJ is None:
        return
    _check(offset_ZJ, np.float32, "offset_ZJ")
    if offset_ZJ.shape != scale_ZJ.shape:
        raise ShapeError(f"offset_ZJ: expected {scale_ZJ.shape}, got {offset_ZJ.shape}")
