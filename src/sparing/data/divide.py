"""Which documents are kept apart for evaluation: whole ones, by hash of where they are from."""

from collections.abc import Iterable

import numpy as np

from sparing.base.seeds import derive


def split_key(source: str, kind: str) -> str:
    """What is hashed: pieces of one file of code stay together; other documents stand alone."""
    return source.rpartition("#")[0] or source if kind == "code" else source


def heldout_of(
    sources: Iterable[tuple[str, str]], keep: np.ndarray, fraction: float, seed: int
) -> np.ndarray:
    """True for kept documents that belong to the heldout split.

    `sources` gives (source, kind) of every document.  Both splits get a document where there
    are two to share; the hash decides which.
    """
    rank = np.full(len(keep), np.nan)
    for index, (source, kind) in enumerate(sources):
        if keep[index]:
            rank[index] = derive(seed, "heldout", split_key(source, kind)) / 2**63
    kept = np.flatnonzero(keep)
    heldout = keep & (rank < fraction)
    if fraction > 0 and len(kept) > 1 and not heldout.any():
        heldout[kept] = rank[kept] == rank[kept].min()
    if len(kept) and heldout[kept].all():
        heldout[kept] = rank[kept] != rank[kept].max()
    return heldout
