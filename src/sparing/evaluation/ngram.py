"""Interpolated Kneser-Ney n-grams over token ids: the yardstick that a language model must beat.

The n-gram sees a document as the model does: bos is context and never predicted, eos is predicted,
no context crosses a border. Order n reads n - 1 tokens back; a document is padded in front with
bos until that many exist. A gram of order k is stored as the pair (gram of order k - 1, token),
both dense integers, in one sorted array per order, so that fitting is a sort and a question is a
binary search.

Source: Kneser & Ney 1995; Chen & Goodman 1999, "An empirical study of smoothing techniques for
language modeling", equations 21 to 26 (the continuation counts, and one or three discounts).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sparing.base.errors import require

Discounts = Callable[[np.ndarray], tuple[float, float, float]]
"""From the counts of one order to what is taken off a count of 1, of 2, and of 3 or more."""

FALLBACK = 0.5
"""Discount of an order whose counts do not tell one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What one order knows."""

    keys: np.ndarray
    """Sorted (id of the gram one shorter) * vocab + token; the rank of a key is its gram's id."""

    kept: np.ndarray
    """Probability mass left to each gram after its discount: (count - D) / total."""

    backoff: np.ndarray
    """Mass each context hands to the next lower order; 1 where the context was never followed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KneserNey:
    """A fitted model; made by `fit`."""

    vocab: int
    """Number of token ids."""

    bos: int
    """The id that begins every document."""

    unigram_V: np.ndarray
    """Lowest order: continuation counts, discounted and mixed with the uniform distribution."""

    orders: tuple[_Order, ...]
    """Orders 2 to n."""

    @property
    def order(self) -> int:
        """Longest gram, in tokens."""
        return len(self.orders) + 1

    def log2_probabilities(self, document: np.ndarray) -> np.ndarray:
        """Log2 of the probability of every token of `document` after its bos.

        Shapes: [T] token ids, the first one bos -> [T - 1].
        Errors: ConfigError for a document without its bos.
        """
        starts = len(document) > 0 and int(document[0]) == self.bos
        require(starts, "document", f"a first token {self.bos} (bos)", document[:3].tolist())
        ids, predicted = _padded([document], order=self.order, bos=self.bos)
        p = self.unigram_V[ids]
        gram = ids
        for table in self.orders:
            context = _shifted(gram)
            known = context >= 0
            gram = _find(table.keys, context, ids, self.vocab)
            kept = np.where(gram >= 0, table.kept[gram], 0.0)
            p = np.where(known, kept + table.backoff[context] * p, p)
        return np.log2(p[predicted])

    def bits(self, documents: Iterable[np.ndarray]) -> float:
        """Bits that all tokens of `documents` cost, but the first of each."""
        return float(-sum(self.log2_probabilities(document).sum() for document in documents))


def fit(
    documents: Iterable[np.ndarray],
    *,
    order: int,
    vocab: int,
    bos: int = 0,
    discounts: Discounts | Sequence[float] | None = None,
) -> KneserNey:
    """Count `documents` and smooth: interpolated Kneser-Ney of the given order.

    One that does not begin with bos is taken for a piece from inside a document: nothing is known
    of what stood before it, so its first order - 1 tokens are context and are not counted.

    `discounts` is `one_discount` (the default), `three_discounts`, or one number per order from
    the unigram up.

    Numerics: float64; probabilities over the vocabulary sum to 1 after any context.
    Errors:   ConfigError for an order below 2, nothing to count, or an id beyond the vocabulary.
    """
    require(order >= 2, "order", "an n-gram order of 2 or more", order)
    kept_documents = [np.asarray(document) for document in documents if len(document)]
    require(bool(kept_documents), "documents", "at least one document", 0)
    ids, predicted = _padded(kept_documents, order=order, bos=bos)
    require(bool(predicted.any()), "documents", f"one of {order} tokens or more", "shorter ones")
    require(int(ids.min()) >= 0 and int(ids.max()) < vocab, "vocab", "ids below it", int(ids.max()))
    keys, grams = _grams(ids, order=order, vocab=vocab)
    counts = _counts(grams, predicted, [vocab, *map(len, keys)])
    take = _per_order(discounts, counts)
    orders = []
    for k, key in enumerate(keys, start=1):
        contexts = vocab if k == 1 else len(keys[k - 2])
        orders.append(_smoothed(key, counts[k], take[k], contexts=contexts, vocab=vocab))
    unigram_V = _unigram(counts[0], take[0])
    return KneserNey(vocab=vocab, bos=bos, unigram_V=unigram_V, orders=tuple(orders))


def one_discount(counts: np.ndarray) -> tuple[float, float, float]:
    """The same D for every count: n1 / (n1 + 2 n2), with nc the number of grams counted c times.

    Without grams counted once the estimate is 0, and what was never seen would be impossible;
    then it is `FALLBACK`.

    Source: Ney, Essen & Kneser 1994; Chen & Goodman 1999, equation 22.
    """
    n1, n2 = (int(np.count_nonzero(counts == c)) for c in (1, 2))
    discount = n1 / (n1 + 2 * n2) if n1 else FALLBACK
    return discount, discount, discount


def three_discounts(counts: np.ndarray) -> tuple[float, float, float]:
    """Modified Kneser-Ney: a discount each for counts of 1, 2, and 3 or more.

    Falls to `one_discount` where a count of counts is zero, since the formula is undefined there.

    Source: Chen & Goodman 1999, equation 26.
    """
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == c)) for c in (1, 2, 3, 4))
    if not (n1 and n2 and n3):
        return one_discount(counts)
    y = n1 / (n1 + 2 * n2)
    first, second, third = 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3
    return max(first, 0.0), max(second, 0.0), max(third, 0.0)


def bits_per_byte(model: KneserNey, documents: Iterable[np.ndarray], text_bytes: int) -> float:
    """Bits per UTF-8 byte of the text that `documents` encode, eos included in the bits."""
    require(
        text_bytes > 0, "text_bytes", "the held-out text's UTF-8 bytes, more than 0", text_bytes
    )
    return model.bits(documents) / text_bytes


def _padded(
    documents: Sequence[np.ndarray], *, order: int, bos: int
) -> tuple[np.ndarray, np.ndarray]:
    """All documents in one array, bos before each until it has order - 1; and which are predicted.

    A piece from inside a document gets nothing before it; its first order - 1 tokens are context.
    """
    pad = np.full(order - 2, bos, dtype=np.int64)
    pieces, marks = [], []
    for document in documents:
        before = pad[: len(pad) if int(document[0]) == bos else 0]
        pieces += [before, document.astype(np.int64)]
        mark = np.ones(len(before) + len(document), dtype=bool)
        mark[: order - 1] = False
        marks.append(mark)
    return np.concatenate(pieces), np.concatenate(marks)


def _grams(ids: np.ndarray, *, order: int, vocab: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Sorted keys of orders 2 to n, and for every order the id of the gram that ends at each place.

    Places whose gram would cross a document's front get ids too; nothing ever counts those.
    """
    keys, grams = [], [ids]
    for _ in range(2, order + 1):
        context = _shifted(grams[-1])
        context[0] = 0
        key, gram = np.unique(context * vocab + ids, return_inverse=True)
        keys.append(key)
        grams.append(gram.astype(np.int64))
    return keys, grams


def _counts(grams: list[np.ndarray], predicted: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """Highest order: how often each gram occurs. Lower: how many tokens it is found behind."""
    events = [gram[predicted] for gram in grams]
    counts = [np.bincount(events[-1], minlength=sizes[-1])]
    for k in range(len(grams) - 2, -1, -1):
        suffix = np.full(sizes[k + 1], -1, dtype=np.int64)
        suffix[events[k + 1]] = events[k]  # every occurrence of a gram has the same suffix
        counts.append(np.bincount(suffix[suffix >= 0], minlength=sizes[k]))
    return counts[::-1]


def _per_order(
    discounts: Discounts | Sequence[float] | None, counts: list[np.ndarray]
) -> list[tuple[float, float, float]]:
    """Discounts of each order, given or estimated from its counts."""
    if discounts is None:
        discounts = one_discount
    if callable(discounts):
        return [discounts(count) for count in counts]
    require(len(discounts) == len(counts), "discounts", f"{len(counts)} numbers", len(discounts))
    return [(float(d), float(d), float(d)) for d in discounts]


def _taken(counts: np.ndarray, take: tuple[float, float, float]) -> np.ndarray:
    """What each count loses; never more than it has."""
    return np.minimum(np.array([0.0, *take])[np.minimum(counts, 3)], counts)


def _unigram(count_V: np.ndarray, take: tuple[float, float, float]) -> np.ndarray:
    """Discounted continuation counts; what was taken is spread evenly over the vocabulary."""
    taken_V = _taken(count_V, take)
    return (count_V - taken_V + taken_V.sum() / len(count_V)) / count_V.sum()


def _smoothed(
    keys: np.ndarray,
    counts: np.ndarray,
    take: tuple[float, float, float],
    *,
    contexts: int,
    vocab: int,
) -> _Order:
    """Turn one order's counts into what each gram keeps and what each context hands down."""
    context = keys // vocab
    taken = _taken(counts, take)
    total = np.bincount(context, weights=counts, minlength=contexts)
    handed = np.bincount(context, weights=taken, minlength=contexts)
    followed = total > 0
    safe = np.where(followed, total, 1.0)
    backoff = np.where(followed, handed / safe, 1.0)
    return _Order(keys=keys, kept=(counts - taken) / safe[context], backoff=backoff)


def _shifted(gram: np.ndarray) -> np.ndarray:
    """The gram that ends one place earlier; -1 (unknown) at the very front."""
    context = np.empty_like(gram)
    context[0], context[1:] = -1, gram[:-1]
    return context


def _find(keys: np.ndarray, context: np.ndarray, ids: np.ndarray, vocab: int) -> np.ndarray:
    """Dense ids of the grams (context, token); -1 where never seen."""
    wanted = np.where(context >= 0, context * vocab + ids, -1)
    rank = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[rank] == wanted, rank, -1)
