"""The contestants of one cell, in turns, with the machine's limits measured between them."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psutil

from sparing.bench.cells import Cell, prompt_ids
from sparing.bench.contestant import Contestant, ContestantError

T = TypeVar("T")
Limits = Callable[[], dict[str, float | None]]
"""Measures the machine now."""


@dataclass(slots=True)
class Samples:
    """What one contestant did in one cell."""

    figures: list[float] = field(default_factory=list)
    """One per turn, in the cell's unit."""
    prompts_s: float | None = None
    """Seconds to read the prompts of all streams and take a first token of each, once."""
    foreign_cores: list[float] = field(default_factory=list)
    """Cores that others used during each turn: near 0 when the figure can be trusted."""
    error: str | None = None
    """Why there are no (more) figures."""

    def tree(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "figures": self.figures,
            "prompts_s": self.prompts_s,
            "foreign_cores": self.foreign_cores,
            "error": self.error,
        }


def rotated(items: Sequence[T], turn: int) -> list[T]:
    """`items` beginning with another one in every turn, so that none is always first."""
    cut = turn % len(items) if items else 0
    return [*items[cut:], *items[:cut]]


def measure(
    cell: Cell, contestants: Sequence[Contestant], *, vocab: int, limits: Limits
) -> tuple[dict[str, Samples], list[dict[str, float | None]]]:
    """Samples by label, and the machine's limits before each turn.

    A contestant that fails keeps its error in place of its figures and takes no more turns.
    """
    samples = {each.entry.label: Samples() for each in contestants}
    seen: list[dict[str, float | None]] = []
    begin = _open if cell.kind == "decode" else _warm
    turn_of = _steps if cell.kind == "decode" else _prompt
    for each in contestants:
        _guarded(samples[each.entry.label], lambda e=each, s=samples: begin(cell, e, s, vocab))
    for turn in range(cell.turns):
        seen.append(limits())
        for each in rotated(contestants, turn):
            mine = samples[each.entry.label]
            _guarded(mine, lambda e=each, m=mine: turn_of(cell, e, m, vocab))
    for each in contestants:
        if cell.kind == "decode":
            _guarded(samples[each.entry.label], lambda e=each: e.ask("close"))
    return samples, seen


def _guarded(samples: Samples, act: Callable[[], Any]) -> None:
    if samples.error is None:
        try:
            act()
        except ContestantError as error:
            samples.error, samples.figures = str(error), []


def _open(cell: Cell, each: Contestant, samples: dict[str, Samples], vocab: int) -> None:
    prompts = [prompt_ids(cell.prompt, vocab=vocab, stream=s) for s in range(cell.streams)]
    answer = each.ask("open", prompts=prompts, room=cell.room)
    samples[each.entry.label].prompts_s = answer["seconds"]


def _warm(cell: Cell, each: Contestant, samples: dict[str, Samples], vocab: int) -> None:
    each.ask("prompt", ids=prompt_ids(cell.prompt, vocab=vocab))


def _steps(cell: Cell, each: Contestant, samples: Samples, vocab: int) -> None:
    before = _busy(each.pid)
    answer = each.ask("steps", count=cell.steps)
    _note(cell, samples, answer, before, _busy(each.pid))


def _prompt(cell: Cell, each: Contestant, samples: Samples, vocab: int) -> None:
    before = _busy(each.pid)
    answer = each.ask("prompt", ids=prompt_ids(cell.prompt, vocab=vocab))
    _note(cell, samples, answer, before, _busy(each.pid))


def _note(
    cell: Cell,
    samples: Samples,
    answer: dict[str, Any],
    before: tuple[float, float, float],
    after: tuple[float, float, float],
) -> None:
    samples.figures.append(cell.figure(answer["tokens"], answer["seconds"]))
    wall, machine, own = (b - a for a, b in zip(before, after, strict=True))
    samples.foreign_cores.append(max(0.0, machine - own) / wall if wall > 0 else 0.0)


def _busy(pid: int) -> tuple[float, float, float]:
    """Wall seconds, busy core seconds of the machine, and those of the child and of ourselves."""
    times = psutil.cpu_times()
    machine = times.user + times.system + times.nice
    machine += getattr(times, "irq", 0.0) + getattr(times, "softirq", 0.0)
    own = sum(os.times()[:2])
    try:
        child = psutil.Process(pid).cpu_times()
        own += child.user + child.system
    except psutil.Error:  # it has just ended; its own error says so
        pass
    return time.perf_counter(), machine, own
