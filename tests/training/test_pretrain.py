"""The stage from shards to a folder that transformers loads, and what it refuses."""

import json
import math

import pytest
import torch

from sparing.base.config import load
from sparing.base.errors import ArtefactError, ConfigError
from sparing.base.files import open_artefact, verify_artefact
from sparing.data.packing import IGNORED, Packing
from sparing.data.shards import Shards
from sparing.models.folder import dense_weights, open_model, write_config
from sparing.networks.decoder import Decoder
from sparing.training import loop
from sparing.training.config import PretrainConfig
from sparing.training.heldout import bits_per_byte, heldout
from sparing.training.pretrain import pretrain, shape_of


@pytest.fixture
def config(shards, shape):
    return PretrainConfig(
        data=shards,
        model=str(shape),
        steps=12,
        batch=4,
        context=32,
        threads=1,
        log_every=4,
        warmup_steps=2,
        checkpoint_every=5,
        heldout_every=6,
        precision="fp32",
        device="cpu",
    )


def changed(config, **values):
    tree = {name: getattr(config, name) for name in PretrainConfig.__dataclass_fields__}
    return PretrainConfig(**(tree | values))


def test_the_result_loads_in_transformers_with_equal_logits(config, tmp_path):
    transformers = pytest.importorskip("transformers")
    result = pretrain(config, tmp_path / "model")
    verify_artefact(result.artefact)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(result.artefact)
    tokenizer = transformers.AutoTokenizer.from_pretrained(result.artefact)
    ids = torch.tensor([[0, *tokenizer("alpha beta zeta", add_special_tokens=False).input_ids]])
    folder = open_model(result.artefact)
    ours = Decoder(folder.config).load(dense_weights(folder))
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, rtol=1e-4, atol=1e-4)
    assert not (tmp_path / ".model.work").exists()


def test_it_learns_and_tells_what_it_did(config, tmp_path):
    result = pretrain(changed(config, steps=60), tmp_path / "model")
    lines = [json.loads(line) for line in (result.artefact / "metrics.jsonl").open()]
    assert [line["step"] for line in lines] == sorted({*range(4, 61, 4), *range(6, 61, 6)})
    assert lines[0]["loss"] > lines[-1]["loss"] + 1.0
    assert [line["step"] for line in lines if "heldout_bpb" in line] == list(range(6, 61, 6))
    assert lines[-1]["heldout_bpb"] < lines[1]["heldout_bpb"]
    assert result.tokens == 60 * 4 * 32 == lines[-1]["tokens"]
    card = open_artefact(result.artefact, kind="model")
    assert card.parents.keys() == {"data"}
    assert card.facts["timing"]["step"] == [line["step"] for line in lines]
    assert card.facts["packing"]["pieces"] >= card.facts["packing"]["documents"] == 40
    assert card.quality["heldout_bits_per_byte"] == lines[-1]["heldout_bpb"]
    assert card.facts["epochs"] == result.tokens / card.facts["packing"]["tokens"]


def test_micro_batches_do_not_change_the_path(config, tmp_path):
    whole = pretrain(config, tmp_path / "whole")
    parts = pretrain(changed(config, micro_batch=1), tmp_path / "parts")
    lines = [
        [json.loads(line) for line in (r.artefact / "metrics.jsonl").open()] for r in (whole, parts)
    ]
    for one, other in zip(*lines, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-3)


def test_heldout_bits_are_counted_over_whole_documents(decoder, shards):
    opened = Shards.open(shards)
    model = Decoder(decoder).initialise(1)
    held = heldout(opened, context=32, tokens=10**6)
    assert held.tokens == sum(len(d) - 1 for d in opened.documents("heldout"))
    assert held.text_bytes == opened.text_bytes("heldout")
    uniform = bits_per_byte(Flat(decoder.vocab), held, rows=2, head_rows=7)
    assert uniform == pytest.approx(math.log2(decoder.vocab) * held.tokens / held.text_bytes)
    assert bits_per_byte(model, held, rows=2, head_rows=7) == pytest.approx(
        bits_per_byte(model, held, rows=100, head_rows=10**6), rel=1e-6
    )


class Flat(torch.nn.Module):
    """Guesses evenly."""

    def __init__(self, vocab):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(vocab, 1))

    def hidden(self, ids_BT, *, documents_BT, positions_BT):
        return torch.zeros(*ids_BT.shape, 1)

    def head(self, x_ND):
        return x_ND @ self.weight.T


def test_a_few_heldout_documents_have_the_bytes_of_their_own_text(shards):
    opened = Shards.open(shards)
    few = heldout(opened, context=32, tokens=1)
    first = next(iter(opened.documents("heldout")))
    assert few.tokens == len(first) - 1
    assert 0 < few.text_bytes < opened.text_bytes("heldout")
    assert (few.rows.labels_BT != IGNORED).sum() == len(first) - 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model": "demmo"}, "did you mean 'demo'"),
        ({"context": 65}, "context: expected at most the model's 64"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(config, tmp_path, values, said):
    with pytest.raises(ConfigError, match=said):
        pretrain(changed(config, **values), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_another_vocabulary_is_refused(config, decoder, tmp_path):
    other = tmp_path / "shape"
    other.mkdir()
    fields = {name: getattr(decoder, name) for name in decoder.__dataclass_fields__}
    write_config(other, type(decoder)(**(fields | {"vocab": 300})))
    with pytest.raises(ConfigError, match="vocabulary of 288"):
        pretrain(changed(config, model=str(other)), tmp_path / "model")


@pytest.mark.parametrize(
    "values",
    [{"steps": 0}, {"learning_rate": 0.0}, {"beta1": 1.0}, {"micro_batch": 3}, {"context": 1}],
)
def test_settings_out_of_range_are_refused(config, values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        changed(config, **values)


def test_an_unknown_setting_names_the_nearest(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('data = "shards"\nlerning_rate = 0.1\n')
    with pytest.raises(ConfigError, match="learning_rate"):
        load(PretrainConfig, file, {})


def test_presets_end_at_the_end_of_document_and_of_turn(config, shards):
    found = shape_of(changed(config, model="tiny"), Shards.open(shards))
    assert found.bos == 0
    assert found.eos == (1, 3)
    assert found.vocab == Shards.open(shards).vocab_size


def test_what_is_there_is_not_written_over(config, tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(ArtefactError, match="--overwrite"):
        pretrain(config, tmp_path / "model")


def test_a_nan_stops_before_the_weights_and_names_the_batch(config, tmp_path, monkeypatch):
    real = loop.next_token_backward

    def bad(model, rows, *, divisor, head_rows):
        total = real(model, rows, divisor=divisor, head_rows=head_rows)
        bad.calls += 1
        return total * float("nan") if bad.calls == 8 else total

    bad.calls = 0
    monkeypatch.setattr(loop, "next_token_backward", bad)
    with pytest.raises(loop.Diverged, match="step 8: loss nan") as raised:
        pretrain(config, tmp_path / "model")
    packing = Packing(Shards.open(config.data), seed=0, context=32, batch=4)
    named = ", ".join(map(str, packing.documents_of(7)[:8]))
    assert f"documents {named} " in str(raised.value)
    assert (tmp_path / ".model.work" / "checkpoint-5").is_dir()
    assert not (tmp_path / "model").exists()


def test_an_exploding_loss_stops(config, tmp_path):
    wild = changed(config, optimiser="adamw", learning_rate=9.0, clip_norm=0.0, steps=60)
    with pytest.raises(loop.Diverged, match="lower learning_rate"):
        pretrain(wild, tmp_path / "model")
