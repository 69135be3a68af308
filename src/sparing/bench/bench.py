"""All cells of one model: contestants started together, measured in turns, ended together."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparing.base.errors import require
from sparing.bench import turns, verdict
from sparing.bench.cells import Cell
from sparing.bench.contestant import Contestant, ContestantError, Entry
from sparing.bench.record import Record
from sparing.bench.roof import Work

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Contestants that run the same model at the same width of weights."""

    name: str
    """Unique in a record."""
    width: str
    """int4, int8, bf16 or fp32: which peak bounds its products."""
    entries: tuple[Entry, ...]
    """Ours and the peers."""
    cells: tuple[Cell, ...]
    """What is measured."""
    work: Work
    """What a row of the model asks for."""
    vocab: int
    """Prompt tokens are below it."""

    def __post_init__(self) -> None:
        labels = [entry.label for entry in self.entries]
        require(len(set(labels)) == len(labels) > 0, "entries", "distinct labels", labels)
        names = [cell.name for cell in self.cells]
        require(len(set(names)) == len(names), "cells", "distinct cells", names)


def fitting(cells: Sequence[Cell], context: int) -> tuple[list[Cell], list[str]]:
    """The cells that a model of this context can do, and why the others are left out."""
    fits = [cell for cell in cells if cell.room <= context]
    left = [
        f"{cell.name} needs {cell.room} tokens, the model's context is {context}"
        for cell in cells
        if cell.room > context
    ]
    return fits, left


def run(
    group: Group,
    *,
    threads: int,
    record: Record,
    limits: turns.Limits,
    logs: Path,
    say: Say,
    go_on: Callable[[], bool] = lambda: True,
) -> None:
    """Measure what the record does not hold yet, and add it line by line.

    Contestants that cannot be loaded, or fail, are recorded with the reason. No cell begins once
    `go_on` says no.
    """
    left = [cell for cell in group.cells if not _done(record, group, cell)]
    if not left or not go_on():
        return
    logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        running = []
        for entry in group.entries:
            log = logs / f"{group.name}-{entry.label}.log".replace(" ", "_").replace("/", "_")
            say(f"{group.name}: loading {entry.label}")
            contestant = stack.enter_context(Contestant(entry, threads=threads, log=log))
            if _load(contestant, group, left, threads=threads, record=record):
                running.append(contestant)
        for cell in left:
            if not go_on():
                break
            say(f"{group.name}: {cell.name}")
            samples, seen = turns.measure(cell, running, vocab=group.vocab, limits=limits)
            record.add(
                "cell",
                group.name,
                cell=cell.tree(),
                samples={label: each.tree() for label, each in samples.items()},
                limits=seen,
            )
            say(_short(record, group, cell))
        for contestant in running:
            try:
                memory = contestant.ask("memory")
            except ContestantError as error:
                memory = {"error": str(error)}
            record.add("memory", group.name, label=contestant.entry.label, **memory)


def _load(
    contestant: Contestant, group: Group, cells: Sequence[Cell], *, threads: int, record: Record
) -> bool:
    entry = contestant.entry
    facts: dict[str, Any] = {
        "label": entry.label,
        "ours": entry.ours,
        "engine": entry.engine,
        "note": entry.note,
        "weight_bytes": entry.weight_bytes,
    }
    try:
        facts |= contestant.ask(
            "load",
            engine=entry.engine,
            model=entry.model,
            options=dict(entry.options),
            threads=threads,
            streams=max(cell.streams for cell in cells),
            room=max(cell.room for cell in cells),
            kv_tokens=max(cell.streams * (cell.room + 32) for cell in cells),
        )
    except ContestantError as error:
        record.add("loaded", group.name, **facts, error=str(error))
        return False
    record.add("loaded", group.name, **facts)
    return True


def _done(record: Record, group: Group, cell: Cell) -> bool:
    return _line(record, group, cell) is not None


def _line(record: Record, group: Group, cell: Cell) -> dict[str, Any] | None:
    lines = [line for line in record.of("cell", group.name) if line["cell"] == cell.tree()]
    return lines[-1] if lines else None


def _short(record: Record, group: Group, cell: Cell) -> str:
    line = _line(record, group, cell)
    assert line is not None
    return verdict.text(_rows(record, group, cell, line), verdict.typical(line["limits"]))


def _rows(record: Record, group: Group, cell: Cell, line: Mapping[str, Any]) -> list[verdict.Row]:
    heads = {entry.label: entry.head for entry in group.entries}
    facts = {
        each["label"]: {**each, "head": heads.get(each["label"], "")}
        for each in record.of("loaded", group.name)
    }
    return verdict.rows(
        cell, line["samples"], facts, line["limits"], work=group.work, width=group.width
    )


def report(record: Record, group: Group) -> dict[str, Any]:
    """What the record says of a group: rows by cell, loading, memory, and who is absent."""
    cells = []
    for cell in group.cells:
        if (line := _line(record, group, cell)) is not None:
            rows = _rows(record, group, cell, line)
            cells.append(
                {
                    "cell": cell.name,
                    "limits": verdict.typical(line["limits"]),
                    "rows": [row.tree() for row in rows],
                    "text": verdict.text(rows, verdict.typical(line["limits"])),
                }
            )
    loaded = {line["label"]: line for line in record.of("loaded", group.name)}
    return {
        "group": group.name,
        "width": group.width,
        "cells": cells,
        "loaded": [line for line in loaded.values() if "error" not in line],
        "memory": list({ln["label"]: ln for ln in record.of("memory", group.name)}.values()),
        "absent": {ln["label"]: ln["error"] for ln in loaded.values() if "error" in ln},
    }
