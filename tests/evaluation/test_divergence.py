"""KL divergence and agreement against scipy in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from sparing.base.errors import ShapeError
from sparing.evaluation.divergence import compare, kl_nats, summarise
from sparing.evaluation.documents import Document, Sample
from sparing.evaluation.perplexity import Policy, score

HOW = Policy(context=16, stride=8)


def table(seed: int, noise: float = 0.0):
    """A bigram model: logits depend on the last token only."""
    logits_VV = np.random.default_rng(3).normal(size=(30, 30)).astype(np.float32)
    logits_VV += noise * np.random.default_rng(seed).normal(size=(30, 30)).astype(np.float32)
    return lambda ids: logits_VV[np.asarray(ids)]


@pytest.fixture(scope="module")
def sample():
    generator = np.random.default_rng(4)
    documents = tuple(
        Document(generator.integers(0, 30, length).astype(np.int32), int(length))
        for length in generator.integers(2, 60, 40)
    )
    return Sample(documents, "test", "0", 0, 0)


@given(st.integers(0, 100), st.sampled_from([0.01, 1.0, 30.0]))
def test_kl_equals_scipy(seed, spread):
    generator = np.random.default_rng(seed)
    base_TV, other_TV = generator.normal(size=(2, 5, 40)).astype(np.float32) * spread
    p_TV = special.softmax(base_TV.astype(np.float64), axis=-1)
    q_TV = special.softmax(other_TV.astype(np.float64), axis=-1)
    wanted = special.rel_entr(p_TV, q_TV).sum(-1)
    np.testing.assert_allclose(kl_nats(base_TV, other_TV), wanted, rtol=1e-9, atol=1e-12)
    assert (kl_nats(base_TV, other_TV) > -1e-12).all()


def test_kl_has_a_direction_and_shapes_must_agree():
    base, other = np.array([[0.0, 3.0]]), np.array([[0.0, -1.0]])
    assert kl_nats(base, other)[0] != pytest.approx(kl_nats(other, base)[0], rel=0.01)
    with pytest.raises(ShapeError, match="one shape"):
        kl_nats(base, np.zeros((1, 3)))


def test_a_model_against_itself_loses_nothing(sample):
    found = summarise(compare(table(0), table(0), sample, HOW))
    assert found.kl_mean.value == found.kl_p99.value == found.nats_lost.value == 0.0
    assert found.top1_agreement.value == 1.0


def test_a_pair_holds_what_each_model_says_alone(sample):
    base, other = table(0), table(1, 0.5)
    pair = compare(base, other, sample, HOW)
    np.testing.assert_array_equal(pair.base.nats_N, score(base, sample, HOW).nats_N)
    np.testing.assert_array_equal(pair.other.nats_N, score(other, sample, HOW).nats_N)
    found = summarise(pair)
    assert found.tokens == sample.scored_tokens
    lost = (pair.other.nats_N - pair.base.nats_N).mean()
    assert found.nats_lost.value == pytest.approx(lost, rel=1e-12)


def test_mean_p99_and_agreement_by_hand(sample):
    base, other = table(0), table(1, 0.5)
    kl, agree = [], []
    for document in sample.documents:
        base_TV, other_TV = base(document.ids_N[:-1]), other(document.ids_N[:-1])
        kl.append(special.rel_entr(*(special.softmax(x, -1) for x in (base_TV, other_TV))).sum(-1))
        agree.append(base_TV.argmax(-1) == other_TV.argmax(-1))
    kl_N, agree_N = np.concatenate(kl), np.concatenate(agree)
    found = summarise(compare(base, other, sample, HOW))
    assert found.kl_mean.value == pytest.approx(kl_N.mean(), rel=1e-5)
    assert found.kl_p99.value == pytest.approx(
        np.quantile(kl_N, 0.99, method="inverted_cdf"), rel=1e-5
    )
    assert found.top1_agreement.value == pytest.approx(agree_N.mean(), rel=1e-12)
    assert found.kl_mean.low < found.kl_mean.value < found.kl_mean.high
    assert found.kl_p99.low <= found.kl_p99.value <= found.kl_p99.high


def test_more_noise_means_more_divergence(sample):
    means = [
        summarise(compare(table(0), table(1, noise), sample, HOW)).kl_mean.value
        for noise in (0.01, 0.1, 1.0)
    ]
    assert means == sorted(means)
    assert means[0] < 1e-3 < 0.1 < means[2]


def test_logits_that_are_not_finite_show(sample):
    broken = compare(table(0), lambda ids: np.full((len(ids), 30), np.nan), sample, HOW)
    assert not np.isfinite(summarise(broken).kl_mean.value)
