"""GGUF files as we write them: loaded by llama.cpp, whose logits are those of transformers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from tests.models.gguf_files import CASES, SHAPE, outside_model
from tests.tokenizer.tiny import CHATML, byte_level_json, llama_like_json

from sparing.base.errors import ArtefactError
from sparing.base.gguf import GgufFile
from sparing.kernels.formats import Int4, Int8, from_bfloat16, pack_int4, to_bfloat16
from sparing.models.folder import ModelFolder, dense_weights, open_model, write_model
from sparing.models.gguf_export import export_gguf
from sparing.tokenizer.text import Tokenizer

VOCAB = 432
"""Rows of the embedding; the tiny tokenizer has 420."""
TEXTS = ("the quick brown fox, it's 12 o'clock", "na\u00efve  \n\n \u4f60\u597d \U0001f600")
PROMPT = [(index * 37 + 11) % 400 for index in range(40)]


def model_folder(case: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Path]:
    """A random model with a tokenizer beside it."""
    monkeypatch.setitem(SHAPE, "vocab_size", VOCAB)
    model = outside_model(case)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(byte_level_json())
    settings = {"bos_token": "<|bos|>", "eos_token": "<|eos|>", "chat_template": CHATML}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return model, folder


def llama_cpp_model(path: Path) -> Any:
    """llama.cpp with keys and values in float32, or a skip."""
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is this test's oracle")
    return llama_cpp.Llama(
        str(path), n_ctx=256, n_threads=1, verbose=False, logits_all=True, type_k=0, type_v=0
    )


def logits_of_llama_cpp(path: Path) -> np.ndarray:
    model = llama_cpp_model(path)
    model.eval(PROMPT)
    return np.array(model.scores[: len(PROMPT)])


@pytest.mark.parametrize("case", CASES)
def test_llama_cpp_computes_the_same(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, folder = model_folder(case, tmp_path / "m", monkeypatch)
    export_gguf(open_model(folder), tmp_path / "f.gguf")
    with torch.no_grad():
        wanted = model(torch.tensor([PROMPT])).logits[0].numpy()
    found = logits_of_llama_cpp(tmp_path / "f.gguf")
    # its gelu is a table of float16
    bound = 1e-3 if model.config.model_type.startswith(("gemma", "gpt", "starcoder")) else 1e-5
    assert np.abs(found - wanted).max() < bound * np.abs(wanted).max()
    assert np.array_equal(found.argmax(-1), wanted.argmax(-1))
    back, ours = open_model(tmp_path / "f.gguf"), open_model(folder)
    for name, weight in ours.weights.items():
        assert np.array_equal(back.weights[name].dequantise(), weight.dequantise()), name


def test_llama_cpp_reads_the_same_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, folder = model_folder("qwen2", tmp_path / "m", monkeypatch)
    export_gguf(open_model(folder), tmp_path / "f.gguf")
    theirs, ours = llama_cpp_model(tmp_path / "f.gguf"), Tokenizer.load(folder)
    for text in (
        "the quick brown fox, it's 12 o'clock",
        "na\u00efve  \n\n \u4f60\u597d \U0001f600",
    ):
        ids = ours.encode(text)
        assert theirs.tokenize(text.encode(), add_bos=False) == ids
        assert theirs.detokenize(ids).decode() == text
    marked = ours.encode("<|im_start|>a<|im_end|>", special=True)
    assert theirs.tokenize(b"<|im_start|>a<|im_end|>", add_bos=False, special=True) == marked
    assert theirs.metadata["tokenizer.chat_template"] == CHATML
    assert (theirs.token_bos(), theirs.token_eos()) == (ours.bos, ours.eos)


def rounded(folder: Path, out: Path, bits: int) -> ModelFolder:
    """The model with its maps in groups of 32, scales that both bfloat16 and float16 hold."""
    opened = open_model(folder)
    dense, records = dense_weights(opened), {}
    for name in [name for name in dense if dense[name].ndim == 2 and name.startswith("layers")]:
        values = dense.pop(name)
        grouped = values.reshape(len(values), -1, 32)
        most = 2 ** (bits - 1) - 1
        scale_ZJ = from_bfloat16(to_bfloat16(np.abs(grouped).max(-1) / most))
        code = np.clip(np.rint(grouped / scale_ZJ[..., None]), -most - 1, most)
        code_ZD = code.astype(np.int8).reshape(values.shape)
        int4 = bits == 4
        records[name] = Int4(pack_int4(code_ZD), scale_ZJ) if int4 else Int8(code_ZD, scale_ZJ)
    write_model(out, opened.config, dense, quantised=records)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (out / name).write_bytes((folder / name).read_bytes())
    return open_model(out)


@pytest.mark.parametrize("bits", [4, 8])
def test_rounded_maps_stay_as_they_are(
    bits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = model_folder("llama", tmp_path / "m", monkeypatch)
    model = rounded(folder, tmp_path / "q", bits)
    done = export_gguf(model, tmp_path / "f.gguf")
    assert done.tensors == {"Q4_0" if bits == 4 else "Q8_0": 14, "F32": 7}
    theirs = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "f.gguf").tensors}
    up = theirs["blk.1.ffn_up.weight"]
    wanted = model.weights["layers.1.mlp.up.weight"].dequantise()
    assert np.array_equal(gguf.dequantize(up.data, up.tensor_type), wanted)
    write_model(tmp_path / "d", model.config, dense_weights(model))
    export_gguf(open_model(tmp_path / "d"), tmp_path / "d.gguf")
    exact, found = (logits_of_llama_cpp(tmp_path / f"{name}.gguf") for name in ("d", "f"))
    # llama.cpp rounds the inputs of rounded maps to int8 in groups of 32
    assert np.abs(found - exact).max() < 0.05 * np.abs(exact).max()
    back = open_model(tmp_path / "f.gguf").weights
    for name, weight in model.weights.items():
        assert np.array_equal(back[name].dequantise(), weight.dequantise()), name


@pytest.mark.parametrize("kind", ["f16", "bf16", "q8_0", "q4_0"])
def test_asked_for_rounding(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, folder = model_folder("qwen3", tmp_path / "m", monkeypatch)
    done = export_gguf(open_model(folder), tmp_path / "f.gguf", kind)
    assert done.tensors[kind.upper()] == 16
    assert np.isfinite(logits_of_llama_cpp(tmp_path / "f.gguf")).all()


def test_pieces_for_llama_cpp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, folder = model_folder("llama", tmp_path / "m", monkeypatch)
    (folder / "tokenizer.json").write_text(llama_like_json())
    settings = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    export_gguf(open_model(folder), tmp_path / "f.gguf")
    theirs, ours = llama_cpp_model(tmp_path / "f.gguf"), Tokenizer.load(folder)
    for text in ("ab abba cab", "a\u00e9b \U0001f600"):
        assert theirs.tokenize(text.encode(), add_bos=False) == ours.encode(text)


def test_what_has_no_form_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, folder = model_folder("llama", tmp_path / "m", monkeypatch)
    model, out = open_model(folder), tmp_path / "f.gguf"
    capped = replace(model, config=replace(model.config, residual_scale=0.5))
    with pytest.raises(ArtefactError, match="GGUF has no place for residual_scale"):
        export_gguf(capped, out)
    windowed = replace(model, family="mistral", config=replace(model.config, windows=(8, 8)))
    with pytest.raises(ArtefactError, match="GGUF has no place for windows"):
        export_gguf(windowed, out)
    tree = json.loads(byte_level_json())
    tree["pre_tokenizer"] = {"type": "Whitespace"}
    (folder / "tokenizer.json").write_text(json.dumps(tree))
    with pytest.raises(ArtefactError, match="no name for the rule"):
        export_gguf(model, out)
    tree["normalizer"] = {"type": "Lowercase"}
    (folder / "tokenizer.json").write_text(json.dumps(tree))
    with pytest.raises(ArtefactError, match="normalizer"):
        export_gguf(model, out)
    assert list(tmp_path.glob("*f.gguf*")) == []


def test_without_a_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, folder = model_folder("llama", tmp_path / "m", monkeypatch)
    (folder / "tokenizer.json").unlink()
    export_gguf(open_model(folder), tmp_path / "f.gguf")
    assert GgufFile.open(tmp_path / "f.gguf").pairs["tokenizer.ggml.model"] == "no_vocab"
    with pytest.raises(ArtefactError, match="tokens: missing"):
        Tokenizer.load(tmp_path / "f.gguf")
