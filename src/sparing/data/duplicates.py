"""Exact and near-duplicates: SHA-256, and MinHash with banded buckets.

Near-duplicates: word 5-grams, 14 bands of 8 hashes, as in FineWeb (Penedo et al. 2024,
arXiv:2406.17557), after Broder 1997; a pair that shares a band is a candidate with probability
1 - (1 - s^8)^14 at Jaccard similarity s.  Candidates are checked by their estimated similarity
over all 112 hashes (standard error sqrt(s (1 - s) / 112), at most 0.047), and of each cluster
the first document stays.

Memory: 512 bytes per document besides the mapped signatures; bands are sorted, not hashed.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparing.base.errors import missing_extra

BANDS, ROWS, WORDS = 14, 8, 5
HASHES = BANDS * ROWS
_WORD = re.compile(r"\w+")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)


def digest(text: str) -> bytes:
    """SHA-256 of the text's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).digest()


def shingles(text: str) -> list[str]:
    """Lower-case word 5-grams (all words, when there are fewer); order and repeats kept."""
    words = _WORD.findall(text.lower())
    if len(words) <= WORDS:
        return [" ".join(words)] if words else []
    return list(map(" ".join, zip(*(words[i:] for i in range(WORDS)), strict=False)))


def _rensa() -> Any:
    try:
        import rensa
    except ImportError:
        raise missing_extra("rensa", "data") from None
    return rensa


def signatures(texts: Sequence[str], seed: int) -> np.ndarray:
    """MinHash signatures of texts, uint32 [texts, HASHES]; a text without words gets zeros.

    Errors: MissingExtraError when rensa is not installed.
    """
    sets = [shingles(text) for text in texts]
    rows = np.zeros((len(texts), HASHES), np.uint32)
    filled = [index for index, grams in enumerate(sets) if grams]
    if filled:
        found = _rensa().RMinHash.digests_from_token_sets([sets[i] for i in filled], HASHES, seed)
        rows[filled] = np.array(found, np.uint32)
    return rows


def exact_repeats(digests: bytes) -> np.ndarray:
    """True where an earlier digest of the concatenated SHA-256 digests is equal."""
    keys = np.frombuffer(digests, np.uint64).reshape(-1, 4)
    order = np.lexsort(keys.T)  # stable: equal digests stay in the order of documents
    ranked = keys[order]
    repeated = np.zeros(len(keys), bool)
    repeated[order[1:]] = (ranked[1:] == ranked[:-1]).all(axis=1)
    return repeated


def _band_keys(signature: np.ndarray, band: int) -> np.ndarray:
    """One 64-bit key per document for a band; equal rows give equal keys."""
    keys = np.zeros(len(signature), np.uint64)
    for column in range(band * ROWS, (band + 1) * ROWS):
        keys = (keys ^ signature[:, column].astype(np.uint64)) * _MULTIPLIER
        keys ^= keys >> np.uint64(29)
    return keys * _MIX


def candidate_pairs(signature: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Pairs [pairs, 2] among `rows` that share a band.

    Each document meets the bucket's first and the one before it, so that a bucket of n
    documents gives at most 2 n pairs, not n^2.
    """
    pairs: list[np.ndarray] = []
    for band in range(BANDS):
        keys = _band_keys(signature, band)[rows]
        order = np.argsort(keys, kind="stable")  # within a bucket in the order of documents
        ranked, order = keys[order], rows[order]
        same = np.flatnonzero(ranked[1:] == ranked[:-1]) + 1
        if not len(same):
            continue
        begins = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
        first = order[begins[np.searchsorted(begins, same, side="right") - 1]]
        pairs.append(np.stack([first, order[same]], axis=1))
        pairs.append(np.stack([order[same - 1], order[same]], axis=1))
    if not pairs:
        return np.zeros((0, 2), np.int64)
    return np.unique(np.concatenate(pairs), axis=0)


def estimated_jaccard(signature: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Share of equal hashes of each pair, in blocks that bound memory."""
    blocks = [
        (signature[pairs[at : at + 4096, 0]] == signature[pairs[at : at + 4096, 1]]).mean(axis=1)
        for at in range(0, len(pairs), 4096)
    ]
    return np.concatenate([*blocks, np.zeros(0)])


def _root(parent: list[int], node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


def _worded(signature: np.ndarray) -> np.ndarray:
    """True where a text had words, in blocks that bound memory."""
    blocks = [signature[at : at + 65536].any(axis=1) for at in range(0, len(signature), 65536)]
    return np.concatenate([*blocks, np.zeros(0, bool)])


def near_repeats(signature: np.ndarray, threshold: float, among: np.ndarray) -> np.ndarray:
    """For each document, the index of the first document of its cluster, or its own.

    Shapes: signature uint32 [documents, HASHES]; among bool [documents], who takes part.
    """
    pairs = candidate_pairs(signature, np.flatnonzero(among & _worded(signature)))
    alike = pairs[estimated_jaccard(signature, pairs) >= threshold]
    parent = list(range(len(signature)))
    for left, right in alike.tolist():
        low, high = sorted((_root(parent, left), _root(parent, right)))
        parent[high] = low
    return np.array([_root(parent, node) for node in range(len(signature))], np.int64)
