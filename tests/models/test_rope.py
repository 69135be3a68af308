"""Frequencies and attention scales against transformers' own functions."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, Phi3Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from sparing.models.hf_config import parse_config, to_tree
from sparing.models.rope import attention_scale, inverse_frequencies

YARN = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0}
YARN |= {"original_max_position_embeddings": 512}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
KINDS: dict[str, dict[str, Any]] = {
    "linear": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.5},
    "dynamic": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0},
    "yarn": YARN,
    "yarn-betas": YARN | {"beta_fast": 16.0, "beta_slow": 2.0},
    "yarn-scale": YARN | {"attention_factor": 1.7},
    "yarn-mscale": YARN | {"mscale": 0.7, "mscale_all_dim": 1.1},
    "yarn-whole-ramp": YARN | {"truncate": False},
    "yarn-short": YARN | {"original_max_position_embeddings": 8, "rope_theta": 100.0},
    "llama3": LLAMA3,
    "llama3-short": LLAMA3 | {"original_max_position_embeddings": 64, "factor": 8.0},
}


def outside(parameters: dict[str, Any], head_width: int) -> LlamaConfig:
    return LlamaConfig(
        hidden_size=4 * head_width,
        num_attention_heads=4,
        num_hidden_layers=1,
        max_position_embeddings=2048,
        rope_parameters=dict(parameters),
    )


@pytest.mark.parametrize("head_width", [6, 64, 128])
@pytest.mark.parametrize("kind", KINDS)
def test_stretched_frequencies(kind: str, head_width: int) -> None:
    theirs = outside(KINDS[kind], head_width)
    expected, scale = ROPE_INIT_FUNCTIONS[KINDS[kind]["rope_type"]](theirs, torch.device("cpu"))
    config = parse_config(theirs.to_dict()).config
    # theirs are computed in float32, where the power alone loses about 2e-6 of a frequency
    np.testing.assert_allclose(inverse_frequencies(config), expected.numpy(), rtol=1e-5)
    assert attention_scale(config) == pytest.approx(scale, rel=1e-12)
    assert parse_config(to_tree(config, "llama", dtype="float32")).config == config


@pytest.mark.parametrize("length", [100, 24, 25, 2048])
@pytest.mark.parametrize("changes", [{}, {"factor": 4.0}, {"attention_factor": 1.3}])
def test_longrope_has_two_sets_of_frequencies(changes: dict[str, Any], length: int) -> None:
    """The second for sequences longer than the original context, at all of their positions."""
    factors = np.random.default_rng(0).uniform(1, 9, (2, 8))
    parameters = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": factors[0].tolist(),
        "long_factor": factors[1].tolist(),
        "original_max_position_embeddings": 24,
    }
    theirs = Phi3Config(
        hidden_size=64,
        num_attention_heads=4,
        num_hidden_layers=1,
        max_position_embeddings=2048,
        original_max_position_embeddings=24,
        rope_parameters=parameters | changes,
    )
    compute = ROPE_INIT_FUNCTIONS["longrope"]
    expected, scale = compute(theirs, torch.device("cpu"), seq_len=length)
    config = parse_config(theirs.to_dict()).config
    ours = inverse_frequencies(config, length=length)
    np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-5)
    assert attention_scale(config) == pytest.approx(scale, rel=1e-12)
    assert (length <= 24) == np.array_equal(ours, inverse_frequencies(config))
    assert config.short_context == 24


def test_a_part_of_each_head_has_the_frequencies_of_a_head_of_that_width() -> None:
    whole = parse_config(outside(KINDS["linear"], 16).to_dict()).config
    part = dataclasses.replace(whole, head_width=40, rotary_width=16)
    np.testing.assert_array_equal(inverse_frequencies(part), inverse_frequencies(whole))


def test_layers_with_a_window_may_have_a_base_of_their_own() -> None:
    whole = parse_config(outside(KINDS["linear"], 16).to_dict()).config
    local = dataclasses.replace(whole, window_rope_theta=500.0, windows=(7,))
    plain = dataclasses.replace(whole, rope_theta=500.0, rope_scaling=None)
    windowed = inverse_frequencies(local, windowed=True)
    np.testing.assert_array_equal(windowed, inverse_frequencies(plain))
    np.testing.assert_array_equal(inverse_frequencies(local), inverse_frequencies(whole))


@pytest.mark.parametrize("theta", [10000.0, 5e5, 1e6])
def test_plain_frequencies(theta: float) -> None:
    theirs = outside({"rope_type": "default", "rope_theta": theta}, 64)
    expected = LlamaRotaryEmbedding(theirs).inv_freq.numpy()
    config = parse_config(theirs.to_dict()).config
    np.testing.assert_allclose(inverse_frequencies(config), expected, rtol=1e-5)
    assert attention_scale(config) == 1.0


@pytest.mark.parametrize("length", [100, 2048, 3000, 8192])
def test_dynamic_frequencies_grow_with_the_length(length: int) -> None:
    theirs = outside(KINDS["dynamic"], 64)
    expected, _ = ROPE_INIT_FUNCTIONS["dynamic"](theirs, torch.device("cpu"), seq_len=length)
    config = parse_config(theirs.to_dict()).config
    ours = inverse_frequencies(config, length=length)
    np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-5)
    assert (length <= 2048) == np.array_equal(ours, inverse_frequencies(config))
