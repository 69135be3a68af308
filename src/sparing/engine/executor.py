"""What the engine asks of a model: one forward pass over a ragged batch."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of one step: prompt chunks and single decoded tokens, one after another.

    Arrays are int32, C-contiguous, and valid until the next step (they are views of buffers
    that are used again).
    """

    ids_N: np.ndarray
    """Tokens to compute, all rows one after another."""
    positions_N: np.ndarray
    """Position of each token in its own sequence."""
    starts_R1: np.ndarray
    """Row r is tokens starts[r] .. starts[r + 1]; R + 1 numbers, the first 0, the last N."""
    blocks_RP: np.ndarray
    """Block table of each row, in order of position, padded with -1."""
    logit_rows_L: np.ndarray
    """Which of the N tokens need logits, ascending."""
    lengths_R: np.ndarray | None = None
    """Tokens known of each row's sequence, those of later steps among them; None for up to the
    row's last.  Models whose rotary frequencies depend on the length (longrope) need it."""
    sources_R: np.ndarray | None = None
    """Leading positions of each row that an encoder reads; None for none anywhere."""


class Executor(Protocol):
    """A model with a paged cache; holds no requests, only what was written in its blocks."""

    vocab: int
    """Logits per token."""
    blocks: int
    """KV blocks set aside."""
    block_tokens: int
    """Tokens per block."""
    context: int
    """Most positions of one sequence."""

    def forward(self, batch: Batch) -> np.ndarray:
        """Write keys and values of the batch's tokens, return float32 logits_LV.

        A row's logits depend on that row's own tokens only, bit for bit.
        """
        ...
