"""GGUF containers, written as a stream: version 3, tensors aligned to 32 bytes."""

import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sparing.base.errors import ArtefactError
from sparing.base.gguf import ARRAY, BLOCKS, BOOL, MAGIC, NUMBERS, STRING, aligned


@dataclass(frozen=True, slots=True)
class Stored:
    """What the writer stores: the type, the shape and the bytes of a tensor, row after row."""

    kind: str
    shape: tuple[int, ...]
    rows: Iterable[np.ndarray]
    """Runs of bytes, made one by one while they are written."""

    @property
    def nbytes(self) -> int:
        _, weights, block_bytes = BLOCKS[self.kind]
        return math.prod(self.shape) // weights * block_bytes


def write(path: Path, pairs: Mapping[str, Any], tensors: Mapping[str, Stored]) -> None:
    """Write a version 3 file, tensor after tensor, aligned to 32 bytes.

    Values are bool, int, float, str, or lists of one of them; an integer is written as u32 where
    it fits and as i32 or u64 otherwise, integers of a list as i32, a float as f32.
    """
    with path.open("wb") as file:
        file.write(MAGIC + struct.pack("<IQQ", 3, len(tensors), len(pairs)))
        for key, value in pairs.items():
            _write_string(file, key)
            _write_value(file, value)
        offset = 0
        for name, stored in tensors.items():
            _write_string(file, name)
            dims = stored.shape[::-1]
            number = BLOCKS[stored.kind][0]
            file.write(struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, number, offset))
            offset = aligned(offset + stored.nbytes, 32)
        for stored in tensors.values():
            file.write(b"\0" * (-file.tell() % 32))
            start = file.tell()
            for run in stored.rows:
                file.write(np.ascontiguousarray(run).data)
            if file.tell() - start != stored.nbytes:
                raise ArtefactError(f"{path}: a tensor gave other bytes than it stated")
        file.write(b"\0" * (-file.tell() % 32))


def _write_string(file: BinaryIO, text: str) -> None:
    raw = text.encode()
    file.write(struct.pack("<Q", len(raw)) + raw)


def _write_value(file: BinaryIO, value: Any) -> None:
    if isinstance(value, list):
        kind = _kind_of_list(value)
        file.write(struct.pack("<IIQ", ARRAY, kind, len(value)))
        if kind == STRING:
            for text in value:
                _write_string(file, text)
        else:
            file.write(np.array(value, dtype=NUMBERS.get(kind, "<u1")).tobytes())
        return
    kind = _kind_of(value)
    file.write(struct.pack("<I", kind))
    if kind == STRING:
        _write_string(file, value)
    else:
        file.write(np.array(value, dtype=NUMBERS.get(kind, "<u1")).tobytes())


def _kind_of(value: Any) -> int:
    if type(value) is int:
        return 4 if 0 <= value < 1 << 32 else 5 if -(1 << 31) <= value < 0 else 10
    return _kind_of_list([value])


def _kind_of_list(values: list[Any]) -> int:
    kinds = {type(value) for value in values}
    if kinds == {str} or not kinds:
        return STRING
    if kinds == {bool}:
        return BOOL
    if kinds == {int} and min(values) >= -(1 << 31) and max(values) < 1 << 31:
        return 5
    if kinds == {float}:
        return 6
    raise ArtefactError(f"no GGUF value holds {sorted(kind.__name__ for kind in kinds)}")
