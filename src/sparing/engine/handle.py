"""One answer as its reader sees it: pieces of text as they come, and how it ended."""

import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

from sparing.base.errors import RequestError
from sparing.engine.request import Request
from sparing.engine.sampling import TokenLogprobs


@dataclass(frozen=True, slots=True)
class Delta:
    """What came since the last one."""

    text: str
    ids: tuple[int, ...] = ()
    """The tokens drawn, those of text still held back included."""
    logprobs: tuple[TokenLogprobs, ...] = ()
    """One per id, where they were asked for."""
    finish_reason: str | None = None
    """In the last delta only: stop, length, abort or error."""


@dataclass(slots=True)
class Usage:
    """Tokens so far; the end token counts."""

    prompt_tokens: int
    completion_tokens: int = 0


@dataclass(slots=True)
class Timing:
    """Seconds; None for what has not happened."""

    queue_s: float | None = None
    """From arrival to the first step."""
    prefill_s: float | None = None
    """From the first step to the first token."""
    first_token_s: float | None = None
    """From arrival to the first token."""
    decode_s: float | None = None
    """From the first token to the end."""

    def tokens_per_s(self, tokens: int) -> float | None:
        """Decode speed of an answer of so many tokens, the first not counted."""
        return (tokens - 1) / self.decode_s if self.decode_s and tokens > 1 else None


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer."""

    text: str
    ids: tuple[int, ...]
    finish_reason: str
    usage: Usage
    timing: Timing
    logprobs: tuple[TokenLogprobs, ...] = ()


class Handle:
    """Iterate over it, `for` or `async for`, from one thread or task; `cancel` from anywhere.

    As a context manager it cancels what is left on the way out.
    """

    def __init__(self, request: Request, cancel: Callable[[str], None]) -> None:
        self.id, self.request = request.id, request
        self.usage = Usage(len(request.prompt_ids))
        self.timing = Timing()
        self.finish_reason: str | None = None
        self.stop_reason: str | int | None = None
        """The stop string or the end token that ended the answer."""
        self.error: Exception | None = None
        """Why, where the finish reason is "error"."""
        self._cancel = cancel
        self._changed = threading.Condition()
        self._deltas: deque[Delta] = deque()
        self._wake: Callable[[], None] | None = None

    def cancel(self) -> None:
        """Stop computing it; ends with finish reason "abort" unless it ended before."""
        self._cancel(self.id)

    def put(self, delta: Delta) -> None:
        """For the service: hand the reader a delta."""
        with self._changed:
            self._deltas.append(delta)
            if delta.finish_reason is not None:
                self.finish_reason = delta.finish_reason
            wake, self._wake = self._wake, None
            self._changed.notify_all()
        if wake is not None:
            wake()

    def result(self) -> Completion:
        """Wait for the rest and return the whole.

        Errors: RequestError (status 500) when the engine failed on it.
        """
        deltas = list(self)
        if self.error is not None:
            raise RequestError(
                f"the engine failed on request {self.id}: {self.error}", status=500
            ) from self.error
        return Completion(
            text="".join(delta.text for delta in deltas),
            ids=tuple(id for delta in deltas for id in delta.ids),
            finish_reason=self.finish_reason or "abort",
            usage=self.usage,
            timing=self.timing,
            logprobs=tuple(each for delta in deltas for each in delta.logprobs),
        )

    def __iter__(self) -> Iterator[Delta]:
        while True:
            with self._changed:
                while not self._deltas and self.finish_reason is None:
                    self._changed.wait()
                if not self._deltas:
                    return
                delta = self._deltas.popleft()
            yield delta

    async def __aiter__(self) -> AsyncIterator[Delta]:
        import asyncio

        loop = asyncio.get_running_loop()
        while True:
            arrived = asyncio.Event()
            with self._changed:
                delta = self._deltas.popleft() if self._deltas else None
                if delta is None:
                    if self.finish_reason is not None:
                        return
                    self._wake = lambda event=arrived: _set(loop, event)
            if delta is None:
                await arrived.wait()
            else:
                yield delta

    def __enter__(self) -> "Handle":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self.finish_reason is None:
            self.cancel()


def _set(loop: "object", event: "object") -> None:
    """Set an asyncio event from another thread; nobody waits on a loop that is closed."""
    try:
        loop.call_soon_threadsafe(event.set)  # type: ignore[attr-defined]
    except RuntimeError:
        return
