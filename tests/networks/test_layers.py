"""Layers against their definitions, written out."""

import pytest
import torch

from sparing.networks.layers.attention import attend
from sparing.networks.layers.documents import (
    MOST_RUNS_PER_ROW,
    Documents,
    layout,
    restarting_positions,
)
from sparing.networks.layers.mlp import GatedMLP
from sparing.networks.layers.norm import RMSNorm
from sparing.networks.layers.rotary import rope


def test_runs_and_positions() -> None:
    documents_BT = torch.tensor([[7, 7, 7, 2, 2, 7], [1, 1, 1, 1, 1, 1]])
    found = layout(documents_BT)
    assert found == Documents((3, 2, 1, 6), None)
    expected = torch.tensor([[0, 1, 2, 0, 1, 0], [0, 1, 2, 3, 4, 5]])
    assert torch.equal(restarting_positions(documents_BT), expected)
    assert layout(torch.ones(3, 5, dtype=torch.int64)) is None


def test_many_runs_become_a_mask() -> None:
    documents_BT = torch.arange(MOST_RUNS_PER_ROW + 2)[None] // 2 * 2
    documents_BT = torch.cat((documents_BT, torch.arange(MOST_RUNS_PER_ROW + 2)[None]))
    found = layout(documents_BT)
    assert found is not None
    many = layout(torch.arange(MOST_RUNS_PER_ROW + 1)[None])
    assert many is not None
    assert many.mask_B1TT is not None
    assert torch.equal(many.mask_B1TT[0, 0], torch.eye(MOST_RUNS_PER_ROW + 1, dtype=torch.bool))


def attention_by_definition(q_BTHK, k_BTGK, v_BTGK, documents_BT):
    B, T, H, K = q_BTHK.shape
    mixed = torch.zeros_like(q_BTHK)
    for b in range(B):
        for t in range(T):
            begin = t
            while begin > 0 and documents_BT[b, begin - 1] == documents_BT[b, t]:
                begin -= 1
            for h in range(H):
                g = h // (H // k_BTGK.shape[2])
                logits = k_BTGK[b, begin : t + 1, g] @ q_BTHK[b, t, h] * K**-0.5
                mixed[b, t, h] = logits.softmax(0) @ v_BTGK[b, begin : t + 1, g]
    return mixed


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_attention_by_definition(groups: int) -> None:
    torch.manual_seed(0)
    q_BTHK = torch.randn(2, 9, 4, 6)
    k_BTGK, v_BTGK = torch.randn(2, 2, 9, groups, 6)
    rows = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 0, 0], [4] * 9])
    for documents_BT in (rows, torch.zeros(2, 9, dtype=torch.int64)):
        expected = attention_by_definition(q_BTHK, k_BTGK, v_BTGK, documents_BT)
        plan = layout(documents_BT)
        run_BT = documents_BT  # no id comes back in these rows, so equality is the mask
        masked = (run_BT[:, :, None] == run_BT[:, None, :]).tril()[:, None]
        torch.testing.assert_close(attend(q_BTHK, k_BTGK, v_BTGK, plan), expected)
        if not torch.equal(documents_BT, rows):
            by_mask = attend(q_BTHK, k_BTGK, v_BTGK, Documents(None, masked))
            torch.testing.assert_close(by_mask, expected)


def test_rotation_by_complex_numbers_and_back() -> None:
    torch.manual_seed(0)
    x_BTHK = torch.randn(1, 7, 2, 8, dtype=torch.float32, requires_grad=True)
    frequency_Y = torch.tensor([1.0, 0.3, 0.02, 0.001])
    turns = rope(torch.arange(7)[None], frequency_Y, 1.25)
    turned = turns.turn(x_BTHK)
    angle = torch.arange(7.0)[None, :, None, None] * frequency_Y
    pairs = torch.complex(*x_BTHK.detach().chunk(2, -1)) * torch.polar(torch.tensor(1.25), angle)
    torch.testing.assert_close(turned, torch.cat((pairs.real, pairs.imag), -1))
    upstream = torch.randn_like(x_BTHK)
    turned.backward(upstream)
    back = torch.complex(*upstream.chunk(2, -1)) * torch.polar(torch.tensor(1.25), -angle)
    torch.testing.assert_close(x_BTHK.grad, torch.cat((back.real, back.imag), -1))


def test_norm_by_definition() -> None:
    norm, x = RMSNorm(5, 1e-3), torch.randn(3, 5)
    torch.nn.init.normal_(norm.weight)
    expected = x / (x.square().mean(-1, keepdim=True) + 1e-3).sqrt() * norm.weight
    torch.testing.assert_close(norm(x), expected)


def test_gated_mlp_by_definition() -> None:
    mlp, x = GatedMLP(6, 10, bias=True), torch.randn(4, 6)
    gate, up = mlp.gate_up.weight.split(10)
    gate_bias, up_bias = mlp.gate_up.bias.split(10)
    opened = x @ gate.T + gate_bias
    inner = opened * opened.sigmoid() * (x @ up.T + up_bias)
    torch.testing.assert_close(mlp(x), inner @ mlp.down.weight.T + mlp.down.bias)
