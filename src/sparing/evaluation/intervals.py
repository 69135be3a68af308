"""Bootstrap over whole units, so that neighbouring tokens do not count as independent evidence."""

from dataclasses import dataclass

import numpy as np

from sparing.base.seeds import stream

CONFIDENCE = 0.95
"""Share of bootstrap draws between `low` and `high`."""

DRAWS = 1000
"""Bootstrap draws; the ends of a 95 % interval then rest on 25 draws each."""

FEWEST_DOCUMENTS = 20
"""Below this many documents the units are runs of `RUN_TOKENS` tokens instead."""

RUN_TOKENS = 128
"""Tokens of one run when there are too few documents to resample."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with the range in which 95 % of its bootstrap draws fall."""

    value: float
    low: float
    high: float

    def tree(self) -> dict[str, float]:
        """As plain JSON values."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class Units:
    """What the bootstrap resamples: a number for each token, and what the units are."""

    unit_N: np.ndarray
    """int64, the unit of each scored token; 0, 1, ... in order"""
    count: int
    kind: str
    """`document`, or `run of 128 tokens` when there are too few documents"""


def units(document_N: np.ndarray) -> Units:
    """Whole documents where there are enough of them, else runs of neighbouring tokens.

    Shapes: document_N int64, the document of each scored token, ascending.
    """
    found, unit_N = np.unique(document_N, return_inverse=True)
    if len(found) >= FEWEST_DOCUMENTS:
        return Units(unit_N.astype(np.int64), len(found), "document")
    starts = np.flatnonzero(np.diff(document_N, prepend=document_N[:1] - 1))
    lengths = np.diff(np.append(starts, len(document_N)))
    within_N = np.arange(len(document_N)) - np.repeat(starts, lengths)
    run_N = np.stack([unit_N, within_N // RUN_TOKENS], axis=1)
    _, unit_N = np.unique(run_N, axis=0, return_inverse=True)
    unit_N = unit_N.reshape(-1).astype(np.int64)
    return Units(unit_N, int(unit_N.max(initial=-1)) + 1, f"run of {RUN_TOKENS} tokens")


def per_unit(value_N: np.ndarray, of: Units) -> np.ndarray:
    """Sum of `value_N` in each unit, float64."""
    return np.bincount(of.unit_N, weights=value_N.astype(np.float64), minlength=of.count)


def _draws(count: int, seed: int) -> np.ndarray:
    """How often each unit is drawn, [DRAWS, count]."""
    generator = stream(seed, "bootstrap")
    return np.stack(
        [np.bincount(generator.integers(count, size=count), minlength=count) for _ in range(DRAWS)]
    )


def _ends(draw_X: np.ndarray) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draw_X, [tail, 1 - tail])
    return float(low), float(high)


def ratio(numerator_U: np.ndarray, denominator_U: np.ndarray, *, seed: int) -> Interval:
    """sum(numerator) / sum(denominator) with its percentile bootstrap interval over the units.

    Source: Efron 1979, Annals of Statistics 7(1); the ratio estimator keeps long units heavy.
    """
    value = float(numerator_U.sum() / denominator_U.sum())
    if not np.isfinite(value):
        return Interval(value, float("nan"), float("nan"))
    drawn = _draws(len(numerator_U), seed)
    weight_X = drawn @ denominator_U.astype(np.float64)
    return Interval(value, *_ends((drawn @ numerator_U) / np.maximum(weight_X, 1e-300)))


def quantile(value_N: np.ndarray, of: Units, *, at: float, seed: int) -> Interval:
    """The `at` quantile of the tokens' values with its bootstrap interval over the units."""
    value = float(np.quantile(value_N, at, method="inverted_cdf"))
    if not np.isfinite(value):
        return Interval(value, float("nan"), float("nan"))
    order = np.argsort(value_N, kind="stable")
    sorted_N, unit_N = value_N[order], of.unit_N[order]
    found = []
    for drawn_U in _draws(of.count, seed):
        weight_N = np.cumsum(drawn_U[unit_N])
        found.append(sorted_N[np.searchsorted(weight_N, at * weight_N[-1])])
    return Interval(value, *_ends(np.array(found)))
