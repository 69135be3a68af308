"""Nats per token and bits per UTF-8 byte of a model on documents, each token scored once."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sparing.base.errors import ShapeError, require
from sparing.evaluation.documents import Document, Sample
from sparing.evaluation.intervals import Interval, per_unit, ratio, units

Logits = Callable[[Sequence[int]], np.ndarray]
"""Token ids of one text from position 0 -> float32 logits [T, V], one row per id."""

MOST_LOGIT_BYTES = 128 << 20
"""Bytes of logits one window may take; bounds the window of a model with a large vocabulary."""

MOST_CONTEXT = 1024
"""Longest window where none is asked for: longer ones cost more and change small models little."""

CHUNK_VALUES = 1 << 22
"""Logits widened to float64 at a time: 32 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How a document longer than the context is scored: windows that overlap, nothing cut."""

    context: int
    """Tokens of one window."""

    stride: int
    """Tokens by which windows advance; each token after the first window sees at least
    context - stride tokens before it."""

    def __post_init__(self) -> None:
        require(self.context >= 2, "context", "at least 2 tokens", self.context)
        wanted = f"1 to context - 1 = {self.context - 1}"
        require(1 <= self.stride < self.context, "stride", wanted, self.stride)

    def text(self) -> str:
        """One sentence for the reader of a result."""
        return (
            f"windows of {self.context} tokens advancing by {self.stride}; every token after a "
            f"document's first window sees at least {self.context - self.stride} tokens before it"
        )


def policy(
    model_context: int, vocab: int, *, context: int | None = None, trained: int | None = None
) -> Policy:
    """The window to score with, advancing by half of itself.

    It is `context` where given, else the longest that was trained (where that is known), that the
    model allows, and whose logits fit in memory; at most `MOST_CONTEXT`.

    Errors:
        ConfigError: `context` beyond the model's.
    """
    fits = max(2, MOST_LOGIT_BYTES // (4 * vocab))
    if context is None:
        context = min(model_context, trained or model_context, fits, MOST_CONTEXT)
    require(context <= model_context, "context", f"at most the model's {model_context}", context)
    return Policy(context=context, stride=max(1, context // 2))


@dataclass(frozen=True, slots=True)
class Window:
    """ids[start:stop] are read; the predictions of ids[first:stop] count."""

    start: int
    first: int
    stop: int


def windows(length: int, policy: Policy) -> Iterator[Window]:
    """Windows that score the tokens 1 .. length - 1 exactly once each, in order."""
    stop = min(length, policy.context)
    first = 1
    while first < length:
        yield Window(max(0, stop - policy.context), first, stop)
        first, stop = stop, min(length, stop + policy.stride)


def log_probabilities(logits_TV: np.ndarray) -> np.ndarray:
    """log softmax of each row in float64; not finite where the logits are not."""
    wide_TV = logits_TV.astype(np.float64)
    with np.errstate(invalid="ignore"):
        wide_TV -= wide_TV.max(axis=-1, keepdims=True)
        wide_TV -= np.log(np.exp(wide_TV).sum(axis=-1, keepdims=True))
    return wide_TV


def row_chunks(rows: int, vocab: int) -> Iterator[slice]:
    """Slices of rows whose float64 logits stay within `CHUNK_VALUES`."""
    step = max(1, CHUNK_VALUES // vocab)
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))


def target_nats(logits_TV: np.ndarray, target_T: np.ndarray) -> np.ndarray:
    """-log p(target) of each row, float64 [T]."""
    nats_T = np.empty(len(target_T))
    for rows in row_chunks(*logits_TV.shape):
        logp_TV = log_probabilities(logits_TV[rows])
        nats_T[rows] = -np.take_along_axis(logp_TV, target_T[rows, None], axis=-1)[:, 0]
    return nats_T


def window_logits(logits: Logits, ids_N: np.ndarray, window: Window) -> np.ndarray:
    """Logits of the positions that predict ids[first:stop]."""
    read_T = ids_N[window.start : window.stop - 1]
    found_TV = logits(read_T.tolist())
    if found_TV.ndim != 2 or len(found_TV) != len(read_T):
        raise ShapeError(f"logits: expected {len(read_T)} rows, got shape {found_TV.shape}")
    return found_TV[window.first - 1 - window.start :]


@dataclass(frozen=True, slots=True)
class Scores:
    """What one model said about every scored token."""

    nats_N: np.ndarray
    """float64, -log p of each scored token"""
    document_N: np.ndarray
    """int64, the document of each"""
    bytes_per_document: np.ndarray
    """int64, UTF-8 bytes of each document's scored text"""

    @property
    def bits_per_byte(self) -> float:
        """Sum of nats / ln 2 / UTF-8 bytes."""
        return float(self.nats_N.sum() / math.log(2) / self.bytes_per_document.sum())


def score(
    logits: Logits, sample: Sample, policy: Policy, *, progress: Callable[[int], None] | None = None
) -> Scores:
    """Score every token of every document but each one's first."""
    nats: list[np.ndarray] = []
    done = 0
    for document in sample.documents:
        for window in windows(len(document.ids_N), policy):
            found_TV = window_logits(logits, document.ids_N, window)
            target_T = document.ids_N[window.first : window.stop].astype(np.int64)
            nats.append(target_nats(found_TV, target_T))
            done += len(target_T)
            if progress:
                progress(done)
    return Scores(np.concatenate(nats), document_of(sample.documents), byte_counts(sample))


def document_of(documents: Sequence[Document]) -> np.ndarray:
    """The number of the document of each scored token."""
    counts = [len(document.ids_N) - 1 for document in documents]
    return np.repeat(np.arange(len(documents), dtype=np.int64), counts)


def byte_counts(sample: Sample) -> np.ndarray:
    """UTF-8 bytes of each document."""
    return np.array([document.text_bytes for document in sample.documents], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Perplexity:
    """One model on one sample of text."""

    nats_per_token: Interval
    bits_per_byte: float
    tokens: int
    text_bytes: int
    resampled: str
    """what the interval resampled"""

    @property
    def perplexity(self) -> float:
        """exp of the mean nats per token; infinite when that overflows."""
        mean = self.nats_per_token.value
        return math.exp(mean) if mean < 700 else float("inf") if mean == mean else mean

    def tree(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "perplexity": self.perplexity,
            "nats_per_token": self.nats_per_token.tree(),
            "bits_per_byte": self.bits_per_byte,
            "tokens": self.tokens,
            "bytes": self.text_bytes,
            "resampled": self.resampled,
        }


def summarise(scores: Scores, *, seed: int = 0) -> Perplexity:
    """Means with a bootstrap interval over documents."""
    of = units(scores.document_N)
    ones_N = np.ones_like(scores.nats_N)
    return Perplexity(
        nats_per_token=ratio(per_unit(scores.nats_N, of), per_unit(ones_N, of), seed=seed),
        bits_per_byte=scores.bits_per_byte,
        tokens=len(scores.nats_N),
        text_bytes=int(scores.bytes_per_document.sum()),
        resampled=of.kind,
    )
