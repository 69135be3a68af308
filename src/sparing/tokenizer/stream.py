"""Token ids to text as they come, with stop strings that never leak."""

import codecs
from collections.abc import Sequence

from sparing.tokenizer.text import Tokenizer, byte_fallback


class Detokenizer:
    """Pieces of text for one token after another.

    The pieces, joined, equal `decode` of all tokens; a character whose bytes are spread over
    several tokens comes out whole, when its last byte is there.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, context_ids: Sequence[int] = (), skip_special: bool = True
    ) -> None:
        self._tokenizer, self._skip_special = tokenizer, skip_special
        self._bytes = (
            codecs.getincrementaldecoder("utf-8")("replace") if tokenizer.byte_level else None
        )
        visible = [id for id in context_ids if not self._hidden(id)]
        # one token of context settles leading spaces
        self._before = [id for id in visible[-1:] if not self._is_byte(id)]
        self._before_chars = len(tokenizer.decode(self._before)) if self._before else 0
        self._held: list[int] = []

    def push(self, id: int) -> str:
        """What can be shown after this token."""
        if self._hidden(id):
            return ""
        if self._bytes is not None:
            return self._bytes.decode(self._tokenizer.token_bytes(id))
        self._held.append(id)
        if self._is_byte(id):  # a run of byte tokens is decoded as a whole
            return ""
        return self._release()

    def close(self) -> str:
        """What was held back, at the end."""
        if self._bytes is not None:
            return self._bytes.decode(b"", final=True)
        return self._release() if self._held else ""

    def _release(self) -> str:
        decode = self._tokenizer.decode
        text = decode([*self._before, *self._held], skip_special=False)[self._before_chars :]
        self._before, self._held = self._held[-1:], []
        self._before_chars = len(decode(self._before, skip_special=False))
        return text

    def _is_byte(self, id: int) -> bool:
        token = self._tokenizer.token(id)
        return token is not None and byte_fallback(token) is not None

    def _hidden(self, id: int) -> bool:
        return self._skip_special and self._tokenizer.is_special(id)


class StopMatcher:
    """Passes text on until a stop string is complete, holding back what might begin one.

    The stop that ends first ends the text, whatever pieces the text came in; of two that end
    together the longer.  Source: Knuth, Morris & Pratt 1977 (one automaton per stop string).
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._borders = [_borders(stop) for stop in stops]
        self._matched = [0] * len(stops)
        self._held = ""
        self.stopped: str | None = None
        """The stop string that was found."""

    def push(self, text: str) -> str:
        """What of the text so far is certain not to belong to a stop string."""
        if not self._stops or self.stopped is not None:
            return "" if self.stopped is not None else text
        seen = self._held + text
        for at in range(len(self._held), len(seen)):
            if (stop := self._advance(seen[at])) is not None:
                self.stopped, self._held = stop, ""
                return seen[: at + 1 - len(stop)]
        hold = max(self._matched)
        self._held = seen[len(seen) - hold :]
        return seen[: len(seen) - hold]

    def close(self) -> str:
        """What was held back, once no more text comes."""
        held, self._held = self._held, ""
        return held

    def _advance(self, character: str) -> str | None:
        """Move every automaton on by one character; the longest stop that is now complete."""
        found: str | None = None
        for index, (stop, borders) in enumerate(zip(self._stops, self._borders, strict=True)):
            matched = self._matched[index]
            while matched and stop[matched] != character:
                matched = borders[matched - 1]
            matched += stop[matched] == character
            self._matched[index] = matched
            if matched == len(stop) and len(stop) > len(found or ""):
                found = stop
        return found


class TextStream:
    """The text of one answer: detokenised, and cut at the first stop string."""

    def __init__(
        self, tokenizer: Tokenizer, stops: Sequence[str] = (), *, context_ids: Sequence[int] = ()
    ) -> None:
        self._detokenizer = Detokenizer(tokenizer, context_ids=context_ids)
        self._matcher = StopMatcher(stops)

    @property
    def stopped(self) -> str | None:
        """The stop string that ended the text; None while there is none."""
        return self._matcher.stopped

    def push(self, id: int) -> str:
        """What can be shown after this token."""
        return self._matcher.push(self._detokenizer.push(id))

    def close(self) -> str:
        """What was held back, at the end; empty after a stop string."""
        if self.stopped is not None:
            return ""
        last = self._matcher.push(self._detokenizer.close())
        return last + self._matcher.close()


def _borders(stop: str) -> list[int]:
    """For each beginning of `stop`, its longest proper beginning that is also its end."""
    borders, length = [0] * len(stop), 0
    for at in range(1, len(stop)):
        while length and stop[at] != stop[length]:
            length = borders[length - 1]
        length += stop[at] == stop[length]
        borders[at] = length
    return borders
