"""What an engine is to a measurement, and the loop in which a child process serves it.

Only the standard library: environments of peers that hold no more load this file.
The parent writes one JSON object a line to standard input; the answer comes back as one on what
was standard output when the process began.  What an engine prints goes to standard error.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TextIO


class Runner(Protocol):
    """One engine with one model loaded, greedy, on a fixed number of threads."""

    version: str
    """Of the engine."""

    def prompt(self, ids: list[int]) -> None:
        """Read a prompt and take the first token, from an empty cache."""
        ...

    def open(self, prompts: list[list[int]], room: int) -> None:
        """Read all prompts and take a first token of each; sequences grow to `room` tokens."""
        ...

    def step(self) -> int:
        """One more token of every open sequence; returns how many came."""
        ...

    def close(self) -> None:
        """Forget the open sequences."""
        ...


Make = Callable[[Mapping[str, Any]], Runner]
"""A loaded engine from a request's fields:

model      path of what it loads
threads    to compute with
streams    most sequences at once
room       most tokens of one sequence
kv_tokens  most tokens of all sequences together
options    of this engine alone
"""


def serve(makers: Mapping[str, Make], requests: TextIO, answers: TextIO) -> None:
    """Answer requests until there are none.  A failure is an answer; the loop goes on."""
    served = _Served(makers)
    for line in requests:
        request = json.loads(line)
        try:
            answer = served.answer(request.pop("do"), request)
        except Exception as error:  # the barrier: the parent decides what a failure means
            answer = {"error": f"{type(error).__name__}: {error}"[:2000]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class _Served:
    """The requests, by name."""

    def __init__(self, makers: Mapping[str, Make]) -> None:
        self._makers = makers
        self._runner: Runner | None = None

    @property
    def runner(self) -> Runner:
        if self._runner is None:
            raise RuntimeError("nothing is loaded")
        return self._runner

    def answer(self, do: str, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request.  Errors: KeyError for one that is unknown."""
        return {
            "load": self._load,
            "prompt": self._prompt,
            "open": self._open,
            "steps": self._steps,
            "close": self._close,
            "memory": self._memory,
        }[do](request)

    def _load(self, request: dict[str, Any]) -> dict[str, Any]:
        make = self._makers[request["engine"]]
        begun = time.perf_counter()
        self._runner = make(request)
        facts = dict(getattr(self._runner, "facts", {}))
        taken = time.perf_counter() - begun
        return {"seconds": taken, "version": self.runner.version, **facts, **memory()}

    def _prompt(self, request: dict[str, Any]) -> dict[str, Any]:
        begun = time.perf_counter()
        self.runner.prompt(request["ids"])
        return {"seconds": time.perf_counter() - begun, "tokens": len(request["ids"])}

    def _open(self, request: dict[str, Any]) -> dict[str, Any]:
        begun = time.perf_counter()
        self.runner.open(request["prompts"], request["room"])
        return {"seconds": time.perf_counter() - begun}

    def _steps(self, request: dict[str, Any]) -> dict[str, Any]:
        self.runner.step()  # caches and threads are cold after another's turn
        begun = time.perf_counter()
        tokens = sum(self.runner.step() for _ in range(request["count"]))
        return {"seconds": time.perf_counter() - begun, "tokens": tokens}

    def _close(self, request: dict[str, Any]) -> dict[str, Any]:
        self.runner.close()
        return {}

    def _memory(self, request: dict[str, Any]) -> dict[str, Any]:
        return memory()


def memory() -> dict[str, Any]:
    """Resident bytes of this process, now and at most; empty where the system does not say."""
    try:
        with open("/proc/self/status") as file:
            lines = dict(line.split(":", 1) for line in file if ":" in line)
        now, most = (int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    except (OSError, KeyError, ValueError):
        return {}
    return {"resident_bytes": now, "peak_bytes": most}


def own_stdout() -> TextIO:
    """What is standard output now, for answers; whatever else prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    sys.stdout.flush()
    os.dup2(2, 1)
    return answers
