"""Bodies of /v1/chat/completions and /v1/completions as checked, frozen requests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sparing.base.errors import RequestError
from sparing.base.limits import LIMITS
from sparing.server.fields import (
    Check,
    boolean,
    checked,
    integer,
    number,
    only,
    record,
    several,
    text,
    wrong,
)

BIG = 2**31 - 1
ROLES = ("system", "developer", "user", "assistant")
MESSAGES = 4096
INDEX_PASSAGES = 8
COMPLETION_TOKENS = 16
"""Default `max_tokens` of /v1/completions, as OpenAI documents it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What both kinds of request have in common, checked."""

    model: str | None = None
    n: int = 1
    stream: bool = False
    include_usage: bool = False
    """A last chunk with the usage."""
    continuous_usage: bool = False
    """The usage so far in every chunk."""
    max_tokens: int | None = None
    """None: up to the end of the context."""
    logprobs: int | None = None
    """Alternatives per token; None for no log-probabilities."""
    draw: Mapping[str, Any]
    """temperature, top_p, seed and the other fields of sampling, as given."""
    index: str | None = None
    """Name of an attached index whose passages go before the question."""
    passages: int = 3
    """Most passages taken from the index."""
    messages: tuple[Message, ...] = ()
    """The conversation; empty for a completion."""
    prompts: tuple[str | tuple[int, ...], ...] = ()
    """Texts or token ids to go on with; empty for a conversation."""
    echo: bool = False
    """Repeat the prompt before the completion."""


def _stop(value: Any, name: str) -> tuple[str, ...]:
    one = text(LIMITS.stop_chars, empty=False)
    if isinstance(value, str):
        return (one(value, name),)
    return several(one, LIMITS.stop_strings)(value, name)


def _role(value: Any, name: str) -> str:
    if value not in ROLES:
        raise wrong(name, f"one of {', '.join(ROLES)}", value)
    return "system" if value == "developer" else value


def _kind(value: Any, name: str) -> str:
    if value != "text":
        raise RequestError(f"{name}: only text parts are read", param=name)
    return value


_part = record({"type": _kind, "text": text(LIMITS.prompt_chars)})


def _content(value: Any, name: str) -> str:
    if not isinstance(value, list):
        return text(LIMITS.prompt_chars)(value, name)
    parts = several(_part, 256)(value, name)
    for at, part in enumerate(parts):
        if part.keys() != {"type", "text"}:
            raise RequestError(f"{name}[{at}]: needs type and text", param=f"{name}[{at}]")
    return "".join(part["text"] for part in parts)


_turn = record({"role": _role, "content": _content, "name": text(64)})


def _message(value: Any, name: str) -> Message:
    fields = _turn(value, name)
    for needed in ("role", "content"):
        if needed not in fields:
            raise RequestError(f"{name}.{needed}: missing", param=f"{name}.{needed}")
    return Message(role=fields["role"], content=fields["content"])


_token = integer(0, BIG)


def _prompt(value: Any, name: str) -> tuple[str | tuple[int, ...], ...]:
    """A text, token ids, or a list of either: always as a tuple of prompts."""
    if isinstance(value, str):
        return (text(LIMITS.prompt_chars)(value, name),)
    if isinstance(value, list) and value:
        if type(value[0]) is int:
            return (several(_token, LIMITS.prompt_chars, least=1)(value, name),)
        if isinstance(value[0], str):
            return several(text(LIMITS.prompt_chars), 1024)(value, name)
        if isinstance(value[0], list):
            return several(several(_token, LIMITS.prompt_chars, least=1), 1024)(value, name)
    raise wrong(name, "a text, a list of texts, token ids, or lists of token ids", value)


def _format(value: Any, name: str) -> None:
    if value != {"type": "text"}:
        raise RequestError(
            f"{name}: only {{'type': 'text'}} is served",
            param=name,
            code="unsupported_parameter",
        )


def _metadata(value: Any, name: str) -> None:
    if not isinstance(value, dict):
        raise wrong(name, "an object", value)


_no_tools = only([], why="tools are not served")

DRAW: dict[str, Check] = {
    "temperature": number(0, 2),
    "top_p": number(0, 1, above=True),
    "top_k": integer(-1, BIG),
    "min_p": number(0, 1),
    "stop": _stop,
    "seed": integer(-(2**63), 2**63 - 1),
    "presence_penalty": number(-2, 2),
    "frequency_penalty": number(-2, 2),
    "repetition_penalty": number(0, 2, above=True),
    "ignore_eos": boolean,
}
"""Fields that go to the sampler, the same for both kinds."""

COMMON: dict[str, Check] = DRAW | {
    "model": text(512),
    "n": integer(1, 10**6),
    "stream": boolean,
    "stream_options": record({"include_usage": boolean, "continuous_usage_stats": boolean}),
    "max_tokens": integer(1, BIG),
    "index": text(100),
    "index_passages": integer(1, INDEX_PASSAGES),
    "user": text(512),
    "logit_bias": only({}, why="token biases are not served"),
}

CHAT: dict[str, Check] = COMMON | {
    "messages": several(_message, MESSAGES, least=1),
    "max_completion_tokens": integer(1, BIG),
    "logprobs": boolean,
    "top_logprobs": integer(0, 20),
    "response_format": _format,
    "metadata": _metadata,
    "store": only(False, why="nothing is stored"),
    "tools": _no_tools,
    "tool_choice": only("none", "auto", why="tools are not served"),
    "functions": _no_tools,
    "parallel_tool_calls": only(True, False, why="tools are not served"),
    "modalities": only(["text"], why="only text is served"),
    "audio": only(why="only text is served"),
    "prediction": only(why="predicted outputs are not served"),
    "reasoning_effort": only(why="the model does not reason apart from its answer"),
    "service_tier": only("auto", "default", why="there is one tier"),
}
"""Fields of /v1/chat/completions."""

COMPLETION: dict[str, Check] = COMMON | {
    "prompt": _prompt,
    "logprobs": integer(0, 20),
    "echo": boolean,
    "suffix": only("", why="text cannot be put in the middle"),
    "best_of": only(1, why="every choice is returned"),
}
"""Fields of /v1/completions."""


def parse_chat(tree: Mapping[str, Any]) -> Ask:
    """A conversation to answer.

    Errors:
        RequestError: naming the field that is missing, unknown, of the wrong type or out of range.
    """
    fields = checked(tree, CHAT)
    if "messages" not in fields:
        raise RequestError("messages: missing", param="messages")
    if "max_tokens" in fields and "max_completion_tokens" in fields:
        raise RequestError(
            "max_tokens: give it or max_completion_tokens, not both", param="max_tokens"
        )
    if "top_logprobs" in fields and not fields.get("logprobs"):
        raise RequestError("top_logprobs: needs logprobs to be true", param="top_logprobs")
    return Ask(
        messages=fields["messages"],
        max_tokens=fields.get("max_completion_tokens", fields.get("max_tokens")),
        logprobs=fields.get("top_logprobs", 0) if fields.get("logprobs") else None,
        **_common(fields),
    )


def parse_completion(tree: Mapping[str, Any]) -> Ask:
    """A text to go on with.  Errors: as `parse_chat`."""
    fields = checked(tree, COMPLETION)
    if "prompt" not in fields:
        raise RequestError("prompt: missing", param="prompt")
    echo = fields.get("echo", False)
    if echo and "logprobs" in fields:
        raise RequestError(
            "logprobs: not served together with echo",
            param="logprobs",
            code="unsupported_parameter",
        )
    return Ask(
        prompts=fields["prompt"],
        max_tokens=fields.get("max_tokens", COMPLETION_TOKENS),
        logprobs=fields.get("logprobs"),
        echo=echo,
        **_common(fields),
    )


def _common(fields: Mapping[str, Any]) -> dict[str, Any]:
    options = fields.get("stream_options", {})
    stream = fields.get("stream", False)
    if options and not stream:
        raise RequestError("stream_options: needs stream to be true", param="stream_options")
    if "index_passages" in fields and "index" not in fields:
        raise RequestError("index_passages: needs index", param="index_passages")
    return {
        "model": fields.get("model"),
        "n": fields.get("n", 1),
        "stream": stream,
        "include_usage": options.get("include_usage", False),
        "continuous_usage": options.get("continuous_usage_stats", False),
        "draw": {name: fields[name] for name in DRAW if name in fields},
        "index": fields.get("index"),
        "passages": fields.get("index_passages", 3),
    }
