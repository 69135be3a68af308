"""How a model of ours was trained, as its card tells; nothing is guessed for other models."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sparing.base.config import to_tree
from sparing.base.files import CARD, open_artefact

FACT = "training"
"""Where the card of a model made from another keeps the original's training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What of a training run decides which tokens the model saw, and how far back it looked."""

    data_hash: str
    """Content hash of the shards."""
    steps: int
    """Optimiser steps."""
    batch: int
    """Rows of a step."""
    context: int
    """Tokens of a row: no position past it was ever trained."""
    seed: int
    """Seed of the order."""
    train_tokens: int
    """Most tokens of the corpus that were used; 0 for all."""

    def tree(self) -> dict[str, Any]:
        """As plain JSON values."""
        return to_tree(self)


def training_of(model: Path) -> Training | None:
    """The training of the model in this folder; None where its card does not say."""
    if not (model / CARD).is_file():
        return None
    card = open_artefact(model)
    known = card.facts.get(FACT) or {**card.stage, "data_hash": card.parents.get("data")}
    if not isinstance(known, dict):
        return None
    found: dict[str, Any] = {field.name: known.get(field.name) for field in fields(Training)}
    kinds = {name: str if name == "data_hash" else int for name in found}
    if any(type(value) is not kinds[name] for name, value in found.items()):
        return None
    return Training(**found)


def trained_context(model: Path) -> int | None:
    """Positions that were trained; None where that is not known."""
    training = training_of(model)
    return training.context if training else None
