"""Looking into a corpus or shards, and comparing two corpora."""

import pytest

from sparing.base.errors import ArtefactError
from sparing.base.files import new_artefact
from sparing.data.build import build_corpus
from sparing.data.config import DataConfig, TokenizeConfig
from sparing.data.summary import diff, inspect
from sparing.data.tokenize import tokenize_corpus
from sparing.tokenizer.train import learn, write_folder


def _corpus(root, numbers, **changes):
    source = root / "in"
    source.mkdir(parents=True)
    for number in numbers:
        text = "\n".join(f"value_{number}_{n} = {n * number}" for n in range(20))
        (source / f"{number}.py").write_text(text)
    build_corpus(DataConfig(sources=(str(source),), **changes), root / "corpus")
    return root / "corpus"


def test_inspect_a_corpus_and_its_shards(tmp_path):
    corpus = _corpus(tmp_path, range(10))
    found = inspect(corpus, verify=True)
    assert (found["kind"], found["kinds"]) == ("corpus", {"code": 10})
    assert sum(split["documents"] for split in found["splits"].values()) == 10
    assert len(found["first"]["train"]) == 3
    (tmp_path / "tokenizer").mkdir()
    write_folder(learn(["text"], 270, 2), tmp_path / "tokenizer")
    config = TokenizeConfig(corpus=corpus, tokenizer=tmp_path / "tokenizer")
    result = tokenize_corpus(config, tmp_path / "shards")
    found = inspect(tmp_path / "shards")
    assert sum(split["tokens"] for split in found["splits"].values()) == result.tokens
    with new_artefact(tmp_path / "other", kind="model", stage={}):
        pass
    with pytest.raises(ArtefactError, match="found a model"):
        inspect(tmp_path / "other")


def test_diff_by_content(tmp_path):
    left = _corpus(tmp_path / "l", range(10))
    right = _corpus(tmp_path / "r", range(2, 13), min_chars=50)
    found = diff(left, right)
    assert not found["equal"]
    assert found["settings"]["min_chars"] == [100, 50]
    assert (found["documents"], found["shared"]) == ([10, 11], 8)
    assert found["only_left"] == {"documents": 2, "first": ["in/0.py", "in/1.py"]}
    assert found["only_right"]["documents"] == 3
    assert diff(left, left)["equal"]
