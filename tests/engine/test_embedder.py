"""Texts to features: tokens as transformers makes them, prompts, cutting, and which verb fits."""

import json
from pathlib import Path
from typing import Any

import encoder_cases as cases
import numpy as np
import pytest
import tokenizers
import torch
from tokenizers import models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

import sparing.api
from sparing.base.errors import ConfigError, RequestError
from sparing.cli.main import main
from sparing.engine.assemble import load
from sparing.engine.embedder import Embedder

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz",
          *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"),
          "the", "cat", "##s", "sat", "on", "mat", ",", ".", "query", ":", "[", "]"]  # fmt: skip


def write_word_pieces(folder: Path) -> None:
    vocab = {piece: number for number, piece in enumerate(dict.fromkeys(PIECES))}
    library = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer(lowercase=True)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    library.add_special_tokens(PIECES[:4])
    library.enable_padding()  # as published files leave it
    library.enable_truncation(6)
    (folder / "tokenizer.json").write_text(library.to_str())
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bert")
    cases.save(cases.randomise(cases.bert(max_position_embeddings=24)), path)
    write_word_pieces(path)
    return path


@torch.inference_mode()
def test_texts(folder: Path) -> None:
    theirs = cases.hf.BertModel.from_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    texts = ["The cats sat on the mat, on the mat.", "a", ""]
    with sparing.api.load(folder, threads=1) as ours:
        assert isinstance(ours, Embedder)
        found = ours.embed(texts)
        assert np.array_equal(ours.embed(texts[0])[0], found[0])
        for row, text in zip(found, texts, strict=True):
            ids = tokenizer(text, return_tensors="pt", truncation=False, padding=False).input_ids
            rows = theirs(ids).last_hidden_state[0]
            wanted = (rows.mean(0) / rows.mean(0).norm()).numpy()
            assert np.abs(row - wanted).max() < 1e-5
        prompted = ours.embed("cat", prompt="query: ")
        assert np.array_equal(prompted, ours.embed("query: cat"))


def test_control_tokens_in_a_text_are_text(folder: Path) -> None:
    with sparing.api.load(folder, threads=1) as ours:
        shown = ours.embed("a [SEP] b")
        assert not np.allclose(shown, ours.embed([[2, 4, 3, 5, 3]]))


def test_a_long_text_is_cut_before_its_end_token(folder: Path) -> None:
    text = "the cat " * 30
    with sparing.api.load(folder, threads=1) as ours:
        with pytest.raises(RequestError, match=r"has 62 tokens, the model takes 24; .*truncate"):
            ours.embed(text)
        inside = ours.texts.tokenizer.encode(text)[:22]
        cut = ours.embed([[2, *inside, 3]])
        assert np.array_equal(ours.embed(text, truncate=True), cut)


def test_a_sentence_transformers_folder(folder: Path, tmp_path: Path) -> None:
    from shutil import copytree

    path = copytree(folder, tmp_path / "sentence")
    modules = [{"path": "", "type": "x.Transformer"}, {"path": "1_P", "type": "x.Pooling"}]
    (path / "modules.json").write_text(json.dumps(modules))
    (path / "1_P").mkdir()
    rule = {"word_embedding_dimension": 60, "pooling_mode_cls_token": True}
    (path / "1_P" / "config.json").write_text(json.dumps(rule))
    (path / "sentence_bert_config.json").write_text('{"max_seq_length": 7}')
    prompts = {"prompts": {"q": "query: "}, "default_prompt_name": "q"}
    (path / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    with sparing.api.load(path, threads=1) as ours, sparing.api.load(folder, threads=1) as plain:
        rows, _ = plain.texts.tower.rows(
            [plain.texts.tokenizer.encode("query: cat", begin=True, end=True)]
        )
        assert np.array_equal(ours.embed("cat")[0], rows[0])
        with pytest.raises(RequestError, match="the model takes 7"):
            ours.embed("cat cat cat cat")


def test_siglip_texts_are_filled_up(tmp_path: Path) -> None:
    cases.save(cases.randomise(cases.siglip()), tmp_path)
    cases.write_words(tmp_path)
    with sparing.api.load(tmp_path, threads=1) as ours:
        full = [7, 8, 1, *[1] * 14]
        assert np.array_equal(ours.embed("w7 w8"), ours.embed([full]))


def test_verbs_that_do_not_fit_are_refused(folder: Path, capsys: Any) -> None:
    with pytest.raises(ConfigError, match="bert is an encoder and writes no text"):
        load(folder)
    for verb in (["generate", str(folder), "-p", "x"], ["chat", str(folder)],
                 ["serve", str(folder)]):  # fmt: skip
        assert main(verb) == 2
        assert "writes no text" in capsys.readouterr().err


def test_generate_on_the_command_line(tmp_path: Path, capsys: Any) -> None:
    cases.save(cases.randomise(cases.t5()), tmp_path)
    cases.write_words(tmp_path)
    words = ["generate", str(tmp_path), "-p", "w5 w6", "--temperature", "0", "--max-tokens", "6"]
    assert main([*words, "--threads", "1"]) == 0
    text = capsys.readouterr().out
    with sparing.api.load(tmp_path, threads=1) as llm:
        from sparing.engine.request import Sampling

        answer = llm.generate("w5 w6", Sampling(temperature=0, max_tokens=6))[0]
        with pytest.raises(RequestError, match="features come from an encoder"):
            llm.embed(["w5"])
    assert text.strip() == answer.text.strip()
    assert answer.text
