"""Passages before a question: in order, within the budget, with their sources."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparing.base.errors import ConfigError
from sparing.retrieval.index import Hit
from sparing.retrieval.prompt import with_passages


def _hits(*texts):
    return [Hit(n, 1.0, text, f"s/{n}.py:1", f"name{n}") for n, text in enumerate(texts)]


def test_passages_stand_before_the_question_with_their_sources():
    assert with_passages("Why?", _hits("First.", "Second."), 1000) == (
        "[1] name0 (s/0.py:1)\nFirst.\n\n[2] name1 (s/1.py:1)\nSecond.\n\nWhy?"
    )


def test_no_hits_or_no_room_leave_the_question():
    assert with_passages("Why?", [], 1000) == "Why?"
    assert with_passages("Why?", _hits("First."), 5) == "Why?"


def test_the_last_passage_is_cut_at_a_word():
    prompt = with_passages("Why?", _hits("word " * 100, "other"), 200)
    assert prompt.startswith("[1] name0 (s/0.py:1)\nword word")
    assert prompt.endswith("word\n\nWhy?")
    assert "other" not in prompt


@given(st.lists(st.text(max_size=300), max_size=5), st.integers(0, 600))
def test_the_budget_is_kept(texts, budget):
    prompt = with_passages("Q", _hits(*texts), budget)
    assert len(prompt) <= budget + 1
    assert prompt.endswith("Q")


def test_a_negative_budget_is_refused():
    with pytest.raises(ConfigError):
        with_passages("Q", [], -1)
