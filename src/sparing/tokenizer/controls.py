"""Keeps the words of users apart from the control tokens that a chat template writes.

Before rendering, every control token in the users' texts is put between two marks; afterwards a
stretch of text with a mark in it is encoded as plain characters.  The marks are code points that
appear nowhere in the conversation.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sparing.base.errors import RequestError

_FIRST_MARK, _LAST_MARK = 0xF0000, 0x10FFFD
"""Private-use planes."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A tree of values whose texts carry marks, and how to take a rendered text apart."""

    tree: Any
    opening: str
    closing: str
    names: tuple[str, ...]
    """The control tokens, longest first."""

    def split(self, text: str) -> Iterator[tuple[str, bool]]:
        """Pieces of the rendered text without marks, each with whether it is plain."""
        if self.opening not in text and self.closing not in text:
            yield text, False
            return
        some = "|".join(map(re.escape, self.names)) or "(?!)"
        a, z = self.opening, self.closing
        parts = re.compile(f"({a}(?:{some})|(?:{some}){z})|({some})|[{a}{z}]")
        stretch, end, plain, template = "", 0, False, ""
        for found in parts.finditer(text):
            stretch += text[end : found.start()]
            end = found.end()
            if found[2]:  # a control token of the template ends the stretch
                if plain:
                    if template:
                        yield template, False
                    yield stretch, True
                    template = found[2]
                else:
                    template += stretch + found[2]
                stretch, plain = "", False
            else:
                stretch += (found[1] or "").replace(a, "").replace(z, "")
                plain = True
        stretch += text[end:]
        if not plain:
            template += stretch
        if template:
            yield template, False
        if plain and stretch:
            yield stretch, True


def mark(tree: Any, names: Sequence[str]) -> Marked:
    """A copy of `tree` (JSON-like values) with the control tokens in its texts marked.

    A text that ends in the beginning of a control token is marked there too, so that two texts
    cannot make one together.
    """
    names = tuple(sorted(names, key=lambda name: (-len(name), name)))
    opening, closing = _unused(tree)
    some = re.compile("|".join(map(re.escape, names)) or "(?!)")
    beginnings = tuple({name[:length] for name in names for length in range(1, len(name))})

    def marked(text: str) -> str:
        text = some.sub(lambda found: f"{opening}{found[0]}{closing}", text)
        body = text.rstrip()
        return f"{body}{closing}{text[len(body) :]}" if body.endswith(beginnings) else text

    return Marked(_mapped(tree, marked), opening, closing, names)


def _mapped(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {_mapped(key, change): _mapped(each, change) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mapped(each, change) for each in value]
    return value


def _unused(tree: Any) -> tuple[str, str]:
    used: set[str] = set()

    def note(text: str) -> str:
        used.update(each for each in set(text) if ord(each) >= _FIRST_MARK)
        return text

    _mapped(tree, note)
    free = (chr(code) for code in range(_FIRST_MARK, _LAST_MARK) if chr(code) not in used)
    try:
        return next(free), next(free)
    except StopIteration:
        raise RequestError(
            "messages: every private-use character is in use", param="messages"
        ) from None
