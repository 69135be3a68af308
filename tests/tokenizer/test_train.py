"""A vocabulary learnt from texts: deterministic, lossless, and read by others with equal ids."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparing.base.errors import ArtefactError, ConfigError
from sparing.base.files import open_artefact
from sparing.tokenizer.train import (
    CONTROL,
    LONGEST_TOKEN,
    TokenizerConfig,
    learn,
    sample,
    train_tokenizer,
)

CODE = '''def read(path, *, limit=1024):
    """Read at most `limit` bytes."""
    with open(path, "rb") as file:
        return file.read(limit)
'''


def _texts(count=120):
    source = random.Random(0)
    names = ["value", "total", "length", "offset", "buffer", "window", "status", "header"]
    texts = []
    for number in range(count):
        name, other = source.sample(names, 2)
        texts.append(
            CODE.replace("read", f"{name}_{number % 9}").replace("limit", other)
            + f"# {'-' * 70}\n{name} = {source.randrange(10**6)}\n"
        )
    return texts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("vocabulary")
    (root / "texts").mkdir()
    for number, text in enumerate(_texts()):
        (root / "texts" / f"{number:03}.py").write_text(text)
    train_tokenizer(TokenizerConfig(corpus=root / "texts", vocab_size=340), root / "tokenizer")
    return root / "tokenizer"


@pytest.fixture(scope="module")
def theirs(folder):
    transformers = pytest.importorskip("transformers")
    return transformers.PreTrainedTokenizerFast.from_pretrained(folder)


@pytest.fixture(scope="module")
def ours(folder):
    from sparing.tokenizer.text import Tokenizer

    return Tokenizer.load(folder)


SAMPLES = [
    CODE,
    "na\u00efve \u20ac 12345 \U0001f469\u200d\U0001f680\n\n\n\tx = 3.14  \n",
    "\u65e5\u672c\u8a9e \u0627\u0644\u0639\u0631\u0628\u064a\u0629 \x00\x07",
    "    four\n        eight\n",
    "",
]


@pytest.mark.parametrize("text", SAMPLES)
def test_transformers_gives_equal_ids_and_text(theirs, ours, text):
    ids = ours.encode(text)
    assert theirs.encode(text, add_special_tokens=False) == ids
    assert theirs.encode(text) == ours.encode(text, begin=True) == [0, *ids]
    assert ours.decode(ids) == text
    assert theirs.decode(ids, clean_up_tokenization_spaces=False) == text


def test_control_tokens_have_their_ids(theirs, ours):
    assert theirs.convert_tokens_to_ids(list(CONTROL)) == [0, 1, 2, 3]
    assert (theirs.bos_token, theirs.eos_token) == CONTROL[:2]
    assert (ours.bos, ours.eos) == (0, 1)
    assert set(theirs.all_special_ids) >= {0, 1, 2, 3}


def test_chats_are_framed_as_in_transformers(theirs, ours):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 2+2?"},
    ]
    text = theirs.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert text == (
        "<|bos|><|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n"
    )
    ids = theirs.encode(text, add_special_tokens=False)
    assert ours.encode_chat(messages) == ids


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=60))
def test_every_text_survives(ours, text):
    assert ours.decode(ours.encode(text), skip_special=False) == text


def test_two_trainings_give_equal_bytes(folder, tmp_path):
    config = TokenizerConfig(corpus=folder.parent / "texts", vocab_size=340)
    train_tokenizer(config, tmp_path / "again")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
    assert open_artefact(tmp_path / "again").content_hash == open_artefact(folder).content_hash


def _pieces(tokenizer, text):
    return [tokenizer.decode([id]) for id in tokenizer.encode(text).ids]


def test_digits_stand_alone_and_indentation_is_one_token():
    tokenizer = learn(_texts(), 600, 2)
    assert _pieces(tokenizer, "2024")[-4:] == ["2", "0", "2", "4"]
    assert not [token for token in tokenizer.get_vocab() if sum(map(str.isdigit, token)) > 1]
    assert _pieces(tokenizer, "\n        return")[-2:] == ["       ", " return"]


def test_the_vocabulary_has_its_size_bytes_and_no_long_token(folder):
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    assert len(vocabulary) == 340
    assert sorted(vocabulary.values()) == list(range(340))
    assert max(map(len, list(vocabulary)[4:])) <= LONGEST_TOKEN
    assert sum(len(token) == 1 for token in vocabulary) == 256


def test_a_corpus_too_poor_for_its_vocabulary_says_so(tmp_path, caplog):
    (tmp_path / "a.txt").write_text("ab ab ab")
    with caplog.at_level("WARNING", logger="sparing.tokenizer"):
        result = train_tokenizer(TokenizerConfig(corpus=tmp_path), tmp_path / "out")
    assert result.facts["vocab_size"] < 270
    assert "of 4096" in caplog.text


def test_merges_learn_the_corpus(folder, ours):
    """Fewer tokens than bytes on its kind of text, about as many on noise."""
    assert len(ours.encode(CODE)) < 0.5 * len(CODE)
    noise = "".join(random.Random(5).choices("qzxjkvw", k=300))
    assert len(ours.encode(noise)) > 0.8 * len(noise)


def test_a_sample_is_spread_over_the_corpus(tmp_path):
    for number in range(100):
        (tmp_path / f"{number:03}.txt").write_text(f"{number:03}-" * 25)
    chosen = [int(text[:3]) for text in sample(tmp_path, 2500)]
    assert len(chosen) == 25
    assert all(4 * n <= number < 4 * n + 4 for n, number in enumerate(chosen))
    assert len(sample(tmp_path, 10**9)) == 100


def test_a_finished_tokenizer_is_kept(folder):
    config = TokenizerConfig(corpus=folder.parent / "texts", vocab_size=340)
    assert train_tokenizer(config, folder, resume=True).artefact == folder
    with pytest.raises(ArtefactError, match="exists already"):
        train_tokenizer(config, folder)


def test_wrong_settings_and_empty_corpora_are_named(tmp_path):
    with pytest.raises(ConfigError, match="from 260"):
        TokenizerConfig(corpus=tmp_path, vocab_size=259)
    with pytest.raises(ConfigError, match="neither"):
        train_tokenizer(TokenizerConfig(corpus=tmp_path), tmp_path / "out")
    with pytest.raises(ArtefactError, match="no such file"):
        train_tokenizer(TokenizerConfig(corpus=tmp_path / "nowhere"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
