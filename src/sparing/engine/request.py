"""What is asked of the engine, and how the tokens of an answer are chosen."""

import math
from dataclasses import dataclass, fields

from sparing.base.errors import RequestError
from sparing.base.limits import LIMITS

LARGEST_COUNT = 2**31 - 1
MOST_LOGPROBS = 20
"""As OpenAI's `top_logprobs`."""

# field: (type, least, most); None stands for "no limit" where the field may be None
_NUMBERS: dict[str, tuple[type, float, float]] = {
    "temperature": (float, 0.0, 2.0),
    "min_p": (float, 0.0, 1.0),
    "top_k": (int, 0, LARGEST_COUNT),
    "max_tokens": (int, 1, LARGEST_COUNT),
    "seed": (int, -(2**63), 2**63 - 1),
    "logprobs": (int, 0, MOST_LOGPROBS),
    "presence_penalty": (float, -2.0, 2.0),
    "frequency_penalty": (float, -2.0, 2.0),
}
_OPTIONAL = {"max_tokens", "seed", "logprobs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn and when an answer ends; names as in vLLM and OpenAI."""

    temperature: float = 1.0
    """Divides the logits; 0 means greedy."""
    top_p: float = 1.0
    """Least mass of most likely tokens to keep, in (0, 1]."""
    top_k: int = 0
    """Most tokens to keep; 0 means no limit."""
    min_p: float = 0.0
    """Drop tokens less likely than this share of the likeliest."""
    max_tokens: int | None = None
    """Most tokens to generate; None fills the model's context."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer; they are not part of it."""
    stop_ids: tuple[int, ...] = ()
    """Tokens that end the answer, beside the model's own."""
    seed: int | None = None
    """Fixes the draws; None takes a fresh one from the system."""
    logprobs: int | None = None
    """How many alternatives to report per token; 0 reports the chosen token only."""
    ignore_eos: bool = False
    """Go on past the model's own end tokens."""
    presence_penalty: float = 0.0
    """Taken from the logit of every token generated before."""
    frequency_penalty: float = 0.0
    """Taken from a token's logit once per time it was generated before."""
    repetition_penalty: float = 1.0
    """Divides positive (multiplies negative) logits of all earlier tokens, prompt included."""

    def __post_init__(self) -> None:
        for name, (kind, least, most) in _NUMBERS.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            _check_number(name, value, kind)
            _refuse(not least <= value <= most, name, f"a number in {least} .. {most}", value)
        for name, most in (("top_p", 1.0), ("repetition_penalty", 10.0)):
            value = getattr(self, name)
            _check_number(name, value, float)
            _refuse(not 0.0 < value <= most, name, f"a number in (0, {most:g}]", value)
        _refuse(type(self.ignore_eos) is not bool, "ignore_eos", "true or false", self.ignore_eos)
        _check_stops(self.stop)
        for id in self.stop_ids:
            _check_number("stop_ids", id, int)

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.temperature == 0.0

    @property
    def penalised(self) -> bool:
        """Whether earlier tokens change the logits."""
        return bool(
            self.presence_penalty or self.frequency_penalty or self.repetition_penalty != 1.0
        )


SAMPLING_FIELDS = tuple(field.name for field in fields(Sampling))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One answer to compute; `seed` is resolved, so that a retry repeats the draws."""

    id: str
    prompt_ids: tuple[int, ...]
    sampling: Sampling
    max_tokens: int
    """Most tokens to generate, resolved against the context."""
    seed: int
    source_tokens: int = 0
    """Leading tokens of the prompt that an encoder reads; 0 for a decoder alone."""

    @property
    def target_ids(self) -> tuple[int, ...]:
        """What of the prompt the decoder reads."""
        return self.prompt_ids[self.source_tokens :]


def admit(
    id: str,
    prompt_ids: tuple[int, ...],
    sampling: Sampling,
    *,
    context: int,
    vocab: int,
    seed: int,
    source_tokens: int = 0,
) -> Request:
    """The request, with its limits resolved; refused when it can never be answered.

    Errors: RequestError with the numbers (code `context_length_exceeded` when too long).
    """
    if not prompt_ids:
        raise RequestError("prompt: expected at least one token, got none", param="prompt")
    if min(prompt_ids) < 0 or max(prompt_ids) >= vocab:
        worst = min(prompt_ids) if min(prompt_ids) < 0 else max(prompt_ids)
        raise RequestError(f"prompt: expected token ids in 0 .. {vocab - 1}, got {worst}",
                           param="prompt")  # fmt: skip
    room = context - len(prompt_ids)
    wanted = sampling.max_tokens if sampling.max_tokens is not None else max(room, 1)
    if wanted > room:
        raise RequestError(
            f"this model's context is {context} tokens; the prompt has {len(prompt_ids)} and "
            f"max_tokens asks for {wanted}: {len(prompt_ids) + wanted} in all. "
            "Shorten the prompt or lower max_tokens",
            param="max_tokens" if room > 0 else "prompt",
            code="context_length_exceeded",
        )
    return Request(
        id=id,
        prompt_ids=prompt_ids,
        sampling=sampling,
        max_tokens=wanted,
        seed=seed,
        source_tokens=source_tokens,
    )


def _refuse(bad: bool, name: str, expected: str, got: object) -> None:
    if bad:
        shown = repr(got)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        raise RequestError(
            f"{name}: expected {expected}, got {shown}", param=name, code="invalid_value"
        )


def _check_number(name: str, value: object, kind: type) -> None:
    allowed = (int, float) if kind is float else (int,)
    expected = "a number" if kind is float else "a whole number"
    right = isinstance(value, allowed) and not isinstance(value, bool)
    _refuse(not right, name, expected, value)
    huge = isinstance(value, int) and abs(value) > 2**64
    _refuse(huge or not math.isfinite(value), name, "a finite number", value)  # type: ignore[arg-type]


def _check_stops(stop: object) -> None:
    _refuse(not isinstance(stop, tuple), "stop", "a tuple of texts", stop)
    assert isinstance(stop, tuple)
    most = LIMITS.stop_strings
    _refuse(len(stop) > most, "stop", f"at most {most} texts", len(stop))
    for text in stop:
        _refuse(not isinstance(text, str) or not text, "stop", "texts that are not empty", text)
        most = LIMITS.stop_chars
        _refuse(len(text) > most, "stop", f"texts of at most {most} characters", len(text))
