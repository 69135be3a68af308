"""The life of one request inside the service, from arrival to its one end."""

import time
from collections.abc import Callable, Collection

from sparing.engine.handle import Delta, Handle
from sparing.engine.loop import Outcome
from sparing.engine.sampling import TokenLogprobs
from sparing.engine.scheduler import Sequence
from sparing.tokenizer.stream import TextStream


class Reply:
    """Turns drawn tokens into deltas; decides when the answer is complete.  Ends once."""

    def __init__(
        self,
        handle: Handle,
        text: TextStream,
        eos: Collection[int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.handle, self._text, self._clock = handle, text, clock
        sampling = handle.request.sampling
        self._ends = frozenset(sampling.stop_ids) | (
            frozenset() if sampling.ignore_eos else frozenset(eos)
        )
        self.sequence: Sequence | None = None
        """Set while the engine knows the request."""
        self._ids: list[int] = []
        self._logprobs: list[TokenLogprobs] = []
        self._arrived = clock()
        self._started: float | None = None
        self._first: float | None = None

    @property
    def finished(self) -> bool:
        """Whether the reader has been told the end."""
        return self.handle.finish_reason is not None

    def start(self, now: float) -> None:
        """The first step that computes it begins."""
        if self._started is None:
            self._started = now
            self.handle.timing.queue_s = now - self._arrived

    def token(self, outcome: Outcome) -> str | None:
        """Take a drawn token in; the finish reason when it was the last one."""
        id = outcome.id
        assert id is not None
        self._note_time()
        self.handle.usage.completion_tokens += 1
        self._ids.append(id)
        if outcome.logprobs is not None:
            self._logprobs.append(outcome.logprobs)
        if id in self._ends:
            self.handle.stop_reason = id
            return "stop"
        text = self._text.push(id)
        if self._text.stopped is not None:
            self.handle.stop_reason = self._text.stopped
            self._held = text
            return "stop"
        if self.handle.usage.completion_tokens >= self.handle.request.max_tokens:
            self._held = text
            return "length"
        if text:
            self._emit(text)
        return None

    def finish(self, reason: str, error: Exception | None = None) -> bool:
        """Tell the reader the end; False, and nothing happens, when it was told before."""
        if self.finished:
            return False
        if self._first is not None:
            self.handle.timing.decode_s = self._clock() - self._first
        self.handle.error = error
        try:
            text = self._held + self._text.close()
        except Exception as failure:  # part of the barrier: the end must come
            text, reason = self._held, "error"
            self.handle.error = error or failure
        self._emit(text, reason)
        return True

    _held = ""
    """Text of the last token, to go out with the finish reason."""

    def _emit(self, text: str, reason: str | None = None) -> None:
        delta = Delta(text, tuple(self._ids), tuple(self._logprobs), reason)
        self._ids, self._logprobs = [], []
        self.handle.put(delta)

    def _note_time(self) -> None:
        if self._first is None:
            now = self._first = self._clock()
            timing = self.handle.timing
            timing.first_token_s = now - self._arrived
            timing.prefill_s = now - (self._started if self._started is not None else now)
