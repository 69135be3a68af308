"""The lines of metrics.jsonl, apart from the times at which they were written.

A run that was stopped and went on has the same lines as one that was not: they are kept in every
checkpoint, and those written after it are forgotten with the steps that they were about. Times
can never be the same twice, so they stand on the model's card and not in its files.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAME = "metrics.jsonl"


class Journal:
    """Lines so far; each is also appended, with its time, to a file that may be watched."""

    def __init__(self, live: Path, earlier: Mapping[str, Any] | None = None) -> None:
        self._live = live
        self._lines: list[dict[str, Any]] = list(earlier["lines"]) if earlier else []
        self._times: list[dict[str, Any]] = list(earlier["times"]) if earlier else []
        both = zip(self._lines, self._times, strict=True)
        live.write_text("".join(_text(line | time) for line, time in both))

    @property
    def seconds(self) -> float:
        """Seconds of training up to the last line, over all sittings."""
        return float(self._times[-1]["seconds"]) if self._times else 0.0

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What was written so far, without times."""
        return list(self._lines)

    def write(self, line: dict[str, Any], *, seconds: float, tokens_per_s: float) -> None:
        """Add a line; `seconds` and `tokens_per_s` are kept apart from it."""
        times = {"seconds": round(seconds, 3), "tokens_per_s": round(tokens_per_s, 1)}
        self._lines.append(line)
        self._times.append(times)
        with self._live.open("a") as file:
            file.write(_text(line | times))

    def state(self) -> dict[str, Any]:
        """Plain values to go on from."""
        return {"lines": list(self._lines), "times": list(self._times)}

    def text(self) -> str:
        """The lines of the finished model's file."""
        return "".join(_text(line) for line in self._lines)

    def timing(self) -> dict[str, list[float]]:
        """Columns for the model's card: step, seconds, tokens_per_s."""
        columns = {name: [row[name] for row in self._times] for name in ("seconds", "tokens_per_s")}
        return {"step": [line["step"] for line in self._lines], **columns}


def _text(line: Mapping[str, Any]) -> str:
    return json.dumps(line) + "\n"
