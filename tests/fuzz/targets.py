"""What the fuzzers call: each target reads one input and raises only where a reader is wrong.

A reader may refuse an input with `ArtefactError` and with nothing else.  What it accepts must hold
together: extents inside the file, records of the stated shape.
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from sparing.base import gguf
from sparing.base.errors import ArtefactError, ShapeError
from sparing.kernels import native
from sparing.models.gguf_blocks import read_blocks
from sparing.models.hf_config import parse_config
from sparing.models.packed_file import parse_packed
from sparing.models.quantised import fitting_bits, read_record, read_schemes
from sparing.models.strict_json import parse_object
from sparing.models.tensor_file import DTYPES, TensorFile, parse_header
from sparing.tokenizer.gguf_vocab import read_vocabulary

Target = Callable[[bytes], None]
SCRATCH = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp") / f"sparing-fuzz-{os.getpid()}"
MOST_WEIGHTS = 1 << 16  # unpacked per input, so that a run measures readers and not numpy


def header(data: bytes) -> None:
    """The head of a safetensors file: two bytes, how much data follows, then the JSON text."""
    data_bytes, text = int.from_bytes(data[:2], "little"), data[2:]
    try:
        stored = parse_header(text, data_bytes=data_bytes, name="file")
    except ArtefactError:
        return
    base = 8 + len(text)
    assert sum(entry.stop - entry.start for entry in stored.values()) == data_bytes
    for entry in stored.values():
        assert base <= entry.start <= entry.stop <= base + data_bytes
        assert entry.stop - entry.start == math.prod(entry.shape) * DTYPES[entry.dtype][0]


def safetensors(data: bytes) -> None:
    """A whole safetensors file, every tensor of it touched."""
    SCRATCH.write_bytes(data)
    try:
        file = TensorFile.open(SCRATCH)
        arrays = [(name, _array(file, name)) for name in file.stored]
    except ArtefactError:
        return
    finally:
        SCRATCH.unlink(missing_ok=True)
    for name, array in arrays:
        if array is not None:
            assert array.shape == file.stored[name].shape
            assert len(array.tobytes()) == array.nbytes


def _array(file: TensorFile, name: str) -> np.ndarray | None:
    try:
        return file.array(name)
    except ArtefactError:  # a dtype without a numpy type
        return None


def config(data: bytes) -> None:
    """A config.json."""
    try:
        parsed = parse_config(parse_object(data, "file"))
    except ArtefactError:
        return
    traits = parsed.config
    assert 0 < traits.layers <= 1 << 16
    assert 0 < traits.heads * traits.head_width <= 1 << 40


def quantised(data: bytes) -> None:
    """A quantization_config, then a weight of stated extents: {"config", "shape", "words", ..}."""
    try:
        tree = parse_object(data, "file")
        schemes = read_schemes(tree.get("config"))
    except ArtefactError:
        return
    shapes = [tree.get(key) for key in ("shape", "packed", "scale")]
    if not all(_is_shape(shape) for shape in shapes):
        return
    shape, packed, scale = (tuple(shape) for shape in shapes)
    try:
        fitting_bits(packed, scale, shape, schemes, "weight")
        if math.prod(packed) > MOST_WEIGHTS or math.prod(scale) > MOST_WEIGHTS:
            return
        words = np.arange(math.prod(packed), dtype="<i4").reshape(packed)
        record = read_record(words, np.ones(scale, np.float32), shape, schemes, "weight")
    except ArtefactError:
        return
    assert record.shape == shape
    assert record.dequantise().shape == shape


def _is_shape(shape: object) -> bool:
    """What the header of a file lets through for the three arrays: pairs of sizes."""
    return (
        isinstance(shape, list)
        and len(shape) == 2
        and all(type(size) is int and 0 < size < 1 << 63 for size in shape)
    )


def gguf_file(data: bytes) -> None:
    """A whole GGUF file, small tensors unpacked."""
    try:
        _, tensors = gguf.parse(data, "file")
    except ArtefactError:
        return
    reached = 0
    for name, block in tensors.items():
        assert reached <= block.start <= block.stop <= len(data)
        reached = block.stop
        if math.prod(block.shape) > MOST_WEIGHTS:
            continue
        flat = np.frombuffer(data, np.uint8, block.stop - block.start, block.start)
        rows = flat.reshape(math.prod(block.shape[:-1]), -1)
        try:
            record = read_blocks(rows, block.kind, block.shape, name)
        except ArtefactError:
            continue
        assert record.shape == block.shape
        assert record.dequantise().shape == block.shape


def vocabulary(data: bytes) -> None:
    """The pairs of a GGUF file as a tokenizer, which then meets a text."""
    try:
        pairs, _ = gguf.parse(data, "file")
        found = read_vocabulary(pairs, "file")
    except ArtefactError:
        return
    ids = found.library.encode("Hello, w\u00f6rld 42\n").ids
    found.library.decode(ids)
    json.dumps(found.settings)


def packed(data: bytes) -> None:
    """A file of packed weights, each of which the library then takes or refuses."""
    shapes = {"a": (20, 64), "b": (3, 5)}
    try:
        matrices = parse_packed(data, "file", native.packed_layout(), "0" * 64, shapes)
        for matrix in matrices.values():
            native.Map(matrix)
    except (ArtefactError, ShapeError):
        return
    x_1D = np.ones((1, 64), np.float32)
    for name, matrix in matrices.items():
        out_1Z = np.empty((1, shapes[name][0]), np.float32)
        native.Map(matrix).multiply(x_1D[:, : shapes[name][1]].copy(), out_1Z)


TARGETS: Mapping[str, Target] = {
    "header": header,
    "safetensors": safetensors,
    "config": config,
    "quantised": quantised,
    "gguf": gguf_file,
    "vocabulary": vocabulary,
    "packed": packed,
}
