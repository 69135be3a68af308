"""Tokenizers in GGUF: llama.cpp's own test vectors, and tiny ones against what they came from."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from tests.tokenizer.tiny import TEXTS, byte_level_json

from sparing.base.errors import ArtefactError
from sparing.tokenizer.gguf_vocab import read_vocabulary
from sparing.tokenizer.splits import SPLITS, split_name
from sparing.tokenizer.text import Tokenizer

VECTORS = ["llama-spm", "phi-3", "gpt-2", "deepseek-coder", "falcon"]


@pytest.mark.realdata
@pytest.mark.parametrize("name", VECTORS)
def test_vectors_of_llama_cpp(name: str) -> None:
    file = Path(os.environ["SPARING_DATA"]) / "tokenizers" / "gguf" / f"ggml-vocab-{name}.gguf"
    tokenizer = Tokenizer.load(file)
    texts = file.with_name(f"{file.name}.inp").read_bytes().decode()
    ids = file.with_name(f"{file.name}.out").read_text().splitlines()
    pairs = list(zip(texts.split("\n__ggml_vocab_test__\n"), ids, strict=False))
    assert len(pairs) > 40
    for text, line in pairs:
        wanted = [int(id) for id in line.split()]
        assert tokenizer.encode(text, special=True) == wanted, text
        if name != "deepseek-coder":  # has added tokens like \u00fc, which spell a lone byte
            assert tokenizer.decode(wanted) == text


def byte_level_pairs(**changes: Any) -> dict[str, Any]:
    """The pairs of the tiny byte-level vocabulary."""
    model = json.loads(byte_level_json())["model"]
    tokens = [token for token, _ in sorted(model["vocab"].items(), key=lambda item: item[1])]
    merges = [" ".join(m) if isinstance(m, list) else m for m in model["merges"]]
    special = [3 if token.startswith("<|") else 1 for token in tokens]
    pairs = {
        "model": "gpt2",
        "pre": "gpt-2",
        "tokens": tokens,
        "token_type": np.array(special),
        "merges": merges,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    return {f"tokenizer.ggml.{key}": value for key, value in (pairs | changes).items()}


def pieces_pairs(**changes: Any) -> dict[str, Any]:
    """A SentencePiece vocabulary in which scores, not positions, decide."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces = {"\u2581": -9.0, "a": -9.0, "b": -9.0, "ab": -2.0, "ba": -1.0, "\u2581a": -3.0,
              "bab": -4.0, "\u2581ab": -0.5}  # fmt: skip
    pairs = {
        "model": "llama",
        "tokens": [*tokens, *pieces],
        "scores": np.array([0.0] * len(tokens) + list(pieces.values())),
        "token_type": np.array([2, 3, 3] + [6] * 256 + [1] * len(pieces)),
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
    }
    return {f"tokenizer.ggml.{key}": value for key, value in (pairs | changes).items()}


def spelled(tokenizer: Tokenizer, text: str) -> list[str | None]:
    return [tokenizer.token(id) for id in tokenizer.encode(text)]


def load(pairs: dict[str, Any]) -> Tokenizer:
    vocabulary = read_vocabulary(pairs, "f")
    return Tokenizer(vocabulary.library, vocabulary.settings)


def test_byte_level_as_the_original() -> None:
    original = tokenizers.Tokenizer.from_str(byte_level_json())
    ours = load(byte_level_pairs())
    for text in TEXTS:
        ids = original.encode(text).ids
        assert ours.encode(text) == ids
        assert ours.decode(ids) == text
    assert ours.encode("<|eos|>") != [1] == ours.encode("<|eos|>", special=True)
    assert (ours.bos, ours.eos, ours.encode("a", begin=True)) == (0, 1, ours.encode("a"))
    assert load(byte_level_pairs(add_bos_token=True)).encode("a", begin=True)[0] == 0


def test_the_best_score_joins_first() -> None:
    ours = load(pieces_pairs())
    # of \u2581abab first ba, then \u2581a (so that \u2581ab cannot come to be), then bab
    assert spelled(ours, "abab") == ["\u2581a", "bab"]
    assert spelled(ours, "abb") == ["\u2581ab", "b"]
    assert spelled(ours, "a\u00e9") == ["\u2581a", "<0xC3>", "<0xA9>"]
    assert ours.decode(ours.encode("ab b\u00e9")) == "ab b\u00e9"
    assert ours.encode("ab", begin=True)[0] == 1
    assert spelled(load(pieces_pairs(add_space_prefix=False)), "ab") == ["ab"]


@pytest.mark.parametrize("name", SPLITS)
def test_a_rule_is_recognised(name: str) -> None:
    split = SPLITS[name]
    library = tokenizers.Tokenizer(tokenizers.models.BPE(ignore_merges=split.whole))
    library.pre_tokenizer = split.build()
    found = split_name(library)
    assert found is not None
    assert (SPLITS[found].build().pre_tokenize_str("It's 1234 \u00e9t\u00e9s\n\n  x") ==
            split.build().pre_tokenize_str("It's 1234 \u00e9t\u00e9s\n\n  x"))  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "bert"}, "model: expected gpt2 or llama"),
        ({"pre": None}, "pre: missing"),
        ({"pre": "qwen-2"}, "unknown rule 'qwen-2'.*qwen2"),
        ({"tokens": None}, "tokens: missing"),
        ({"tokens": []}, "at least one token"),
        ({"tokens": ["a", "a"]}, "given twice"),
        ({"merges": ["ab"]}, "expected two tokens"),
        ({"merges": ["a zzz"]}, "tokenizer: "),
        ({"token_type": np.array([1, 2])}, "token_type: expected 420 numbers"),
        ({"bos_token_id": 1 << 30}, "bos_token_id: expected an id below"),
        ({"eos_token_id": "x"}, "eos_token_id: expected int"),
    ],
)
def test_damage_is_named(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ArtefactError, match=reason):
        read_vocabulary(byte_level_pairs(**changes), "f")


def test_scores_must_be_numbers() -> None:
    for scores in (None, np.array([1.0]), np.full(267, np.nan)):
        with pytest.raises(ArtefactError, match="scores: expected"):
            read_vocabulary(pieces_pairs(scores=scores), "f")
