"""A child process with an honest engine: it does what was asked, slowly by a known amount, and
remembers what it was told.  Run instead of the real worker by a script that stands for python."""

import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from sparing.bench.runner import own_stdout, serve


class Fake:
    """Sleeps `step_s` per step, and `prompt_s` per prompt; options make it misbehave."""

    version = "fake 1"

    def __init__(self, request: Mapping[str, Any]) -> None:
        self.options = dict(request["options"])
        self.streams = 0
        self.length = self.room = self.steps = 0
        self.facts = {
            "seen": sorted(os.listdir(os.environ["PYTHONPATH"].split(os.pathsep)[0])),
            "threads": os.environ["OMP_NUM_THREADS"],
            "asked": {k: request[k] for k in ("threads", "streams", "room", "kv_tokens")},
        }
        if self.options.get("refuses"):
            raise RuntimeError("no such file")
        print("an engine that talks")  # must not reach the parent as an answer
        os.write(1, b"even past Python\n")

    def prompt(self, ids: list[int]) -> None:
        assert self.streams == 0, "a prompt is read into an empty cache"
        time.sleep(self.options.get("prompt_s", 0.0))

    def open(self, prompts: list[list[int]], room: int) -> None:
        assert self.streams == 0, "the last sequences were not closed"
        assert len({tuple(ids) for ids in prompts}) == len(prompts), "every stream has its own"
        self.streams, self.length, self.room = len(prompts), len(prompts[0]) + 1, room

    def step(self) -> int:
        self.steps += 1
        self.length += 1
        assert self.length <= self.room, "more steps than there is room for"
        if self.steps == self.options.get("fails_at"):
            raise RuntimeError("out of luck")
        if self.steps == self.options.get("dies_at"):
            os._exit(3)
        if self.steps == self.options.get("hangs_at"):
            time.sleep(60)
        time.sleep(self.options.get("step_s", 0.0))
        return self.streams

    def close(self) -> None:
        self.streams = 0


if __name__ == "__main__":
    serve({"fake": Fake, "sparing": Fake}, sys.stdin, own_stdout())
