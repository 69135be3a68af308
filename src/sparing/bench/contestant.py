"""A child process with one engine and one model, as the parent sees it."""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sparing
from sparing.base.errors import SparingError

ASK_TIMEOUT_S = 900.0
"""Longer than any request of a benchmark that is worth waiting for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One way to run a model: what a child process needs, and what a reader must know."""

    label: str
    """As in the table: `llama.cpp Q4_0`."""
    engine: str
    """A name of `worker.ENGINES`."""
    model: str
    """Path of what the engine loads."""
    python: str = sys.executable
    """Interpreter of the environment that holds the engine."""
    weight_bytes: int | None = None
    """Read once per step; None where the engine says it itself."""
    head: str = ""
    """Width of the output head's weights, where it is not that of the blocks: int8, bf16."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of this engine alone."""
    note: str = ""
    """Group size, width of the head, width of the cache."""

    @property
    def ours(self) -> bool:
        """Whether it is this package's own engine."""
        return self.engine == "sparing"


class ContestantError(SparingError):
    """A child process failed, or did not answer in time."""


class Contestant:
    """A running child; close it, or use it in a `with`."""

    def __init__(
        self, entry: Entry, *, threads: int, log: Path, timeout_s: float = ASK_TIMEOUT_S
    ) -> None:
        self.entry, self._timeout_s = entry, timeout_s
        self._log = log
        self._link = tempfile.TemporaryDirectory(prefix="sparing-bench-")
        own = entry.python == sys.executable
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [entry.python, "-m", "sparing.bench.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=_environment(Path(self._link.name), own=own, threads=threads),
            )
        self._answers: queue.Queue[str] = queue.Queue()
        self._ended = False
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._process.pid

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """The answer to one request.

        Errors: ContestantError with the child's words, when it failed, ended or hangs.
        """
        line = "" if self._ended else self._exchange(do, json.dumps({"do": do, **fields}) + "\n")
        if not line:
            # A child on its way out may still take a line, which nobody will answer.
            self._ended = True
            raise ContestantError(f"{self.entry.label}: ended during {do!r}; see {self._log}")
        answer = json.loads(line)
        if "error" in answer:
            raise ContestantError(f"{self.entry.label}: {do}: {answer['error']}")
        return answer

    def _exchange(self, do: str, request: str) -> str:
        """The answer's line; empty when the child has ended."""
        assert self._process.stdin
        try:
            self._process.stdin.write(request)
            self._process.stdin.flush()
            return self._answers.get(timeout=self._timeout_s)
        except (OSError, ValueError):
            return ""
        except queue.Empty:
            self.close()
            raise ContestantError(
                f"{self.entry.label}: no answer to {do!r} within {self._timeout_s:g} s"
            ) from None

    def close(self) -> None:
        """End the child."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._link.cleanup()

    def __enter__(self) -> "Contestant":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _environment(link: Path, *, own: bool, threads: int) -> dict[str, str]:
    """The child's environment: another interpreter sees this package and nothing else of ours.

    The package alone is linked into an empty folder; the folder it lies in would bring the
    libraries of this environment with it.
    """
    package = Path(sparing.__file__).resolve().parent
    environment = dict(os.environ) | {
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }
    if own:
        paths = [str(package.parent), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        return environment
    (link / package.name).symlink_to(package)
    environment["PYTHONPATH"] = str(link)
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    environment.pop("PYTHONHOME", None)
    return environment
