"""What a card says of the training decides the window; what it does not say stays unknown."""

import json

import pytest
from toy_models import write_toy_model

from sparing.base.files import open_artefact
from sparing.compression.compress import CompressConfig, compress
from sparing.evaluation.evaluate import EvalConfig, measure
from sparing.evaluation.origin import trained_context, training_of

STAGE = {"steps": 3, "batch": 2, "context": 32, "seed": 9, "train_tokens": 500}


@pytest.fixture
def trained(tmp_path):
    folder = tmp_path / "model"
    write_toy_model(folder)
    write_card(folder, STAGE)
    return folder


def write_card(folder, stage, parents=None):
    card = {"version": 1, "kind": "model", "content_hash": "0", "stage": stage, "cost": {}}
    card |= {"parents": {"data": "hash"} if parents is None else parents}
    card |= {"quality": {}, "facts": {}, "files": {}}
    (folder / "sparing.json").write_text(json.dumps(card))


def test_the_card_of_a_training_is_read(trained):
    found = training_of(trained)
    assert found is not None
    assert (found.steps, found.batch, found.context, found.seed) == (3, 2, 32, 9)
    assert (found.train_tokens, found.data_hash) == (500, "hash")


@pytest.mark.parametrize("missing", [*STAGE])
def test_a_card_without_it_says_nothing(trained, missing):
    write_card(trained, {name: value for name, value in STAGE.items() if name != missing})
    assert training_of(trained) is None
    write_card(trained, STAGE | {missing: "3"})
    assert training_of(trained) is None


def test_a_folder_without_a_card_or_parent_says_nothing(trained, model):
    assert training_of(model) is None
    write_card(trained, STAGE, parents={})
    assert trained_context(trained) is None


def test_a_model_is_not_asked_about_positions_it_never_saw(trained, shards, tmp_path):
    settings = EvalConfig(model=trained, data=shards, tokens=100, ngrams=(), threads=1)
    assert "windows of 32 tokens" in measure(settings)["evaluation"]["context_policy"]


def test_a_compressed_model_remembers_the_training(trained, shards, tmp_path):
    out = tmp_path / "out"
    config = CompressConfig(
        model=trained, data=shards, scheme="int8", tokens=100, max_kl=1.0, threads=1
    )
    compress(config, out)
    assert training_of(out) == training_of(trained)
    card = json.loads((out / "quality.json").read_text())
    assert "windows of 32 tokens" in card["evaluation"]["context_policy"]
    assert open_artefact(out).facts["training"]["context"] == 32
