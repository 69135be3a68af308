"""AdamW and Muon against torch's own, and a state that carries over bit for bit."""

import numpy as np
import pytest
import torch

from sparing.base.errors import ArtefactError
from sparing.networks.decoder import Decoder
from sparing.training.optim import Optimiser, Rates, clip, gradients, orthogonal

SHAPES = {"a": (6, 10), "b": (10, 6), "c": (6, 10), "norm": (7,)}


def tensors(seed):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def optimiser(parameters, grads, matrices, embedding=None):
    return Optimiser(
        parameters,
        grads,
        matrices=matrices,
        embedding=embedding,
        betas=(0.9, 0.95),
        momentum=0.95,
    )


def test_adamw_equals_torch():
    ours, theirs = tensors(0), {n: torch.nn.Parameter(t) for n, t in tensors(0).items()}
    grads = {name: torch.zeros_like(tensor) for name, tensor in ours.items()}
    mine = optimiser(ours, grads, (), "c")
    groups = [
        {"params": [theirs[n] for n in "ab"], "weight_decay": 0.1},
        {"params": [theirs["c"]], "weight_decay": 0.1, "lr": 0.02},
        {"params": [theirs["norm"]], "weight_decay": 0.0},
    ]
    torch_adamw = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95), eps=1e-8)
    for step in range(20):
        for name, grad in tensors(step + 1).items():
            grads[name].copy_(grad)
            theirs[name].grad = grad.clone()
        mine.step(Rates(adamw=0.01, embedding=0.02, muon=1.0, weight_decay=0.1))
        torch_adamw.step()
        assert all(not grad.any() for grad in grads.values())
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name].detach(), rtol=1e-5, atol=1e-6)


def test_muon_equals_torch_up_to_its_bf16_rounds():
    names = ["a", "b", "c"]
    ours = {name: tensors(0)[name] for name in names}
    theirs = {name: torch.nn.Parameter(tensors(0)[name]) for name in names}
    grads = {name: torch.zeros_like(tensor) for name, tensor in ours.items()}
    mine = optimiser(ours, grads, names)
    torch_muon = torch.optim.Muon(
        list(theirs.values()), lr=0.02, weight_decay=0.1, momentum=0.95, nesterov=True
    )
    for step in range(5):
        for name in names:
            grads[name].copy_(tensors(step + 1)[name])
            theirs[name].grad = tensors(step + 1)[name]
        mine.step(Rates(adamw=1.0, embedding=0.02, muon=0.02, weight_decay=0.1))
        torch_muon.step()
    for name in names:
        moved = (theirs[name].detach() - tensors(0)[name]).norm()
        assert (ours[name] - theirs[name].detach()).norm() < 0.03 * moved


def test_orthogonal_brings_singular_values_near_one_and_keeps_directions():
    for matrix in (tensors(3)["a"], tensors(4)["b"]):
        u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
        found = orthogonal([matrix])[0]
        along = torch.diagonal(u.T @ found @ vt.T)
        assert 0.6 < along.min() <= along.max() < 1.3
        torch.testing.assert_close(u @ torch.diag(along) @ vt, found, rtol=1e-4, atol=1e-4)


def test_a_loaded_state_goes_on_bit_for_bit():
    def run(steps, start=None):
        parameters = tensors(0) if start is None else start[0]
        grads = {name: torch.zeros_like(tensor) for name, tensor in parameters.items()}
        found = optimiser(parameters, grads, ["a", "b", "c"])
        if start is not None:
            found.load(start[1])
        for step in steps:
            for name, grad in tensors(step + 1).items():
                grads[name].copy_(grad)
            found.step(Rates(adamw=0.01, embedding=0.02, muon=0.02, weight_decay=0.1))
        return parameters, {name: value.clone() for name, value in found.state().items()}

    whole, half = run(range(10)), run(range(5))
    again = run(range(5, 10), start=half)
    for wanted, found in zip(whole, again, strict=True):
        assert all(torch.equal(wanted[name], found[name]) for name in wanted)


@pytest.mark.parametrize("spoil", ["missing", "shape"])
def test_a_state_that_does_not_fit_is_refused(spoil):
    parameters = tensors(0)
    grads = {name: torch.zeros_like(tensor) for name, tensor in parameters.items()}
    found = optimiser(parameters, grads, ["a"])
    state = found.state()
    if spoil == "missing":
        del state["momentum.a"]
    else:
        state["momentum.a"] = torch.zeros(2, 2)
    with pytest.raises(ArtefactError, match=r"momentum\.a"):
        found.load(state)


def test_gradient_views_cover_the_parameters_once(decoder):
    model = Decoder(decoder).initialise(0)
    views = model.views()
    grads = gradients(model.parameters(), views)
    assert sum(g.numel() for g in grads.values()) == sum(p.numel() for p in model.parameters())
    for number, (name, grad) in enumerate(grads.items(), start=1):
        assert grad.shape == views[name].shape
        grad.fill_(number)
        views[name].fill_(number)
    for parameter in model.parameters():
        assert torch.equal(parameter.grad, parameter.detach())


def test_clip_scales_to_the_limit_and_tells_the_norm_before():
    grads = [torch.full((3,), 2.0), torch.full((2, 2), -1.0)]
    norm = float(np.sqrt(16))
    assert clip(grads, 0.0) == pytest.approx(norm)
    assert clip(grads, 8.0) == pytest.approx(norm)
    assert torch.equal(grads[0], torch.full((3,), 2.0))
    assert clip(grads, 1.0) == pytest.approx(norm)
    assert torch.stack([grad.norm() for grad in grads]).norm().item() == pytest.approx(1.0)
