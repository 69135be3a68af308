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
"""Characters of the output, and of any text made on the way."""


class TemplateError(RequestError):
    """The template refused the conversation, or took more than it may."""

    def __init__(self, message: str) -> None:
        super().__init__(f"chat template: {message}", param="messages", code="template_error")


class Budget(threading.local):
    """What the rendering of this thread may still use."""

    rounds = MOST_ROUNDS
    chars = MOST_CHARS
    deadline = float("inf")

    def refill(self) -> None:
        """Start a rendering."""
        self.rounds, self.chars = MOST_ROUNDS, MOST_CHARS
        self.deadline = time.monotonic() + MOST_SECONDS

    def spend(self, *, rounds: int = 0, chars: int = 0) -> None:
        """Use some of it.

        Errors: TemplateError when there is no more.
        """
        self.rounds -= rounds
        self.chars -= chars
        if self.rounds < 0:
            raise TemplateError(f"more than {MOST_ROUNDS} loop rounds and calls")
        if self.chars < 0:
            raise TemplateError(f"more than {MOST_CHARS} characters of output")
        if time.monotonic() > self.deadline:
            raise TemplateError(f"more than {MOST_SECONDS} seconds")


def bounded(length: int) -> None:
    """Refuse to make a text or list of this length.

    Errors: TemplateError.
    """
    if length > MOST_CHARS:
        raise TemplateError(f"a value of {length} characters or items; the most is {MOST_CHARS}")
