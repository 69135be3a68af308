"""Decode speed on an executor whose every step takes a known time."""

import time

import numpy as np
import pytest

from sparing.base.errors import ConfigError
from sparing.evaluation.speed import decode_speeds


class Slow:
    """Sleeps per forward call, checks the batch, and writes its name in a shared log."""

    vocab, blocks, block_tokens, context = 10, 4, 16, 64

    def __init__(self, name: str, seconds: float, log: list[str]) -> None:
        self.name, self.seconds, self.log, self.position = name, seconds, log, 0

    def forward(self, batch):
        start = int(batch.positions_N[0])
        if start == 0:
            self.log.append(self.name)
        else:
            assert start == self.position, "positions follow each other"
            assert len(batch.ids_N) == 1
        assert batch.blocks_RP.shape[1] * self.block_tokens > batch.positions_N[-1]
        assert batch.ids_N.dtype == batch.starts_R1.dtype == np.int32
        self.position = start + len(batch.ids_N)
        time.sleep(self.seconds)
        return np.zeros((1, self.vocab), dtype=np.float32)


def test_speeds_are_right_and_runs_take_turns():
    log: list[str] = []
    slow, fast = decode_speeds(
        [Slow("a", 0.004, log), Slow("b", 0.001, log)], [1, 2, 3], run_tokens=8, runs=5
    )
    assert log == ["a", "b"] * 6
    assert 100 < slow.tokens_per_s <= 250
    assert slow.slowest <= slow.tokens_per_s <= slow.fastest
    assert fast.tokens_per_s > 1.5 * slow.tokens_per_s
    assert (slow.runs, slow.run_tokens) == (5, 8)


def test_a_prompt_beyond_the_cache_is_refused():
    with pytest.raises(ConfigError, match="at most 32 tokens"):
        decode_speeds([Slow("a", 0, [])], [1] * 40, run_tokens=32)
