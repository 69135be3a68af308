"""Tokens per second of single-row decoding, several models measured in turns."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from sparing.base.errors import require
from sparing.engine.executor import Batch, Executor


@dataclass(frozen=True, slots=True)
class DecodeSpeed:
    """Speed of one model; the runs of all models were interleaved."""

    tokens_per_s: float
    """median over the runs"""
    slowest: float
    fastest: float
    runs: int
    run_tokens: int

    def tree(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "tokens_per_s": self.tokens_per_s,
            "slowest": self.slowest,
            "fastest": self.fastest,
            "runs": self.runs,
            "run_tokens": self.run_tokens,
            "rows": 1,
        }


def decode_speeds(
    executors: Sequence[Executor],
    prompt: Sequence[int],
    *,
    run_tokens: int = 32,
    runs: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> list[DecodeSpeed]:
    """Greedy decoding of `run_tokens` tokens after `prompt`, `runs` times each in turn.

    One warm-up run of each comes first and is not counted; the prompt is not timed.

    Errors:
        ConfigError: a context too short for the prompt and the run.
    """
    require(runs >= 1 and run_tokens >= 1, "runs", "at least one run of one token", runs)
    for executor in executors:
        room = min(executor.context, executor.blocks * executor.block_tokens)
        fits = len(prompt) + run_tokens <= room
        require(fits, "prompt", f"at most {room - run_tokens} tokens", len(prompt))
    seconds: list[list[float]] = [[] for _ in executors]
    for turn in range(runs + 1):
        for executor, taken in zip(executors, seconds, strict=True):
            elapsed = _run(executor, prompt, run_tokens, clock)
            if turn:
                taken.append(elapsed)
    return [_speed(taken, run_tokens) for taken in seconds]


def _speed(seconds: list[float], run_tokens: int) -> DecodeSpeed:
    rates = [run_tokens / elapsed for elapsed in seconds]
    return DecodeSpeed(median(rates), min(rates), max(rates), len(rates), run_tokens)


def _run(
    executor: Executor, prompt: Sequence[int], run_tokens: int, clock: Callable[[], float]
) -> float:
    """Seconds that `run_tokens` decoding steps take after the prompt is in the cache."""
    blocks = -(-(len(prompt) + run_tokens) // executor.block_tokens)
    blocks_RP = np.arange(blocks, dtype=np.int32)[None, :]
    token = _step(executor, prompt, 0, blocks_RP)
    begin = clock()
    for position in range(len(prompt), len(prompt) + run_tokens):
        token = _step(executor, [token], position, blocks_RP)
    return clock() - begin


def _step(executor: Executor, ids: Sequence[int], start: int, blocks_RP: np.ndarray) -> int:
    T = len(ids)
    batch = Batch(
        ids_N=np.asarray(ids, dtype=np.int32),
        positions_N=np.arange(start, start + T, dtype=np.int32),
        starts_R1=np.array([0, T], dtype=np.int32),
        blocks_RP=blocks_RP,
        logit_rows_L=np.array([T - 1], dtype=np.int32),
    )
    return int(executor.forward(batch)[0].argmax())
