"""One row per stage: what it made, from what, and what that cost.

A row is written when the stage starts, refreshed while it runs and closed when it ends, so a
process that is killed leaves what it had spent.  Artefacts are joined by content hash: what a
served model cost to make is the sum along its parents.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from sparing.base.errors import ArtefactError
from sparing.base.files import open_artefact
from sparing.base.stage import StageResult
from sparing.measure import clock, cost, meter, schema
from sparing.measure.cost import Cost
from sparing.measure.settings import MeasureConfig

Status = Literal["started", "interrupted", "failed", "finished"]

COST_NAMES = tuple(schema.COST_COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One stage as the ledger knows it."""

    id: int
    """Order of writing."""

    run: str
    """The run it belongs to; empty for a verb that was called alone."""

    stage: str
    """Its verb."""

    target: str | None
    """The folder it was asked to make."""

    status: Status
    """`interrupted`: started, and its process is gone."""

    begun_unix: float
    """When it began."""

    ended_unix: float | None
    """When it ended."""

    artefact: str | None
    """The folder it made."""

    artefact_hash: str | None
    """Content hash of that folder."""

    parents: dict[str, str] = field(default_factory=dict)
    """Content hashes of what it was made from."""

    tokens: int | None
    """Tokens it processed."""

    flops: float | None
    """Floating-point operations by the closed form."""

    error: str | None
    """Why it failed."""

    facts: dict[str, Any] = field(default_factory=dict)
    """Quality and facts of its result."""

    cost: Cost | None
    """What it cost, so far or in all; None when it was killed before the first look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainCost:
    """What an artefact cost along its parents."""

    total: Cost
    """The sum; a figure that one stage lacks is None."""

    rows: tuple[Row, ...]
    """The stages in the sum, parents first; attempts that were killed or failed included."""

    unknown: tuple[str, ...]
    """Hashes on the chain of which this ledger has no finished stage, such as raw sources."""


class StageRow:
    """The running stage: tell it the result, read its cost after the block."""

    def __init__(self, row_id: int) -> None:
        self.id = row_id
        self.cost: Cost | None = None
        self._result: StageResult | None = None

    def result(self, result: StageResult) -> None:
        """What the stage made."""
        self._result = result


class Ledger:
    """A ledger file; many processes may write it."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    @contextmanager
    def stage(
        self,
        name: str,
        *,
        run: str = "",
        target: Path | None = None,
        config: MeasureConfig | None = None,
    ) -> Iterator[StageRow]:
        """Meter a stage and keep a row of it, finished or failed.

        Errors: those of the block, which are recorded and raised again.
        """
        row = StageRow(self._begin(name, run, target))
        with meter.measured(config, heartbeat=lambda spent: self._refresh(row.id, spent)) as block:
            try:
                yield row
            except BaseException as error:
                with suppress(ArtefactError):  # the stage's own error is the one to show
                    self._end(row.id, block.cost, None, f"{type(error).__name__}: {error}")
                raise
        row.cost = block.cost
        self._end(row.id, block.cost, row._result, None)

    def _begin(self, name: str, run: str, target: Path | None) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        values = {
            "run": run,
            "stage": name,
            "target": None if target is None else str(target.absolute()),
            "status": "started",
            "begun_unix": clock.unix(),
            "pid": os.getpid(),
            "pid_begun": psutil.Process().create_time(),
            "host": schema.host(),
        }
        with schema.connect(self.path, create=True) as connection:
            return _insert(connection, "stages", values)

    def _refresh(self, row_id: int, spent: Cost) -> None:
        with suppress(ArtefactError), schema.connect(self.path, create=True) as connection:
            _update(connection, row_id, _cost_values(spent))

    def _end(self, row_id: int, spent: Cost, result: StageResult | None, error: str | None) -> None:
        values = _cost_values(spent) | {
            "status": "finished" if error is None else "failed",
            "ended_unix": clock.unix(),
            "error": error,
        }
        parents: dict[str, str] = {}
        if result is not None:
            card = open_artefact(result.artefact)
            parents = card.parents
            values |= {
                "artefact": str(result.artefact.absolute()),
                "artefact_hash": card.content_hash,
                "tokens": result.tokens,
                "flops": result.flops,
                "facts": json.dumps(result.facts | result.quality, default=str),
            }
        with schema.connect(self.path, create=True) as connection:
            _update(connection, row_id, values)
            for name, parent in parents.items():
                row = {"stage_id": row_id, "name": name, "hash": parent}
                _insert(connection, "parents", row)

    def rows(self, run: str | None = None) -> list[Row]:
        """Every row in order of writing, or those of one run."""
        with schema.connect(self.path, create=False) as connection:
            parents: dict[int, dict[str, str]] = {}
            for link in connection.execute("SELECT stage_id, name, hash FROM parents"):
                parents.setdefault(link["stage_id"], {})[link["name"]] = link["hash"]
            raw = connection.execute("SELECT * FROM stages ORDER BY id").fetchall()
        rows = [_row(entry, parents.get(entry["id"], {})) for entry in raw]
        return rows if run is None else [row for row in rows if row.run == run]

    def cost_of(self, content_hash: str) -> ChainCost:
        """What the artefact with this hash cost to make, its parents and theirs included."""
        return chain_cost(self.rows(), content_hash)


def chain_cost(rows: list[Row], content_hash: str) -> ChainCost:
    """The sum along the parents of `content_hash`; a shared parent counts once.

    The last finished stage that made a hash speaks for it.  Attempts at the same target that
    were killed or failed before it, and after any earlier success, were paid for as well.
    """
    makers = {row.artefact_hash: row for row in rows if row.status == "finished"}
    chosen: dict[int, Row] = {}
    unknown: list[str] = []
    waiting, seen = [content_hash], set[str]()
    while waiting:
        wanted = waiting.pop()
        if wanted in seen:
            continue
        seen.add(wanted)
        maker = makers.get(wanted)
        if maker is None:
            unknown.append(wanted)
            continue
        for row in [maker, *_attempts(rows, maker)]:
            chosen[row.id] = row
        waiting.extend(maker.parents.values())
    ordered = tuple(chosen[row_id] for row_id in sorted(chosen))
    spent = [row.cost for row in ordered if row.cost is not None]
    return ChainCost(total=cost.total(spent), rows=ordered, unknown=tuple(sorted(unknown)))


def _attempts(rows: list[Row], maker: Row) -> list[Row]:
    """The unfinished tries that led to `maker`."""
    same = [row for row in rows if row.id < maker.id and _same_work(row, maker)]
    last_success = max((row.id for row in same if row.status == "finished"), default=0)
    ended = ("failed", "interrupted")
    return [row for row in same if row.id > last_success and row.status in ended]


def _same_work(row: Row, maker: Row) -> bool:
    return (row.run, row.stage, row.target) == (maker.run, maker.stage, maker.target)


def _cost_values(spent: Cost) -> dict[str, Any]:
    return {name: getattr(spent, name) for name in COST_NAMES}


def _insert(connection: sqlite3.Connection, table: str, values: dict[str, Any]) -> int:
    names, marks = ", ".join(values), ", ".join("?" * len(values))
    cursor = connection.execute(
        f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values())
    )
    return int(cursor.lastrowid or 0)


def _update(connection: sqlite3.Connection, row_id: int, values: dict[str, Any]) -> None:
    places = ", ".join(f"{name} = ?" for name in values)
    connection.execute(f"UPDATE stages SET {places} WHERE id = ?", (*values.values(), row_id))


def _row(entry: sqlite3.Row, parents: dict[str, str]) -> Row:
    spent = None
    if entry["seconds"] is not None:
        spent = Cost(**{name: entry[name] for name in COST_NAMES})
    status = entry["status"]
    if status == "started" and not _alive(entry):
        status = "interrupted"
    plain = ("id", "run", "stage", "target", "begun_unix", "ended_unix", "artefact")
    rest = ("artefact_hash", "tokens", "flops", "error")
    return Row(
        **{name: entry[name] for name in plain + rest},
        status=status,
        parents=parents,
        facts=json.loads(entry["facts"]),
        cost=spent,
    )


def _alive(entry: sqlite3.Row) -> bool:
    """Whether the writing process still runs; on another host nobody can tell, so yes."""
    if entry["host"] != schema.host():
        return True
    try:
        begun = psutil.Process(entry["pid"]).create_time()
    except psutil.Error:
        return False
    return abs(begun - entry["pid_begun"]) < 1.0
