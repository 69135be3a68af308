"""Server-sent events: a stream that stops its work when the reader goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from sparing.base.errors import SparingError
from sparing.base.logs import logger
from sparing.server.answer import Answer
from sparing.server.errors import event_of
from sparing.server.protocol import Ask
from sparing.server.replies import Gathered, Header, first_chunk, next_chunk

DONE = b"data: [DONE]\n\n"
T = TypeVar("T")
_encode = msgspec.json.Encoder().encode
_log = logger("server")


def event(tree: dict[str, Any]) -> bytes:
    """One event, in valid UTF-8 without raw line ends."""
    return b"data: " + _encode(tree) + b"\n\n"


async def chunks(
    answer: Answer, ask: Ask, header: Header, echoes: tuple[str, ...]
) -> AsyncIterator[dict[str, Any]]:
    """The objects of a stream: openings, pieces in order, the usage last where asked for."""
    offsets = [len(echo) for echo in echoes]
    for nth, echo in enumerate(echoes):
        opening = first_chunk(header, nth, echo)
        if opening is not None:
            yield _with_usage(opening, answer, ask)
    async for nth, delta in answer.deltas():
        if not (delta.text or delta.finish_reason or delta.logprobs or ask.continuous_usage):
            continue
        chunk = next_chunk(
            header,
            nth,
            delta.text,
            delta.logprobs or (),
            delta.finish_reason,
            offset=offsets[nth],
        )
        offsets[nth] += len(delta.text)
        yield _with_usage(chunk, answer, ask)
    answer.complete()
    if ask.include_usage:
        last = header.frame(chunk=True, choices=[])
        last["usage"] = answer.usage(final=True)
        yield last


def _with_usage(chunk: dict[str, Any], answer: Answer, ask: Ask) -> dict[str, Any]:
    if ask.continuous_usage:
        chunk["usage"] = answer.usage(final=False)
    elif ask.include_usage:
        chunk["usage"] = None
    return chunk


async def gather(answer: Answer, echoes: tuple[str, ...]) -> list[Gathered]:
    """Every choice of an answer, whole."""
    choices = [Gathered(text=echo) for echo in echoes]
    async for nth, delta in answer.deltas():
        choices[nth].text += delta.text
        choices[nth].logprobs.extend(delta.logprobs or ())
        choices[nth].finish_reason = delta.finish_reason or choices[nth].finish_reason
    answer.complete()
    return choices


async def until_gone(work: Awaitable[T], receive: Receive) -> T | None:
    """The result of `work`, or None when the client went away first; `work` is then cancelled."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(StreamingResponse):
    """Chunks as events; `finish` runs however the answer ends."""

    def __init__(
        self, source: AsyncIterator[dict[str, Any]], *, finish: Callable[[], None]
    ) -> None:
        super().__init__(
            iter(()), headers={"X-Accel-Buffering": "no"}, media_type="text/event-stream"
        )
        self._source, self._finish = source, finish

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await until_gone(self._send_all(send), receive)
        finally:
            self._finish()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        last = DONE
        try:
            async for chunk in self._source:
                await _body(send, event(chunk), more=True)
        except SparingError as error:
            last = event(event_of(error))
        except Exception as error:  # the status is sent: an event is all that is left to say
            _log.exception("a stream failed")
            last = event(event_of(error))
        await _body(send, last, more=False)


async def _body(send: Send, data: bytes, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})
