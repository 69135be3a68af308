"""A passage, and the cutting of prose and Markdown into passages at their natural borders."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*$")
_FENCE = re.compile(r"\s*(```|~~~)")


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text short enough to put before a question."""

    text: str
    source: str
    """Path inside its source and the line it begins at: `notes/plan.md:12`."""
    title: str = ""
    """Qualified name or headings above it."""
    key: str = ""
    """Identity of the record it is from, where the source gives one."""


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that belong together, and the number of the first."""

    lines: list[str]
    line: int

    @property
    def words(self) -> int:
        return sum(len(line.split()) for line in self.lines)


def cut(text: str, name: str, title: str, words: int, *, first_line: int = 1) -> Iterator[Passage]:
    """Passages of at most `words` words: whole paragraphs, or lines where one is too long.

    A line of more words than that is cut between words.
    """
    held: list[str] = []
    begins = held_words = 0
    for block in _blocks(text, words, first_line):
        if held and held_words + block.words > words:
            yield _passage(held, name, title, begins)
            held, held_words = [], 0
        begins = begins if held else block.line
        held += ["", *block.lines] if held else block.lines
        held_words += block.words
    if held:
        yield _passage(held, name, title, begins)


def _passage(lines: list[str], name: str, title: str, line: int) -> Passage:
    return Passage("\n".join(lines), f"{name}:{line}", title)


def _blocks(text: str, words: int, first_line: int) -> Iterator[Block]:
    """Paragraphs; each too long a one as several blocks of lines."""
    held = Block([], first_line)
    for number, line in enumerate(text.split("\n"), start=first_line):
        if not line.strip():
            if held.lines:
                yield held
            held = Block([], number + 1)
            continue
        for piece in _pieces(line, words):
            if held.lines and held.words + len(piece.split()) > words:
                yield held
                held = Block([], number)
            held.lines.append(piece)
    if held.lines:
        yield held


def _pieces(line: str, words: int) -> Iterator[str]:
    parts = line.split()
    if len(parts) <= words:
        yield line.rstrip()
        return
    for at in range(0, len(parts), words):
        yield " ".join(parts[at : at + words])


def sections(text: str) -> Iterator[tuple[str, int, str]]:
    """(headings above, first line, text) of each Markdown section with text of its own."""
    path: list[tuple[int, str]] = []
    held: list[str] = []
    begins, fence = 1, ""
    for number, line in enumerate(text.split("\n"), start=1):
        mark = _FENCE.match(line)
        if mark and (not fence or mark[1] == fence):
            fence = "" if fence else mark[1]
        heading = None if fence else _HEADING.match(line)
        if heading is None:
            held.append(line)
            continue
        if any(map(str.strip, held)):
            yield " > ".join(name for _, name in path), begins, "\n".join(held)
        depth = len(heading[1])
        path = [entry for entry in path if entry[0] < depth] + [(depth, heading[2])]
        held, begins = [], number + 1
    if any(map(str.strip, held)):
        yield " > ".join(name for _, name in path), begins, "\n".join(held)


def markdown(text: str, name: str, words: int) -> Iterator[Passage]:
    """Passages of Markdown: one section each, or several where it is long."""
    for title, line, body in sections(text):
        yield from cut(body, name, title, words, first_line=line)
