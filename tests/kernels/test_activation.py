"""Activations and LayerNorm in C++ against the law in float64, and against torch."""

import numpy as np
import pytest
import torch

from sparing.base.errors import ShapeError
from sparing.kernels import native, reference

ISAS = native.library().isas()
KINDS = ("silu", "gelu", "gelu_tanh", "relu", "quick_gelu")
TORCH = {
    "silu": torch.nn.functional.silu,
    "gelu": torch.nn.functional.gelu,
    "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    "relu": torch.nn.functional.relu,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
}


def some_numbers() -> np.ndarray:
    rng = np.random.default_rng(4)
    parts = (rng.uniform(-80, 80, 333), rng.standard_normal(401), [0.0, 100.0, -100.0, 1e-30])
    return np.concatenate(parts).astype(np.float32)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("times", [False, True], ids=["alone", "gated"])
def test_activation(kind: str, times: bool, isa: str) -> None:
    """Within 1e-6 of |x up|: roundings, and 3e-7 of the exponential."""
    x_M = some_numbers()
    up_M = np.random.default_rng(5).standard_normal(len(x_M)).astype(np.float32)
    got = native.activation(x_M, up_M if times else None, kind=kind, isa=isa)
    want = reference.activation(x_M.astype(np.float64), kind) * (up_M if times else 1.0)
    allowed = 1e-6 * np.abs(x_M * (up_M if times else 1.0)) + 1e-37
    assert (np.abs(got - want) <= allowed).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_law_is_that_of_torch(kind: str) -> None:
    x_M = torch.linspace(-9, 9, 201, dtype=torch.float64)
    want = TORCH[kind](x_M).numpy()
    np.testing.assert_allclose(reference.activation(x_M.numpy(), kind), want, atol=1e-12)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_nan_stays_a_nan(kind: str, isa: str) -> None:
    got = native.activation(np.float32([np.nan] * 9), np.ones(9, np.float32), kind=kind, isa=isa)
    assert np.isnan(got).all()


@pytest.mark.parametrize("isa", ISAS)
def test_a_part_of_a_vector_leaves_the_rest_alone(isa: str) -> None:
    x_M = np.full(40, 3.0, np.float32)
    native.library().activation(isa, "relu", x_M[:13], np.full(13, 2.0, np.float32))
    np.testing.assert_array_equal(x_M, np.repeat(np.float32([6.0, 3.0]), [13, 27]))


@pytest.mark.parametrize("D", [1, 7, 8, 24, 100])
def test_layer_norm(D: int) -> None:
    """An offset of 50 standard deviations loses about six bits, and no more."""
    rng = np.random.default_rng(5)
    x_ND = (rng.standard_normal((4, D)) * 3 + 150).astype(np.float32)
    weight_D, bias_D = rng.standard_normal((2, D)).astype(np.float32)
    got = native.layer_norm(x_ND, weight_D, bias_D, 1e-5)
    wide = [a.astype(np.float64) for a in (x_ND, weight_D, bias_D)]
    np.testing.assert_allclose(got, reference.layer_norm(*wide, 1e-5), rtol=0, atol=2e-4)
    theirs = torch.nn.functional.layer_norm(
        torch.from_numpy(wide[0]), (D,), *map(torch.from_numpy, wide[1:]), 1e-5
    )
    np.testing.assert_allclose(reference.layer_norm(*wide, 1e-5), theirs.numpy(), atol=1e-9)


def test_wrong_lengths_and_names_are_refused() -> None:
    with pytest.raises(ShapeError, match="one length"):
        native.activation(np.zeros(4, np.float32), np.zeros(5, np.float32), kind="silu")
    with pytest.raises(ShapeError, match="activation: unknown: tanh"):
        native.activation(np.zeros(4, np.float32), kind="tanh")
    with pytest.raises(ShapeError, match=r"weight and bias \[D\]"):
        native.layer_norm(
            np.zeros((2, 4), np.float32), np.zeros(4, np.float32), np.zeros(3, np.float32), 1e-5
        )
