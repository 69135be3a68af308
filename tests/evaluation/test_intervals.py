"""Bootstrap intervals against scipy's, and what is resampled."""

import numpy as np
import pytest
from scipy import stats

from sparing.evaluation.intervals import RUN_TOKENS, per_unit, quantile, ratio, units


def alone(count: int) -> np.ndarray:
    return np.arange(count)


def test_mean_of_single_units_equals_scipy_bootstrap():
    value_N = np.random.default_rng(0).gamma(2.0, size=300)
    wanted = stats.bootstrap(
        (value_N,), np.mean, n_resamples=4000, method="percentile", rng=1
    ).confidence_interval
    of = units(alone(300))
    found = ratio(per_unit(value_N, of), per_unit(np.ones(300), of), seed=0)
    width = wanted.high - wanted.low
    assert found.value == pytest.approx(value_N.mean())
    assert found.low == pytest.approx(wanted.low, abs=0.1 * width)
    assert found.high == pytest.approx(wanted.high, abs=0.1 * width)


def test_quantile_equals_scipy_bootstrap():
    value_N = np.random.default_rng(0).gamma(2.0, size=300)

    def p90(sample, axis=-1):
        return np.quantile(sample, 0.9, axis=axis, method="inverted_cdf")

    wanted = stats.bootstrap(
        (value_N,), p90, n_resamples=4000, method="percentile", rng=1
    ).confidence_interval
    found = quantile(value_N, units(alone(300)), at=0.9, seed=0)
    width = wanted.high - wanted.low
    assert found.value == p90(value_N)
    assert found.low == pytest.approx(wanted.low, abs=0.15 * width)
    assert found.high == pytest.approx(wanted.high, abs=0.15 * width)


def test_equal_documents_widen_the_interval():
    """25 documents of 40 equal tokens are 25 observations, not 1000."""
    value_U = np.random.default_rng(2).normal(size=25)
    tokens_N, document_N = np.repeat(value_U, 40), np.repeat(np.arange(25), 40)
    by_document, by_token = units(document_N), units(alone(1000))
    wide, narrow = (
        ratio(per_unit(tokens_N, of), per_unit(np.ones(1000), of), seed=0)
        for of in (by_document, by_token)
    )
    assert by_document.kind == "document"
    assert (wide.high - wide.low) > 4 * (narrow.high - narrow.low)


def test_few_documents_are_resampled_in_runs_that_stay_inside_them():
    document_N = np.repeat([0, 1, 2], [RUN_TOKENS + 1, 5, 2 * RUN_TOKENS])
    of = units(document_N)
    assert of.count == 5
    assert np.bincount(of.unit_N).tolist() == [RUN_TOKENS, 1, 5, RUN_TOKENS, RUN_TOKENS]
    assert of.kind == f"run of {RUN_TOKENS} tokens"


def test_the_same_seed_gives_the_same_interval_and_nan_stays_nan():
    value_U, ones_U = np.arange(30.0), np.ones(30)
    assert ratio(value_U, ones_U, seed=3) == ratio(value_U, ones_U, seed=3)
    assert ratio(value_U, ones_U, seed=3) != ratio(value_U, ones_U, seed=4)
    assert np.isnan(ratio(value_U * np.nan, ones_U, seed=3).low)
