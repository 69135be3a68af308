"""GGUF files of every architecture: the traits and numbers of the folders that they came from."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from tests.models.gguf_files import CASES, outside_model, write_gguf

from sparing.base.errors import ArtefactError
from sparing.base.gguf import GgufFile
from sparing.base.gguf_writer import Stored, write
from sparing.models.config import DecoderConfig
from sparing.models.folder import open_model, read_config
from sparing.models.rope import attention_scale


def pair(case: str, folder: Path) -> tuple[Path, Path]:
    outside_model(case).save_pretrained(folder / "m")
    return folder / "m", write_gguf(case, folder / "m", folder / "f.gguf")


def plainly(config: DecoderConfig) -> DecoderConfig:
    """With what follows from other traits spelled out."""
    if config.rope_scaling is None:
        return config
    scale = float(np.float32(attention_scale(config)))
    return replace(config, rope_scaling=replace(config.rope_scaling, attention_factor=scale))


@pytest.mark.parametrize("case", CASES)
def test_as_the_folder_it_came_from(case: str, tmp_path: Path) -> None:
    folder, file = pair(case, tmp_path)
    ours, theirs = open_model(file, check_finite=True), open_model(folder)
    assert plainly(ours.config) == plainly(theirs.config)
    assert ours.family == theirs.family
    assert list(ours.weights) == list(theirs.weights)
    for name, weight in theirs.weights.items():
        # 1 is added to Gemma's norms before they are stored
        bound = 2e-7 if "gemma" in case and "norm" in name else 0.0
        gap = np.abs(ours.weights[name].dequantise() - weight.dequantise()).max()
        assert gap <= bound, name


def rewritten(file: Path, changes: dict[str, object], tensors: dict[str, Stored] | None = None):
    """The file with some pairs changed (None removes one) and some tensors replaced."""
    opened = GgufFile.open(file)
    stored = {
        name: Stored(block.kind, block.shape, [opened.rows(name)])
        for name, block in opened.tensors.items()
    } | (tensors or {})
    pairs = {key: value for key, value in (opened.pairs | changes).items() if value is not None}
    path = file.with_name("changed.gguf")
    write(path, pairs, {name: each for name, each in stored.items() if each is not None})
    return path


def blocks(array: np.ndarray, kind: str) -> Stored:
    """A tensor rounded by the gguf package."""
    rows = gguf.quantize(array, gguf.GGMLQuantizationType[kind])
    return Stored(kind, array.shape, [np.ascontiguousarray(rows)])


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_rounded_rows_keep_their_order(kind: str, tmp_path: Path) -> None:
    """Also the query rows, which lie in pairs: rounding works within rows."""
    folder, file = pair("llama", tmp_path)
    dense = open_model(folder).weights["layers.1.attention.query.weight"].dequantise()
    name, number = "blk.1.attn_q.weight", gguf.GGMLQuantizationType[kind]
    stored = GgufFile.open(file).rows(name).view(np.float32)
    path = rewritten(file, {}, {name: blocks(stored, kind)})
    opened = open_model(path)
    wanted = gguf.dequantize(gguf.quantize(dense, number), number)
    ours = opened.weights["layers.1.attention.query.weight"].dequantise()
    assert np.abs(ours - wanted).max() < 1e-6
    plain = kind in ("F16", "BF16")
    assert [scheme.layout for scheme in opened.quantization] == ([] if plain else ["gguf"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"general.architecture": "mamba"}, "architecture: expected one of"),
        ({"general.architecture": "lama"}, "did you mean 'llama'"),
        ({"general.architecture": None}, "architecture: expected one of"),
        ({"llama.block_count": None}, "block_count: expected an integer"),
        ({"llama.block_count": "2"}, "block_count: expected an integer"),
        ({"llama.block_count": 1 << 31}, "layers: expected 1 to"),
        ({"llama.block_count": 3}, r"missing blk\.2\.attn_norm\.weight"),
        ({"llama.block_count": 1}, r"does not call for blk\.1\."),
        ({"llama.embedding_length": 32}, "expected shape"),
        ({"llama.attention.head_count": 0}, "heads: expected 1"),
        ({"llama.attention.head_count": 3}, "heads: expected a multiple"),
        ({"llama.attention.value_length": 8}, "value_length: expected as key_length"),
        ({"llama.attention.layer_norm_rms_epsilon": float("nan")}, "norm_eps"),
        ({"llama.rope.scaling.type": "longest", "llama.rope.scaling.factor": 2.0}, "none, linear"),
        ({"llama.surprise": 1}, "surprise: not supported"),
        ({"llama.expert_count": 4}, "expert_used_count: expected an integer"),
        ({"tokenizer.ggml.eos_token_id": 101}, "eos: expected ids below 101"),
        ({"tokenizer.ggml.tokens": ["a"] * 102}, "102 tokens, but token_embd.weight has only 101"),
    ],
)
def test_pairs_that_lie_are_named(changes: dict, reason: str, tmp_path: Path) -> None:
    _, file = pair("llama", tmp_path)
    with pytest.raises(ArtefactError, match=reason):
        open_model(rewritten(file, changes))


def test_promises_of_many_tensors_make_no_names(tmp_path: Path) -> None:
    _, file = pair("mixtral", tmp_path)
    changes = {"llama.block_count": 4096, "llama.expert_count": 4096}
    with pytest.raises(ArtefactError, match="calls for at least 16777216 tensors, there are 41"):
        open_model(rewritten(file, changes))
    many = np.zeros((100000, 1, 1), np.float32)
    stored = Stored("F32", many.shape, [many])
    with pytest.raises(ArtefactError, match="100000 experts are more than allowed"):
        open_model(rewritten(file, {}, {"blk.0.ffn_up_exps.weight": stored}))


def test_tensors_that_lie_are_named(tmp_path: Path) -> None:
    _, file = pair("llama", tmp_path)
    rng = np.random.default_rng(0)
    wrong = rng.normal(size=(64, 32)).astype(np.float32)
    for name, stored, reason in (
        ("output_norm.weight", Stored("Q8_0", (64,), [np.zeros((1, 68), np.uint8)]), "plain numb"),
        ("blk.0.attn_q.weight", blocks(wrong, "F32"), "expected shape"),
        ("rope_freqs.weight", blocks(wrong[:1, :4], "F32"), "rope_freqs.weight: expected F32"),
        ("extra.weight", blocks(wrong, "F32"), "does not call for extra.weight"),
        ("blk.0.ffn_up.weight", None, r"missing blk\.0\.ffn_up\.weight"),
        ("token_embd.weight", None, "missing token_embd.weight"),
    ):
        path = rewritten(file, {}, {name: stored})
        with pytest.raises(ArtefactError, match=reason):
            open_model(path, check_finite=True)


def test_numbers_that_are_none(tmp_path: Path) -> None:
    _, file = pair("qwen2", tmp_path)
    name = "blk.0.ffn_up.weight"
    rows = GgufFile.open(file).rows(name).view(np.float32).copy()
    rows[3, 5] = np.inf
    path = rewritten(file, {}, {name: blocks(rows, "F32")})
    with pytest.raises(ArtefactError, match=re.escape("layers.0.mlp.up.weight: holds NaN")):
        open_model(path, check_finite=True)
    halves = np.zeros((96, 2, 34), np.uint8)
    halves[50, 1, :2] = (0, 0x7C)  # an infinite scale
    path = rewritten(file, {}, {name: Stored("Q8_0", (96, 64), [halves])})
    with pytest.raises(ArtefactError, match=r"blk\.0\.ffn_up\.weight: holds NaN"):
        open_model(path).weights["layers.0.mlp.up.weight"]


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("{}" * 40)
    with pytest.raises(ArtefactError, match="does not begin with GGUF"):
        open_model(path)
    _, file = pair("qwen3", tmp_path)
    assert read_config(file) == open_model(file).config
    shutil.copy(file, tmp_path / "cut.gguf")
    with (tmp_path / "cut.gguf").open("r+b") as cut:
        cut.truncate(file.stat().st_size // 2)
    with pytest.raises(ArtefactError, match="truncated"):
        open_model(tmp_path / "cut.gguf")
