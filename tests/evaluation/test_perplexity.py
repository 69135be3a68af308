"""Perplexity against transformers' loss, and windows under random lengths."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparing.base.errors import ConfigError, ShapeError
from sparing.evaluation.documents import Document, Sample
from sparing.evaluation.perplexity import (
    Policy,
    log_probabilities,
    policy,
    score,
    summarise,
    target_nats,
    windows,
)


def sample_of(*documents: tuple[list[int], int]) -> Sample:
    kept = tuple(Document(np.array(ids, dtype=np.int32), size) for ids, size in documents)
    return Sample(kept, "test", "0", 0, 0)


@pytest.fixture(scope="module")
def llama():
    """A tiny random transformers model and its logits as a plain function."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(5)
    torch.set_num_threads(1)
    config = transformers.LlamaConfig(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    model = transformers.LlamaForCausalLM(config).eval()

    def logits(ids):
        with torch.no_grad():
            return model(torch.tensor([list(ids)])).logits[0].numpy()

    return torch, model, logits


@given(length=st.integers(0, 200), context=st.integers(2, 40), data=st.data())
def test_windows_score_each_token_once_with_the_promised_context(length, context, data):
    how = Policy(context=context, stride=data.draw(st.integers(1, context - 1)))
    scored = []
    for window in windows(length, how):
        assert 0 <= window.start < window.first < window.stop <= length
        assert window.stop - window.start <= context
        assert window.start == 0 or window.first - window.start >= context - how.stride
        scored += range(window.first, window.stop)
    assert scored == list(range(1, length))


def test_one_window_equals_the_loss_of_transformers(llama):
    torch, model, logits = llama
    ids = np.random.default_rng(0).integers(0, 97, 60)
    with torch.no_grad():
        loss = model(torch.tensor(ids[None]), labels=torch.tensor(ids[None])).loss.item()
    found = summarise(score(logits, sample_of((ids.tolist(), 100)), policy(64, 97)))
    assert found.perplexity == pytest.approx(math.exp(loss), rel=1e-4)
    assert found.bits_per_byte == pytest.approx(loss * 59 / math.log(2) / 100, rel=1e-4)
    assert found.tokens == 59


def test_a_long_document_equals_strided_windows_of_transformers(llama):
    """The oracle masks, with label -100, what an earlier window has scored."""
    torch, model, logits = llama
    ids = np.random.default_rng(1).integers(0, 97, 150)
    total, last = 0.0, 1
    for stop in range(32, 150 + 16, 16):
        begin, stop = max(0, min(stop, 150) - 32), min(stop, 150)
        labels = ids[begin:stop].copy()
        labels[: last - begin] = -100
        with torch.no_grad():
            outcome = model(torch.tensor(ids[None, begin:stop]), labels=torch.tensor(labels[None]))
        total += outcome.loss.item() * (labels[1:] != -100).sum()
        last = stop
    found = score(logits, sample_of((ids.tolist(), 150)), Policy(context=32, stride=16))
    assert len(found.nats_N) == 149
    assert found.nats_N.sum() == pytest.approx(total, rel=1e-5)


def test_bits_per_byte_of_a_uniform_guess_by_hand():
    """8 equally likely tokens cost 3 bits each; 5 scored tokens over 10 bytes are 1.5."""
    found = score(
        lambda ids: np.zeros((len(ids), 8), dtype=np.float32),
        sample_of(([0, 1, 2, 3], 6), ([0, 5, 6], 4)),
        Policy(context=16, stride=8),
    )
    assert found.bits_per_byte == pytest.approx(1.5, rel=1e-12)
    assert found.document_N.tolist() == [0, 0, 0, 1, 1]
    assert summarise(found).perplexity == pytest.approx(8.0, rel=1e-12)


def test_a_better_model_has_fewer_bits_and_the_right_target_is_read():
    """A model that knows the next token is nearly free; one shifted by a place is not."""
    ids = [0, 3, 1, 4, 1, 5, 2, 6]

    def knowing(shift):
        def logits(read):
            found = np.zeros((len(read), 8), dtype=np.float32)
            for row in range(len(read)):
                found[row, ids[min(row + shift, len(ids) - 1)]] = 50
            return found

        return logits

    how = Policy(context=16, stride=8)
    assert score(knowing(1), sample_of((ids, 8)), how).bits_per_byte < 1e-9
    assert score(knowing(0), sample_of((ids, 8)), how).bits_per_byte > 10


@given(st.integers(1, 50))
def test_log_probabilities_survive_large_logits(seed):
    scipy_special = pytest.importorskip("scipy.special")
    logits_TV = np.random.default_rng(seed).normal(size=(4, 33)) * 300 + 1e6
    wanted = scipy_special.log_softmax(logits_TV, axis=-1)
    np.testing.assert_allclose(log_probabilities(logits_TV), wanted, rtol=1e-9, atol=1e-9)


def test_chunks_do_not_change_the_result(monkeypatch):
    logits_TV = np.random.default_rng(2).normal(size=(9, 20)).astype(np.float32)
    target_T = np.arange(9)
    whole = target_nats(logits_TV, target_T)
    monkeypatch.setattr("sparing.evaluation.perplexity.CHUNK_VALUES", 45)
    np.testing.assert_array_equal(target_nats(logits_TV, target_T), whole)


def test_the_window_of_a_large_vocabulary_is_bounded_and_long_contexts_refused():
    assert policy(100_000, 32_000).context == 1024
    assert policy(100_000, 1 << 18).context == 128
    with pytest.raises(ConfigError, match="at most the model's 64"):
        policy(64, 100, context=65)


def test_logits_of_the_wrong_length_are_refused():
    with pytest.raises(ShapeError, match="expected 3 rows"):
        score(lambda ids: np.zeros((1, 8)), sample_of(([1, 2, 3, 4], 4)), policy(64, 8))
