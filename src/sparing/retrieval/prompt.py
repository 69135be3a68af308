"""Passages put before a question, within a budget of characters."""

from collections.abc import Sequence

from sparing.base.errors import require
from sparing.retrieval.index import Hit

MARK = "[{number}] {name} ({source})\n"
_LEAST = 40
"""A passage cut shorter than this says nothing and is left out."""


def with_passages(question: str, hits: Sequence[Hit], budget_chars: int) -> str:
    """The best passages that fit in `budget_chars`, each with its source, then the question.

    Passages stand in the order of the hits; the first that does not fit whole is cut at a word
    and is the last.  Without hits the question stands alone.
    Errors: ConfigError when the budget is negative.
    """
    require(budget_chars >= 0, "budget_chars", "at least 0", budget_chars)
    parts: list[str] = []
    left = budget_chars
    for number, hit in enumerate(hits, start=1):
        head = MARK.format(number=number, name=hit.title or "passage", source=hit.source)
        room = left - len(head) - 2
        if room < min(_LEAST, len(hit.text)):
            break
        body = hit.text if len(hit.text) <= room else _cut(hit.text, room)
        parts.append(head + body + "\n\n")
        left -= len(parts[-1])
        if len(body) < len(hit.text):
            break
    return "".join(parts) + question


def _cut(text: str, chars: int) -> str:
    """The beginning of a text, ended at a space where one is near."""
    short = text[:chars]
    at = max(short.rfind(" "), short.rfind("\n"))
    return short[:at] if at > chars // 2 else short
