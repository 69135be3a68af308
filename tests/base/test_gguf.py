"""GGUF containers against the gguf package, both ways, and what lying files are told."""

import random
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from sparing.base.errors import ArtefactError
from sparing.base.gguf import BLOCKS, GgufFile, parse
from sparing.base.gguf_writer import Stored, write

PAIRS = {
    "general.architecture": "llama",
    "a.bool": True,
    "a.int": 7,
    "a.negative": -3,
    "a.large": 1 << 40,
    "a.float": 0.5,
    "a.text": "\u043f\u0440\u0438\u0432\u0435\u0442",
    "a.list": ["x", "", "z"],
    "a.numbers": [1, 2, 3],
    "a.floats": [0.25, -1.5],
    "a.truths": [True, False],
}


def package_file(path: Path) -> Path:
    """A file as the gguf package writes it: pairs of every type, three tensors."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint8("t.u8", 200)
    writer.add_int8("t.i8", -100)
    writer.add_uint16("t.u16", 60000)
    writer.add_int16("t.i16", -30000)
    writer.add_uint32("t.u32", 1 << 31)
    writer.add_int32("t.i32", -(1 << 31))
    writer.add_uint64("t.u64", (1 << 64) - 1)
    writer.add_int64("t.i64", -(1 << 63))
    writer.add_float32("t.f32", 0.25)
    writer.add_float64("t.f64", 1e-300)
    writer.add_bool("t.bool", True)
    writer.add_array("t.strings", ["a", "bc"])
    writer.add_array("t.ints", [3, -4])
    rng = np.random.default_rng(0)
    writer.add_tensor("one", rng.normal(size=(3, 5)).astype(np.float32))
    writer.add_tensor("two", rng.normal(size=7).astype(np.float16))
    raw = rng.integers(0, 256, (4, 2 * 34), dtype=np.uint8)
    writer.add_tensor("three", raw, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_reads_what_the_package_writes(tmp_path: Path) -> None:
    ours = GgufFile.open(package_file(tmp_path / "f.gguf"))
    theirs = gguf.GGUFReader(tmp_path / "f.gguf")
    for key, field in theirs.fields.items():
        if not key.startswith("GGUF."):
            mine, stated = ours.pairs[key], field.contents()
            mine = mine.tolist() if isinstance(mine, np.ndarray) else mine
            assert mine == stated, key
    assert set(ours.tensors) == {"one", "two", "three"}
    for tensor in theirs.tensors:
        block = ours.tensors[tensor.name]
        assert block.shape == tuple(map(int, tensor.shape))[::-1]
        assert block.kind == tensor.tensor_type.name
        assert ours.rows(tensor.name).tobytes() == tensor.data.tobytes()


def test_the_package_reads_what_we_write(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    first = rng.normal(size=(3, 5)).astype(np.float32)
    second = rng.integers(0, 256, (2, 34), dtype=np.uint8)
    tensors = {
        "first": Stored("F32", (3, 5), [first[:1], first[1:]]),
        "second": Stored("Q8_0", (2, 32), [second]),
    }
    write(tmp_path / "f.gguf", PAIRS, tensors)
    theirs = gguf.GGUFReader(tmp_path / "f.gguf")
    for key, value in PAIRS.items():
        assert theirs.get_field(key).contents() == value, key
    found = {tensor.name: tensor for tensor in theirs.tensors}
    assert np.array_equal(found["first"].data, first)
    assert np.array_equal(found["second"].data, second)
    again = GgufFile.open(tmp_path / "f.gguf")
    assert again.rows("first").tobytes() == first.tobytes()


def test_sizes_of_blocks_are_those_of_the_package() -> None:
    for kind, (number, weights, block_bytes) in BLOCKS.items():
        theirs = gguf.GGMLQuantizationType(number)
        assert (theirs.name, gguf.GGML_QUANT_SIZES[theirs]) == (kind, (weights, block_bytes))


def text(raw: str) -> bytes:
    return struct.pack("<Q", len(raw)) + raw.encode()


def head(tensors: int = 0, pairs: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs)


def tensor(name="t", dims=(2,), kind=0, offset=0) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def aligned(raw: bytes) -> bytes:
    return raw + b"\0" * (-len(raw) % 32)


HUGE = (1 << 64) - 1
LIES = {
    "empty": (b"", "truncated"),
    "magic": (b"GGML" + head()[4:], "does not begin with GGUF"),
    "version 1": (head(version=1), "expected version 2 or 3"),
    "big-endian": (head(version=3 << 24), "big-endian"),
    "pairs": (head(pairs=HUGE), "more than the file can hold"),
    "tensors": (head(tensors=1 << 40), "more than the file can hold"),
    "key length": (head(pairs=1) + struct.pack("<Q", HUGE) + b"x" * 64, "over the limit"),
    "string length": (head(pairs=1) + text("k") + struct.pack("<IQ", 8, 1 << 62), "truncated"),
    "array length": (head(pairs=1) + text("k") + struct.pack("<IIQ", 9, 4, 1 << 62), "over the"),
    "array bytes": (head(pairs=1) + text("k") + struct.pack("<IIQ", 9, 12, 1 << 20), "truncated"),
    "array strings": (head(pairs=1) + text("k") + struct.pack("<IIQ", 9, 8, 1 << 20), "can hold"),
    "array of arrays": (head(pairs=1) + text("k") + struct.pack("<IIQ", 9, 9, 1), "type 9"),
    "value type": (head(pairs=1) + text("k") + struct.pack("<II", 77, 1), "unknown type"),
    "bool": (head(pairs=1) + text("k") + struct.pack("<IB", 7, 2), "neither 0 nor 1"),
    "not UTF-8": (head(pairs=1) + struct.pack("<Q", 2) + b"\xff\xfe" + b"\0" * 9, "not UTF-8"),
    "key twice": (head(pairs=2) + (text("k") + struct.pack("<II", 4, 1)) * 2, "given twice"),
    "alignment 0": (
        head(pairs=1) + text("general.alignment") + struct.pack("<II", 4, 0), "power of two",
    ),
    "alignment 48": (
        head(pairs=1) + text("general.alignment") + struct.pack("<II", 4, 48), "power of two",
    ),
    "no dimensions": (aligned(head(1) + tensor(dims=())), "dimensions"),
    "many dimensions": (head(1) + text("t") + struct.pack("<I", 1 << 31) + b"\0" * 64, "dimension"),
    "dimension 0": (aligned(head(1) + tensor(dims=(0, 4))), "holds no tensor"),
    "product": (aligned(head(1) + tensor(dims=(1 << 62, 1 << 62))) + b"\0" * 64, "ends at byte"),
    "part of a block": (head(1) + tensor(dims=(33,), kind=8), "holds no tensor"),
    "type": (head(1) + tensor(kind=77), "type 77 is not supported"),
    "known type": (head(1) + tensor(kind=20), "IQ4_NL is not supported"),
    "offset": (aligned(head(1) + tensor(offset=32)) + b"\0" * 64, "leave a hole"),
    "large offset": (aligned(head(1) + tensor(offset=HUGE)) + b"\0" * 64, "leave a hole"),
    "overlap": (
        aligned(head(2) + tensor("a") + tensor("b", offset=0)) + b"\0" * 64, "overlap",
    ),
    "twice": (aligned(head(2) + tensor("a") + tensor("a", offset=32)) + b"\0" * 64, "given twice"),
    "truncated": (aligned(head(1) + tensor(dims=(9,))) + b"\0" * 32, "truncated"),
    "foreign bytes": (aligned(head(1) + tensor()) + b"\0" * 65, "foreign bytes"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_lies_are_refused(lie: str, tmp_path: Path) -> None:
    content, reason = LIES[lie]
    path = tmp_path / "f.gguf"
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match=reason):
        GgufFile.open(path)


def test_damage_is_refused_or_read_within_bounds(tmp_path: Path) -> None:
    """Flipped, cut and doubled bytes: no error but ours, and no tensor beyond the file."""
    whole = package_file(tmp_path / "f.gguf").read_bytes()
    dice = random.Random(0)
    refused = 0
    for _ in range(3000):
        content = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(min(len(content), 900))
            content[at] = dice.choice((0, 1, 255, content[at] ^ (1 << dice.randrange(8))))
        if dice.random() < 0.3:
            content = content[: dice.randrange(len(content))]
        try:
            _, tensors = parse(bytes(content), "f")
        except ArtefactError:
            refused += 1
            continue
        assert all(0 <= block.start <= block.stop <= len(content) for block in tensors.values())
    assert refused > 1000


def test_links_and_pipes(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="not a regular file"):
        GgufFile.open(tmp_path)
    with pytest.raises(ArtefactError, match="not readable"):
        GgufFile.open(tmp_path / "absent.gguf")
