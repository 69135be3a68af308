"""From corpus to shards: every document once, as the tokenizer alone would encode it."""

import json
import random

import pytest

from sparing.base.errors import ArtefactError, ConfigError
from sparing.base.files import new_artefact, open_artefact, verify_artefact
from sparing.data import tokenize
from sparing.data.config import TokenizeConfig
from sparing.data.parquet import COLUMNS, Writer
from sparing.data.shards import Shards
from sparing.data.tokenize import tokenize_corpus
from sparing.tokenizer.text import Tokenizer
from sparing.tokenizer.train import learn, write_folder

NOTE = "\u00fc \u20ac \U0001f600"
TEXTS = [
    f"def f{n}(x):\n    return x + {n}\n\n# {random.Random(n).getrandbits(99)} {NOTE}\n"
    for n in range(60)
] + ["what <|bos|> and <|im_end|> are, in a text, is text\n", "", " \n\t"]


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    """A corpus and a tokenizer."""
    root = tmp_path_factory.mktemp("parents")
    with new_artefact(root / "corpus", kind="corpus", stage={}) as draft:
        for split, texts in (("train", TEXTS[5:]), ("heldout", TEXTS[:5])):
            with Writer(draft.path / f"{split}-00000.parquet", COLUMNS) as writer:
                for number, text in enumerate(texts):
                    writer.add(text, f"{split}/{number}", "text", "00")
    (root / "tokenizer").mkdir()
    write_folder(learn(TEXTS, 300, 2), root / "tokenizer")
    return root


def _config(parents, shard_tokens=32 << 20):
    return TokenizeConfig(
        corpus=parents / "corpus", tokenizer=parents / "tokenizer", shard_tokens=shard_tokens
    )


def _expected(parents, texts):
    """Encoded one by one through the public tokenizer, which knows nothing of shards."""
    tokenizer = Tokenizer.load(parents / "tokenizer")
    return [[0, *tokenizer.encode(text), 1] for text in texts]


def test_every_document_once_in_order(parents, tmp_path):
    result = tokenize_corpus(_config(parents), tmp_path / "s")
    shards = Shards.open(tmp_path / "s", verify=True)
    expected = {"train": _expected(parents, TEXTS[5:]), "heldout": _expected(parents, TEXTS[:5])}
    for split, texts in expected.items():
        assert [d.tolist() for d in shards.documents(split)] == texts
    assert result.tokens == sum(len(ids) for texts in expected.values() for ids in texts)
    assert shards.text_bytes("train") == sum(len(text.encode()) for text in TEXTS[5:])
    assert (shards.bos, shards.eos) == (0, 1)
    assert shards.vocab_size == Tokenizer.load(parents / "tokenizer").vocab <= 300
    assert open_artefact(tmp_path / "s").parents.keys() == {"corpus", "tokenizer"}


def test_names_of_control_tokens_in_a_text_are_text(parents, tmp_path):
    tokenize_corpus(_config(parents), tmp_path / "s")
    for document in Shards.open(tmp_path / "s").documents("train"):
        assert (document[1:-1] > 3).all()


def test_transformers_reads_the_ids_back(parents, tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenize_corpus(_config(parents), tmp_path / "s")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "s" / "tokenizer")
    found = [
        tokenizer.decode(document[1:-1].tolist(), clean_up_tokenization_spaces=False)
        for document in Shards.open(tmp_path / "s").documents("train")
    ]
    assert found == TEXTS[5:]


def test_many_small_shards_hold_the_same_stream(parents, tmp_path):
    tokenize_corpus(_config(parents), tmp_path / "one")
    tokenize_corpus(_config(parents, 200), tmp_path / "many")
    one, many = Shards.open(tmp_path / "one"), Shards.open(tmp_path / "many", verify=True)
    assert len(many.views("train")) > 5
    assert all(view[0] == 0 and view[-1] == 1 for view in many.views("train"))
    assert one.split("train").tolist() == many.split("train").tolist()


def test_a_stopped_run_goes_on_behind_its_finished_shards(parents, tmp_path, monkeypatch):
    tokenize_corpus(_config(parents, 200), tmp_path / "whole")
    real, written = tokenize.write_shard, []

    def stopping(path, tokens):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path.name)
        return real(path, tokens)

    monkeypatch.setattr(tokenize, "write_shard", stopping)
    with pytest.raises(KeyboardInterrupt):
        tokenize_corpus(_config(parents, 200), tmp_path / "s")
    assert not (tmp_path / "s").exists()
    with pytest.raises(ConfigError, match="without --resume"):
        tokenize_corpus(_config(parents, 100), tmp_path / "s", resume=True)
    written.append("stopped")
    tokenize_corpus(_config(parents, 200), tmp_path / "s", resume=True)
    assert written[3:5] == ["stopped", "train-00003.bin"]
    verify_artefact(tmp_path / "s")
    assert (
        open_artefact(tmp_path / "s").content_hash == open_artefact(tmp_path / "whole").content_hash
    )
    assert tokenize_corpus(_config(parents, 200), tmp_path / "s", resume=True).tokens > 0
    with pytest.raises(ArtefactError, match="exists already"):
        tokenize_corpus(_config(parents, 200), tmp_path / "s")


def test_a_damaged_corpus_is_refused(parents, tmp_path):
    import shutil

    shutil.copytree(parents / "corpus", tmp_path / "corpus")
    path = tmp_path / "corpus" / "train-00000.parquet"
    data = bytearray(path.read_bytes())
    data[50] ^= 1
    path.write_bytes(data)
    config = TokenizeConfig(corpus=tmp_path / "corpus", tokenizer=parents / "tokenizer")
    with pytest.raises(ArtefactError, match="damaged"):
        tokenize_corpus(config, tmp_path / "s")


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"model": 3}'])
def test_a_foreign_tokenizer_is_refused(parents, tmp_path, content):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "tokenizer.json").write_text(content)
    (tmp_path / "t" / "tokenizer_config.json").write_text('{"bos_token": "a", "eos_token": "b"}')
    config = TokenizeConfig(corpus=parents / "corpus", tokenizer=tmp_path / "t")
    with pytest.raises(ArtefactError, match=r"tokenizer\.json"):
        tokenize_corpus(config, tmp_path / "s")


def test_a_tokenizer_without_borders_is_refused(parents, tmp_path):
    import shutil

    shutil.copytree(parents / "tokenizer", tmp_path / "t")
    path = tmp_path / "t" / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    del settings["bos_token"]
    path.write_text(json.dumps(settings))
    config = TokenizeConfig(corpus=parents / "corpus", tokenizer=tmp_path / "t")
    with pytest.raises(ConfigError, match="bos_token"):
        tokenize_corpus(config, tmp_path / "s")
