"""Results on disk: one JSON object a line, written as soon as it is known."""

import json
import os
from pathlib import Path
from typing import Any

from sparing.base.errors import ArtefactError


class Record:
    """A file of lines, each with a `kind`, a `group` and what was found; kept in memory too."""

    def __init__(self, path: Path | None) -> None:
        """Read what is there; None keeps nothing on disk.

        A last line that was cut short by a kill is dropped.
        Errors: ArtefactError for a file of something else.
        """
        self.path = path
        self.lines: list[dict[str, Any]] = []
        if path is not None and path.exists():
            self.lines = _lines(path)

    def add(self, kind: str, group: str, **facts: Any) -> dict[str, Any]:
        """Append a line, and make sure that it is on disk."""
        line = {"kind": kind, "group": group, **facts}
        self.lines.append(line)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
        return line

    def of(self, kind: str, group: str) -> list[dict[str, Any]]:
        """The lines of a kind and group, in the order of their writing."""
        return [line for line in self.lines if line["kind"] == kind and line["group"] == group]


def _lines(path: Path) -> list[dict[str, Any]]:
    text = path.read_text()
    whole, _, _ = text.rpartition("\n")
    lines = []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            tree = json.loads(line)
        except ValueError as error:
            raise ArtefactError(f"{path}: line {number}: not JSON: {error}") from None
        if not isinstance(tree, dict) or not {"kind", "group"} <= tree.keys():
            raise ArtefactError(f"{path}: line {number}: not a line of benchmark results")
        lines.append(tree)
    if len(whole) + 1 < len(text):
        path.write_text(whole + "\n" if whole else "")
    return lines
