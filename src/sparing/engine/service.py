"""The engine in a thread of its own, with any number of readers around it."""

import secrets
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from sparing.base.errors import RequestError
from sparing.engine.handle import Delta, Handle, Timing, Usage
from sparing.engine.loop import Engine, Outcome
from sparing.engine.reply import Reply
from sparing.engine.request import Sampling, admit
from sparing.tokenizer.stream import TextStream
from sparing.tokenizer.text import Tokenizer

__all__ = ["Delta", "Handle", "Service", "Stats", "Timing", "Usage"]

_CONTEXT_TOKENS = 8
"""End of the prompt that settles the spacing of the first word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """One look at the service; counters since its start."""

    running: int
    waiting: int
    kv_used_blocks: int
    kv_blocks: int
    prompt_tokens: int
    """Prompt tokens of requests whose prompt was read."""
    generation_tokens: int
    finished: dict[str, int] = field(default_factory=dict)
    """Answers by finish reason: stop, length, abort, error."""
    preemptions: int
    step_seconds: float
    """Time in steps, waiting not included."""
    steps: int


class Service:
    """Takes requests from any thread; one thread computes them all.

    Every request ends exactly once, whatever happens: a stop, a cancellation, an error of its
    own, a failure of the engine, or the close of the service.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        *,
        context: int,
        eos: Collection[int] = (),
        max_waiting: int,
        start: int | None = None,
        check: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._tokenizer, self._clock = engine, tokenizer, clock
        self.context, self.eos, self._max_waiting = context, frozenset(eos), max_waiting
        self._check = check  # every block accounted for after every step; for tests
        self.start = start
        """What an answer begins after, where an encoder reads the prompt; None for a decoder."""
        self._changed = threading.Condition()
        self._live: dict[str, Reply] = {}
        self._arrived: list[Reply] = []
        self._cancelled: list[str] = []
        self._refusing: str | None = None
        self._closing = False
        self._failure: BaseException | None = None
        self._by_sequence: dict[object, Reply] = {}
        self._finished: dict[str, int] = dict.fromkeys(("stop", "length", "abort", "error"), 0)
        self._prompt_tokens = self._generation_tokens = self._steps = 0
        self._step_seconds = 0.0
        self._numbers = 0
        self._thread = threading.Thread(target=self._run, name="sparing-engine", daemon=True)
        self._thread.start()

    def submit(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, request_id: str | None = None
    ) -> Handle:
        """Queue a request.

        Errors: RequestError when it can never be answered (with the numbers), when the queue is
        full, and when the service is closing or broken (status 503).
        """
        seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
        with self._changed:
            self._numbers += 1
            id = request_id if request_id is not None else f"request-{self._numbers}"
        ids, source = tuple(prompt_ids), 0
        if self.start is not None and ids:
            ids, source = (*ids, self.start), len(ids)
        request = admit(
            id, ids, sampling, context=self.context, vocab=self._engine.executor.vocab,
            seed=seed, source_tokens=source,
        )  # fmt: skip
        self._engine.scheduler.check(request)
        handle = Handle(request, self._ask_cancel)
        text = TextStream(
            self._tokenizer, sampling.stop, context_ids=request.target_ids[-_CONTEXT_TOKENS:]
        )
        reply = Reply(handle, text, self.eos, self._clock)
        with self._changed:
            self._check_open(id)
            self._live[id] = reply
            self._arrived.append(reply)
            self._changed.notify_all()
        return handle

    def stats(self) -> Stats:
        """A consistent look at the counters."""
        with self._changed:
            scheduler = self._engine.scheduler
            return Stats(
                running=len(scheduler.running),
                waiting=len(scheduler.waiting) + len(self._arrived),
                kv_used_blocks=scheduler.pool.used,
                kv_blocks=scheduler.pool.blocks,
                prompt_tokens=self._prompt_tokens,
                generation_tokens=self._generation_tokens,
                finished=dict(self._finished),
                preemptions=scheduler.preemptions,
                step_seconds=self._step_seconds,
                steps=self._steps,
            )

    @property
    def failure(self) -> BaseException | None:
        """Why the engine's thread ended by itself; None while all is well."""
        return self._failure

    def close(self, drain_s: float = 0.0) -> None:
        """Refuse new requests, let running ones go on for `drain_s`, end the rest, stop."""
        deadline = self._clock() + drain_s
        with self._changed:
            self._refusing = self._refusing or "the server is shutting down"
            while self._live and self._failure is None:
                left = deadline - self._clock()
                if left <= 0:
                    break
                self._changed.wait(left)
            self._closing = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _check_open(self, id: str) -> None:
        if self._refusing is not None:
            raise RequestError(self._refusing, code="unavailable", status=503)
        if id in self._live:
            raise RequestError(f"request id {id!r} is in use", param="request_id")
        waiting = len(self._arrived) + len(self._engine.scheduler.waiting)
        if waiting >= self._max_waiting:
            raise RequestError(
                f"{waiting} requests are waiting already; try again later",
                code="queue_full",
                status=503,
            )

    def _ask_cancel(self, id: str) -> None:
        with self._changed:
            if id in self._live:
                self._cancelled.append(id)
                self._changed.notify_all()

    # ---- the engine's thread ------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as failure:  # our own mistake: nobody may wait for ever
            self._failure = failure
            with self._changed:
                self._refusing = "the engine has failed; restart the server"
        self._end_all("abort" if self._failure is None else "error")

    def _turn(self) -> bool:
        """Take in what arrived, compute one step; False when the service is closed."""
        with self._changed:
            while not (self._arrived or self._cancelled or self._by_sequence or self._closing):
                self._changed.wait()
            if self._closing:
                return False
            arrived, self._arrived = self._arrived, []
            cancelled, self._cancelled = self._cancelled, []
            for reply in arrived:
                reply.sequence = self._engine.add(reply.handle.request)
                self._by_sequence[reply.sequence] = reply
        for id in cancelled:
            if (reply := self._live.get(id)) is not None:
                self._finish(reply, "abort")
        self._step()
        return True

    def _step(self) -> None:
        began = self._clock()
        for outcome in self._engine.step():
            reply = self._by_sequence[outcome.sequence]
            reply.start(began)
            self._deliver(reply, outcome)
        if self._check:
            self._engine.scheduler.check_invariants()
        with self._changed:
            self._steps += 1
            self._step_seconds += self._clock() - began

    def _deliver(self, reply: Reply, outcome: Outcome) -> None:
        if outcome.error is not None:
            self._finish(reply, "error", outcome.error)
            return
        if outcome.id is None:
            return
        if reply.handle.usage.completion_tokens == 0:
            self._prompt_tokens += reply.handle.usage.prompt_tokens
        self._generation_tokens += 1
        try:
            reason = reply.token(outcome)
        except Exception as error:  # the barrier: one bad text stops one request
            self._finish(reply, "error", error)
            return
        if reason is not None:
            self._finish(reply, reason)

    def _finish(self, reply: Reply, reason: str, error: Exception | None = None) -> None:
        """The only way out for a request; harmless the second time."""
        if reply.finished:
            return
        with self._changed:  # the engine forgets it before its reader is told
            if reply.sequence is not None and self._failure is None:
                self._engine.remove(reply.sequence)
                self._by_sequence.pop(reply.sequence, None)
            self._live.pop(reply.handle.id, None)
            self._finished[reason] += 1
            self._changed.notify_all()
        reply.finish(reason, error)

    def _end_all(self, reason: str) -> None:
        error = RuntimeError(f"the engine failed: {self._failure}") if self._failure else None
        with self._changed:
            self._arrived = []
            replies = list(self._live.values())
        for reply in replies:
            self._finish(reply, reason, error)
