"""How far one model is from another on the same tokens: KL divergence, agreement, nats lost."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sparing.base.errors import ShapeError
from sparing.evaluation.documents import Sample
from sparing.evaluation.intervals import Interval, per_unit, quantile, ratio, units
from sparing.evaluation.perplexity import (
    Logits,
    Policy,
    Scores,
    byte_counts,
    document_of,
    log_probabilities,
    row_chunks,
    target_nats,
    window_logits,
    windows,
)


def kl_nats(base_TV: np.ndarray, other_TV: np.ndarray) -> np.ndarray:
    """KL(base || other) of each row's distribution, float64 nats [T].

    sum over V of p (log p - log q), with p from `base_TV`; never below 0 but for rounding.

    Shapes: logits base_TV, other_TV -> kl_T.
    Source: Kullback & Leibler 1951, Annals of Mathematical Statistics 22(1).
    """
    if base_TV.shape != other_TV.shape:
        raise ShapeError(f"logits: expected two of one shape, got {base_TV.shape} {other_TV.shape}")
    kl_T = np.empty(len(base_TV))
    for rows in row_chunks(*base_TV.shape):
        logp_TV = log_probabilities(base_TV[rows])
        logq_TV = log_probabilities(other_TV[rows])
        kl_T[rows] = np.einsum("tv,tv->t", np.exp(logp_TV), logp_TV - logq_TV)
    return kl_T


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models on the same tokens."""

    base: Scores
    other: Scores
    kl_N: np.ndarray
    """float64 nats, KL(base || other) at each scored token"""
    agree_N: np.ndarray
    """bool, whether both models' first choice is the same"""


def compare(
    base: Logits,
    other: Logits,
    sample: Sample,
    policy: Policy,
    *,
    progress: Callable[[int], None] | None = None,
) -> Pair:
    """Score both models window by window, so that no logits are ever kept or written."""
    columns: list[tuple[np.ndarray, ...]] = []
    done = 0
    for document in sample.documents:
        for window in windows(len(document.ids_N), policy):
            target_T = document.ids_N[window.first : window.stop].astype(np.int64)
            base_TV = window_logits(base, document.ids_N, window)
            other_TV = window_logits(other, document.ids_N, window)
            columns.append(
                (
                    target_nats(base_TV, target_T),
                    target_nats(other_TV, target_T),
                    kl_nats(base_TV, other_TV),
                    base_TV.argmax(axis=-1) == other_TV.argmax(axis=-1),
                )
            )
            done += len(target_T)
            if progress:
                progress(done)
    base_N, other_N, kl_N, agree_N = (
        np.concatenate(column) for column in zip(*columns, strict=True)
    )
    document_N, text_bytes = document_of(sample.documents), byte_counts(sample)
    return Pair(
        Scores(base_N, document_N, text_bytes),
        Scores(other_N, document_N, text_bytes),
        kl_N,
        agree_N,
    )


@dataclass(frozen=True, slots=True)
class Divergence:
    """One model against another, with intervals over documents."""

    kl_mean: Interval
    kl_p99: Interval
    top1_agreement: Interval
    nats_lost: Interval
    """other's nats per token minus base's, paired by document"""
    tokens: int
    resampled: str

    def tree(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "kl_mean": self.kl_mean.tree(),
            "kl_p99": self.kl_p99.tree(),
            "top1_agreement": self.top1_agreement.tree(),
            "nats_lost": self.nats_lost.tree(),
            "tokens": self.tokens,
            "resampled": self.resampled,
        }


def summarise(pair: Pair, *, seed: int = 0) -> Divergence:
    """Means and the 99th percentile of the KL, each with its bootstrap interval."""
    of = units(pair.base.document_N)
    count_U = per_unit(np.ones_like(pair.kl_N), of)
    lost_N = pair.other.nats_N - pair.base.nats_N
    return Divergence(
        kl_mean=ratio(per_unit(pair.kl_N, of), count_U, seed=seed),
        kl_p99=quantile(pair.kl_N, of, at=0.99, seed=seed),
        top1_agreement=ratio(per_unit(pair.agree_N, of), count_U, seed=seed),
        nats_lost=ratio(per_unit(lost_N, of), count_U, seed=seed),
        tokens=len(pair.kl_N),
        resampled=of.kind,
    )
