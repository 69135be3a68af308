"""Weight records; torch is the outside reference for bfloat16."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparing.base.errors import ShapeError
from sparing.kernels.formats import (
    BFloat16,
    Float32,
    Int4,
    Int8,
    from_bfloat16,
    pack_int4,
    to_bfloat16,
    unpack_int4,
)

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, 3.4e38, 1.00390625, 1.01171875]


def test_bfloat16_rounds_as_torch_does() -> None:
    bits = np.random.default_rng(0).integers(0, 1 << 32, 20000, dtype=np.uint64)
    values = np.concatenate((bits.astype(np.uint32).view(np.float32), np.float32(SPECIAL)))
    ours = from_bfloat16(to_bfloat16(values))
    theirs = torch.from_numpy(values).bfloat16().float().numpy()
    np.testing.assert_array_equal(ours, theirs)
    signed = ~np.isnan(values)
    np.testing.assert_array_equal(np.signbit(ours[signed]), np.signbit(theirs[signed]))


@given(st.lists(st.lists(st.integers(-8, 7), min_size=6, max_size=6), min_size=1, max_size=5))
def test_int4_codes_survive_packing(codes: list[list[int]]) -> None:
    code_ZD = np.array(codes, np.int8)
    packed = pack_int4(code_ZD)
    assert packed.nbytes * 2 == code_ZD.size
    np.testing.assert_array_equal(unpack_int4(packed), code_ZD)
    assert packed[0, 0] & 15 == code_ZD[0, 0] + 8  # the even column lies low


def test_groups_run_along_the_columns() -> None:
    code_ZD = np.arange(-6, 6, dtype=np.int8).reshape(2, 6)
    scale_ZJ = np.float32([[1, 10], [100, 1000]])
    want = code_ZD * np.repeat(scale_ZJ, 3, axis=1)
    np.testing.assert_array_equal(Int8(code_ZD, scale_ZJ).dequantise(), want)
    np.testing.assert_array_equal(Int4(pack_int4(code_ZD), scale_ZJ).dequantise(), want)


def test_sizes_count_codes_and_scales() -> None:
    code_ZD, scale_ZJ = np.zeros((4, 8), np.int8), np.ones((4, 2), np.float32)
    assert Int8(code_ZD, scale_ZJ).nbytes == 32 + 32
    assert Int4(pack_int4(code_ZD), scale_ZJ).nbytes == 16 + 32
    assert BFloat16(np.zeros((4, 8), np.uint16)).nbytes == 64
    assert Float32(np.zeros((4, 8), np.float32)).nbytes == 128
    assert Int4(pack_int4(code_ZD), scale_ZJ).shape == (4, 8)


@pytest.mark.parametrize("groups", [0, 3, 16])
def test_scales_that_do_not_divide_the_columns_are_refused(groups: int) -> None:
    with pytest.raises(ShapeError, match="scale_ZJ"):
        Int8(np.zeros((2, 8), np.int8), np.ones((2, groups), np.float32))


def test_another_type_or_layout_is_refused() -> None:
    with pytest.raises(ShapeError, match="array_ZD"):
        Float32(np.zeros((2, 2)))
    with pytest.raises(ShapeError, match="code_ZD"):
        Int8(np.zeros((2, 8), np.int8)[:, ::2], np.ones((2, 1), np.float32))
    with pytest.raises(ShapeError, match="even"):
        pack_int4(np.zeros((2, 3), np.int8))
