"""What is minimised: sums over tokens and their counts, so that parts of a batch add up exactly."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from sparing.data.packing import IGNORED, Rows


class LanguageModel(Protocol):
    """What a decoder is to its objective: hidden states, and a head apart from them."""

    def hidden(self, ids_BT: Tensor, *, documents_BT: Tensor, positions_BT: Tensor) -> Tensor:
        """[B, T] tokens -> [B, T, D]."""

    def head(self, hidden_BTD: Tensor) -> Tensor:
        """[..., D] -> [..., V] logits."""


@dataclass(frozen=True, slots=True)
class TensorRows:
    """`Rows` as tensors on the device that computes."""

    ids_BT: Tensor
    documents_BT: Tensor
    positions_BT: Tensor
    labels_BT: Tensor

    @classmethod
    def of(cls, rows: Rows, device: torch.device) -> "TensorRows":
        """Copy a batch to the device."""
        arrays = (rows.ids_BT, rows.documents_BT, rows.positions_BT, rows.labels_BT)
        return cls(*(torch.from_numpy(array.copy()).to(device) for array in arrays))

    def parts(self, rows: int) -> "Iterator[TensorRows]":
        """Slices of at most `rows` rows; 0 for all at once."""
        step = rows or len(self.ids_BT)
        for start in range(0, len(self.ids_BT), step):
            part = slice(start, start + step)
            yield TensorRows(
                self.ids_BT[part],
                self.documents_BT[part],
                self.positions_BT[part],
                self.labels_BT[part],
            )


def next_token_backward(
    model: LanguageModel, rows: TensorRows, *, divisor: float, head_rows: int
) -> Tensor:
    """Add the gradient of (sum of nats) / divisor to the parameters; returns the sum of nats.

    The head runs on `head_rows` tokens at a time, forward and backward, so that all logits are
    never held at once; the gradient of the hidden states is put together and sent down once.

    Numerics: the softmax is in float32.
    """
    hidden_BTD = model.hidden(
        rows.ids_BT, documents_BT=rows.documents_BT, positions_BT=rows.positions_BT
    )
    hidden_ND, labels_N = hidden_BTD.flatten(0, 1), rows.labels_BT.flatten()
    nats, grads = [], []
    for part_XD, label_X in _chunks(hidden_ND, labels_N, head_rows):
        leaf_XD = part_XD.detach().requires_grad_()
        loss = _nats(model, leaf_XD, label_X)
        (loss / divisor).backward()
        nats.append(loss.detach())
        grads.append(leaf_XD.grad)
    hidden_ND.backward(torch.cat(grads))
    return torch.stack(nats).sum()


@torch.no_grad()
def next_token(model: LanguageModel, rows: TensorRows, *, head_rows: int) -> Tensor:
    """The sum of nats alone."""
    hidden_BTD = model.hidden(
        rows.ids_BT, documents_BT=rows.documents_BT, positions_BT=rows.positions_BT
    )
    parts = _chunks(hidden_BTD.flatten(0, 1), rows.labels_BT.flatten(), head_rows)
    return torch.stack([_nats(model, part_XD, label_X) for part_XD, label_X in parts]).sum()


def _chunks(x_ND: Tensor, labels_N: Tensor, rows: int) -> Iterator[tuple[Tensor, Tensor]]:
    yield from zip(x_ND.split(rows), labels_N.split(rows), strict=True)


def _nats(model: LanguageModel, x_XD: Tensor, label_X: Tensor) -> Tensor:
    logits_XV = model.head(x_XD).float()
    return F.cross_entropy(logits_XV, label_X, ignore_index=IGNORED, reduction="sum")
