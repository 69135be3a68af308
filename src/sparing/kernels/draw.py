"""Arrays of a native draw: rules in, tokens and log-probabilities out."""

import numpy as np

COLUMNS = (
    "temperature", "top_p", "min_p", "repetition", "presence", "frequency",
    "luck", "top_k", "reported",
)  # fmt: skip
"""Of `rules_LC`; `reported` is -1 for no log-probabilities, else how many of the likeliest."""


class DrawArrays:
    """Room for the rules and results of at most `rows` draws; filled again for each step.

    Shapes: rules_LC float64; ids_L int32, -1 where the largest logit is not finite; logprobs_L
        float64; top_ids_LK int32 and top_logprobs_LK float64, likeliest first.
    """

    def __init__(self, rows: int, reported: int) -> None:
        self.rules_LC = np.zeros((rows, len(COLUMNS)))
        self.seen_starts = np.zeros(rows + 1, np.int32)
        self.seen_ids = self.seen_counts = np.zeros(0, np.int32)
        self.ids_L = np.zeros(rows, np.int32)
        self.logprobs_L = np.zeros(rows)
        self.top_ids_LK = np.zeros((rows, reported), np.int32)
        self.top_logprobs_LK = np.zeros((rows, reported))

    def see(self, seen: list[tuple[np.ndarray, np.ndarray]]) -> None:
        """Earlier tokens of each row, distinct, and how often each was generated, int32."""
        counts = np.array([len(ids) for ids, _ in seen], np.int32)
        counts.cumsum(out=self.seen_starts[1 : len(seen) + 1])
        self.seen_ids = np.concatenate([ids for ids, _ in seen])
        self.seen_counts = np.concatenate([counts for _, counts in seen])

    def see_nothing(self) -> None:
        """No row is penalised."""
        if len(self.seen_ids):
            self.seen_starts.fill(0)
            self.seen_ids = self.seen_counts = np.zeros(0, np.int32)

    def of(self, rows: int) -> tuple[np.ndarray, ...]:
        """The arrays of the first `rows`, in the order that the library takes them."""
        return (
            self.rules_LC[:rows],
            self.seen_starts[: rows + 1],
            self.seen_ids,
            self.seen_counts,
            self.ids_L[:rows],
            self.logprobs_L[:rows],
            self.top_ids_LK[:rows],
            self.top_logprobs_LK[:rows],
        )
