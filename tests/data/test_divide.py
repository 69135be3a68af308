"""The heldout split: whole documents, by hash of their source."""

import numpy as np

from sparing.data.divide import heldout_of, split_key


def _split(sources, fraction=0.1, seed=0, kind="text", keep=None):
    keep = np.ones(len(sources), bool) if keep is None else keep
    return heldout_of([(source, kind) for source in sources], keep, fraction, seed)


def test_the_share_is_right_and_the_choice_depends_on_the_source_only():
    names = [f"in/{n}.txt" for n in range(4000)]
    held = _split(names)
    assert abs(held.mean() - 0.1) < 6 * (0.1 * 0.9 / 4000) ** 0.5
    np.testing.assert_array_equal(_split(names[::-1])[::-1], held)
    np.testing.assert_array_equal(_split(names[:50]), held[:50])
    assert (_split(names, seed=1) != held).any()


def test_pieces_of_code_stay_together_and_pieces_of_prose_need_not():
    pieces = [f"in/long.py#{n}" for n in range(200)]
    assert len(set(_split(pieces, 0.5, kind="code")[1:-1].tolist())) == 1
    assert len(set(_split(pieces, 0.5).tolist())) == 2
    assert split_key("in/a.py", "code") == "in/a.py"


def test_both_splits_get_a_document_where_there_are_two():
    for seed in range(20):
        held = _split(["a", "b"], 0.01, seed)
        assert held.sum() == 1
        held = _split(["a", "b"], 0.99, seed)
        assert held.sum() == 1


def test_one_document_is_for_training():
    assert not _split(["a"], 0.99).any()


def test_dropped_documents_are_in_neither_split():
    keep = np.array([True, False, True, False])
    held = _split(["a", "b", "c", "d"], 0.99, keep=keep)
    assert not held[~keep].any()


def test_no_heldout_when_none_is_asked_for():
    assert not _split([str(n) for n in range(100)], 0.0).any()
