"""plan -> forward -> draw -> commit."""

from dataclasses import dataclass

import numpy as np

from sparing.engine.batch import Layout
from sparing.engine.executor import Executor
from sparing.engine.request import Request
from sparing.engine.sampling import Luck, TokenLogprobs, draw, logprobs
from sparing.engine.scheduler import Scheduler, Sequence


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one step did for one sequence."""

    sequence: Sequence
    id: int | None = None
    """The token drawn; None while the prompt is still being read, or after an error."""
    logprobs: TokenLogprobs | None = None
    error: Exception | None = None
    """Why this sequence, and only this one, cannot go on."""


class Engine:
    """Computes the scheduler's sequences a step at a time; knows nothing of text or time."""

    def __init__(self, scheduler: Scheduler, executor: Executor, *, context: int) -> None:
        self.scheduler, self.executor = scheduler, executor
        self._layout = Layout(
            max_num_seqs=scheduler.max_num_seqs,
            max_num_batched_tokens=scheduler.max_num_batched_tokens,
            context=context,
            block_tokens=scheduler.pool.block_tokens,
        )
        self._luck: dict[Sequence, Luck] = {}

    def add(self, request: Request) -> Sequence:
        """Queue a request; the caller removes it when its answer is complete."""
        sequence = Sequence(request)
        self.scheduler.add(sequence)
        self._luck[sequence] = Luck(request.seed)
        return sequence

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence and free its blocks; harmless when it is gone."""
        self.scheduler.remove(sequence)
        self._luck.pop(sequence, None)

    def step(self) -> list[Outcome]:
        """Compute one step; empty when there is nothing to do.

        An exception in the forward pass is the outcome of every sequence in it, one in a draw
        that of its own sequence; a sequence with an error must be removed before the next step.
        """
        plan = self.scheduler.plan()
        if not plan:
            return []
        try:
            logits_LV = self.executor.forward(self._layout.fill(plan))
        except Exception as error:  # the barrier: the engine outlives a failed step
            return [Outcome(work.sequence, error=error) for work in plan]
        self.scheduler.commit(plan)
        rows = iter(logits_LV)
        return [
            self._draw(work.sequence, next(rows)) if work.draws else Outcome(work.sequence)
            for work in plan
        ]

    def _draw(self, sequence: Sequence, logits_V: np.ndarray) -> Outcome:
        """Draw, and append the token to its sequence."""
        request = sequence.request
        rule, prompt_ids = request.sampling, request.prompt_ids
        try:
            id = draw(logits_V, rule, self._luck[sequence], prompt_ids, sequence.output_ids)
            wanted = rule.logprobs
            report = None if wanted is None else logprobs(logits_V, id, wanted)
        except Exception as error:  # the barrier: one bad row stops one request
            return Outcome(sequence, error=error)
        sequence.ids.append(id)
        return Outcome(sequence, id=id, logprobs=report)
