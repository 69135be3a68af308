"""Answers and chunks in OpenAI's shapes, as plain dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparing.engine.sampling import TokenLogprobs

Spell = Callable[[int], bytes]
"""A token's bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What every answer and every chunk of one request repeats."""

    id: str
    created: int
    model: str
    chat: bool
    spell: Spell
    passages: Sequence[dict[str, Any]] = ()

    def frame(self, *, chunk: bool, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """The outer object around choices."""
        kind = "text_completion"
        if self.chat:
            kind = "chat.completion.chunk" if chunk else "chat.completion"
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


@dataclass(slots=True)
class Gathered:
    """One choice so far: its text, its log-probabilities, its end."""

    text: str = ""
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    finish_reason: str | None = None


def whole(header: Header, choices: Sequence[Gathered], usage: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request that does not stream."""
    reply = header.frame(
        chunk=False, choices=[_choice(header, nth, one) for nth, one in enumerate(choices)]
    )
    reply["usage"] = usage
    if header.passages:
        reply["sparing"] = {"passages": list(header.passages)}
    return reply


def _choice(header: Header, nth: int, one: Gathered) -> dict[str, Any]:
    if header.chat:
        return {
            "index": nth,
            "message": {"role": "assistant", "content": one.text, "refusal": None},
            "logprobs": chat_logprobs(one.logprobs, header.spell) if one.logprobs else None,
            "finish_reason": one.finish_reason,
        }
    return {
        "index": nth,
        "text": one.text,
        "logprobs": text_logprobs(one.logprobs, header.spell) if one.logprobs else None,
        "finish_reason": one.finish_reason,
    }


def first_chunk(header: Header, nth: int, echo: str) -> dict[str, Any] | None:
    """What opens a choice in a stream: the role, the echo, the passages (with choice 0)."""
    passages = list(header.passages) if nth == 0 else []
    if not (header.chat or echo or passages):
        return None
    choice: dict[str, Any] = {"index": nth, "logprobs": None, "finish_reason": None}
    if header.chat:
        choice["delta"] = {"role": "assistant", "content": ""}
    else:
        choice["text"] = echo
    chunk = header.frame(chunk=True, choices=[choice])
    if passages:
        chunk["sparing"] = {"passages": passages}
    return chunk


def next_chunk(
    header: Header,
    nth: int,
    text: str,
    logprobs: Sequence[TokenLogprobs],
    finish_reason: str | None,
    *,
    offset: int = 0,
) -> dict[str, Any]:
    """A piece of a choice; `offset` is where its text begins in the whole."""
    choice: dict[str, Any] = {"index": nth, "finish_reason": finish_reason, "logprobs": None}
    if header.chat:
        choice["delta"] = {"content": text} if text else {}
        if logprobs:
            choice["logprobs"] = chat_logprobs(logprobs, header.spell)
    else:
        choice["text"] = text
        if logprobs:
            choice["logprobs"] = text_logprobs(logprobs, header.spell, offset=offset)
    return header.frame(chunk=True, choices=[choice])


def chat_logprobs(rows: Sequence[TokenLogprobs], spell: Spell) -> dict[str, Any]:
    """Log-probabilities as /v1/chat/completions has them."""
    return {
        "content": [
            _named(row.id, row.logprob, spell)
            | {"top_logprobs": [_named(id, value, spell) for id, value in row.top]}
            for row in rows
        ],
        "refusal": None,
    }


def _named(id: int, logprob: float, spell: Spell) -> dict[str, Any]:
    raw = spell(id)
    return {"token": raw.decode("utf-8", "replace"), "logprob": logprob, "bytes": list(raw)}


def text_logprobs(
    rows: Sequence[TokenLogprobs], spell: Spell, *, offset: int = 0
) -> dict[str, Any]:
    """Log-probabilities as /v1/completions has them."""
    tokens = [spell(row.id).decode("utf-8", "replace") for row in rows]
    offsets = [offset + sum(map(len, tokens[:at])) for at in range(len(tokens))]
    top = [{spell(id).decode("utf-8", "replace"): value for id, value in row.top} for row in rows]
    return {
        "tokens": tokens,
        "token_logprobs": [row.logprob for row in rows],
        "top_logprobs": top if any(row.top for row in rows) else None,
        "text_offset": offsets,
    }
