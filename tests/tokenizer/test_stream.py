"""Pieces joined are the whole, and a stop string never leaks a byte."""

import random

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from sparing.tokenizer.stream import Detokenizer, StopMatcher, TextStream
from sparing.tokenizer.text import Tokenizer
from tokenizer.tiny import byte_level_json, llama_like_json

OURS = Tokenizer(tokenizers.Tokenizer.from_str(byte_level_json()), {})
LLAMA = Tokenizer(tokenizers.Tokenizer.from_str(llama_like_json()), {})
BOTH = pytest.mark.parametrize("tokenizer", [OURS, LLAMA], ids=["byte-level", "llama-like"])


def pieces(tokenizer: Tokenizer, ids: list[int], **options: object) -> list[str]:
    stream = Detokenizer(tokenizer, **options)  # type: ignore[arg-type]
    return [*(stream.push(id) for id in ids), stream.close()]


@BOTH
@given(data=st.data())
@settings(max_examples=400, deadline=None)
def test_any_tokens_join_to_the_decoded_whole(tokenizer, data):
    """Garbage too: broken UTF-8, special tokens, byte tokens in any order."""
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab - 1), max_size=30))
    if data.draw(st.booleans()):
        ids = [id for id in ids if id < 260] or ids
    assert "".join(pieces(tokenizer, ids)) == tokenizer.decode(ids)
    shown = "".join(pieces(tokenizer, ids, skip_special=False))
    assert shown == tokenizer.decode(ids, skip_special=False)


@BOTH
@given(text=st.text(max_size=30))
@settings(max_examples=300, deadline=None)
def test_text_never_shows_half_a_character(tokenizer, text):
    ids = tokenizer.encode(text)
    whole, so_far = tokenizer.decode(ids), ""
    for piece in pieces(tokenizer, ids):
        so_far += piece
        assert whole.startswith(so_far)
        assert "\ufffd" not in piece or "\ufffd" in text
    assert so_far == whole


def test_four_byte_characters_come_out_with_their_last_byte():
    ids = [OURS.id_of(token) for token in ("\u00f0", "\u0141", "\u013a", "\u0122")]  # F0 9F 98 80
    assert OURS.token_bytes(ids[0]) == b"\xf0"
    assert pieces(OURS, ids) == ["", "", "", "\U0001f600", ""]
    assert pieces(OURS, ids[:3]) == ["", "", "", "\ufffd"]


def test_the_prompt_settles_the_first_space():
    the, cat = LLAMA.encode("a b")
    assert pieces(LLAMA, [cat]) == ["b", ""]
    assert pieces(LLAMA, [cat], context_ids=[the]) == [" b", ""]


def brute_force(text: str, stops: list[str]) -> tuple[str, str | None]:
    """Read one character at a time; at the first end of a stop, cut it (the longest) off."""
    for end in range(1, len(text) + 1):
        here = [stop for stop in stops if text[:end].endswith(stop)]
        if here:
            longest = max(here, key=len)
            return text[: end - len(longest)], longest
    return text, None


def in_pieces(text: str, cuts: list[int], stops: list[str]) -> tuple[str, str | None]:
    matcher, shown, begin = StopMatcher(stops), "", 0
    want, _ = brute_force(text, stops)
    for cut in [*sorted(cuts), len(text)]:
        shown += matcher.push(text[begin:cut])
        assert want.startswith(shown), "a byte of a stop string leaked"
        begin = cut
    return shown + matcher.close(), matcher.stopped


@given(data=st.data())
@settings(max_examples=800, deadline=None)
def test_stops_against_brute_force(data):
    text = data.draw(st.text("ab\u00e9", max_size=24))
    stops = data.draw(st.lists(st.text("ab\u00e9", min_size=1, max_size=5), max_size=4))
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=6))
    assert in_pieces(text, cuts, stops) == brute_force(text, stops)


def test_many_stops_against_brute_force():
    dice = random.Random(3)
    for _ in range(4000):
        text = "".join(dice.choices("abc", k=dice.randint(0, 30)))
        stops = ["".join(dice.choices("abc", k=dice.randint(1, 6))) for _ in range(3)]
        cuts = [dice.randint(0, len(text)) for _ in range(dice.randint(0, 8))]
        assert in_pieces(text, cuts, stops) == brute_force(text, stops)


def test_what_cannot_be_a_stop_is_shown_at_once():
    matcher = StopMatcher(["abab!"])
    assert matcher.push("xaba") == "x"
    assert matcher.push("c") == "abac"
    assert matcher.push("ab") == ""
    assert matcher.close() == "ab"


@BOTH
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_stop_strings_over_token_borders(tokenizer, data):
    """Tokens in, text out: equal to cutting the whole text, whatever the tokens."""
    text = data.draw(st.text("ab \u00e9\U0001f600", max_size=16))
    stops = data.draw(st.lists(st.text("ab \u00e9\U0001f600", min_size=1, max_size=3), max_size=3))
    ids = tokenizer.encode(text)
    want, stop = brute_force(tokenizer.decode(ids), stops)
    stream, shown = TextStream(tokenizer, stops), ""
    for id in ids:
        shown += stream.push(id)
        assert want.startswith(shown)
        if stream.stopped:
            break
    shown += stream.close()
    assert (shown, stream.stopped) == (want, stop)
