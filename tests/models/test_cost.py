"""Closed forms against the counts of real modules and torch's own FLOP counter."""

import dataclasses

import pytest
import torch
from tests.models.families import ALL, outside_model
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sparing.base.errors import ConfigError
from sparing.models import cost
from sparing.models.config import DecoderConfig, Experts
from sparing.models.hf_config import parse_config
from sparing.models.presets import PRESETS, preset
from sparing.networks.decoder import Decoder


@pytest.mark.parametrize("name", ALL)
def test_parameters_are_those_of_the_outside_module(name: str) -> None:
    model = outside_model(name)
    config = parse_config(model.config.to_dict()).config
    assert cost.parameters(config) == model.num_parameters()
    assert cost.parameters(config, embedding=False) == model.num_parameters() - 101 * 60


def decoder() -> tuple[DecoderConfig, Decoder]:
    config = dataclasses.replace(preset("tiny", 64), tied=False, kv_heads=4)
    return config, Decoder(config)


def test_flops_are_those_that_torch_counts() -> None:
    config, model = decoder()
    T = 24
    ids_BT = torch.zeros(1, T, dtype=torch.int64)
    with sdpa_kernel(SDPBackend.MATH):  # plain products, which torch's counter sees
        with FlopCounterMode(display=False) as forward:
            model(ids_BT)
        with FlopCounterMode(display=False) as both:
            model(ids_BT).sum().backward()
    # every position is multiplied with all T, the future too
    assert forward.get_total_flops() == T * cost.forward_flops(config, context=T)
    assert both.get_total_flops() == 3 * T * cost.forward_flops(config, context=T)


def test_training_is_three_forward_passes_of_the_mean_position() -> None:
    config, _ = decoder()
    mean = sum(cost.forward_flops(config, context=s) for s in range(1, 25)) / 24
    assert cost.training_flops(config, context=24) == pytest.approx(3 * mean)


def test_bytes() -> None:
    config, _ = decoder()
    count = cost.parameters(config)
    assert cost.weight_bytes(config, bits=16) == 2 * count
    assert cost.kv_bytes_per_token(config, element_bytes=2) == 2 * 2 * 64 * 2
    read = count - 64 * 64 + 64  # all but the embedding, of which one row
    expected = read * 4 + 10 * cost.kv_bytes_per_token(config, element_bytes=4)
    assert cost.bytes_per_token(config, bits=32, context=10, kv_element_bytes=4) == expected


def test_experts_and_windows_cost_what_is_used_of_them() -> None:
    """By hand: width 8, two layers: one dense, one with 2 of 5 experts and a shared one."""
    config = DecoderConfig(
        vocab=10, width=8, layers=2, heads=2, kv_heads=1, head_width=4, hidden=6, context=64,
        experts=Experts(count=5, per_token=2, hidden=3, shared_hidden=7), dense_layers=(0,),
        windows=(16, 0), tied=True,
    )  # fmt: skip
    attention = 2 * (8 * (8 + 2 * 4) + 8 * 8)
    used = attention + 3 * 8 * 6 + (5 + 1) * 8 + 3 * 8 * (2 * 3 + 7) + 10 * 8
    assert cost.matrix_parameters(config) == used
    assert cost.parameters(config) == used + 3 * 8 * 3 * 3 + 5 * 8
    flops = cost.forward_flops(config, context=40)
    assert flops == 2 * used + 4 * (16 + 40) * 8
    read = cost.bytes_per_token(config, bits=32, context=40, kv_element_bytes=2)
    assert read == 4 * (used + 5 * 8 + 8) + 2 * (16 + 40) * 4 * 2


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name: str) -> None:
    config = preset(name, 4096)
    assert config.width == config.heads * config.head_width
    assert config.width % 64 == config.hidden % 64 == 0
    assert (config.bos, config.eos) == (0, (1, 3))


def test_the_small_preset_has_the_promised_size() -> None:
    assert 10e6 <= cost.parameters(preset("small", 8192)) <= 20e6


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'demo'"):
        preset("demi", 100)
