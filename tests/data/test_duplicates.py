"""Duplicates against exact Jaccard, the S-curve and datasketch."""

import numpy as np
import pytest

from sparing.data.duplicates import (
    BANDS,
    HASHES,
    ROWS,
    candidate_pairs,
    digest,
    estimated_jaccard,
    exact_repeats,
    near_repeats,
    shingles,
    signatures,
)


def _planted(pairs, similarity, seed, grams=400):
    """Texts in pairs whose exact Jaccard similarity of 5-grams is near `similarity`."""
    random = np.random.default_rng(seed)
    texts = []
    for number in range(pairs):
        left = [f"p{number}w{n}" for n in random.permutation(grams + 4)]
        right = list(left)
        changed = round(grams * (1 - similarity) / (1 + similarity) / 5)  # 5 grams per word
        for place in np.linspace(4, grams - 1, changed).astype(int):
            right[place] = f"q{number}w{place}"
        texts += [" ".join(left), " ".join(right)]
    return texts


def _jaccard(left, right):
    one, two = set(shingles(left)), set(shingles(right))
    return len(one & two) / len(one | two)


def test_shingles_by_hand():
    assert shingles("A b, C. d e f") == ["a b c d e", "b c d e f"]
    assert shingles("Only three words") == ["only three words"]
    assert shingles("... !") == []


def test_exact_repeats_keep_the_first():
    texts = ["x", "y", "x", "z", "y", "x"]
    found = exact_repeats(b"".join(digest(text) for text in texts))
    assert found.tolist() == [False, False, True, False, True, True]
    assert exact_repeats(b"").tolist() == []


def test_estimates_are_as_close_to_the_exact_similarity_as_those_of_datasketch():
    datasketch = pytest.importorskip("datasketch")
    ours, theirs = [], []
    for similarity in (0.3, 0.6, 0.9):
        texts = _planted(40, similarity, 1, grams=200)
        exact = np.array([_jaccard(texts[i], texts[i + 1]) for i in range(0, 80, 2)])
        signature = signatures(texts, 5)
        pairs = np.arange(80).reshape(40, 2)
        ours.append(estimated_jaccard(signature, pairs) - exact)
        sketches = []
        for text in texts:
            sketch = datasketch.MinHash(HASHES, seed=5)
            sketch.update_batch([gram.encode() for gram in shingles(text)])
            sketches.append(sketch)
        estimates = [sketches[i].jaccard(sketches[i + 1]) for i in range(0, 80, 2)]
        theirs.append(np.array(estimates) - exact)
        error = np.sqrt(exact * (1 - exact) / HASHES)
        assert np.abs(ours[-1]).max() < 4.5 * error.max()
        assert abs(ours[-1].mean()) < 4 * error.max() / np.sqrt(40)  # no bias
    spread = [np.sqrt(np.mean(np.concatenate(errors) ** 2)) for errors in (ours, theirs)]
    assert spread[0] < 1.3 * spread[1]


def test_candidates_are_those_of_datasketch_on_the_same_signatures():
    datasketch = pytest.importorskip("datasketch")
    texts = _planted(60, 0.7, 2) + _planted(20, 0.5, 3)
    signature = signatures(texts, 0)
    index = datasketch.MinHashLSH(num_perm=HASHES, params=(BANDS, ROWS))
    sketches = [
        datasketch.MinHash(num_perm=HASHES, hashvalues=row.astype(np.uint64), scheme="legacy")
        for row in signature
    ]
    for number, sketch in enumerate(sketches):
        index.insert(number, sketch)
    theirs = {
        (min(number, other), max(number, other))
        for number, sketch in enumerate(sketches)
        for other in index.query(sketch)
        if other != number
    }
    ours = {tuple(pair) for pair in candidate_pairs(signature, np.arange(len(texts))).tolist()}
    assert ours == theirs
    assert 30 < len(ours) < 80


@pytest.mark.parametrize(("similarity", "pairs"), [(0.5, 300), (0.7, 300), (0.85, 300)])
def test_detection_follows_the_s_curve(similarity, pairs):
    """P(candidate) = 1 - (1 - s^8)^14, within 4 binomial standard errors."""
    texts = _planted(pairs, similarity, 7, grams=200)
    signature = signatures(texts, 11)
    found = candidate_pairs(signature, np.arange(len(texts)))
    found = sum(1 for left, right in found.tolist() if left // 2 == right // 2)
    exact = np.array([_jaccard(texts[i], texts[i + 1]) for i in range(0, 2 * pairs, 2)])
    expected = 1 - (1 - exact**8) ** 14
    error = np.sqrt((expected * (1 - expected)).sum())
    assert abs(found - expected.sum()) < 4 * error + 1


def test_the_first_of_a_cluster_stays_and_chains_are_one_cluster():
    base = _planted(1, 0.95, 3)
    other = _planted(1, 0.95, 4)
    texts = [other[0].replace("p0", "z0"), base[0], base[1], base[0] + " tail", "a b", ""]
    signature = signatures(texts, 0)
    first = near_repeats(signature, 0.7, np.ones(len(texts), bool))
    assert first.tolist() == [0, 1, 1, 1, 4, 5]


def test_documents_left_out_do_not_stand_for_others():
    texts = _planted(1, 0.95, 3)
    signature = signatures(texts, 0)
    assert near_repeats(signature, 0.7, np.array([False, True])).tolist() == [0, 1]


def test_texts_without_words_are_never_near_duplicates():
    signature = signatures(["...", "!!!", ""], 0)
    assert near_repeats(signature, 0.7, np.ones(3, bool)).tolist() == [0, 1, 2]


def test_the_threshold_decides():
    texts = _planted(20, 0.8, 9)
    signature = signatures(texts, 0)
    every = np.ones(len(texts), bool)
    merged = [(near_repeats(signature, t, every) != np.arange(40)).sum() for t in (0.5, 0.8, 0.99)]
    assert merged[0] > merged[1] > merged[2] == 0


def test_a_large_bucket_gives_linearly_many_pairs():
    signature = np.tile(signatures(["one and the same text of a few words"], 0), (3000, 1))
    assert len(candidate_pairs(signature, np.arange(3000))) < 6000
    assert not near_repeats(signature, 0.9, np.ones(3000, bool)).any()
