"""How many answers may be under way, and whether new ones are still taken."""

from sparing.base.errors import RequestError


class Gate:
    """Counts the choices under way; all of a request's choices enter, or none does."""

    def __init__(self, most: int) -> None:
        self.most, self.inside, self.draining = most, 0, False

    def enter(self, choices: int) -> None:
        """Take places for a request.

        Errors:
            RequestError: 503 when the server is full or is shutting down.
        """
        if self.draining:
            raise RequestError("the server is shutting down", code="shutting_down", status=503)
        if self.inside + choices > self.most:
            raise RequestError(
                f"the server is busy: {self.inside} of {self.most} answers are under way; "
                "try again later",
                code="overloaded",
                status=503,
            )
        self.inside += choices

    def leave(self, choices: int) -> None:
        """Give the places back."""
        self.inside -= choices
