"""Who computes next: pure bookkeeping, without tensors, clocks or threads."""

from collections import deque
from dataclasses import dataclass, field

from sparing.base.errors import RequestError
from sparing.engine.blocks import BlockPool
from sparing.engine.request import Request


@dataclass(slots=True, eq=False)
class Sequence:
    """A request on its way: its tokens, how many are in the cache, and where."""

    request: Request
    ids: list[int] = field(init=False)
    """Prompt, then every token drawn so far."""
    done: int = 0
    """Leading tokens whose keys and values are in `blocks`."""
    blocks: list[int] = field(default_factory=list)
    begun_with: int = 0
    """Tokens it had when the first of those in `blocks` was computed."""

    def __post_init__(self) -> None:
        self.ids = list(self.request.prompt_ids)

    @property
    def left(self) -> int:
        """Tokens to compute before the next draw."""
        return len(self.ids) - self.done

    @property
    def output_ids(self) -> list[int]:
        """Tokens drawn so far."""
        return self.ids[len(self.request.prompt_ids) :]


@dataclass(frozen=True, slots=True)
class Work:
    """Compute `count` tokens of a sequence from `start` on."""

    sequence: Sequence
    start: int
    count: int

    @property
    def draws(self) -> bool:
        """Whether a token can be drawn afterwards."""
        return self.start + self.count == len(self.sequence.ids)


class Scheduler:
    """Continuous batching: who runs goes on, oldest first; what is left of the step admits more.

    A prompt that a step cannot read to its end takes all that is left of it, so nobody younger
    is admitted meanwhile, and those before it decode in every step.
    When blocks run out, the youngest gives all of its own up and starts again later, ahead of
    all who wait; its tokens are kept, so its answer does not change.  The oldest always gets
    what it needs, so something always moves.

    A model may compute sequences of more than `short_context` tokens in another way, from their
    first token on: one that grows past it starts again, once.
    """

    def __init__(
        self,
        pool: BlockPool,
        *,
        max_num_seqs: int,
        max_num_batched_tokens: int,
        short_context: int | None = None,
    ) -> None:
        assert max_num_batched_tokens >= max_num_seqs
        self.pool, self.short_context = pool, short_context
        self.max_num_seqs, self.max_num_batched_tokens = max_num_seqs, max_num_batched_tokens
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self.preemptions = 0

    def check(self, request: Request) -> None:
        """Refuse a request that could not finish even with every block to itself.

        Errors: RequestError with the numbers.
        """
        tokens = len(request.prompt_ids) + request.max_tokens
        needed = self.pool.blocks_for(tokens)
        if needed > self.pool.blocks:
            raise RequestError(
                f"{tokens} tokens (prompt {len(request.prompt_ids)}, max_tokens "
                f"{request.max_tokens}) need {needed} KV blocks of {self.pool.block_tokens}; "
                f"the cache has {self.pool.blocks}. Lower max_tokens or raise kv_cache_tokens",
                param="max_tokens",
                code="context_length_exceeded",
            )

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence whose request passes `check`."""
        self.check(sequence.request)
        self.waiting.append(sequence)

    def plan(self) -> list[Work]:
        """What to compute in the next step, with blocks taken for all of it."""
        plan: dict[Sequence, Work] = {}
        budget = self.max_num_batched_tokens
        self._restart_grown()
        preempted = self.preemptions
        for sequence in list(self.running):  # at most the last is still reading its prompt
            count = min(sequence.left, budget)
            if count and sequence in self.running and self._make_room(sequence, count, plan):
                plan[sequence] = Work(sequence, sequence.done, count)
                budget -= count
        while budget and self._may_admit(preempted):
            sequence = self.waiting.popleft()
            self.running.append(sequence)
            count = min(sequence.left, budget)
            sequence.begun_with = len(sequence.ids)
            self._grow(sequence, count)
            plan[sequence] = Work(sequence, 0, count)
            budget -= count
        return [plan[sequence] for sequence in self.running if sequence in plan]

    def commit(self, plan: list[Work]) -> None:
        """Record that the plan was computed; drawn tokens are appended by the caller after."""
        for work in plan:
            work.sequence.done = work.start + work.count

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence, wherever it is, and free its blocks; harmless when gone."""
        if sequence in self.running:
            self.running.remove(sequence)
            self._release(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)

    def check_invariants(self) -> None:
        """Exact accounting, between steps."""
        self.pool.check_invariants(sequence.blocks for sequence in self.running)
        assert len(self.running) <= self.max_num_seqs
        for sequence in self.running:
            assert len(sequence.blocks) == self.pool.blocks_for(sequence.done), "blocks of a row"
            assert sequence.left >= 1, "a sequence with nothing to compute"
        for sequence in self.waiting:
            assert not sequence.blocks, "a waiting sequence holds blocks"
            assert sequence.done == 0, "a waiting sequence has progress"

    def _may_admit(self, preempted: int) -> bool:
        if not self.waiting or len(self.running) >= self.max_num_seqs:
            return False
        if preempted != self.preemptions:  # never in a step that had to push someone out
            return False
        head = self.waiting[0]  # room for all of it, or it would soon push itself out again
        needed = self.pool.blocks_for(len(head.ids) + 1)
        return not self.running or needed <= self.pool.free

    def _restart_grown(self) -> None:
        """Put those that have grown past `short_context` ahead of all who wait, in their order."""
        if self.short_context is None:
            return
        for sequence in self.running[::-1]:
            if sequence.begun_with <= self.short_context < len(sequence.ids):
                self.running.remove(sequence)
                self._push_out(sequence)

    def _push_out(self, sequence: Sequence) -> None:
        self._release(sequence)
        self.waiting.appendleft(sequence)
        self.preemptions += 1

    def _make_room(self, sequence: Sequence, count: int, plan: dict[Sequence, Work]) -> bool:
        """Take blocks for `count` more tokens, pushing out the youngest; False: pushed out."""
        while not self._fits(sequence, count):
            youngest = self.running.pop()
            self._push_out(youngest)
            assert youngest not in plan  # planned oldest first
            if youngest is sequence:
                return False
        self._grow(sequence, count)
        return True

    def _missing(self, sequence: Sequence, count: int) -> int:
        return self.pool.blocks_for(sequence.done + count) - len(sequence.blocks)

    def _fits(self, sequence: Sequence, count: int) -> bool:
        return self._missing(sequence, count) <= self.pool.free

    def _grow(self, sequence: Sequence, count: int) -> None:
        sequence.blocks += self.pool.take(self._missing(sequence, count))

    def _release(self, sequence: Sequence) -> None:
        self.pool.give_back(sequence.blocks)
        sequence.blocks, sequence.done = [], 0
