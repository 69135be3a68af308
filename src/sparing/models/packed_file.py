"""A file of packed weights: written as they are made, mapped when they are needed again.

    16 bytes   "SPARING PACKED 1"
    data       the matrices one after the other, each from a multiple of 4096 on
    table      a JSON object: {"layout", "source", "tensors": {name: [kind, rows, columns, group,
               half, shifted, start, stop]}}; offsets count from the start of the file
    24 bytes   length of the table, little-endian, and the 16 bytes again

The table comes last so that nothing has to be known ahead.  A reader trusts no number in it: every
extent lies inside the file, in order and without overlap; that a matrix has the bytes its shape
calls for is checked once more by the library that reads them.
"""

import mmap
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sparing.base.errors import ArtefactError
from sparing.base.files import open_regular
from sparing.base.limits import LIMITS
from sparing.kernels.formats import Packed
from sparing.models.strict_json import parse_object

MAGIC = b"SPARING PACKED 1"
PAGE = 4096
_TAIL = 8 + len(MAGIC)
_DEPTH = 4


def write_packed(
    file: BinaryIO, layout: str, source: str, matrices: Iterable[tuple[str, Packed]]
) -> None:
    """Write a whole file; `source` names what the matrices were made from."""
    import json

    file.write(MAGIC)
    at, tensors = len(MAGIC), {}
    for name, matrix in matrices:
        file.write(b"\0" * (-at % PAGE))
        start = at + -at % PAGE
        file.write(matrix.data.data)
        at = start + matrix.nbytes
        tensors[name] = [*matrix.form[1:], start, at]
    table = json.dumps({"layout": layout, "source": source, "tensors": tensors}).encode()
    file.write(table + len(table).to_bytes(8, "little") + MAGIC)


def read_packed(
    path: Path, layout: str, source: str, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Packed]:
    """The matrices of a file, mapped; `shapes` are what they must have.

    Errors: ArtefactError for a file that is damaged, cut short, or of another layout or source.
    """
    handle = open_regular(path)
    try:
        length = os.fstat(handle).st_size
        if length < len(MAGIC) + _TAIL:
            raise ArtefactError(f"{path}: {length} bytes are no packed weights")
        mapped = mmap.mmap(handle, length, access=mmap.ACCESS_READ)
    finally:
        os.close(handle)
    return parse_packed(mapped, str(path), layout, source, shapes)


def parse_packed(
    data: Any, name: str, layout: str, source: str, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Packed]:
    """As `read_packed`, from bytes or a map of them."""
    if len(data) < len(MAGIC) + _TAIL or data[: len(MAGIC)] != MAGIC or data[-16:] != MAGIC:
        raise ArtefactError(f"{name}: not packed weights, or cut short")
    table_stop = len(data) - _TAIL
    count = int.from_bytes(data[table_stop : table_stop + 8], "little")
    if count > min(LIMITS.json_bytes, table_stop - len(MAGIC)):
        raise ArtefactError(f"{name}: states a table of {count} bytes, more than it has room for")
    tree = parse_object(bytes(data[table_stop - count : table_stop]), name, depth=_DEPTH)
    if tree.keys() != {"layout", "source", "tensors"} or not isinstance(tree["tensors"], dict):
        raise ArtefactError(f"{name}: expected exactly layout, source and tensors")
    for key, wanted in (("layout", layout), ("source", source)):
        if tree[key] != wanted:
            raise ArtefactError(f"{name}: {key}: expected {wanted}, got {tree[key]!s:.80}")
    reached, matrices = len(MAGIC), {}
    for key, entry in tree["tensors"].items():
        matrix, reached = _matrix(data, f"{name}: {key[:120]}", layout, entry, reached)
        if matrix.shape != shapes.get(key):
            raise ArtefactError(f"{name}: {key[:120]}: expected shape {shapes.get(key)}")
        matrices[key] = matrix
    if reached > table_stop - count:
        raise ArtefactError(f"{name}: the matrices run into the table")
    return matrices


def _matrix(data: Any, name: str, layout: str, entry: Any, reached: int) -> tuple[Packed, int]:
    """One matrix and where it ends."""
    kinds = (str, int, int, int, bool, bool, int, int)
    good = isinstance(entry, list) and [type(value) for value in entry] == list(kinds)
    if not good:
        raise ArtefactError(f"{name}: expected kind, extents and offsets, got {entry!s:.80}")
    kind, rows, columns, group, half, shifted, start, stop = entry
    if min(rows, columns, group) < 1 or columns % group or max(rows, columns) >= 1 << 31:
        raise ArtefactError(f"{name}: no matrix has the extents {entry!s:.80}")
    if start != reached + -reached % PAGE or not start < stop <= len(data):
        raise ArtefactError(f"{name}: bytes {start} to {stop} overlap, leave a hole or are absent")
    bytes_ = np.frombuffer(data, dtype=np.uint8, count=stop - start, offset=start)
    return Packed(bytes_, layout, kind, rows, columns, group, half, shifted), stop
