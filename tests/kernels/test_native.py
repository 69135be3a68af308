"""Every native operation and variant against float64, and the bits that must not move."""

import numpy as np
import pytest

from sparing.base.errors import ShapeError
from sparing.kernels import native, reference
from sparing.kernels.formats import (
    BFloat16,
    Float32,
    Int3,
    Int4,
    Int8,
    Weight,
    pack_int3,
    pack_int4,
    to_bfloat16,
)

ISAS = native.library().isas()
KINDS = ("fp32", "bf16", "int8", "int4", "int3", "int8 offset", "int4 offset", "int3 offset")
# Z, D, columns per scale: whole vectors, tails, groups off the vector width, one group, one column
SHAPES = [
    (8, 64, 32),
    (9, 48, 16),
    (5, 96, 96),
    (3, 30, 10),
    (17, 128, 2),
    (1, 2, 2),
    (6, 100, 100),
]
HALF_STEP = 2.0**-24


def weight(kind: str, Z: int, D: int, group: int, seed: int = 0) -> Weight:
    """A random record of this kind."""
    rng = np.random.default_rng(seed)
    numbers = rng.standard_normal((Z, D)).astype(np.float32)
    scale_ZJ = rng.uniform(0.01, 0.1, (Z, D // group)).astype(np.float32)
    offset_ZJ = rng.standard_normal(scale_ZJ.shape).astype(np.float32) if " " in kind else None
    if kind == "fp32":
        return Float32(numbers)
    if kind == "bf16":
        return BFloat16(to_bfloat16(numbers))
    bits = int(kind[3])
    code_ZD = rng.integers(-(1 << bits - 1), 1 << bits - 1, (Z, D)).astype(np.int8)
    if bits == 8:
        return Int8(code_ZD, scale_ZJ, offset_ZJ)
    if bits == 4:
        return Int4(pack_int4(code_ZD), scale_ZJ, offset_ZJ)
    return Int3(pack_int3(code_ZD), scale_ZJ, offset_ZJ)


# int3 rows are whole bytes: multiples of eight columns.
RECORDS = [
    (kind, shape)
    for kind in KINDS
    for shape in SHAPES
    if not kind.startswith("int3") or shape[1] % 8 == 0
]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("kind", "shape"), RECORDS)
@pytest.mark.parametrize("rows", [1, 2, 3, 13])
def test_linear(isa: str, kind: str, shape: tuple[int, int, int], rows: int) -> None:
    """Within the bound of float32 sums of D / 8 steps, 4 more to add up, 1 product."""
    record = weight(kind, *shape)
    D = shape[1]
    x_ND = np.random.default_rng(1).standard_normal((rows, D)).astype(np.float32)
    got = native.linear(record, x_ND, isa=isa)
    exact_ZD = record.dequantise().astype(np.float64)
    want = reference.linear(x_ND.astype(np.float64), exact_ZD)
    bound = (D / 8 + 6) * HALF_STEP * (np.abs(x_ND) @ np.abs(exact_ZD).T)
    assert (np.abs(got - want) <= bound).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("kind", "shape"), RECORDS)
def test_rows_alone_and_decoded_weights_give_the_same_bits(
    isa: str, kind: str, shape: tuple[int, int, int]
) -> None:
    record = weight(kind, *shape)
    x_ND = np.random.default_rng(2).standard_normal((11, shape[1])).astype(np.float32)
    together = native.linear(record, x_ND, isa=isa)
    alone = np.concatenate([native.linear(record, x_ND[n : n + 1], isa=isa) for n in range(11)])
    np.testing.assert_array_equal(together, alone)
    decoded = native.linear(Float32(record.dequantise()), x_ND, isa=isa)
    np.testing.assert_array_equal(together, decoded)


@pytest.mark.parametrize("isa", ISAS)
def test_many_rows_and_wide_maps_cross_the_blocks_of_x(isa: str) -> None:
    x_ND = np.random.default_rng(3).standard_normal((100, 6000)).astype(np.float32)
    record = weight("int8", 6, 6000, 120)
    got = native.linear(record, x_ND, isa=isa)
    want = reference.linear(x_ND.astype(np.float64), record.dequantise().astype(np.float64))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())
    last = native.linear(record, x_ND[-1:].copy(), isa=isa)
    np.testing.assert_array_equal(got[-1:], last)


@pytest.mark.parametrize("D", [1, 7, 8, 24, 100])
def test_rms_norm(D: int) -> None:
    rng = np.random.default_rng(5)
    x_ND = rng.standard_normal((4, D)).astype(np.float32) * 3
    weight_D = rng.standard_normal(D).astype(np.float32)
    got = native.rms_norm(x_ND, weight_D, 1e-5)
    want = reference.rms_norm(x_ND.astype(np.float64), weight_D.astype(np.float64), 1e-5)
    np.testing.assert_allclose(got, want, rtol=2e-6)


def test_wrong_shapes_and_types_are_refused() -> None:
    record = weight("fp32", 4, 8, 8)
    with pytest.raises(ShapeError, match=r"x \[N, D\]"):
        native.linear(record, np.zeros((2, 9), np.float32))
    with pytest.raises(ShapeError, match="contiguous"):
        native.linear(record, np.zeros((2, 8)))
    with pytest.raises(ShapeError, match="contiguous"):
        native.linear(record, np.zeros((8, 2), np.float32).T)
    with pytest.raises(ShapeError, match="sse2: expected"):
        native.linear(record, np.zeros((2, 8), np.float32), isa="sse2")
