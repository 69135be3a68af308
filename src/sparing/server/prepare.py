"""From a checked request to token ids: model, passages, template, room in the context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sparing.base.errors import RequestError
from sparing.base.seeds import derive
from sparing.engine.request import Sampling
from sparing.server.protocol import Ask, Message

if TYPE_CHECKING:
    from sparing.engine.llm import LLM
    from sparing.retrieval.index import Hit

CHARS_PER_TOKEN = 3
"""Passages get this many characters per free token; less than text has, so that most fit."""

ANSWER_TOKENS = 64
"""Room kept for an answer whose length is not stated."""

SHORTER = 4
"""How often passages that do not fit are halved before they are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One choice to compute."""

    ids: tuple[int, ...]
    sampling: Sampling
    prompt: int
    """Which of the request's prompts it goes on with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """All choices of a request, and what its answer shows beside them."""

    jobs: tuple[Job, ...]
    echoes: tuple[str, ...]
    """Text before each choice: the prompt with `echo`, else nothing."""
    in_prompt: int
    """How many of the found passages, best first, had room before the question."""


def check_model(asked: str | None, served: str) -> None:
    """Refuse another model than the one that is served.

    Errors:
        RequestError: 404 model_not_found.
    """
    if asked is not None and asked != served:
        raise RequestError(
            f"model: {asked[:100]!r} is not served here; {served!r} is",
            param="model",
            code="model_not_found",
            status=404,
        )


def question_of(ask: Ask) -> str:
    """What to search for: the last message of the user, or the prompt."""
    if ask.messages:
        said = [turn.content for turn in ask.messages if turn.role == "user"]
        if not said:
            raise RequestError("index: needs a message of the user", param="index")
        return said[-1]
    if len(ask.prompts) != 1 or not isinstance(ask.prompts[0], str):
        raise RequestError("index: needs one prompt, as text", param="index")
    return ask.prompts[0]


def prepare(llm: LLM, ask: Ask, hits: tuple[Hit, ...], *, most: int) -> Prepared:
    """The choices of a request, tokenised and within the context.

    Errors:
        RequestError: more than `most` choices, no chat template, or no room
        (context_length_exceeded, with the counts).
    """
    count = ask.n * max(1, len(ask.prompts))
    if count > most:
        raise RequestError(f"n: at most {most} choices, got {count}", param="n")
    rows, in_prompt = _rows(llm, ask, hits)
    for ids in rows:
        check_room(len(ids), ask.max_tokens, llm.service.context)
    sampling = sampling_of(ask)
    jobs = tuple(
        Job(ids=tuple(ids), sampling=_nth(sampling, nth), prompt=at)
        for at, ids in enumerate(rows)
        for nth in range(ask.n)
    )
    echoes = tuple(_echo(llm, ask, job.prompt) for job in jobs)
    return Prepared(jobs=jobs, echoes=echoes, in_prompt=in_prompt)


def _echo(llm: LLM, ask: Ask, at: int) -> str:
    if not ask.echo:
        return ""
    prompt = ask.prompts[at]
    return prompt if isinstance(prompt, str) else llm.tokenizer.decode(prompt)


def sampling_of(ask: Ask) -> Sampling:
    """The sampler's settings; `top_k` of -1 means no limit, as in vLLM."""
    draw = dict(ask.draw)
    draw["top_k"] = max(0, draw.get("top_k", 0))
    return Sampling(max_tokens=ask.max_tokens, logprobs=ask.logprobs, **draw)


def _nth(sampling: Sampling, nth: int) -> Sampling:
    """Each further choice of a seeded request draws from its own stream."""
    if sampling.seed is None or nth == 0:
        return sampling
    return replace(sampling, seed=derive(sampling.seed, "choice", nth))


def check_room(prompt: int, asked: int | None, context: int) -> None:
    """Refuse what cannot fit, with the counts.

    Errors:
        RequestError: context_length_exceeded.
    """
    if prompt + (asked or 1) > context:
        raise RequestError(
            f"this model's context is {context} tokens: the prompt has {prompt} and "
            f"{asked or 'at least 1'} are asked for; shorten the prompt or lower max_tokens",
            param="max_tokens" if prompt < context else "prompt",
            code="context_length_exceeded",
        )


def _rows(llm: LLM, ask: Ask, hits: tuple[Hit, ...]) -> tuple[list[Sequence[int]], int]:
    """Ids of each prompt; passages are shortened, then dropped, until the prompt has room."""
    bare = _encode(llm, ask)
    if not hits:
        return bare, 0
    context = llm.service.context
    room = context - len(bare[0]) - min(ask.max_tokens or ANSWER_TOKENS, context // 2)
    budget_chars = max(0, room) * CHARS_PER_TOKEN
    for _ in range(SHORTER):
        fuller, in_prompt = _with_passages(ask, hits, budget_chars)
        rows = _encode(llm, fuller)
        if in_prompt and len(rows[0]) + (ask.max_tokens or 1) <= context:
            return rows, in_prompt
        budget_chars //= 2
    return bare, 0


def _with_passages(ask: Ask, hits: Sequence[Hit], budget_chars: int) -> tuple[Ask, int]:
    """The request with passages before its question, and how many fitted."""
    from sparing.retrieval.prompt import MARK, with_passages

    question = question_of(ask)
    text = with_passages(question, hits, budget_chars)
    before = text[: len(text) - len(question)]
    heads = (
        MARK.format(number=number, name=hit.title or "passage", source=hit.source)
        for number, hit in enumerate(hits, start=1)
    )
    count = sum(head in before for head in heads)
    if ask.prompts:
        return replace(ask, prompts=(text,)), count
    last = max(at for at, turn in enumerate(ask.messages) if turn.role == "user")
    turns = (*ask.messages[:last], Message(role="user", content=text), *ask.messages[last + 1 :])
    return replace(ask, messages=turns), count


def _encode(llm: LLM, ask: Ask) -> list[Sequence[int]]:
    if ask.messages:
        turns: list[dict[str, Any]] = [
            {"role": turn.role, "content": turn.content} for turn in ask.messages
        ]
        return [llm.chat_ids(turns)]
    return [llm.prompt_ids(prompt) for prompt in ask.prompts]
