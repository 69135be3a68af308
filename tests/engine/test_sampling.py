"""The distribution against Hugging Face's processors, the draw against its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparing.base.errors import RequestError
from sparing.engine.request import Sampling
from sparing.engine.sampling import Luck, choose, draw, logprobs, penalised, probabilities

V = 40


def some_logits(seed: int, size: int = V) -> np.ndarray:
    return (3 * np.random.Generator(np.random.PCG64(seed)).standard_normal(size)).astype(np.float32)


RULES = [
    {},
    {"temperature": 0.5},
    {"top_k": 5},
    {"top_p": 0.7},
    {"top_p": 0.05},
    {"min_p": 0.1},
    {"temperature": 1.7, "top_k": 20, "top_p": 0.9, "min_p": 0.05},
]


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_distribution_as_transformers(rule, seed):
    torch = pytest.importorskip("torch")
    from transformers.generation import logits_process as hf

    logits_V = some_logits(seed)
    scores = torch.tensor(logits_V, dtype=torch.float64)[None]
    if "temperature" in rule:
        scores = hf.TemperatureLogitsWarper(rule["temperature"])(None, scores)
    if "top_k" in rule:
        scores = hf.TopKLogitsWarper(rule["top_k"])(None, scores)
    if "top_p" in rule:
        scores = hf.TopPLogitsWarper(rule["top_p"])(None, scores)
    if "min_p" in rule:
        scores = hf.MinPLogitsWarper(rule["min_p"])(None, scores)
    want_V = scores.softmax(-1)[0].numpy()
    got_V = probabilities(logits_V, Sampling(**rule))
    np.testing.assert_array_equal(got_V > 0, want_V > 0)
    np.testing.assert_allclose(got_V, want_V, rtol=1e-12)


def test_repetition_as_transformers():
    torch = pytest.importorskip("torch")
    from transformers.generation import logits_process as hf

    logits_V, prompt, output = some_logits(9), [1, 2, 3, 3], [4, 1]
    want = hf.RepetitionPenaltyLogitsProcessor(1.3)(
        torch.tensor([prompt + output]), torch.tensor(logits_V, dtype=torch.float64)[None]
    )
    rule = Sampling(repetition_penalty=1.3)
    np.testing.assert_allclose(penalised(logits_V, rule, prompt, output), want[0], rtol=1e-6)


def test_presence_and_frequency_by_hand():
    rule = Sampling(presence_penalty=0.5, frequency_penalty=0.25)
    got_V = penalised(np.zeros(5, np.float32), rule, [0, 0, 0], [1, 2, 2])
    np.testing.assert_allclose(got_V, [0, -0.75, -1.0, 0, 0])


def test_ties_keep_the_lower_id():
    level_V = np.array([1, 3, 3, 3, 0], np.float32)
    assert draw(level_V, Sampling(temperature=0.0), Luck(0), [], []) == 1
    assert np.flatnonzero(probabilities(level_V, Sampling(top_k=2))).tolist() == [1, 2]
    assert np.flatnonzero(probabilities(level_V, Sampling(top_p=0.5))).tolist() == [1, 2]
    assert [id for id, _ in logprobs(level_V, 0, 2).top] == [1, 2]


@given(st.integers(0, 10**6), st.floats(0.01, 1.0, exclude_max=True), st.integers(1, 60))
@settings(max_examples=200, deadline=None)
def test_the_short_nucleus_is_the_nucleus(seed, top_p, size):
    """Against the plain definition: sort all, keep while the mass before is short of top_p."""
    logits_V = np.round(some_logits(seed, size))
    probs_V = np.exp(logits_V.astype(np.float64) - logits_V.max())
    probs_V /= probs_V.sum()
    order = np.argsort(-probs_V, kind="stable")
    kept = order[probs_V[order].cumsum() - probs_V[order] < top_p]
    got = np.flatnonzero(probabilities(logits_V, Sampling(top_p=top_p)))
    assert abs(len(got) - len(kept)) <= 1  # the sums are rounded differently
    assert set(got) <= set(kept) or set(kept) <= set(got)


def test_choose_by_hand():
    probs_V = np.array([0.0, 0.25, 0.0, 0.5, 0.25, 0.0])
    for luck, id in ((0.0, 1), (0.2499, 1), (0.25, 3), (0.7499, 3), (0.75, 4), (0.999999, 4)):
        assert choose(probs_V, luck) == id
    assert choose(probs_V, 1.0) == 4, "rounded up to the end: the last possible token"


def test_draws_follow_the_distribution():
    """20000 fixed draws: every token within five standard errors of its share."""
    rule, logits_V, luck = Sampling(top_k=6), some_logits(4), Luck(7)
    probs_V, count = probabilities(logits_V, rule), 20_000
    got_V = np.bincount([choose(probs_V, luck.next()) for _ in range(count)], minlength=V) / count
    error_V = np.sqrt(probs_V * (1 - probs_V) / count)
    assert (np.abs(got_V - probs_V) <= 5 * error_V).all()


def test_seed_fixes_the_draws():
    def tokens(seed: int) -> list[int]:
        luck = Luck(seed)
        return [draw(some_logits(n), Sampling(), luck, [], []) for n in range(20)]

    assert tokens(1) == tokens(1) != tokens(2)
    assert tokens(-5) == tokens(-5)


def test_logprobs_are_the_models_own():
    logits_V = some_logits(3)
    want_V = logits_V - np.log(np.exp(logits_V.astype(np.float64)).sum())
    got = logprobs(logits_V, 11, 3)
    assert got.logprob == pytest.approx(want_V[11], abs=1e-6)
    assert [id for id, _ in got.top] == np.argsort(-logits_V, kind="stable")[:3].tolist()
    assert logprobs(logits_V, 11, 0).top == ()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_broken_logits_are_an_error(bad, temperature):
    logits_V = some_logits(1)
    logits_V[3] = bad
    with pytest.raises(FloatingPointError):
        draw(logits_V, Sampling(temperature=temperature), Luck(0), [], [])


def test_masked_logits_and_tiny_temperatures_are_fine():
    logits_V = np.array([-np.inf, 1.0, 2.0], np.float32)
    assert probabilities(logits_V, Sampling()).tolist()[0] == 0.0
    assert draw(logits_V, Sampling(temperature=5e-324), Luck(0), [], []) == 2


NUMBERS = [
    "temperature", "top_p", "top_k", "min_p", "max_tokens", "seed", "logprobs",
    "presence_penalty", "frequency_penalty", "repetition_penalty",
]  # fmt: skip
ABUSE = [-3, 2**63, 2**64, 10**400, 1e308, float("nan"), float("inf"), "5", True, [], {}]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ABUSE, ids=lambda value: repr(value)[:12])
def test_abused_numbers_are_refused_by_name(name, value):
    if name == "seed" and value == -3:
        assert Sampling(seed=value).seed == -3
        return
    with pytest.raises(RequestError) as caught:
        Sampling(**{name: value})
    assert caught.value.param == name
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "stop",
    ["text", ("",), ("a",) * 17, ("a" * 10**6,), (3,), ["a"], (b"a",)],
    ids=lambda s: str(s)[:9],
)
def test_abused_stops_are_refused(stop):
    with pytest.raises(RequestError) as caught:
        Sampling(stop=stop)
    assert caught.value.param == "stop"
