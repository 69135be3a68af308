"""The chunked loss against plain autograd, and documents packed against documents alone."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sparing.data.packing import IGNORED, Packing, rows_of
from sparing.data.shards import Shards
from sparing.networks.decoder import Decoder
from sparing.training.objectives import TensorRows, next_token, next_token_backward

CPU = torch.device("cpu")


@pytest.fixture
def rows(shards):
    return Packing(Shards.open(shards), seed=0, context=32, batch=6).batch(0)


@pytest.fixture
def model(decoder):
    return Decoder(decoder).initialise(0)


def plain(model, rows):
    """Logits of everything at once, and torch's own loss."""
    rows = TensorRows.of(rows, CPU)
    logits = model(
        rows.ids_BT, documents_BT=rows.documents_BT, positions_BT=rows.positions_BT
    ).flatten(0, 1)
    kept = rows.labels_BT.flatten() != IGNORED
    return F.cross_entropy(logits[kept], rows.labels_BT.flatten()[kept], reduction="sum")


@pytest.mark.parametrize(("head_rows", "part"), [(10**6, 0), (17, 0), (40, 2), (192, 1)])
def test_chunks_and_parts_add_up_to_the_plain_gradient(model, rows, head_rows, part):
    loss = plain(model, rows)
    (loss / rows.targets).backward()
    wanted = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    total = sum(
        next_token_backward(model, piece, divisor=rows.targets, head_rows=head_rows).item()
        for piece in TensorRows.of(rows, CPU).parts(part)
    )
    assert total == pytest.approx(loss.item(), rel=1e-5)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-4, atol=1e-7)


def test_without_gradient_the_sum_is_the_same(model, rows):
    total = next_token(model, TensorRows.of(rows, CPU), head_rows=13)
    assert total.item() == pytest.approx(plain(model, rows).item(), rel=1e-5)


def test_packed_documents_cost_what_they_cost_alone(model, shards):
    documents = [d[:30].astype(np.int64) for d in list(Shards.open(shards).documents("train"))[:5]]
    together = np.concatenate([*documents, [0]])[None]
    packed = TensorRows.of(rows_of(together[:, :-1], together[:, 1:], 0), CPU)
    alone = 0.0
    for document in documents:
        logits = model(torch.from_numpy(document[None, :-1]))[0]
        alone += F.cross_entropy(logits, torch.from_numpy(document[1:]), reduction="sum").item()
    assert next_token(model, packed, head_rows=50).item() == pytest.approx(alone, rel=1e-5)
