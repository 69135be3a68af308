"""From logits to a token: the distribution is one function, the draw another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparing.base.seeds import stream
from sparing.engine.request import Sampling


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """What the model itself thought of a drawn token, before temperature and penalties."""

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens with their log-probabilities, best first."""


class Luck:
    """Uniform numbers of one request: the n-th depends on the seed and n only."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._generator: np.random.Generator | None = None

    def next(self) -> float:
        """A number in [0, 1)."""
        if self._generator is None:  # greedy requests never pay for one
            self._generator = stream(self._seed, "engine", "draw")
        return float(self._generator.random())


def penalised(
    logits_V: np.ndarray, rule: Sampling, prompt_ids: Sequence[int], output_ids: Sequence[int]
) -> np.ndarray:
    """The logits after the penalties for earlier tokens; a new array, float64.

    Repetition looks at prompt and output and multiplies (Keskar et al. 2019, arXiv:1909.05858);
    presence and frequency look at the output and subtract (OpenAI's definition).
    """
    logits_V = logits_V.astype(np.float64)
    if rule.repetition_penalty != 1.0:
        seen = np.unique(np.asarray([*prompt_ids, *output_ids], np.int64))
        values = logits_V[seen]
        factor = rule.repetition_penalty
        logits_V[seen] = np.where(values > 0, values / factor, values * factor)
    if output_ids and (rule.presence_penalty or rule.frequency_penalty):
        drawn, counts = np.unique(np.asarray(output_ids, np.int64), return_counts=True)
        logits_V[drawn] -= rule.presence_penalty + rule.frequency_penalty * counts
    return logits_V


def probabilities(logits_V: np.ndarray, rule: Sampling) -> np.ndarray:
    """The distribution `rule` draws from: logits_V -> probs_V, float64, summing to 1.

    Order: temperature, top-k, top-p, min-p, as Hugging Face's processors.  Ties keep the lower
    id.  Temperature 0 puts everything on the likeliest token.

    Errors: FloatingPointError when the largest logit is not finite.
    """
    peak = float(logits_V.max())
    if not np.isfinite(peak):
        raise FloatingPointError(f"the model's largest logit is {peak}")
    if rule.greedy:
        probs_V = np.zeros(len(logits_V))
        probs_V[int(logits_V.argmax())] = 1.0
        return probs_V
    probs_V = _softmax(logits_V.astype(np.float64) - peak, rule.temperature)
    if 0 < rule.top_k < len(probs_V):
        probs_V = _keep(probs_V, _likeliest(probs_V, rule.top_k))
    if rule.top_p < 1.0:
        probs_V = _keep(probs_V, _nucleus(probs_V, rule.top_p))
    if rule.min_p > 0.0:
        probs_V = _keep(probs_V, np.flatnonzero(probs_V >= rule.min_p * probs_V.max()))
    return probs_V


def choose(probs_V: np.ndarray, luck: float) -> int:
    """The token whose share of the unit interval, in order of id, holds `luck`."""
    edges_V = probs_V.cumsum()
    id = int(edges_V.searchsorted(luck * edges_V[-1], side="right"))
    if id == len(probs_V):  # luck was rounded up to the very end
        id = int(np.flatnonzero(probs_V)[-1])
    return id


def draw(
    logits_V: np.ndarray,
    rule: Sampling,
    luck: Luck,
    prompt_ids: Sequence[int],
    output_ids: Sequence[int],
) -> int:
    """The next token of a request."""
    if rule.penalised:
        logits_V = penalised(logits_V, rule, prompt_ids, output_ids)
    if rule.greedy:
        id = int(logits_V.argmax())  # the first of equals; a NaN counts as the largest
        if not np.isfinite(logits_V[id]):
            raise FloatingPointError(f"the model's largest logit is {logits_V[id]}")
        return id
    return choose(probabilities(logits_V, rule), luck.next())


def logprobs(logits_V: np.ndarray, id: int, count: int) -> TokenLogprobs:
    """The log-probability of `id` and of the `count` likeliest tokens, natural logarithm."""
    shifted_V = logits_V.astype(np.float64) - float(logits_V.max())
    log_total = float(np.log(np.exp(shifted_V).sum()))
    top = _likeliest(shifted_V, min(count, len(shifted_V))) if count else ()
    return TokenLogprobs(
        id=id,
        logprob=float(shifted_V[id]) - log_total,
        top=tuple((int(each), float(shifted_V[each]) - log_total) for each in top),
    )


def _softmax(shifted_V: np.ndarray, temperature: float) -> np.ndarray:
    """Of logits whose peak is 0."""
    with np.errstate(over="ignore", under="ignore"):
        probs_V = np.exp(shifted_V / temperature)
    return probs_V / probs_V.sum()


def _likeliest(values_V: np.ndarray, count: int) -> np.ndarray:
    """Indices of the `count` largest values, largest first, the lower id first among equals."""
    if count < len(values_V):
        least = np.partition(values_V, len(values_V) - count)[len(values_V) - count]
        candidates = np.flatnonzero(values_V >= least)
    else:
        candidates = np.arange(len(values_V))
    return candidates[np.argsort(-values_V[candidates], kind="stable")][:count]


def _nucleus(probs_V: np.ndarray, top_p: float) -> np.ndarray:
    """The likeliest tokens until their mass reaches `top_p`: the mass before a token decides.

    A token under (1 - top_p) / V is never kept: all from it on weigh less than 1 - top_p
    together.  Leaving those out first makes the sort short.
    """
    candidates = np.flatnonzero(probs_V >= (1.0 - top_p) / len(probs_V))
    order = candidates[np.argsort(-probs_V[candidates], kind="stable")]
    before = np.concatenate(([0.0], probs_V[order].cumsum()[:-1]))
    return order[before < top_p]


def _keep(probs_V: np.ndarray, kept: np.ndarray) -> np.ndarray:
    kept_V = np.zeros_like(probs_V)
    kept_V[kept] = probs_V[kept]
    return kept_V / kept_V.sum()
