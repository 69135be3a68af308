"""Which positions of a packed batch may see each other: runs of equal document ids in a row."""

from dataclasses import dataclass

import torch
from torch import Tensor

# Up to this many runs per row, one attention call per run is cheaper than one masked call.
MOST_RUNS_PER_ROW = 16


@dataclass(frozen=True, slots=True)
class Documents:
    """The runs of a batch, in the form that attention takes."""

    lengths: tuple[int, ...] | None
    """Lengths of the runs, row after row; None where `mask_B1TT` says it."""
    mask_B1TT: Tensor | None
    """True where the second position is seen by the first; None where `lengths` say it."""


def layout(documents_BT: Tensor) -> Documents | None:
    """The runs of equal ids, or None when every row is a single run (plain causal attention).

    Under torch.compile, and when there are many runs, a mask, whose shape does not depend on the
    ids.
    """
    B, T = documents_BT.shape
    if torch.compiler.is_compiling():
        return Documents(None, _mask(documents_BT))
    begins_BT = _begins(documents_BT)
    starts = begins_BT.flatten().nonzero().flatten().tolist()
    if len(starts) == B:
        return None
    if len(starts) > B * MOST_RUNS_PER_ROW:
        return Documents(None, _mask(documents_BT))
    ends = [*starts[1:], B * T]
    return Documents(tuple(end - start for start, end in zip(starts, ends, strict=True)), None)


def restarting_positions(documents_BT: Tensor) -> Tensor:
    """int64 [B, T], the position of each token within its run."""
    T = documents_BT.shape[1]
    place_T = torch.arange(T, device=documents_BT.device)
    start_BT = torch.where(_begins(documents_BT), place_T, 0).cummax(-1).values
    return place_T - start_BT


def _begins(documents_BT: Tensor) -> Tensor:
    begins_BT = torch.ones_like(documents_BT, dtype=torch.bool)
    begins_BT[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    return begins_BT


def _mask(documents_BT: Tensor) -> Tensor:
    run_BT = _begins(documents_BT).cumsum(-1)
    return (run_BT[:, :, None] == run_BT[:, None, :]).tril()[:, None]
