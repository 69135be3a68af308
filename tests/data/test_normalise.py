"""One spelling for equal texts."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparing.data.normalise import normalise


@pytest.mark.parametrize(
    ("text", "new", "changes"),
    [
        ("as it is\n", "as it is\n", []),
        ("a\r\nb\rc\n", "a\nb\nc\n", ["line ends"]),
        ("e\u0301\n", "\u00e9\n", ["NFC"]),
        ("a\x00b\x1bc\ufeffd\x9f\n", "abcd\n", ["control characters"]),
        ("a  \nb\t\n", "a\nb\n", ["trailing space"]),
        ("a\n\n\n\n\n\nb\n", "a\n\n\nb\n", ["blank lines"]),
        ("\n\na", "a\n", ["blank lines"]),
        ("    indented\n", "    indented\n", []),
        ("\ta\n\fb\n", "\ta\n\fb\n", []),
    ],
)
def test_each_change_is_made_and_named(text, new, changes):
    assert normalise(text) == (new, changes)


@given(st.text())
def test_a_normal_text_stays(text):
    once, _ = normalise(text)
    assert normalise(once) == (once, [])


@given(st.text(alphabet=st.characters(exclude_categories=["C", "Z"])))
def test_visible_characters_survive_up_to_nfc(text):
    assert normalise(text)[0] == unicodedata.normalize("NFC", text) + "\n"
