"""One request's choices under way: submitted together, followed, cancelled and charged once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from sparing.base.errors import RequestError
from sparing.server.costs import Account, Share
from sparing.server.gate import Gate
from sparing.server.metrics import Metrics
from sparing.server.prepare import Prepared

if TYPE_CHECKING:
    from sparing.engine.service import Delta, Handle, Service

GOOD_ENDS = ("stop", "length")
SETTLE_SECONDS = 0.25
"""How old the energy shown in the middle of a stream may be."""

Clock = Callable[[], float]


class Answer:
    """The handles of one request; `finish` gives everything back, however it ends."""

    def __init__(
        self,
        prepared: Prepared,
        *,
        id: str,
        share: Share,
        service: Service,
        gate: Gate,
        account: Account,
        metrics: Metrics,
        clock: Clock = time.monotonic,
    ) -> None:
        self._gate, self._account, self._metrics = gate, account, metrics
        self._clock, self._begun, self._settled = clock, clock(), clock()
        self._prepared, self._finished = prepared, False
        self._pumps: list[asyncio.Task[None]] = []
        self._last: dict[int, float] = {}
        self.handles: list[Handle] = []
        self._count = len(prepared.jobs)
        gate.enter(self._count)
        self._share = share
        try:
            for nth, job in enumerate(prepared.jobs):
                name = id if self._count == 1 else f"{id}-{nth}"
                self.handles.append(service.submit(job.ids, job.sampling, request_id=name))
        except BaseException:
            self.finish()
            raise

    async def deltas(self) -> AsyncIterator[tuple[int, Delta]]:
        """Pieces of all choices as they come, with the number of their choice.

        Errors:
            RequestError: 503 when the engine gave a choice up, 500 when it failed on it.
        """
        async for nth, delta in self._merged():
            self._note(nth, delta)
            if delta.finish_reason is not None and delta.finish_reason not in GOOD_ENDS:
                raise _given_up(delta.finish_reason)
            yield nth, delta

    async def _merged(self) -> AsyncIterator[tuple[int, Delta]]:
        if self._count == 1:
            async for delta in self.handles[0]:
                yield 0, delta
            return
        queue: asyncio.Queue[tuple[int, Delta | BaseException | None]] = asyncio.Queue(64)
        for nth, handle in enumerate(self.handles):
            self._pumps.append(asyncio.create_task(_pump(nth, handle, queue)))
        open_ends = self._count
        while open_ends:
            nth, delta = await queue.get()
            if isinstance(delta, BaseException):
                raise delta
            if delta is None:
                open_ends -= 1
            else:
                yield nth, delta

    def _note(self, nth: int, delta: Delta) -> None:
        now = self._clock()
        if nth not in self._last:
            self._share.computed += len(self._prepared.jobs[nth].ids)
            self._metrics.first_token.observe(now - self._begun)
        elif delta.ids:
            self._metrics.next_token.observe((now - self._last[nth]) / len(delta.ids))
        self._last[nth] = now
        self._share.computed += len(delta.ids)

    def usage(self, *, final: bool) -> dict[str, Any]:
        """Tokens, seconds of the slowest choice, and cost so far.

        Prompts count once however many choices go on with them.  `final` takes a new reading
        of the energy; else one up to a quarter of a second old will do.
        """
        now = self._clock()
        if final or now - self._settled > SETTLE_SECONDS:
            self._account.settle(now)
            self._settled = now
        prompts = {job.prompt: len(job.ids) for job in self._prepared.jobs}
        made = sum(handle.usage.completion_tokens for handle in self.handles)
        timings = [handle.timing for handle in self.handles]
        return {
            "prompt_tokens": sum(prompts.values()),
            "completion_tokens": made,
            "total_tokens": sum(prompts.values()) + made,
            "sparing": {
                "prefill_seconds": max(timing.prefill_s or 0.0 for timing in timings),
                "decode_seconds": max(timing.decode_s or 0.0 for timing in timings),
            }
            | self._account.of(self._share),
        }

    def complete(self) -> None:
        """Count the request's times; called when every choice came to a good end."""
        for handle in self.handles:
            self._metrics.observe(handle.timing, handle.usage, self._clock() - self._begun)

    def finish(self) -> None:
        """Cancel what still runs and give places and share back; harmless the second time."""
        if self._finished:
            return
        self._finished = True
        for handle in self.handles:
            handle.cancel()
        for pump in self._pumps:
            pump.cancel()
        self._account.close(self._share, self._clock())
        self._gate.leave(self._count)


def _given_up(reason: str) -> RequestError:
    if reason == "abort":
        return RequestError("the server stopped this answer", code="aborted", status=503)
    return RequestError("the engine failed on this answer", code="internal_error", status=500)


async def _pump(nth: int, handle: Handle, queue: asyncio.Queue[Any]) -> None:
    """Move one choice's pieces into the common queue, then None, or the exception."""
    try:
        async for delta in handle:
            await queue.put((nth, delta))
        await queue.put((nth, None))
    except Exception as error:  # handed to the reader of the queue, which raises it
        await queue.put((nth, error))
