"""The bound of rounding, its search, and its codes against the compressed-tensors package."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sparing.base.errors import ConfigError, ShapeError
from sparing.compression.rtn import (
    SEARCH,
    bfloat16_scale,
    fitting_group,
    round_to_nearest,
)

WEIGHTS = arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.sampled_from([16, 32, 48])),
    elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=True),
)


@given(WEIGHTS, st.sampled_from([4, 8]), st.sampled_from([4, 8, 16]))
def test_plain_rounding_is_within_half_a_step(weight_ZD, bits, group):
    found = round_to_nearest(weight_ZD, bits=bits, group=group)
    error_ZD = np.abs(found.dequantise().astype(np.float64) - weight_ZD)
    half_ZD = np.repeat(found.scale_ZJ.astype(np.float64), group, axis=1) / 2
    assert (error_ZD <= half_ZD * (1 + 1e-6)).all()
    limit = 2 ** (bits - 1) - 1
    assert found.code_ZD.min() >= -limit - (bits < 8)
    assert found.code_ZD.max() <= limit
    assert (found.scale_ZJ > 0).all()


@given(WEIGHTS, st.sampled_from([4, 8]))
def test_the_search_is_never_worse_than_plain(weight_ZD, bits):
    weight_ZD = np.clip(weight_ZD, -1e15, 1e15)  # so that squares fit float32
    plain = round_to_nearest(weight_ZD, bits=bits, group=16)
    searched = round_to_nearest(weight_ZD, bits=bits, group=16, shares=SEARCH)
    errors = [
        np.square(found.dequantise().astype(np.float64) - weight_ZD).reshape(-1, 16).sum(-1)
        for found in (plain, searched)
    ]
    assert (errors[1] <= errors[0] * (1 + 1e-4) + 1e-30).all()


def test_the_search_helps_where_one_weight_is_large():
    weight_ZD = np.random.default_rng(0).normal(size=(64, 128)).astype(np.float32)
    weight_ZD[:, 0] = 6.0
    errors = [
        np.square(round_to_nearest(weight_ZD, bits=4, group=128, shares=s).dequantise() - weight_ZD)
        for s in ((1.0,), SEARCH)
    ]
    assert errors[1].mean() < 0.85 * errors[0].mean()


def test_the_best_scale_equals_a_search_by_brute_force():
    weight_ZD = np.random.default_rng(1).standard_t(4, size=(20, 32)).astype(np.float32)
    found = round_to_nearest(weight_ZD, bits=4, group=32, shares=SEARCH)
    for row, weight_D in enumerate(weight_ZD):
        attempts = []
        for share in SEARCH:
            scale = bfloat16_scale(np.abs(weight_D).max(keepdims=True) * np.float32(share / 7))[0]
            codes = np.clip(np.rint(weight_D / scale), -8, 7)
            attempts.append((np.square(codes * scale - weight_D).sum(), scale))
        assert found.scale_ZJ[row, 0] == min(attempts)[1]


def test_chunks_of_rows_do_not_change_the_result(monkeypatch):
    weight_ZD = np.random.default_rng(2).normal(size=(37, 64)).astype(np.float32)
    whole = round_to_nearest(weight_ZD, bits=4, group=32, shares=SEARCH)
    monkeypatch.setattr("sparing.compression.rtn.CHUNK_WEIGHTS", 5 * 64)
    parts = round_to_nearest(weight_ZD, bits=4, group=32, shares=SEARCH)
    np.testing.assert_array_equal(parts.code_ZD, whole.code_ZD)
    np.testing.assert_array_equal(parts.scale_ZJ, whole.scale_ZJ)


def test_zeros_and_the_smallest_numbers_stay_finite():
    weight_ZD = np.zeros((2, 32), dtype=np.float32)
    weight_ZD[1, 3] = 1e-45
    for shares in ((1.0,), SEARCH):
        found = round_to_nearest(weight_ZD, bits=4, group=16, shares=shares)
        assert np.isfinite(found.dequantise()).all()
        assert (found.code_ZD[0] == 0).all()


def test_scales_are_what_torch_calls_bfloat16():
    torch = pytest.importorskip("torch")
    scale_N = np.abs(np.random.default_rng(3).normal(size=5000)).astype(np.float32)
    wanted = torch.from_numpy(scale_N).to(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(bfloat16_scale(scale_N), wanted)


@pytest.mark.parametrize("bits", [4, 8])
def test_codes_equal_those_of_compressed_tensors(bits):
    """Its `quantize` with our scales gives our codes, and its packed words unpack to them."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("compressed_tensors")
    from compressed_tensors.compressors.pack_quantized.helpers import (
        pack_to_int32,
        unpack_from_int32,
    )
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.lifecycle.forward import quantize

    from sparing.compression.compress import stored
    from sparing.models.quantised import pack_rows

    weight_ZD = np.random.default_rng(4).normal(size=(12, 96)).astype(np.float32)
    found = round_to_nearest(weight_ZD, bits=bits, group=32, shares=SEARCH)
    args = QuantizationArgs(num_bits=bits, symmetric=True, strategy="group", group_size=32)
    theirs = quantize(
        x=torch.from_numpy(weight_ZD),
        scale=torch.from_numpy(found.scale_ZJ),
        zero_point=None,
        args=args,
        dtype=torch.int8,
    )
    ours = np.where(found.code_ZD == -127, theirs.numpy(), found.code_ZD)  # they go to -128
    np.testing.assert_array_equal(ours, theirs.numpy())
    words_ZW = pack_rows(stored(found, f"int{bits}"))
    wanted = pack_to_int32(torch.from_numpy(found.code_ZD), bits)
    np.testing.assert_array_equal(words_ZW, wanted.numpy())
    back = unpack_from_int32(torch.from_numpy(words_ZW.copy()), bits, torch.Size((12, 96)))
    np.testing.assert_array_equal(back.numpy(), found.code_ZD)


@pytest.mark.parametrize(
    ("lengths", "wanted", "group"),
    [([128, 256], 128, 128), ([192, 512], 128, 64), ([96, 64], 128, 32), ([36], 36, 36)],
)
def test_the_group_is_halved_until_it_fits(lengths, wanted, group):
    assert fitting_group(lengths, wanted) == group


def test_when_no_half_fits_the_groups_that_do_are_listed():
    with pytest.raises(ConfigError, match=r"valid groups: 36, 18, 12, 6, 4, 2$"):
        fitting_group([36, 72], 128)
    with pytest.raises(ConfigError, match="none"):
        fitting_group([35], 128)


def test_rows_that_do_not_divide_are_refused():
    with pytest.raises(ShapeError, match="rows of 20"):
        round_to_nearest(np.zeros((1, 20), dtype=np.float32), bits=4, group=16)
