"""GGUF containers, read with every extent checked (`gguf_writer` writes them).

    magic "GGUF", version, number of tensors, number of pairs      4 + 4 + 8 + 8 bytes
    pairs      key, type, value
    tensors    name, dimensions (the fastest first), type, offset
    data       each tensor begins at a multiple of general.alignment, in the order of the list

All numbers are little-endian.  Every count, length, product and offset is an exact integer and is
checked against the bytes of the file before anything is made from it; nothing may overlap, be
missing or be left over.  What the pairs mean is left to others (models, tokenizer).
Source: docs/gguf.md of github.com/ggml-org/ggml.
"""

import math
import mmap
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparing.base.errors import ArtefactError
from sparing.base.files import open_regular
from sparing.base.limits import LIMITS

MAGIC = b"GGUF"
ALIGNMENT = "general.alignment"
MOST_PAIRS, MOST_TENSORS, MOST_ITEMS = 1 << 16, 1 << 20, 1 << 24
_MOST_ALIGNMENT = 1 << 20
_VERSIONS = (2, 3)

# Type of a stored tensor -> (its number, weights in a block, bytes of a block).
BLOCKS: Mapping[str, tuple[int, int, int]] = {
    "F32": (0, 1, 4),
    "F16": (1, 1, 2),
    "Q4_0": (2, 32, 18),
    "Q4_1": (3, 32, 20),
    "Q5_0": (6, 32, 22),
    "Q5_1": (7, 32, 24),
    "Q8_0": (8, 32, 34),
    "Q2_K": (10, 256, 84),
    "Q3_K": (11, 256, 110),
    "Q4_K": (12, 256, 144),
    "Q5_K": (13, 256, 176),
    "Q6_K": (14, 256, 210),
    "BF16": (30, 1, 2),
}
_TYPES = {number: kind for kind, (number, _, _) in BLOCKS.items()}
# Types that exist and are not read, so that a message can name them.
_UNREAD = {
    9: "Q8_1", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL",
    21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
    29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4",
}  # fmt: skip
# Type of a value -> numpy type of the same bytes; strings and arrays are apart.
NUMBERS = {
    0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 10: "<u8", 11: "<i8",
    12: "<f8",
}  # fmt: skip
BOOL, STRING, ARRAY = 7, 8, 9

Value = bool | int | float | str | list[str] | np.ndarray


@dataclass(frozen=True, slots=True)
class Block:
    """Where one tensor lies; offsets count from the start of the file."""

    kind: str
    """A name in `BLOCKS`."""
    shape: tuple[int, ...]
    """As numpy has it: the fastest dimension last."""
    start: int
    stop: int


class GgufFile:
    """A checked, memory-mapped GGUF file."""

    def __init__(
        self,
        path: Path,
        pairs: Mapping[str, Value],
        tensors: Mapping[str, Block],
        mapped: mmap.mmap | bytes,
    ) -> None:
        self.path, self.pairs, self.tensors, self._mapped = path, pairs, tensors, mapped

    @classmethod
    def open(cls, path: Path) -> "GgufFile":
        """Map `path`.  Errors: ArtefactError saying what is wrong with the file, and where."""
        handle = open_regular(path)
        try:
            length = os.fstat(handle).st_size
            mapped = mmap.mmap(handle, length, access=mmap.ACCESS_READ) if length else b""
        finally:
            os.close(handle)
        pairs, tensors = parse(mapped, str(path))
        return cls(path, pairs, tensors, mapped)

    def rows(self, name: str) -> np.ndarray:
        """The bytes of a tensor as a read-only view [rows, bytes of a row], uint8."""
        block = self.tensors[name]
        flat = np.frombuffer(
            self._mapped, dtype=np.uint8, count=block.stop - block.start, offset=block.start
        )
        return flat.reshape(math.prod(block.shape[:-1]), -1)


def parse(data: Any, name: str) -> tuple[dict[str, Value], dict[str, Block]]:
    """Pairs and tensors of a whole file in `data` (bytes or a map of them).

    Errors: ArtefactError for anything that the format does not allow, naming `name` and the byte.
    """
    reader = _Reader(data, name)
    count = reader.begin()
    pairs: dict[str, Value] = {}
    for _ in range(count.pairs):
        key = reader.string("a key", most=65535)
        if key in pairs:
            raise reader.fault(f"key {key[:80]!r} is given twice")
        pairs[key] = reader.value(key[:80])
    alignment = pairs.get(ALIGNMENT, 32)
    good = type(alignment) is int and 0 < alignment <= _MOST_ALIGNMENT
    if not good or alignment & (alignment - 1):
        raise reader.fault(f"{ALIGNMENT}: expected a power of two, got {alignment!s:.80}")
    entries = [reader.tensor() for _ in range(count.tensors)]
    return pairs, _placed(entries, alignment, reader)


@dataclass(frozen=True, slots=True)
class _Counts:
    tensors: int
    pairs: int


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    kind: str
    shape: tuple[int, ...]
    offset: int


class _Reader:
    """A cursor over the head of a file; the head may be as long as a safetensors header."""

    def __init__(self, data: Any, name: str) -> None:
        self._data, self._name, self.at = data, name, 0
        self.length = len(data)
        self._most = min(self.length, LIMITS.header_bytes)

    def fault(self, what: str) -> ArtefactError:
        return ArtefactError(f"{self._name}: {what} (byte {self.at})")

    def _take(self, count: int, what: str) -> bytes:
        if count > self._most - self.at:
            whole = self._most == self.length
            limit = "the file ends" if whole else f"the head may have {self._most} bytes"
            raise self.fault(f"{what} needs {count} bytes, but {limit}; truncated or damaged")
        taken = self._data[self.at : self.at + count]
        self.at += count
        return taken

    def number(self, code: str, what: str) -> Any:
        return struct.unpack("<" + code, self._take(struct.calcsize("<" + code), what))[0]

    def begin(self) -> _Counts:
        if self._take(4, "the magic") != MAGIC:
            raise self.fault("does not begin with GGUF; not a GGUF file")
        version = self.number("I", "the version")
        if version not in _VERSIONS:
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS
            what = "big-endian files are not read" if swapped else "expected version 2 or 3"
            raise self.fault(f"version {version}: {what}")
        tensors = self.number("Q", "the number of tensors")
        pairs = self.number("Q", "the number of pairs")
        # a pair takes at least 13 bytes and a tensor at least 32
        for found, most, bytes_, what in (
            (tensors, MOST_TENSORS, 32, "tensors"), (pairs, MOST_PAIRS, 13, "pairs"),
        ):  # fmt: skip
            if found > min(most, (self.length - self.at) // bytes_):
                raise self.fault(f"states {found} {what}, more than the file can hold")
        return _Counts(tensors, pairs)

    def string(self, what: str, *, most: int | None = None) -> str:
        count = self.number("Q", f"the length of {what}")
        if most is not None and count > most:
            raise self.fault(f"{what}: states {count} bytes, over the limit of {most}")
        try:
            return self._take(count, what).decode("utf-8")
        except UnicodeDecodeError:
            raise self.fault(f"{what}: not UTF-8") from None

    def value(self, key: str) -> Value:
        kind = self.number("I", key)
        if kind == STRING:
            return self.string(key)
        if kind == ARRAY:
            return self._array(key)
        if kind == BOOL:
            return self._bools(key, 1)[0].item()
        if kind in NUMBERS:
            return self._numbers(NUMBERS[kind], 1, key)[0].item()
        raise self.fault(f"{key}: unknown type of value {kind}")

    def _array(self, key: str) -> Value:
        kind, count = self.number("I", key), self.number("Q", key)
        if count > MOST_ITEMS:
            raise self.fault(f"{key}: states {count} items, over the limit of {MOST_ITEMS}")
        if kind == STRING:
            if count > (self._most - self.at) // 8:
                raise self.fault(f"{key}: states {count} strings, more than the file can hold")
            return [self.string(key) for _ in range(count)]
        if kind == BOOL:
            return self._bools(key, count)
        if kind in NUMBERS:
            return self._numbers(NUMBERS[kind], count, key)
        raise self.fault(f"{key}: arrays of type {kind} are not supported")

    def _numbers(self, dtype: str, count: int, key: str) -> np.ndarray:
        taken = self._take(count * np.dtype(dtype).itemsize, key)
        return np.frombuffer(taken, dtype=dtype).copy()

    def _bools(self, key: str, count: int) -> np.ndarray:
        bits = self._numbers("<u1", count, key)
        if (bits > 1).any():
            raise self.fault(f"{key}: a truth value is neither 0 nor 1")
        return bits.astype(bool)

    def tensor(self) -> _Entry:
        name = self.string("the name of a tensor", most=256)
        dims = self.number("I", name)
        if not 0 < dims <= LIMITS.tensor_dims:
            raise self.fault(f"{name}: expected 1 to {LIMITS.tensor_dims} dimensions, got {dims}")
        shape = tuple(self.number("Q", name) for _ in range(dims))[::-1]
        number, offset = self.number("I", name), self.number("Q", name)
        kind = _TYPES.get(number)
        if kind is None:
            raise self.fault(f"{name}: type {_UNREAD.get(number, number)} is not supported")
        if min(shape) == 0 or shape[-1] % BLOCKS[kind][1]:
            raise self.fault(f"{name}: {kind} holds no tensor of shape {shape}")
        return _Entry(name, kind, shape, offset)


def _placed(entries: list[_Entry], alignment: int, reader: _Reader) -> dict[str, Block]:
    """The extents of tensors: one after the other, each at the next aligned byte."""
    base = aligned(reader.at, alignment)
    placed: dict[str, Block] = {}
    reached = 0
    for entry in entries:
        if entry.name in placed:
            raise reader.fault(f"{entry.name}: is given twice")
        if entry.offset != aligned(reached, alignment):
            raise reader.fault(
                f"{entry.name}: begins at {entry.offset}, expected {aligned(reached, alignment)}; "
                "tensors overlap or leave a hole"
            )
        _, weights, block_bytes = BLOCKS[entry.kind]
        reached = entry.offset + math.prod(entry.shape) // weights * block_bytes
        if base + reached > reader.length:
            raise reader.fault(
                f"{entry.name}: ends at byte {base + reached}, the file at {reader.length}; "
                "truncated or damaged"
            )
        start = base + entry.offset
        placed[entry.name] = Block(entry.kind, entry.shape, start, base + reached)
    if reader.length > aligned(base + reached, alignment):
        raise reader.fault(
            f"the tensors end at byte {base + reached}, the file at {reader.length}; "
            "foreign bytes at the end"
        )
    return placed


def aligned(offset: int, alignment: int) -> int:
    return offset + -offset % alignment
