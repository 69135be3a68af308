"""Kneser-Ney against the textbook's recursion, against NLTK, and against its own laws."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.lm.models import KneserNeyInterpolated

from sparing.base.errors import ConfigError
from sparing.evaluation import ngram

BOS, EOS, VOCAB = 0, 1, 12


def document(rng, length):
    """Skewed tokens, so that many grams repeat."""
    body = 2 + np.minimum(rng.geometric(0.35, length) - 1, VOCAB - 4)
    return np.concatenate([[BOS], body, [EOS]])


def corpus(seed, documents=6, length=25):
    rng = np.random.default_rng(seed)
    return [document(rng, int(rng.integers(0, length))) for _ in range(documents)]


def events(documents, order):
    """Every predicted token with its order - 1 tokens of history, as plain tuples."""
    for ids in documents:
        padded = [BOS] * (order - 2) + [int(token) for token in ids]
        for place in range(order - 1, len(padded)):
            yield tuple(padded[place - order + 1 : place + 1])


def words(ids):
    """NLTK's tokens are strings."""
    return tuple(str(int(token)) for token in ids)


class Textbook:
    """Chen & Goodman 1999, equations 21 and 24 to 26, written down with dictionaries."""

    def __init__(self, documents, order, *, modified):
        full = Counter(events(documents, order))
        self.order, self.counts = order, {order: full}
        for k in range(order - 1, 0, -1):
            self.counts[k] = Counter(gram[1:] for gram in self.counts[k + 1])
        self.discounts = {k: self.discount(counts, modified) for k, counts in self.counts.items()}

    @staticmethod
    def discount(counts, modified):
        n = Counter(counts.values())
        y = n[1] / (n[1] + 2 * n[2]) if n[1] else 0.5
        if not modified or not (n[1] and n[2] and n[3]):
            return [0, y, y, y]
        formula = [1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]]
        return [0, *(max(value, 0.0) for value in formula)]

    def probability(self, history, token):
        below = self.probability(history[1:], token) if history else 1 / VOCAB
        counts = self.counts[len(history) + 1]
        discount = self.discounts[len(history) + 1]
        followers = {gram[-1]: c for gram, c in counts.items() if gram[:-1] == history}
        total = sum(followers.values())
        if total == 0:
            return below
        taken = {t: min(c, discount[min(c, 3)]) for t, c in followers.items()}
        count = followers.get(token, 0)
        return (count - taken.get(token, 0)) / total + sum(taken.values()) / total * below


@pytest.mark.parametrize("order", [2, 3, 5])
@pytest.mark.parametrize("modified", [False, True])
def test_equals_the_textbook(order, modified):
    train, held = corpus(1), corpus(2)
    discounts = ngram.three_discounts if modified else ngram.one_discount
    model = ngram.fit(train, order=order, vocab=VOCAB, discounts=discounts)
    textbook = Textbook(train, order, modified=modified)
    for ids in held + train:
        wanted = [math.log2(textbook.probability(e[:-1], e[-1])) for e in events([ids], order)]
        np.testing.assert_allclose(model.log2_probabilities(ids), wanted, rtol=1e-10)


@pytest.mark.parametrize("order", [2, 3, 5])
def test_equals_nltk(order):
    """NLTK has one discount for all orders and none for the unigram; the grams are the same."""
    train, held = corpus(3, documents=8), corpus(4)
    sentences = [
        [words(e[-k:]) for e in events([ids], order) for k in range(1, order + 1)] for ids in train
    ]
    nltk = KneserNeyInterpolated(order, discount=0.6)
    nltk.fit(sentences, vocabulary_text=words(np.concatenate(train)))
    model = ngram.fit(train, order=order, vocab=VOCAB, discounts=(0.0, *[0.6] * (order - 1)))
    known = {int(token) for ids in train for token in ids[1:]}
    compared = 0
    for ids in held:
        ours = 2 ** model.log2_probabilities(ids)
        for p, (*history, token) in zip(ours, events([ids], order), strict=True):
            if token not in known:
                continue
            # NLTK divides by zero at a history that it never saw, so it is asked for the longest
            # one that it has seen, which is what the recursion comes to there.
            context = words(history)
            while context and not nltk.counts[context].N():
                context = context[1:]
            score = nltk.unmasked_score(str(token), context or None)
            assert p == pytest.approx(score, rel=1e-9)
            compared += 1
    assert compared > 40


@given(st.integers(0, 10**6), st.sampled_from([2, 3, 4]), st.booleans())
@settings(max_examples=25, deadline=None)
def test_sums_to_one_after_any_history(seed, order, modified):
    train = corpus(seed)
    discounts = ngram.three_discounts if modified else ngram.one_discount
    model = ngram.fit(train, order=order, vocab=VOCAB, discounts=discounts)
    rng = np.random.default_rng(seed)
    history = [BOS, *rng.integers(2, VOCAB, 3).tolist()]
    total = sum(
        2 ** model.log2_probabilities(np.array([*history, token]))[-1] for token in range(VOCAB)
    )
    assert total == pytest.approx(1.0, abs=1e-12)


def test_no_context_crosses_a_border():
    first, second = corpus(5)[0], corpus(6)[0]
    model = ngram.fit(corpus(7), order=3, vocab=VOCAB)
    together = model.bits([first, second])
    assert together == pytest.approx(model.bits([first]) + model.bits([second]), rel=1e-12)
    forward = ngram.fit([first, second], order=4, vocab=VOCAB)
    backward = ngram.fit([second, first], order=4, vocab=VOCAB)
    assert forward.bits(corpus(8)) == pytest.approx(backward.bits(corpus(8)), rel=1e-12)


def test_a_piece_counts_only_what_has_a_whole_history():
    whole = corpus(9)
    piece = np.array([5, 6, 7, 8, 9])
    model = ngram.fit([*whole, piece], order=3, vocab=VOCAB)
    textbook = Textbook(whole, 3, modified=False)
    textbook.counts[3].update([(5, 6, 7), (6, 7, 8), (7, 8, 9)])
    for k in (2, 1):
        textbook.counts[k] = Counter(gram[1:] for gram in textbook.counts[k + 1])
    textbook.discounts = {k: textbook.discount(c, False) for k, c in textbook.counts.items()}
    for ids in corpus(10):
        wanted = [math.log2(textbook.probability(e[:-1], e[-1])) for e in events([ids], 3)]
        np.testing.assert_allclose(model.log2_probabilities(ids), wanted, rtol=1e-10)


def test_bits_per_byte_is_bits_over_bytes():
    model = ngram.fit(corpus(11), order=3, vocab=VOCAB)
    held = corpus(12)
    bits = -sum(model.log2_probabilities(ids).sum() for ids in held)
    assert ngram.bits_per_byte(model, held, 77) == pytest.approx(bits / 77)


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(ConfigError, match="order"):
        ngram.fit(corpus(0), order=1, vocab=VOCAB)
    with pytest.raises(ConfigError, match="documents"):
        ngram.fit([], order=3, vocab=VOCAB)
    with pytest.raises(ConfigError, match="vocab"):
        ngram.fit(corpus(0), order=3, vocab=4)
    with pytest.raises(ConfigError, match="discounts"):
        ngram.fit(corpus(0), order=3, vocab=VOCAB, discounts=(0.5,))
    model = ngram.fit(corpus(0), order=3, vocab=VOCAB)
    with pytest.raises(ConfigError, match="bos"):
        model.log2_probabilities(np.array([4, 5]))
