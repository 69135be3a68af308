"""plan -> forward -> draw -> commit."""

from dataclasses import dataclass

from sparing.engine.batch import Layout
from sparing.engine.chooser import Choice, Chooser, Compute, plainly
from sparing.engine.executor import Executor
from sparing.engine.request import Request
from sparing.engine.sampling import TokenLogprobs
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

    def __init__(
        self,
        scheduler: Scheduler,
        executor: Executor,
        *,
        context: int,
        compute: Compute | None = None,
    ) -> None:
        """`compute` is the forward pass with its choices; by default the plain version."""
        self.scheduler, self.executor = scheduler, executor
        self._compute = compute or plainly(executor)
        self._layout = Layout(
            max_num_seqs=scheduler.max_num_seqs,
            max_num_batched_tokens=scheduler.max_num_batched_tokens,
            context=context,
            block_tokens=scheduler.pool.block_tokens,
        )
        self._choosers: dict[Sequence, Chooser] = {}

    def add(self, request: Request) -> Sequence:
        """Queue a request; the caller removes it when its answer is complete."""
        sequence = Sequence(request)
        self.scheduler.add(sequence)
        self._choosers[sequence] = Chooser(request)
        return sequence

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence and free its blocks; harmless when it is gone."""
        self.scheduler.remove(sequence)
        self._choosers.pop(sequence, None)

    def step(self) -> list[Outcome]:
        """Compute one step; empty when there is nothing to do.

        An exception in the forward pass is the outcome of every sequence in it, one in a draw
        that of its own sequence; a sequence with an error must be removed before the next step.
        """
        plan = self.scheduler.plan()
        if not plan:
            return []
        drawing = [work.sequence for work in plan if work.draws]
        choosers = [self._choosers[sequence] for sequence in drawing]
        try:
            choices = iter(self._compute(self._layout.fill(plan), choosers))
        except Exception as error:  # the barrier: the engine outlives a failed step
            return [Outcome(work.sequence, error=error) for work in plan]
        self.scheduler.commit(plan)
        return [
            _outcome(work.sequence, next(choices)) if work.draws else Outcome(work.sequence)
            for work in plan
        ]


def _outcome(sequence: Sequence, choice: Choice | Exception) -> Outcome:
    """The chosen token is appended to its sequence."""
    if isinstance(choice, Exception):
        return Outcome(sequence, error=choice)
    sequence.ids.append(choice.id)
    return Outcome(sequence, choice.id, choice.logprobs)
