"""Progress with rate and ETA, and loggers."""

import logging
import os
import sys
import time
from contextlib import AbstractContextManager
from typing import Any, TextIO

from sparing.base.units import count_text, seconds_text

_quiet = False


def silent(quiet: bool = True) -> None:
    """Turn all progress off (or on again) in this process."""
    global _quiet
    _quiet = quiet


def logger(name: str) -> logging.Logger:
    """The logger of a room; SPARING_LOG sets the level (default: warning)."""
    log = logging.getLogger(f"sparing.{name}")
    if not logging.getLogger("sparing").handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        root = logging.getLogger("sparing")
        root.addHandler(handler)
        root.setLevel(os.environ.get("SPARING_LOG", "WARNING").upper())
    return log


class Progress(AbstractContextManager["Progress"]):
    """A line on standard error that says how far, how fast and how long still.

    On a terminal the line is rewritten ten times a second at most; elsewhere a new line is
    written every ten seconds.
    """

    def __init__(
        self, label: str, unit: str, total: float | None = None, stream: TextIO | None = None
    ) -> None:
        self.label, self.unit, self.total = label, unit, total
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._every = 0.1 if self._live else 10.0
        self._begun = self._told = time.monotonic()
        self._first: float | None = None
        self._done, self._facts = 0.0, {}

    def update(self, done: float, **facts: Any) -> None:
        """`done` of `total` so far; `facts` stand behind it."""
        now = time.monotonic()
        if self._first is None:
            self._first = done  # a resumed stage starts in the middle
        self._done, self._facts = done, facts
        if now - self._told >= self._every:
            self._told = now
            self._write(self._line(now))

    def _line(self, now: float) -> str:
        rate = (self._done - (self._first or 0.0)) / max(now - self._begun, 1e-9)
        text = f"{self.label}: {count_text(self._done)}"
        if self.total:
            text += f"/{count_text(self.total)} ({100 * self._done / self.total:.0f} %)"
        text += f" {self.unit}, {count_text(rate)}/s"
        if self.total and rate > 0 and self._done < self.total:
            text += f", {seconds_text((self.total - self._done) / rate)} left"
        for name, value in self._facts.items():
            text += f", {name} {value:.4g}" if isinstance(value, float) else f", {name} {value}"
        return text

    def _write(self, text: str) -> None:
        if _quiet:
            return
        self._stream.write(f"\r\x1b[2K{text}" if self._live else text + "\n")
        self._stream.flush()

    def __exit__(self, *exc: object) -> None:
        now = time.monotonic()
        if exc[0] is None and self._done:
            self._first = self._first if self._first != self._done else 0.0
            self._write(self._line(now) + f", {seconds_text(now - self._begun)}")
        if self._live and not _quiet:
            self._stream.write("\n")
