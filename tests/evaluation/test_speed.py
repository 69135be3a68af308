"""Decode speed on executors whose every step takes a known time of a clock of our own."""

import numpy as np
import pytest

from sparing.base.errors import ConfigError
from sparing.evaluation.speed import decode_speeds


class Bench:
    """A clock that executors move, and a log of whose turn it was."""

    def __init__(self) -> None:
        self.now, self.log = 0.0, []

    def clock(self) -> float:
        return self.now


class Timed:
    """Takes the next of its step times per run, checks the batch, and writes its name down."""

    vocab, blocks, block_tokens, context = 10, 4, 16, 64

    def __init__(self, name: str, seconds: list[float], bench: Bench) -> None:
        self.name, self.seconds, self.bench = name, seconds, bench
        self.position, self.run = 0, -1

    def forward(self, batch):
        start = int(batch.positions_N[0])
        if start == 0:
            self.bench.log.append(self.name)
            self.run += 1
            self.bench.now += 1000.0  # the prompt is not to be timed
        else:
            assert start == self.position, "positions follow each other"
            assert len(batch.ids_N) == 1
            self.bench.now += self.seconds[self.run]
        assert batch.blocks_RP.shape[1] * self.block_tokens > batch.positions_N[-1]
        assert batch.ids_N.dtype == batch.starts_R1.dtype == np.int32
        self.position = start + len(batch.ids_N)
        return np.zeros((1, self.vocab), dtype=np.float32)


def test_speeds_are_medians_of_runs_that_take_turns_after_a_warm_up():
    bench = Bench()
    slow = Timed("a", [99.0, 0.5, 0.25, 1.0, 0.25, 2.0], bench)
    fast = Timed("b", [99.0, 0.125, 0.125, 0.125, 0.125, 0.25], bench)
    found = decode_speeds([slow, fast], [1, 2, 3], run_tokens=8, runs=5, clock=bench.clock)
    assert bench.log == ["a", "b"] * 6
    assert (found[0].tokens_per_s, found[0].slowest, found[0].fastest) == (2.0, 0.5, 4.0)
    assert (found[1].tokens_per_s, found[1].slowest, found[1].fastest) == (8.0, 4.0, 8.0)
    assert (found[0].runs, found[0].run_tokens) == (5, 8)


def test_a_prompt_beyond_the_cache_is_refused():
    with pytest.raises(ConfigError, match="at most 32 tokens"):
        decode_speeds([Timed("a", [0.0], Bench())], [1] * 40, run_tokens=32)
