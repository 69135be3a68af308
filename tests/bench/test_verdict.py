"""Medians, ratios and fractions by hand."""

import pytest

from sparing.bench import verdict
from sparing.bench.cells import Cell
from sparing.bench.roof import Work

WORK = Work(block_macs=100, head_macs=0)
LIMITS = [
    {"read_bytes_per_s": rate, "fp32_flops": 1e9, "bf16_flops": None, "int8_ops": 1e9}
    for rate in (100.0, 400.0, 200.0)
]
FACTS = {
    "us": {"ours": True, "weight_bytes": 10, "note": "g128"},
    "slow": {"ours": False, "weight_bytes": 20},
    "fast": {"ours": False, "weight_bytes": None},
}


def samples(**figures: list[float]) -> dict:
    return {label: {"figures": values} for label, values in figures.items()}


def made(cell: Cell, **figures: list[float]) -> dict[str, verdict.Row]:
    rows = verdict.rows(cell, samples(**figures), FACTS, LIMITS, work=WORK, width="int8")
    return {row.label: row for row in rows}


def test_higher_is_better_in_tokens() -> None:
    rows = made(Cell(kind="decode"), us=[9, 10, 30], slow=[2.0, 3, 4], fast=[5.0, 5, 6])
    us = rows["us"]
    assert list(rows) == ["us", "fast", "slow"]
    assert (us.median, us.least, us.most) == (10, 9, 30)
    assert us.best_peer == "fast"
    assert us.ratio == 2.0
    assert us.ratio_range == (1.8, 5.0)
    assert us.roof == pytest.approx(200.0 / 10)  # the median look at the memory
    assert us.fraction == pytest.approx(0.5)
    assert rows["fast"].best_peer == "slow"
    assert rows["fast"].roof is None
    assert rows["fast"].fraction is None


def test_lower_is_better_in_milliseconds() -> None:
    rows = made(Cell(kind="first_token", prompt=10), us=[100.0], slow=[300.0], fast=[200.0])
    assert list(rows) == ["us", "fast", "slow"]
    assert rows["us"].best_peer == "fast"
    assert rows["us"].ratio == 0.5
    assert rows["us"].fraction == pytest.approx(50 / 100)  # 10 bytes at 200 per second


def test_who_failed_is_never_the_best_and_says_why() -> None:
    cell = Cell(kind="decode")
    tree = samples(us=[4.0], fast=[], slow=[2.0])
    tree["fast"]["error"] = "fast: steps: out of memory"
    rows = {
        row.label: row for row in verdict.rows(cell, tree, FACTS, LIMITS, work=WORK, width="int8")
    }
    assert rows["us"].best_peer == "slow"
    assert rows["fast"].median is None
    assert rows["fast"].ratio is None
    text = verdict.text(list(rows.values()), verdict.typical(LIMITS))
    assert "none: fast: steps: out of memory" in text
    assert "2.00x slow" in text
    assert "20% of the roof 20.0" in text


def test_a_limit_that_was_not_measured_stays_unknown() -> None:
    assert verdict.typical(LIMITS)["bf16_flops"] is None
    assert verdict.typical([]) == {}
