"""N-grams are trained on what the model saw, and scored on the model's own tokens."""

import json
from collections import Counter

import pytest

from sparing.base.errors import ArtefactError
from sparing.base.files import hash_of
from sparing.data.packing import Packing
from sparing.data.shards import Shards
from sparing.evaluation import ngram
from sparing.evaluation.baselines import ngram_figures, seen_by
from sparing.evaluation.documents import sample

STAGE = {"steps": 3, "batch": 2, "context": 16, "seed": 9, "train_tokens": 0}


def carded(folder, data_hash: str, stage) -> None:
    card = {
        "version": 1,
        "kind": "model",
        "content_hash": "0",
        "parents": {"data": data_hash},
        "stage": stage,
        "quality": {},
        "facts": {},
        "cost": {},
        "files": {},
    }
    (folder / "sparing.json").write_text(json.dumps(card))


def test_a_trained_model_is_met_with_what_its_steps_saw(shards, tmp_path):
    carded(tmp_path, hash_of(shards), STAGE)
    seen = seen_by(tmp_path, shards)
    packing = Packing(Shards.open(shards), seed=9, context=16, batch=2)
    assert packing.epoch_tokens > 3 * 2 * 16
    wanted = Counter()
    for step in range(3):
        rows = packing.batch(step)
        wanted.update(zip(rows.ids_BT.flat, rows.labels_BT.flat, strict=True))
    wanted = Counter({pair: count for pair, count in wanted.items() if pair[1] >= 0})
    found = Counter()
    for document in seen.documents:
        found.update(zip(document[:-1].tolist(), document[1:].tolist(), strict=True))
    assert found == wanted
    assert "3 training steps" in seen.what


@pytest.mark.parametrize("change", [{"data": "other"}, {"steps": None}, {"seed": "0"}])
def test_an_unknown_training_is_met_with_the_whole_split(shards, tmp_path, change):
    data_hash = change.pop("data", hash_of(shards))
    carded(tmp_path, data_hash, STAGE | change)
    seen = seen_by(tmp_path, shards)
    assert sum(map(len, seen.documents)) == Shards.open(shards).tokens("train")
    assert seen.what == "the whole train split"


def test_figures_are_those_of_the_ngram_on_the_same_tokens(model, shards):
    text = sample(shards, model, tokens=200)
    figures = ngram_figures((2, 3), model, shards, text)
    assert [figure["order"] for figure in figures] == [2, 3]
    train = list(Shards.open(shards).documents("train"))
    for figure in figures:
        fitted = ngram.fit(train, order=figure["order"], vocab=320, bos=0)
        bits = fitted.bits(document.ids_N for document in text.documents)
        assert figure["bits_per_byte"] == pytest.approx(bits / text.text_bytes)
        assert figure["train_tokens"] == sum(len(document) - 1 for document in train)


def test_a_text_file_has_nothing_to_count(model, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("left right")
    with pytest.raises(ArtefactError, match="shards folder"):
        ngram_figures((3,), model, path, sample(path, model, tokens=None))
