"""Texts cut at their natural borders, with nothing lost and the right line numbers."""

from hypothesis import given
from hypothesis import strategies as st

from sparing.retrieval.passage import cut, markdown, sections

TEXT = "one two three\nfour\n\nfive six\n\n\nseven eight nine ten eleven\n"


def _cut(text, words):
    return [(p.text, p.source) for p in cut(text, "a.txt", "", words)]


def test_paragraphs_are_joined_while_they_fit():
    assert _cut(TEXT, 8) == [
        ("one two three\nfour\n\nfive six", "a.txt:1"),
        ("seven eight nine ten eleven", "a.txt:7"),
    ]
    assert _cut(TEXT, 100) == [(TEXT.replace("\n\n\n", "\n\n").rstrip(), "a.txt:1")]


def test_long_paragraphs_are_cut_at_lines_and_long_lines_between_words():
    assert _cut("a b c\nd e f\ng\n", 3) == [
        ("a b c", "a.txt:1"),
        ("d e f", "a.txt:2"),
        ("g", "a.txt:3"),
    ]
    assert _cut("a b c d e\n", 2) == [("a b", "a.txt:1"), ("c d", "a.txt:1"), ("e", "a.txt:1")]


@given(st.text(alphabet="ab \n", max_size=200), st.integers(1, 9))
def test_no_word_is_lost_and_no_passage_is_too_long(text, words):
    passages = list(cut(text, "a", "", words))
    assert " ".join(p.text for p in passages).split() == text.split()
    assert all(0 < len(p.text.split()) <= words for p in passages)
    lines = text.split("\n")
    for passage in passages:
        first = passage.text.split()[0]
        assert first in lines[int(passage.source.rpartition(":")[2]) - 1].split()


MARKDOWN = """intro

# Guide
first words

## Install
```sh
# not a heading
pip install x
```
## Use
use it

# Last
the end
"""


def test_markdown_sections_carry_their_headings():
    assert [(title, line) for title, line, _ in sections(MARKDOWN)] == [
        ("", 1),
        ("Guide", 4),
        ("Guide > Install", 7),
        ("Guide > Use", 12),
        ("Last", 15),
    ]
    passages = list(markdown(MARKDOWN, "a.md", 50))
    assert passages[2].text == "```sh\n# not a heading\npip install x\n```"
    assert (passages[2].title, passages[2].source) == ("Guide > Install", "a.md:7")
