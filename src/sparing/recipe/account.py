"""Run one stage under the meter and the ledger."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparing.base import files
from sparing.base.stage import StageResult
from sparing.measure.ledger import Ledger


def run_stage(
    name: str,
    function: Callable[..., StageResult],
    settings: Any,
    out: Path,
    *,
    ledger: Path,
    run: str = "",
    resume: bool = False,
    overwrite: bool = False,
) -> tuple[StageResult, dict[str, Any]]:
    """Make `out` with a stage; its cost goes into the ledger and onto the artefact's card.

    Returns: the stage's result and its cost as plain values.
    Errors:  the stage's own; a failed stage has its row too.
    """
    with files.lock(out), Ledger(ledger).stage(name, run=run, target=out) as row:
        result = function(settings, out, resume=resume, overwrite=overwrite)
        row.result(result)
    cost = row.cost.to_tree() if row.cost else {}
    files.annotate(result.artefact, cost=cost)
    return result, cost
