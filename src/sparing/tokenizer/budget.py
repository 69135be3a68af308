"""What rendering one chat template may use: rounds, characters, seconds."""

import threading
import time

from sparing.base.errors import RequestError
from sparing.base.limits import LIMITS

MOST_ROUNDS = 200_000
"""Loop rounds and calls of one rendering; a conversation takes a few per message."""
MOST_SECONDS = 2.0
"""Generous: other threads run meanwhile; a rendering takes milliseconds."""
MOST_CHARS = 2 * LIMITS.prompt_chars
"""Characters of the output, and characters and items of any value made on the way."""
MOST_WORK = 16 * LIMITS.prompt_chars
"""Characters and items of all values made on the way together."""

MOST_DEPTH = 100
"""Lists within lists, of a value."""


class TemplateError(RequestError):
    """The template refused the conversation, or took more than it may."""

    def __init__(self, message: str) -> None:
        super().__init__(f"chat template: {message}", param="messages", code="template_error")


class Budget(threading.local):
    """What the rendering of this thread may still use."""

    rounds = MOST_ROUNDS
    chars = MOST_CHARS
    work = MOST_WORK
    deadline = float("inf")

    def refill(self) -> None:
        """Start a rendering."""
        self.rounds, self.chars, self.work = MOST_ROUNDS, MOST_CHARS, MOST_WORK
        self.deadline = time.monotonic() + MOST_SECONDS

    def spend(self, *, rounds: int = 0, chars: int = 0, work: int = 0) -> None:
        """Use some of it.

        Errors: TemplateError when there is no more.
        """
        self.rounds -= rounds
        self.chars -= chars
        self.work -= work
        if self.rounds < 0:
            raise TemplateError(f"more than {MOST_ROUNDS} loop rounds and calls")
        if self.chars < 0:
            raise TemplateError(f"more than {MOST_CHARS} characters of output")
        if self.work < 0:
            raise TemplateError(f"more than {MOST_WORK} characters and items on the way")
        if time.monotonic() > self.deadline:
            raise TemplateError(f"more than {MOST_SECONDS} seconds")


BUDGET = Budget()


def bounded(length: int) -> None:
    """Refuse to make a value of this many characters and items.

    Errors: TemplateError.
    """
    if length > MOST_CHARS:
        raise TemplateError(f"a value of {length} characters or items; the most is {MOST_CHARS}")


def weigh(value: object) -> int:
    """Characters and items in a value as often as it shows them, shared parts counted each time.

    Linear in the parts that differ, however often they are shared.

    Errors: TemplateError when it is too heavy, holds itself, or is nested too deep.
    """
    known: dict[int, int] = {}

    def weight(part: object, depth: int) -> int:
        if isinstance(part, (str, bytes, range)):
            return 1 + len(part)
        if not isinstance(part, (list, tuple, dict, set, frozenset)):
            inner = getattr(part, "_Namespace__attrs", None)
            return 1 if inner is None else 1 + weight(inner, depth + 1)
        if id(part) not in known:
            if depth > MOST_DEPTH:
                raise TemplateError(f"a value nested deeper than {MOST_DEPTH}")
            children = [*part, *part.values()] if isinstance(part, dict) else part
            known[id(part)] = 1 + sum(weight(each, depth + 1) for each in children)
        return known[id(part)]

    total = weight(value, 0)
    bounded(total)
    return total
