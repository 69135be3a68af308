"""A run's files as one record; a missing part is None, a damaged one is an error with its name."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparing.base.errors import ArtefactError, SparingError
from sparing.base.files import CARD, Artefact, open_artefact, read_json
from sparing.base.limits import LIMITS
from sparing.measure.ledger import Ledger, Row

METRICS_LINES = 2_000_000
"""More steps than a report can show are not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressed:
    """One compressed model and its quality card."""

    name: str
    """Name of its step."""

    card: dict[str, Any]
    """`quality.json`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunParts:
    """All that a report is made from."""

    folder: Path
    """The run."""

    name: str
    """From the recipe, else the folder's name."""

    description: str
    """From the recipe, else empty."""

    recipe: str | None
    """Text of the resolved recipe."""

    rows: tuple[Row, ...]
    """The ledger; empty without one."""

    artefacts: tuple[tuple[str, Artefact], ...]
    """Finished artefacts by step name, in the order of the recipe."""

    metrics: tuple[dict[str, Any], ...]
    """One record per logged training step."""

    corpus: dict[str, Any] | None
    """Manifest of the corpus."""

    shards: dict[str, Any] | None
    """Manifest of the token shards."""

    model: Artefact | None
    """The trained model."""

    shape: dict[str, Any] | None
    """Its `config.json`."""

    evaluation: dict[str, Any] | None
    """`eval.json`."""

    compressed: tuple[Compressed, ...]
    """Quality cards in the order of the recipe."""

    answer: dict[str, Any] | None
    """The sample answer."""

    machine: dict[str, Any] | None
    """The machine of the run."""


def gather(run: Path) -> RunParts:
    """Read everything a report needs from a run's folder.

    Errors: ArtefactError when there is no such folder or a file in it is damaged.
    """
    if not run.is_dir():
        raise ArtefactError(f"{run}: no such run; give the folder that `sparing run` made")
    recipe = _text(run / "recipe.toml")
    header = _toml(recipe, run / "recipe.toml")
    artefacts = tuple(_artefacts(run, header))
    ledger = run / "ledger.sqlite"
    trained = next((a for _, a in artefacts if (a.path / "metrics.jsonl").is_file()), None)
    return RunParts(
        folder=run,
        name=str(header.get("name") or run.resolve().name),
        description=str(header.get("description") or ""),
        recipe=recipe,
        rows=tuple(Ledger(ledger).rows()) if ledger.is_file() else (),
        artefacts=artefacts,
        metrics=tuple(_metrics(trained)) if trained else (),
        corpus=_beside(artefacts, "corpus", "manifest.json"),
        shards=_beside(artefacts, "shards", "manifest.json"),
        model=trained,
        shape=_json(trained.path / "config.json") if trained else None,
        evaluation=_first(artefacts, "eval.json") or _json(run / "eval.json"),
        compressed=tuple(_cards(artefacts)),
        answer=_first(artefacts, "answer.json") or _json(run / "answer.json"),
        machine=_json(run / "machine.json"),
    )


def _text(path: Path) -> str | None:
    if not path.is_file():
        return None
    if path.stat().st_size > LIMITS.json_bytes:
        raise ArtefactError(f"{path}: larger than the limit of {LIMITS.json_bytes} bytes")
    return path.read_text(errors="replace")


def _toml(text: str | None, path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text) if text else {}
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ArtefactError(f"{path}: not readable as TOML: {error}") from None


def _json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    tree = read_json(path)
    if not isinstance(tree, dict):
        raise ArtefactError(f"{path}: expected one JSON object")
    return tree


def _artefacts(run: Path, header: dict[str, Any]) -> Iterator[tuple[str, Artefact]]:
    """Folders with a card: those of the recipe first, in its order."""
    order = [name for name in header if (run / name / CARD).is_file()]
    found = [path.parent.name for path in run.glob(f"*/{CARD}")]
    for name in [*order, *sorted(set(found) - set(order))]:
        if not name.startswith("."):
            yield name, open_artefact(run / name)


def _beside(
    artefacts: tuple[tuple[str, Artefact], ...], kind: str, file: str
) -> dict[str, Any] | None:
    for _, artefact in artefacts:
        if artefact.kind == kind:
            return _json(artefact.path / file)
    return None


def _first(artefacts: tuple[tuple[str, Artefact], ...], file: str) -> dict[str, Any] | None:
    found = (_json(artefact.path / file) for _, artefact in artefacts)
    return next((tree for tree in found if tree is not None), None)


def _cards(artefacts: tuple[tuple[str, Artefact], ...]) -> Iterator[Compressed]:
    for name, artefact in artefacts:
        card = _json(artefact.path / "quality.json")
        if card is not None:
            yield Compressed(name=name, card=card)


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """Records of a training log; a cut last line of a killed run is left out.

    Errors: ArtefactError for a damaged line before the last, naming it.
    """
    lines = path.read_text(errors="replace").splitlines()[:METRICS_LINES]
    for position, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            if position == len(lines):
                return
            raise ArtefactError(f"{path}, line {position}: not JSON") from None
        if isinstance(record, dict):
            yield record


def _metrics(model: Artefact) -> Iterator[dict[str, Any]]:
    """The training log with its times, which stand on the card: they differ between equal runs."""
    timing = model.facts.get("timing")
    columns = timing if isinstance(timing, dict) else {}
    steps = columns.get("step")
    steps = steps if isinstance(steps, list) else []
    place = {step: index for index, step in enumerate(steps) if isinstance(step, int)}
    for record in read_metrics(model.path / "metrics.jsonl"):
        step = record.get("step")
        index = place.get(step) if isinstance(step, int) else None
        times = {
            name: column[index]
            for name in ("seconds", "tokens_per_s")
            if index is not None
            and isinstance(column := columns.get(name), list)
            and index < len(column)
        }
        yield record | times


def at(tree: Any, *names: str) -> Any:
    """A value deep in a tree, or None where a level is missing."""
    for name in names:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def figure_at(tree: Any, *names: str) -> float | None:
    """A finite number deep in a tree, also from {"value": number}; else None."""
    value = at(tree, *names)
    if isinstance(value, dict):
        value = value.get("value")
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if real and math.isfinite(value) else None


def chain_total(parts: RunParts) -> Any:
    """What the last model of the run cost along its parents; None without a ledger."""
    models = [artefact for _, artefact in parts.artefacts if artefact.kind == "model"]
    if not parts.rows or not models:
        return None
    try:
        return Ledger(parts.folder / "ledger.sqlite").cost_of(models[-1].content_hash)
    except SparingError:
        return None
