"""The tables of the ledger, and the one way to open them.

Rollback journal, full sync: a process killed at any moment leaves a file that the next opener
reads, with the last whole transaction in it.  No WAL: it needs shared memory, which network
file systems lack.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sparing.base.errors import ArtefactError

VERSION = 1
"""Raised with every change of the tables."""

APPLICATION = 0x53504152
"""'SPAR': marks the file as ours (SQLite's application_id)."""

BUSY_S = 30.0
"""How long a writer waits for another one; a transaction takes milliseconds."""

COST_COLUMNS = {
    "seconds": "REAL",
    "cpu_seconds": "REAL",
    "peak_rss_bytes": "INTEGER",
    "read_bytes": "INTEGER",
    "written_bytes": "INTEGER",
    "joules": "REAL",
    "joules_net": "REAL",
    "joules_low": "REAL",
    "joules_high": "REAL",
    "energy_label": "TEXT",
    "energy_method": "TEXT",
    "energy_idle": "TEXT",
    "gco2e": "REAL",
    "carbon_method": "TEXT",
    "money": "REAL",
    "currency": "TEXT",
}
"""The fields of `cost.Cost`, in SQLite's types."""

TABLES = f"""
CREATE TABLE stages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run TEXT NOT NULL,
    stage TEXT NOT NULL,
    target TEXT,
    status TEXT NOT NULL CHECK (status IN ('started', 'finished', 'failed')),
    begun_unix REAL NOT NULL,
    ended_unix REAL,
    pid INTEGER NOT NULL,
    pid_begun REAL NOT NULL,
    host TEXT NOT NULL,
    artefact TEXT,
    artefact_hash TEXT,
    tokens INTEGER,
    flops REAL,
    error TEXT,
    facts TEXT NOT NULL DEFAULT '{{}}',
    {", ".join(f"{name} {kind}" for name, kind in COST_COLUMNS.items())}
);
CREATE TABLE parents (
    stage_id INTEGER NOT NULL REFERENCES stages (id),
    name TEXT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (stage_id, name)
);
CREATE INDEX stages_by_hash ON stages (artefact_hash);
CREATE INDEX stages_by_run ON stages (run);
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""


@contextmanager
def connect(path: Path, *, create: bool) -> Iterator[sqlite3.Connection]:
    """One transaction on the ledger: committed on a clean exit, rolled back on any other.

    Errors: ArtefactError when there is no ledger (and `create` is not set), or the file is
        damaged, foreign or of a newer version.
    """
    if not create and not path.is_file():
        raise ArtefactError(f"{path}: no such ledger; run a stage first")
    try:
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        with closing(connection):
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("BEGIN IMMEDIATE" if create else "BEGIN")
            try:
                _check(connection, path, create=create)
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()
    except sqlite3.Error as error:
        raise ArtefactError(f"{path}: not usable as a ledger: {error}") from error


def _check(connection: sqlite3.Connection, path: Path, *, create: bool) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    if version == 0 and owner == 0 and _empty(connection) and create:
        for statement in TABLES.split(";"):
            if statement.strip():
                connection.execute(statement)
        return
    if owner != APPLICATION:
        raise ArtefactError(f"{path}: not a ledger of ours; choose another file")
    if version != VERSION:
        raise ArtefactError(
            f"{path}: ledger version {version}, this program knows {VERSION}; "
            "use the program that wrote it, or another file"
        )


def _empty(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0


def host() -> str:
    """Name of this machine."""
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
