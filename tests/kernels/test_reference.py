"""The law itself, against torch in float64."""

import numpy as np
import torch
import torch.nn.functional as F

from sparing.kernels import reference

rng = np.random.default_rng(1)
TOLERANCE = 1e-12  # float64 against float64


def test_rms_norm() -> None:
    x_ND, weight_D = rng.standard_normal((5, 24)), rng.standard_normal(24)
    want = F.rms_norm(torch.tensor(x_ND), (24,), torch.tensor(weight_D), eps=1e-5)
    got = reference.rms_norm(x_ND, weight_D, 1e-5)
    np.testing.assert_allclose(got, want, rtol=TOLERANCE)


def test_linear() -> None:
    x_ND, weight_ZD, bias_Z = (rng.standard_normal(s) for s in ((3, 8), (5, 8), (5,)))
    want = F.linear(torch.tensor(x_ND), torch.tensor(weight_ZD), torch.tensor(bias_Z))
    np.testing.assert_allclose(reference.linear(x_ND, weight_ZD, bias_Z), want, rtol=TOLERANCE)


def test_swiglu() -> None:
    gate_NM, up_NM = rng.standard_normal((2, 3, 8))
    want = F.silu(torch.tensor(gate_NM)) * torch.tensor(up_NM)
    np.testing.assert_allclose(reference.swiglu(gate_NM, up_NM), want, rtol=TOLERANCE)


def test_attention_of_later_positions_is_the_end_of_the_whole() -> None:
    q, k, v = rng.standard_normal((9, 6, 8)), *rng.standard_normal((2, 9, 2, 8))
    want = F.scaled_dot_product_attention(
        *(torch.tensor(x).transpose(0, 1) for x in (q, k, v)), is_causal=True, enable_gqa=True
    ).transpose(0, 1)
    got = reference.attention(q, k, v, position=0)
    np.testing.assert_allclose(got, want, rtol=TOLERANCE, atol=TOLERANCE)
    later = reference.attention(q[6:], k, v, position=6)
    np.testing.assert_allclose(later, got[6:], rtol=TOLERANCE, atol=TOLERANCE)


def test_rope_turns_pairs_as_complex_numbers() -> None:
    x_NHK, position_N = rng.standard_normal((4, 2, 6)), np.array([0, 3, 100, 7])
    frequency_Y = np.array([1.0, 0.1, 0.01])
    pair = x_NHK[..., :3] + 1j * x_NHK[..., 3:]
    turned = pair * 1.5 * np.exp(1j * position_N[:, None, None] * frequency_Y)
    got = reference.rope(x_NHK, position_N, frequency_Y, 1.5)
    np.testing.assert_allclose(got[..., :3] + 1j * got[..., 3:], turned, rtol=TOLERANCE)
