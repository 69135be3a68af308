"""The card's figures against the arrays they came from, and its verdict against bad models."""

import json

import numpy as np
import pytest

from sparing.compression.card import Size, card, headline, judge
from sparing.evaluation.divergence import compare, summarise
from sparing.evaluation.documents import Document, Sample
from sparing.evaluation.perplexity import Policy
from sparing.evaluation.speed import DecodeSpeed

HOW = Policy(context=32, stride=16)
BEFORE = Size(disk_bytes=1000, read_bytes_per_token=900, speed=DecodeSpeed(10.0, 9.0, 11.0, 5, 32))
AFTER = Size(disk_bytes=300, read_bytes_per_token=200, speed=None)


@pytest.fixture(scope="module")
def text():
    generator = np.random.default_rng(0)
    documents = tuple(
        Document(generator.integers(0, 40, 30).astype(np.int32), 60) for _ in range(25)
    )
    return Sample(documents, "toy", "hash", 3, 1)


def table(noise: float):
    logits_VV = np.random.default_rng(1).normal(size=(40, 40)).astype(np.float32) * 2
    logits_VV = logits_VV + noise * np.random.default_rng(2).normal(size=(40, 40))
    return lambda ids: logits_VV[np.asarray(ids)].astype(np.float32)


def made(text, noise, *, max_kl=0.02, accepted=False):
    pair = compare(table(0), table(noise), text, HOW)
    rounding = {"scheme": "int8", "group": 32}
    tree = card(
        pair,
        compare(table(0), table(noise / 2), text, HOW),
        text,
        HOW,
        rounding=rounding,
        before=BEFORE,
        after=AFTER,
        max_kl=max_kl,
        accepted=accepted,
        seed=0,
    )
    return pair, tree


def test_the_card_says_what_was_measured(text):
    pair, tree = made(text, 0.1)
    assert tree == json.loads(json.dumps(tree, allow_nan=False))
    assert tree["against_original"]["kl_mean"]["value"] == pytest.approx(pair.kl_N.mean())
    assert tree["against_original"]["top1_agreement"]["value"] == pytest.approx(pair.agree_N.mean())
    assert tree["before"]["perplexity"] == pytest.approx(np.exp(pair.base.nats_N.mean()))
    assert tree["after"]["perplexity"] == pytest.approx(np.exp(pair.other.nats_N.mean()))
    bits = pair.other.nats_N.sum() / np.log(2) / (25 * 60)
    assert tree["after"]["bits_per_byte"] == pytest.approx(bits)
    assert tree["before"]["decode"]["tokens_per_s"] == 10.0
    assert tree["after"]["disk_bytes"] == 300
    evaluation = tree["evaluation"]
    assert (evaluation["tokens"], evaluation["documents"]) == (25 * 29, 25)
    assert (evaluation["documents_left_out"], evaluation["documents_cut"]) == (3, 1)
    assert tree["scheme"] == "int8"
    assert headline(tree)["tokens_per_s_before"] == 10.0
    assert "tokens_per_s_after" not in headline(tree)


def test_the_verdict_follows_the_limit(text):
    assert made(text, 0.05)[1]["verdict"] == {
        "passed": True,
        "max_kl": 0.02,
        "reasons": [],
        "accepted_by_caller": False,
    }
    failed = made(text, 1.0)[1]["verdict"]
    assert not failed["passed"]
    assert "over the limit of 0.02" in failed["reasons"][0]
    assert made(text, 1.0, max_kl=5.0)[1]["verdict"]["passed"]


def test_accepting_is_written_down_and_does_not_turn_into_a_pass(text):
    verdict = made(text, 1.0, accepted=True)[1]["verdict"]
    assert not verdict["passed"]
    assert verdict["accepted_by_caller"]
    assert not made(text, 0.01, accepted=True)[1]["verdict"]["accepted_by_caller"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_not_finite_fail_whatever_the_limit(text, value):
    broken = np.zeros((40, 40), dtype=np.float32)
    broken[5:9] = value
    pair = compare(table(0), lambda ids: broken[np.asarray(ids)], text, HOW)
    verdict = judge(summarise(pair), max_kl=1e9, accepted=False)
    assert verdict.reasons == ("the models' outputs are not finite numbers",)
