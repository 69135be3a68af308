"""Tensors for GGUF: what is kept stays to the bit, what is rounded is rounded as ggml does."""

import gguf
import numpy as np
import pytest

from sparing.base.gguf_writer import Stored
from sparing.kernels.formats import (
    BFloat16,
    Float32,
    Int3,
    Int4,
    Int8,
    Weight,
    from_bfloat16,
    pack_int3,
    pack_int4,
    to_bfloat16,
)
from sparing.models.gguf_encode import encode

RNG = np.random.default_rng(3)


def numbers(stored: Stored) -> np.ndarray:
    """What the gguf package takes the bytes for."""
    rows = np.concatenate([np.ascontiguousarray(run).view(np.uint8).ravel() for run in stored.rows])
    assert rows.nbytes == stored.nbytes
    rows = rows.reshape(stored.shape[0], -1) if len(stored.shape) == 2 else rows
    kind = gguf.GGMLQuantizationType[stored.kind]
    return gguf.dequantize(rows, kind).reshape(stored.shape)


def scales(rows: int, groups: int) -> np.ndarray:
    return from_bfloat16(to_bfloat16(RNG.uniform(0.001, 0.1, (rows, groups))))


def codes(bits: int, rows: int = 6, columns: int = 128) -> np.ndarray:
    return RNG.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (rows, columns)).astype(np.int8)


KEPT: dict[str, tuple[Weight, str]] = {
    "int8 group 32": (Int8(codes(8), scales(6, 4)), "Q8_0"),
    "int8 group 128": (Int8(codes(8), scales(6, 1)), "Q8_0"),
    "int4 group 64": (Int4(pack_int4(codes(4)), scales(6, 2)), "Q4_0"),
    "int3 group 32": (Int3(pack_int3(codes(3)), scales(6, 4)), "Q4_0"),
    "int4 offsets": (
        Int4(pack_int4(codes(4)), np.full((6, 4), 0.25, np.float32), np.full((6, 4), 0.5, "f4")),
        "Q4_1",
    ),
    "int8 group 16": (Int8(codes(8), scales(6, 8)), "F32"),
    "int4 odd scale": (Int4(pack_int4(codes(4)), np.full((6, 2), 0.1, np.float32)), "F32"),
    "int8 offsets": (
        Int8(codes(8), np.full((6, 4), 0.25, np.float32), np.full((6, 4), 0.5, "f4")), "F16",
    ),
    "bf16": (BFloat16(to_bfloat16(RNG.normal(size=(6, 10)))), "BF16"),
    "fp32": (Float32(RNG.normal(size=(6, 10)).astype(np.float32)), "F32"),
    "fp16": (Float32(RNG.normal(size=(6, 10)).astype(np.float16).astype(np.float32)), "F16"),
    "vector": (BFloat16(to_bfloat16(RNG.normal(size=10))), "F32"),
}  # fmt: skip


@pytest.mark.parametrize("case", KEPT)
@pytest.mark.parametrize("ordered", [False, True])
def test_nothing_is_lost(case: str, ordered: bool) -> None:
    weight, kind = KEPT[case]
    order = RNG.permutation(weight.shape[0]) if ordered else None
    stored = encode(weight, "keep", order)
    wanted = weight.dequantise() if order is None else weight.dequantise()[order]
    assert stored.kind == kind
    assert np.array_equal(numbers(stored), wanted)


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16", "q8_0", "q4_0"])
def test_rounding_is_that_of_ggml(kind: str) -> None:
    values = (RNG.normal(size=(40, 96)) * RNG.uniform(0, 3, (40, 1))).astype(np.float32)
    values[3] = 0.0
    values[4, :32] = np.linspace(-1, 1, 32)  # halves between codes
    wanted = gguf.quantize(values, gguf.GGMLQuantizationType[kind.upper()]).view(np.uint8)
    stored = encode(Float32(values), kind)
    found = np.concatenate([np.ascontiguousarray(r).view(np.uint8).ravel() for r in stored.rows])
    assert found.tobytes() == wanted.tobytes()


def test_rows_without_blocks_are_kept() -> None:
    stored = encode(Float32(RNG.normal(size=(6, 40)).astype(np.float32)), "q8_0")
    assert stored.kind == "F32"
