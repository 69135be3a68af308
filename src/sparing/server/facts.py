"""What is known of a model folder, for /v1/models and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sparing.base.errors import ArtefactError
from sparing.base.files import open_artefact, read_json
from sparing.models.cost import parameters
from sparing.models.folder import ModelFolder, open_model


def facts_of(folder: Path) -> dict[str, Any]:
    """Parameters, weight format, bytes, vocabulary; stages and joules where a ledger knows them.

    What is not known is left out.
    """
    model = open_model(folder)
    facts: dict[str, Any] = {
        "parameters": parameters(model.config),
        "weights": _weights(model),
        "weight_bytes": model.weights.stored_bytes,
        "vocab": model.config.vocab,
    }
    try:
        facts["content_hash"] = open_artefact(folder, kind="model").content_hash
    except ArtefactError:  # a folder that another program wrote has no card of ours
        return facts
    return facts | _history(folder.parent / "ledger.sqlite", facts["content_hash"])


def _weights(model: ModelFolder) -> str:
    """The format that most weights have, in words."""
    if model.quantization:
        scheme = model.quantization[0]
        group = "one scale per row" if scheme.group is None else f"groups of {scheme.group}"
        return f"int{scheme.bits}, {group}"
    record = type(next(iter(model.weights.values()))).__name__
    return {"Float32": "float32", "BFloat16": "bfloat16"}.get(record, record.lower())


def _history(ledger: Path, content_hash: str) -> dict[str, Any]:
    """The stages that led to an artefact and their energy, from the ledger of its run."""
    if not ledger.is_file():
        return {}
    from sparing.measure.ledger import Ledger, chain_cost

    chain = chain_cost(Ledger(ledger).rows(), content_hash)
    verbs = _verbs(ledger.parent / "steps.json")
    history: dict[str, Any] = {"made_by": [verbs.get(row.stage, row.stage) for row in chain.rows]}
    if chain.rows and chain.total.joules is not None:
        history["joules_to_make"] = chain.total.joules
    return history


def _verbs(steps: Path) -> dict[str, str]:
    """What each step of a run does, by the step's name in its recipe."""
    if not steps.is_file():
        return {}
    tree = read_json(steps)
    return {name: str(step["use"]) for name, step in tree.items() if "use" in step}
