"""Packed weights met by rows rounded to int8: the numbers, and the bits that must not move.

The law here is float64 numpy on the rounded rows: integer sums are exact, so what is left is one
rounding per group and a few more (packed.h).
"""

import numpy as np
import pytest

from sparing.base.errors import ShapeError
from sparing.kernels import native
from sparing.kernels.formats import (
    BFloat16,
    Float32,
    Int3,
    Int4,
    Int8,
    Packed,
    Weight,
    pack_int3,
    pack_int4,
    to_bfloat16,
)

ISAS = native.library().isas()
CODES = ("int8", "int4", "int3", "int8 offset", "int4 offset", "int3 offset")
KINDS = ("fp32", "bf16", *CODES)
# Z, D, columns per scale: panels with a rest, each packed group, groups that repeat their scale
SHAPES = [(33, 256, 128), (16, 64, 32), (5, 192, 96), (40, 128, 64), (17, 48, 16), (7, 768, 768)]
HALF_STEP = 2.0**-24


def record(kind: str, Z: int, D: int, group: int, *, half: bool = True) -> Weight:
    rng = np.random.default_rng(Z * D)
    numbers_ZD = rng.standard_normal((Z, D)).astype(np.float32)
    if kind == "fp32":
        return Float32(numbers_ZD)
    if kind == "bf16":
        return BFloat16(to_bfloat16(numbers_ZD))
    width = np.float16 if half else np.float32
    scale_ZJ = rng.uniform(0.01, 0.1, (Z, D // group)).astype(width).astype(np.float32)
    offset_ZJ = rng.standard_normal(scale_ZJ.shape).astype(width).astype(np.float32)
    offset = offset_ZJ if kind.endswith("offset") else None
    bits = int(kind[3])
    code_ZD = rng.integers(-(1 << bits - 1), 1 << bits - 1, (Z, D)).astype(np.int8)
    code_ZD[0], code_ZD[-1] = code_ZD.min(), code_ZD.max()  # the ends, where sums are largest
    if bits == 8:
        return Int8(code_ZD, scale_ZJ, offset)
    if bits == 4:
        return Int4(pack_int4(code_ZD), scale_ZJ, offset)
    return Int3(pack_int3(code_ZD), scale_ZJ, offset)


def columns(group: int) -> int:
    """Columns that are rounded together."""
    return next(width for width in (128, 64, 32, 16) if group % width == 0)


def rounded(x_ND: np.ndarray, width: int) -> np.ndarray:
    """The rows as int8 codes times scales, in float64."""
    x_NJU = x_ND.reshape(len(x_ND), -1, width)
    most_NJ1 = np.abs(x_NJU).max(axis=-1, keepdims=True)
    safe_NJ1 = np.where(most_NJ1 < 1e-30, np.float32(1), most_NJ1)
    code_NJU = np.rint(x_NJU * np.where(most_NJ1 < 1e-30, 0, np.float32(127) / safe_NJ1))
    return (code_NJU * (most_NJ1 / np.float32(127)).astype(np.float64)).reshape(x_ND.shape)


def rows(N: int, D: int) -> np.ndarray:
    x_ND = np.random.default_rng(N).standard_normal((N, D)).astype(np.float32)
    x_ND[-1] = np.where(np.arange(D) % 2, 3.0, -3.0)  # codes 127 and -127 throughout
    return x_ND


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("N", [1, 2, 3, 13])
def test_products(isa: str, kind: str, shape: tuple[int, int, int], N: int) -> None:
    """packed.h's bound; AVX-512 rounds rows to bf16 for bf16 weights, half of 2^-8 each."""
    _, D, group = shape
    weight, x_ND = record(kind, *shape), rows(N, D)
    exact_ZD = weight.dequantise().astype(np.float64)
    row_ND = rounded(x_ND, columns(group)) if kind in CODES else x_ND.astype(np.float64)
    got = native.linear(weight, x_ND, isa=isa, activations="int8")
    steps = D / columns(group) + 4 if kind in CODES else 130 + D / 128
    bound = steps * HALF_STEP * (np.abs(row_ND) @ np.abs(exact_ZD).T)
    if kind.endswith("offset"):  # codes and offsets are summed apart
        factor = weight.scale_ZJ, weight.offset_ZJ
        size_ZJ = 2 ** (int(kind[3]) - 1) * np.abs(factor[0]) + np.abs(factor[1])
        bound = steps * HALF_STEP * (np.abs(row_ND) @ np.repeat(size_ZJ, group, axis=1).T)
    if isa == "avx512" and kind == "bf16":
        bound = bound + 2.0**-9 * (np.abs(row_ND) @ np.abs(exact_ZD).T)
    assert (np.abs(got - row_ND @ exact_ZD.T) <= bound).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(33, 256, 128), (17, 96, 32)])
def test_bits_depend_on_the_row_alone(isa: str, kind: str, shape: tuple[int, int, int]) -> None:
    weight, x_ND = record(kind, *shape), rows(70, shape[1])
    one, two = (native.Map(weight, isa=isa, threads=threads) for threads in (1, 3))
    together, others, alone = (np.empty((70, shape[0]), np.float32) for _ in range(3))
    one.multiply(x_ND, together)
    two.multiply(x_ND, others)
    np.testing.assert_array_equal(together, others)
    for first, last in [(0, 1), (1, 3), (3, 6), (6, 11), (11, 17), (17, 70)]:
        one.multiply(x_ND[first:last].copy(), alone[first:last])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("half", [True, False], ids=["half", "whole"])
def test_packing_keeps_every_number(isa: str, kind: str, half: bool) -> None:
    weight = record(kind, 21, 160, 32, half=half)
    packed = native.pack(weight, isa)
    assert packed is not None
    assert packed.half == (half and kind in CODES)
    assert packed.layout == native.packed_layout(isa)
    kept = native.Map(packed, isa=isa)
    np.testing.assert_array_equal(
        np.stack([kept.decode(z) for z in range(21)]), weight.dequantise()
    )
    x_ND = rows(3, 160)
    by_file = native.linear(packed, x_ND, isa=isa, activations="int8")
    by_load = native.linear(weight, x_ND, isa=isa, activations="int8")
    np.testing.assert_array_equal(by_file, by_load)


@pytest.mark.parametrize("isa", ISAS)
def test_products_are_added_and_nan_stays_in_its_row(isa: str) -> None:
    weight, x_ND = record("int4", 20, 64, 32), rows(4, 64)
    clean = native.linear(weight, x_ND, isa=isa, activations="int8")
    x_ND[1, 5], x_ND[2, 7] = np.nan, np.inf
    added = np.ones((4, 20), np.float32)
    native.Map(weight, isa=isa).multiply(x_ND, added, add=True)
    assert np.isnan(added[1:3]).all()
    np.testing.assert_array_equal(added[::3], clean[::3] + np.float32(1))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("value", [0.0, 1e-38, 1e-31, 3e38])
def test_rows_of_extreme_size(isa: str, value: float) -> None:
    """Below 1e-30 a group counts as zeros."""
    weight = record("int8", 16, 32, 32)
    x_ND = np.full((1, 32), value, np.float32)
    got = native.linear(weight, x_ND, isa=isa, activations="int8")
    want = rounded(x_ND, 32) @ weight.dequantise().astype(np.float64).T
    if value < 1e-30:
        np.testing.assert_array_equal(got, 0)
    else:
        with np.errstate(over="ignore"):
            np.testing.assert_allclose(got, want.astype(np.float32), rtol=1e-5)


def test_groups_that_cannot_be_packed_stay_exact() -> None:
    weight, x_ND = record("int8", 6, 60, 20), rows(3, 60)
    assert native.pack(weight) is None
    np.testing.assert_array_equal(
        native.linear(weight, x_ND, activations="int8"),
        native.linear(weight, x_ND, activations="exact"),
    )


def test_packed_records_that_lie_are_refused() -> None:
    packed = native.pack(record("int4", 20, 64, 32))
    assert packed is not None
    good = dict(zip(Packed.__dataclass_fields__, (packed.data, *packed.form), strict=True))
    x_ND = rows(1, 64)
    for change in (
        {"rows": 33},
        {"columns": 128},
        {"columns": 1 << 40},
        {"group": 0},
        {"group": 48},
        {"shifted": True},
        {"kind": "int3"},
        {"kind": "int8"},
        {"layout": "whole-0"},
        {"data": packed.data[:-1].copy()},
    ):
        with pytest.raises(ShapeError):
            native.linear(Packed(**(good | change)), x_ND, activations="int8")
    other = next(name for name in ("eights-1", "whole-1") if name != packed.layout)
    with pytest.raises(ShapeError, match=r"instruction set|bytes"):
        native.linear(Packed(**(good | {"layout": other})), x_ND, activations="int8")
    with pytest.raises(ShapeError, match="exact"):
        native.linear(packed, x_ND, activations="exact")
