"""Our own strict safetensors reader and a streaming writer.

    8 bytes   length of the header, little-endian
    header    a JSON object: name -> {"dtype", "shape", "data_offsets"}, padded with spaces
    data      the tensors, without holes or overlaps, to the last byte of the file

The header is parsed with exact integers and every extent is checked before anything is mapped;
what is mapped is read-only and is copied only where it is not aligned.
Source: the format's description at github.com/huggingface/safetensors.
"""

import json
import math
import mmap
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparing.base.errors import ArtefactError
from sparing.base.files import open_regular
from sparing.base.limits import LIMITS
from sparing.models.strict_json import parse_object

# dtype name -> (bytes, numpy type of the same bits or None where we only count bytes)
DTYPES: Mapping[str, tuple[int, str | None]] = {
    "BOOL": (1, None),
    "U8": (1, "<u1"),
    "I8": (1, "<i1"),
    "F8_E5M2": (1, None),
    "F8_E4M3": (1, None),
    "F8_E8M0": (1, None),
    "F8_E4M3FNUZ": (1, None),
    "F8_E5M2FNUZ": (1, None),
    "I16": (2, "<i2"),
    "U16": (2, "<u2"),
    "F16": (2, "<f2"),
    "BF16": (2, "<u2"),
    "I32": (4, "<i4"),
    "U32": (4, "<u4"),
    "F32": (4, "<f4"),
    "I64": (8, "<i8"),
    "U64": (8, "<u8"),
    "F64": (8, "<f8"),
    "C64": (8, None),
}
MOST_TENSORS = 1 << 20
# A header is at most three objects deep: the file, one tensor, its shape.
HEADER_DEPTH = 4


@dataclass(frozen=True, slots=True)
class Stored:
    """Where one tensor lies; offsets count from the start of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class TensorFile:
    """A checked, memory-mapped safetensors file; `arrays` are made when asked for."""

    def __init__(self, path: Path, stored: Mapping[str, Stored], mapped: mmap.mmap | bytes) -> None:
        self.path, self.stored, self._mapped = path, stored, mapped

    @classmethod
    def open(cls, path: Path) -> "TensorFile":
        """Map `path`.  Errors: ArtefactError saying what is wrong with the file, and where."""
        handle = open_regular(path)
        try:
            length = os.fstat(handle).st_size
            stored = _read_header(handle, length, path)
            empty = length == 0 or not stored
            mapped = b"" if empty else mmap.mmap(handle, length, access=mmap.ACCESS_READ)
        finally:
            os.close(handle)
        return cls(path, stored, mapped)

    def array(self, name: str) -> np.ndarray:
        """The tensor as a read-only view (BF16 as its uint16 bits); a copy if not aligned.

        Errors: ArtefactError for a dtype without a numpy type.
        """
        entry = self.stored[name]
        size, kind = DTYPES[entry.dtype]
        if kind is None:
            raise ArtefactError(f"{self.path}: {name}: dtype {entry.dtype} is not supported")
        if entry.stop == entry.start:
            return np.zeros(entry.shape, dtype=kind)
        count = (entry.stop - entry.start) // size
        flat = np.frombuffer(self._mapped, dtype=kind, count=count, offset=entry.start)
        flat = flat if flat.flags.aligned else flat.copy()
        return flat.reshape(entry.shape)

    def let_go(self) -> None:
        """Take no memory for what was read so far; arrays stay good and are read again if used."""
        if isinstance(self._mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            self._mapped.madvise(mmap.MADV_DONTNEED)


def _read_header(handle: int, length: int, path: Path) -> dict[str, Stored]:
    if length < 8:
        raise ArtefactError(f"{path}: {length} bytes; a safetensors file has at least 8")
    header_bytes = int.from_bytes(os.pread(handle, 8, 0), "little")
    if header_bytes > LIMITS.header_bytes:
        raise ArtefactError(
            f"{path}: states a header of {header_bytes} bytes, over the limit of "
            f"{LIMITS.header_bytes}; not a safetensors file, or damaged"
        )
    if header_bytes > length - 8:
        raise ArtefactError(
            f"{path}: states a header of {header_bytes} bytes, but {length - 8} follow; truncated"
        )
    text = os.pread(handle, header_bytes, 8)
    return parse_header(text, data_bytes=length - 8 - header_bytes, name=str(path))


def parse_header(text: bytes, *, data_bytes: int, name: str) -> dict[str, Stored]:
    """Check a header against the number of data bytes after it.

    Errors: ArtefactError for strict-JSON faults, an unknown dtype or key, a shape that does not
            fit its extent, and extents that overlap, leave a hole or miss the end of the file.
    """
    if len(text) == 0 or text[:1] != b"{":
        raise ArtefactError(f"{name}: the header does not start with '{{'")
    tree = parse_object(text, f"{name}: header", depth=HEADER_DEPTH)
    _check_metadata(tree.pop("__metadata__", None), name)
    if len(tree) > MOST_TENSORS:
        raise ArtefactError(f"{name}: {len(tree)} tensors, over the limit of {MOST_TENSORS}")
    base = 8 + len(text)
    stored = {key: _entry(entry, base, f"{name}: {key[:200]}") for key, entry in tree.items()}
    reached = base
    for key, entry in sorted(stored.items(), key=lambda item: (item[1].start, item[1].stop)):
        if entry.start != reached:
            fault = "overlaps another tensor" if entry.start < reached else "leaves a hole before"
            raise ArtefactError(f"{name}: {key[:200]}: {fault} (byte {entry.start})")
        reached = entry.stop
    if reached != base + data_bytes:
        raise ArtefactError(
            f"{name}: the tensors end at byte {reached}, the file at {base + data_bytes}; "
            "truncated or with foreign bytes at the end"
        )
    return stored


def _check_metadata(metadata: Any, name: str) -> None:
    if metadata is None:
        return
    good = isinstance(metadata, dict) and all(isinstance(text, str) for text in metadata.values())
    if not good:
        raise ArtefactError(f"{name}: __metadata__: expected an object of strings")


def _entry(entry: Any, base: int, name: str) -> Stored:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ArtefactError(f"{name}: expected exactly dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ArtefactError(f"{name}: unknown dtype {str(dtype)[:40]!r}")
    if not _sizes(shape) or len(shape) > LIMITS.tensor_dims:
        raise ArtefactError(
            f"{name}: shape: expected at most {LIMITS.tensor_dims} sizes, got {str(shape)[:200]}"
        )
    if not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ArtefactError(f"{name}: data_offsets: expected [start, stop], got {offsets!s:.80}")
    start, stop = offsets
    needed = math.prod(shape) * DTYPES[dtype][0]
    if stop - start != needed:
        raise ArtefactError(
            f"{name}: {dtype} of shape {shape} needs {needed} bytes, its extent has {stop - start}"
        )
    return Stored(dtype, tuple(shape), base + start, base + stop)


def _sizes(values: Any) -> bool:
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value < 1 << 63 for value in values
    )


@dataclass(frozen=True, slots=True)
class Tensor:
    """What the writer stores: an array and the name of its dtype in the file."""

    dtype: str
    array: np.ndarray


def write_tensors(path: Path, tensors: Iterable[tuple[str, Tensor]]) -> int:
    """Write a safetensors file, tensor after tensor; the widest dtypes lie first, so all align.

    Returns: the bytes of the data.
    """
    ordered = sorted(tensors, key=lambda item: (-DTYPES[item[1].dtype][0], item[0]))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    reached = 0
    for name, tensor in ordered:
        stop = reached + tensor.array.nbytes
        header[name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.array.shape),
            "data_offsets": [reached, stop],
        }
        reached = stop
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for _, tensor in ordered:
            little = tensor.array.astype(tensor.array.dtype.newbyteorder("<"), copy=False)
            file.write(np.ascontiguousarray(little).data)
    return reached
