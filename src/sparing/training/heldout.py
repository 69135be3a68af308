"""Bits per UTF-8 byte on held-out documents while training goes on.

Documents longer than a row are read in pieces that do not see each other, as in training; the
evaluation room's figure, with overlapping windows, is a little lower.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from sparing.data.packing import Rows, rows_of
from sparing.data.shards import Shards
from sparing.tokenizer.text import Tokenizer
from sparing.training.objectives import LanguageModel, TensorRows, next_token


@dataclass(frozen=True, slots=True)
class Heldout:
    """Rows to measure on, and the bytes of the text in them."""

    rows: Rows
    text_bytes: int
    """UTF-8 bytes."""
    tokens: int
    """Tokens that are predicted."""


def heldout(shards: Shards, *, context: int, tokens: int) -> Heldout | None:
    """The first whole documents of the held-out split, about `tokens` of them, always one or more.

    None when the split is empty or absent, or `tokens` is 0.
    """
    if not tokens or "heldout" not in shards.splits or not shards.tokens("heldout"):
        return None
    chosen: list[np.ndarray] = []
    for document in shards.documents("heldout"):
        if chosen and sum(map(len, chosen)) + len(document) > tokens:
            break
        chosen.append(document)
    rows = _rows(chosen, context=context, bos=shards.bos)
    return Heldout(rows, _text_bytes(shards, chosen), rows.targets)


def bits_per_byte(model: LanguageModel, held: Heldout, *, rows: int, head_rows: int) -> float:
    """Bits per byte, `rows` rows at a time."""
    device = next(model.parameters()).device  # type: ignore[attr-defined]
    parts = TensorRows.of(held.rows, device).parts(rows)
    nats = torch.stack([next_token(model, part, head_rows=head_rows) for part in parts])
    return float(nats.double().sum().item()) / math.log(2) / held.text_bytes


def _rows(documents: list[np.ndarray], *, context: int, bos: int) -> Rows:
    """Documents one after the other; the last row is filled with bos, which is never a target."""
    flat_N = np.concatenate(documents).astype(np.int64)
    rows = -(-len(flat_N) // context)
    filled = np.full(rows * context + 1, bos, dtype=np.int64)
    filled[: len(flat_N)] = flat_N
    shape = (rows, context)
    return rows_of(filled[:-1].reshape(shape), filled[1:].reshape(shape), bos)


def _text_bytes(shards: Shards, documents: list[np.ndarray]) -> int:
    """From the manifest when they are all; else from the decoded text."""
    if sum(map(len, documents)) == shards.tokens("heldout"):
        return shards.text_bytes("heldout")
    tokenizer = Tokenizer.load(shards.path / "tokenizer")
    texts = (tokenizer.decode(document.tolist()) for document in documents)
    return sum(len(text.encode()) for text in texts)
