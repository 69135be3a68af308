"""How the tokens of one request are chosen, step after step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sparing.engine.executor import Batch, Executor
from sparing.engine.request import Request
from sparing.engine.sampling import Luck, TokenLogprobs, draw, logprobs


@dataclass(frozen=True, slots=True)
class Choice:
    """A token, and what the model thought of it where that was asked for."""

    id: int
    logprobs: TokenLogprobs | None = None


class Chooser:
    """The rule of a request, its luck, and the tokens chosen so far."""

    def __init__(self, request: Request) -> None:
        rule = request.sampling
        self.rule = rule
        self._prompt_ids, self._output_ids = request.target_ids, list[int]()
        self._luck = Luck(request.seed)
        self._seen = Seen(request.target_ids if rule.repetition_penalty != 1.0 else ())
        self._row_C = np.array(
            (
                rule.temperature, rule.top_p, rule.min_p,
                rule.repetition_penalty, rule.presence_penalty, rule.frequency_penalty,
                0.0, rule.top_k, -1 if rule.logprobs is None else rule.logprobs,
            )
        )  # fmt: skip

    def plain(self, logits_V: np.ndarray) -> Choice:
        """Choose in numpy: the definition.  Errors: FloatingPointError for broken logits."""
        id = draw(logits_V, self.rule, self._luck, self._prompt_ids, self._output_ids)
        wanted = self.rule.logprobs
        choice = Choice(id, None if wanted is None else logprobs(logits_V, id, wanted))
        self.note(id)
        return choice

    def fill(self, row_C: np.ndarray) -> None:
        """A row of `DrawArrays.rules_LC` for the next draw, with fresh luck."""
        row_C[:] = self._row_C
        if not self.rule.greedy:
            row_C[6] = self._luck.next()

    def seen(self) -> tuple[np.ndarray, np.ndarray]:
        """Earlier tokens that count for the penalties, and how often each was chosen."""
        return self._seen.arrays()

    def note(self, id: int) -> None:
        """A token was chosen."""
        self._output_ids.append(id)
        if self.rule.penalised:
            self._seen.add(id)


class Seen:
    """Distinct tokens with counts, in arrays that grow."""

    def __init__(self, first: Sequence[int]) -> None:
        self._place = {id: place for place, id in enumerate(dict.fromkeys(first))}
        self._ids = np.fromiter(self._place, np.int32, len(self._place))
        self._counts = np.zeros(len(self._place), np.int32)

    def add(self, id: int) -> None:
        """One more of `id`."""
        place = self._place.setdefault(id, len(self._place))
        if place == len(self._ids):
            spare = np.zeros(max(64, place), np.int32)
            self._ids = np.concatenate((self._ids, spare))
            self._counts = np.concatenate((self._counts, spare))
        self._ids[place] = id
        self._counts[place] += 1

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """int32 ids and counts; views that the next `add` may change."""
        count = len(self._place)
        return self._ids[:count], self._counts[:count]


Compute = Callable[[Batch, Sequence[Chooser]], "Sequence[Choice | Exception]"]
"""A forward pass and a choice for each of the batch's rows with logits, in order; a row that
cannot be chosen from gives its own exception."""


def plainly(executor: Executor) -> Compute:
    """The plain version: logits from the executor, choices in numpy."""

    def compute(batch: Batch, choosers: Sequence[Chooser]) -> "list[Choice | Exception]":
        logits_LV = executor.forward(batch)
        found: list[Choice | Exception] = []
        for chooser, logits_V in zip(choosers, logits_LV, strict=True):
            try:
                found.append(chooser.plain(logits_V))
            except Exception as error:  # the barrier: one bad row stops one request
                found.append(error)
        return found

    return compute
