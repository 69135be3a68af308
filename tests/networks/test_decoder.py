"""The torch decoder against transformers, and packed documents against each alone."""

import dataclasses
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from tests.models.families import CASES, OTHERS, ids, outside_model
from torch.nn import functional as F

from sparing.base.errors import ConfigError, ShapeError
from sparing.models import cost
from sparing.models.hf_config import parse_config
from sparing.models.names import published, shapes
from sparing.models.presets import preset
from sparing.networks.decoder import INITIAL_STD, Decoder


def ours_of(model: Any) -> tuple[Decoder, dict[str, str]]:
    """Our decoder with the outside model's weights, and our names to the published ones."""
    parsed = parse_config(model.config.to_dict())
    names = {ours: published(ours, parsed.family) for ours in shapes(parsed.config)}
    theirs = dict(model.named_parameters())
    tensors = {ours: theirs[name].detach() for ours, name in names.items()}
    return Decoder(parsed.config).load(tensors), names


@pytest.mark.parametrize("name", OTHERS)
def test_traits_that_the_modules_lack_are_refused_by_name(name: str) -> None:
    config = parse_config(outside_model(name).config.to_dict()).config
    if name in ("mistral", "phi3"):  # nothing but a llama
        Decoder(config)
        return
    with pytest.raises(ConfigError, match=r"in networks trained here|frequencies here"):
        Decoder(config)


@pytest.mark.parametrize("name", CASES)
def test_logits_and_gradients_are_those_of_transformers(name: str) -> None:
    model = outside_model(name)
    ours, names = ours_of(model)
    ids_BT = ids(count=37, rows=2)
    expected, logits = model(ids_BT).logits, ours(ids_BT)
    scale = expected.abs().max().item()
    assert (logits - expected).abs().max().item() < 1e-5 * scale
    for output in (expected, logits):
        F.cross_entropy(output[:, :-1].flatten(0, 1), ids_BT[:, 1:].flatten()).backward()
    gradients = dict(model.named_parameters())
    found = gradient_views(ours)
    assert found.keys() == names.keys()
    for our_name, gradient in found.items():
        theirs = gradients[names[our_name]].grad
        bound = 1e-5 * theirs.abs().max().item() + 1e-8
        # keys' biases add the same to all logits of a query: their gradient is rounding alone
        bound += 1e-7 if our_name.endswith("key.bias") else 0.0
        assert (gradient - theirs).abs().max().item() < bound, our_name


def gradient_views(model: Decoder) -> dict[str, torch.Tensor]:
    """Gradients under our names, by way of a twin whose parameters are the gradients."""
    twin = Decoder(model.config)
    with torch.no_grad():
        for into, parameter in zip(twin.parameters(), model.parameters(), strict=True):
            into.copy_(parameter.grad)
    return twin.views()


# lengths of the documents of each of two rows of 40
LAYOUTS = {
    "one each": ([40], [40]),
    "few": ([11, 29], [1, 20, 19]),
    "uneven": ([40], [13, 13, 14]),
    "many": ([1] * 10 + [2] * 15, [3] * 13 + [1]),
}


def documents(rows: tuple[list[int], ...]) -> torch.Tensor:
    """Ids that repeat, so that only neighbours tell where a document ends."""
    return torch.tensor(
        [[index % 2 for index, length in enumerate(row) for _ in range(length)] for row in rows]
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["llama3-tied", "qwen3"])
def test_packed_documents_are_as_each_alone(name: str, layout: str) -> None:
    model, _ = ours_of(outside_model(name))
    rows, ids_BT = LAYOUTS[layout], ids(count=40, rows=2)
    packed = model(ids_BT, documents_BT=documents(rows))
    for row, lengths in enumerate(rows):
        start = 0
        for length in lengths:
            alone = model(ids_BT[row : row + 1, start : start + length])[0]
            there = packed[row, start : start + length]
            torch.testing.assert_close(there, alone, atol=2e-5, rtol=1e-5)
            start += length


def test_gradients_of_packed_documents_are_the_sum_of_each_alone() -> None:
    model, _ = ours_of(outside_model("qwen2"))
    rows, ids_BT = LAYOUTS["few"], ids(count=40, rows=2)
    weights = torch.randn(2, 40, 101, generator=torch.Generator().manual_seed(3))
    (model(ids_BT, documents_BT=documents(rows)) * weights).sum().backward()
    packed = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    for row, lengths in enumerate(rows):
        start = 0
        for length in lengths:
            part = slice(start, start + length)
            (model(ids_BT[row : row + 1, part])[0] * weights[row, part]).sum().backward()
            start += length
    for one, parameter in zip(packed, model.parameters(), strict=True):
        torch.testing.assert_close(one, parameter.grad, atol=1e-4, rtol=1e-4)


def test_positions_may_be_given() -> None:
    model, _ = ours_of(outside_model("llama"))
    ids_BT = ids(count=12)
    plain = model(ids_BT)
    shifted = model(ids_BT, positions_BT=torch.arange(12)[None] + 5)
    torch.testing.assert_close(shifted, plain, atol=2e-5, rtol=1e-5)  # only distances count
    spread = model(ids_BT, positions_BT=torch.arange(12)[None] * 3)
    assert (spread - plain).abs().max() > 1e-2


def test_tensors_round_trip_and_load_is_strict() -> None:
    config = dataclasses.replace(preset("tiny", 50), qkv_bias=True, mlp_bias=True, tied=False)
    one = Decoder(config).initialise(3)
    tensors = one.tensors()
    assert {name: tensor.shape for name, tensor in tensors.items()} == shapes(config)
    assert sum(tensor.size for tensor in tensors.values()) == cost.parameters(config)
    assert sum(parameter.numel() for parameter in one.parameters()) == cost.parameters(config)
    for array in tensors.values():
        array.flags.writeable = False  # as mapped from a file
    with warnings.catch_warnings(action="error"):
        two = Decoder(config).load(tensors)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    copies = one.tensors()
    copies["embed.weight"][:] = 7.0
    assert not (one.embed.weight == 7.0).any()
    with pytest.raises(ShapeError, match="final_norm"):
        two.load({name: t for name, t in tensors.items() if name != "final_norm.weight"})
    with pytest.raises(ShapeError, match=r"embed\.weight: expected"):
        two.load(tensors | {"embed.weight": np.zeros((50, 3), np.float32)})


def test_initial_weights_are_a_function_of_seed_and_name() -> None:
    config = preset("tiny", 300)
    one, two = Decoder(config).initialise(5), Decoder(config).initialise(5)
    other = Decoder(config).initialise(6)
    assert torch.equal(one.embed.weight, two.embed.weight)
    assert not torch.equal(one.embed.weight, other.embed.weight)
    deeper = Decoder(dataclasses.replace(config, layers=3)).initialise(5)
    name = "layers.1.attention.query.weight"
    assert torch.equal(one.views()[name], deeper.views()[name])
    views = one.views()
    assert views["embed.weight"].std().item() == pytest.approx(INITIAL_STD, rel=0.05)
    assert views["layers.0.mlp.down.weight"].std().item() == pytest.approx(
        INITIAL_STD / 2, rel=0.05
    )
    assert (views["layers.0.mlp_norm.weight"] == 1).all()


def test_bfloat16_is_near_and_its_angles_stay_float32() -> None:
    model, _ = ours_of(outside_model("llama3-tied"))
    ids_BT = ids(count=40)
    expected = model(ids_BT, positions_BT=torch.arange(40)[None] + 50)
    half = model.to(torch.bfloat16)(ids_BT, positions_BT=torch.arange(40)[None] + 50)
    assert half.dtype == torch.bfloat16
    assert model.frequency_Y.dtype == torch.float32
    # 8 bits of mantissa through two layers: a few percent of the logits' spread
    assert (half.float() - expected).abs().mean() < 0.03 * expected.std()


@pytest.mark.slow
def test_compiled_is_as_plain() -> None:
    model, _ = ours_of(outside_model("qwen3"))
    compiled = torch.compile(model)
    ids_BT, rows = ids(count=40, rows=2), LAYOUTS["few"]
    for document_ids in (None, documents(rows)):
        expected = model(ids_BT, documents_BT=document_ids)
        got = compiled(ids_BT, documents_BT=document_ids)
        torch.testing.assert_close(got, expected, atol=2e-5, rtol=1e-5)
        got.sum().backward()
        model.zero_grad()
