"""The training stream: every token once per epoch, a pure function, no look across borders."""

import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparing.base.errors import ArtefactError
from sparing.data.packing import IGNORED, Packing
from sparing.data.shards import Shards, write_shard

BOS, EOS = 0, 1


def make_shards(folder, lengths_per_shard):
    """Shards whose documents are bos, distinct-looking tokens, eos."""
    folder.mkdir(parents=True, exist_ok=True)
    entries, value = [], 2
    for number, lengths in enumerate(lengths_per_shard):
        documents = []
        for length in lengths:
            body = (np.arange(length) + value) % 60000 + 2
            documents.append(np.concatenate([[BOS], body, [EOS]]))
            value += length
        tokens = np.concatenate([*documents, []]).astype(np.uint16)
        name = f"train-{number:05}.bin"
        sha256 = write_shard(folder / name, tokens)
        entries.append({"file": name, "tokens": len(tokens), "sha256": sha256})
    total = sum(entry["tokens"] for entry in entries)
    train = {"tokens": total, "documents": 0, "bytes": total, "shards": entries}
    manifest = {"tokenizer_hash": "", "vocab_size": 60002, "bos": BOS, "eos": EOS}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"splits": {"train": train}}))
    return Shards.open(folder)


@st.composite
def corpora(draw):
    shard = st.lists(st.integers(0, 23), min_size=0, max_size=6)
    lengths = draw(st.lists(shard, min_size=1, max_size=3).filter(lambda x: any(map(len, x))))
    return lengths, draw(st.integers(2, 17)), draw(st.integers(1, 4)), draw(st.integers(0, 9))


def unshuffled(packing, rows):
    """All rows of the first batches in the stream's order, found by brute force from the claims."""
    stream_rows = {}
    for index in range(rows):
        step, place = divmod(index, packing.batch_rows)
        batch = packing.batch(step)
        row = packing._rows(step)[place]
        assert row not in stream_rows, "a row came twice"
        stream_rows[row] = (batch.ids_BT[place], batch.labels_BT[place])
    return stream_rows


@given(corpora())
@settings(max_examples=30, deadline=None)
def test_every_token_once_per_epoch_and_every_next_token_a_target(tmp_path_factory, corpus):
    lengths, context, batch, seed = corpus
    shards = make_shards(tmp_path_factory.mktemp("shards"), lengths)
    packing = Packing(shards, seed=seed, context=context, batch=batch)
    total = packing.epoch_tokens
    flat = np.concatenate([view for view in shards.views("train")]).tolist()
    at = [place for place, token in enumerate(flat) if token == BOS]
    whole = sorted(tuple(flat[a:b]) for a, b in zip(at, [*at[1:], len(flat)], strict=True))
    wanted = sorted(token for document in whole for token in document[1:])
    for epochs in (1, 3):
        rows = -(-epochs * total // context)
        found = unshuffled(packing, rows)
        assert sorted(found) == list(range(rows))  # the first epochs' rows, and no others
        ids = np.concatenate([found[row][0] for row in range(rows)])
        labels = np.concatenate([found[row][1] for row in range(rows)])
        part = ids[(epochs - 1) * total : epochs * total]
        pieces = np.split(part, np.flatnonzero(part == BOS)[1:])
        assert sorted(tuple(piece.tolist()) for piece in pieces) == whole
        targets = labels[(epochs - 1) * total : epochs * total]
        assert sorted(targets[targets != IGNORED].tolist()) == wanted


@given(corpora())
@settings(max_examples=25, deadline=None)
def test_pieces_positions_and_labels_agree_with_a_plain_walk(tmp_path_factory, corpus):
    lengths, context, batch, seed = corpus
    shards = make_shards(tmp_path_factory.mktemp("shards"), lengths)
    packing = Packing(shards, seed=seed, context=context, batch=batch)
    rows = packing.batch(1)
    for b, row in enumerate(packing._rows(1)):
        following = packing._tokens((row + 1) * context, 1)
        flat = [*rows.ids_BT[b].tolist(), int(following[0])]
        piece, position = -1, 0
        for t in range(context):
            if t == 0 or flat[t] == BOS:
                piece, position = piece + 1, 0
            assert rows.documents_BT[b, t] == piece
            assert rows.positions_BT[b, t] == position
            assert rows.labels_BT[b, t] == (IGNORED if flat[t + 1] == BOS else flat[t + 1])
            position += 1


def test_batches_do_not_depend_on_what_was_asked_before(tmp_path):
    shards = make_shards(tmp_path, [[30, 7, 19], [11, 5]])
    forward = Packing(shards, seed=4, context=8, batch=2)
    in_order = [forward.batch(step).ids_BT for step in range(12)]
    backward = Packing(Shards.open(tmp_path), seed=4, context=8, batch=2)
    for step in reversed(range(12)):
        np.testing.assert_array_equal(backward.batch(step).ids_BT, in_order[step])


def test_epochs_and_seeds_differ_in_order(tmp_path):
    shards = make_shards(tmp_path, [[5] * 40])
    packing = Packing(shards, seed=0, context=7, batch=40)
    assert packing.epoch_tokens == 280
    first, second = packing.batch(0).ids_BT, packing.batch(1).ids_BT
    other = Packing(shards, seed=1, context=7, batch=40).batch(0).ids_BT
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)


@given(corpora(), st.integers(0, 30))
@settings(max_examples=25, deadline=None)
def test_seen_is_what_the_batches_held(tmp_path_factory, corpus, steps):
    lengths, context, batch, seed = corpus
    shards = make_shards(tmp_path_factory.mktemp("shards"), lengths)
    packing = Packing(shards, seed=seed, context=context, batch=batch)
    pairs = Counter()
    for step in range(steps):
        rows, numbers = packing.batch(step), np.array(packing._rows(step))
        place_BT = numbers[:, None] * context + np.arange(context)
        kept = (rows.labels_BT != IGNORED) & (place_BT + 1 < packing.epoch_tokens)
        ids, labels = rows.ids_BT[kept].tolist(), rows.labels_BT[kept].tolist()
        pairs.update(zip(ids, labels, strict=True))
    seen = list(packing.seen(steps))
    found = Counter(pair for piece in seen for pair in pairwise(piece.tolist()))
    if steps * batch * context <= packing.epoch_tokens:
        assert found == pairs
    else:
        assert found.keys() >= pairs.keys()
        whole = Counter()
        for document in seen:
            assert document[0] == BOS
            whole.update(document.tolist())
        assert sum(whole.values()) == packing.epoch_tokens


def test_a_bounded_corpus_keeps_whole_documents(tmp_path):
    shards = make_shards(tmp_path, [[8] * 10, [8] * 10])
    packing = Packing(shards, seed=0, context=6, batch=2, tokens=45)
    assert packing.documents == 5
    assert packing.epoch_tokens == 50
    assert packing.facts()["documents_left_out"] == 15
    known = {tuple(document.tolist()) for document in shards.documents("train")}
    assert {tuple(document.tolist()) for document in packing.seen(100)} < known


def test_rows_of_one_document_are_spread_over_the_epoch(tmp_path):
    shards = make_shards(tmp_path, [[1198] * 4])
    packing = Packing(shards, seed=0, context=10, batch=40)
    documents = {row * 10 // 1200 for row in packing._rows(0)}
    assert documents == {0, 1, 2, 3}


def test_facts_count_what_was_split(tmp_path):
    packing = Packing(make_shards(tmp_path, [[10, 2, 3]]), seed=0, context=6, batch=1)
    facts = packing.facts()
    assert facts["documents"] == 3
    assert facts["tokens"] == 21
    assert facts["longer_than_context"] == 1
    ids = packing._tokens(0, 21)
    begins = sum(1 for place, token in enumerate(ids) if token == BOS or place % 6 == 0)
    assert facts["pieces"] == begins


def test_documents_of_names_the_documents_of_a_batch(tmp_path):
    shards = make_shards(tmp_path, [[9, 4], [13, 1]])
    packing = Packing(shards, seed=3, context=5, batch=2)
    documents = list(shards.documents("train"))
    for step in range(9):
        named = packing.documents_of(step)
        ids = set(packing.batch(step).ids_BT.ravel().tolist()) - {BOS, EOS}
        held = {n for n, document in enumerate(documents) if ids & set(document.tolist())}
        assert held <= set(named)
        pieces = packing.batch(step).documents_BT.max(axis=1) + 1
        assert len(named) == len(set(named)) <= pieces.sum()


def test_a_split_without_text_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match="empty"):
        Packing(make_shards(tmp_path, [[]]), seed=0, context=4, batch=1)
