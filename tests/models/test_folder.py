"""Folders both ways against transformers; strictness by name."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tests.models.families import CASES, OTHERS, ids, outside_model, save
from transformers import AutoModelForCausalLM

from sparing.base.errors import ArtefactError, ConfigError
from sparing.models.folder import (
    copy_tokenizer,
    dense_weights,
    open_model,
    read_config,
    write_model,
)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(outside_model("llama"), tmp_path_factory.mktemp("llama") / "model")


@pytest.fixture
def copy(llama: Path, tmp_path: Path) -> Path:
    return shutil.copytree(llama, tmp_path / "copy")


def change_config(folder: Path, **fields: object) -> None:
    tree = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(tree | fields))


def change_tensors(folder: Path, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize("name", OTHERS)
def test_families_of_which_only_weights_are_written(name: str, tmp_path: Path) -> None:
    """Fused maps are joined again, norms lose their one; the config is the folder's own."""
    model = outside_model(name)
    opened = open_model(save(model, tmp_path / "theirs"), check_finite=True)
    assert opened.template is not None
    write_model(
        tmp_path / "ours", opened.config, dense_weights(opened),
        family=opened.family, template=opened.template,
    )  # fmt: skip
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    with torch.no_grad():
        torch.testing.assert_close(again(ids()).logits, model(ids()).logits, rtol=0, atol=1e-5)
    reopened = open_model(tmp_path / "ours")
    assert reopened.config == opened.config
    for key, weight in opened.weights.items():
        np.testing.assert_array_equal(reopened.weights[key].dequantise(), weight.dequantise())


def test_names_without_their_first_word_and_stored_masks(tmp_path: Path) -> None:
    """As GPT-2's own folder has them."""
    folder = save(outside_model("gpt2"), tmp_path / "model")
    want = {name: weight.dequantise() for name, weight in open_model(folder).weights.items()}

    def shorten(tensors: dict[str, np.ndarray]) -> None:
        for name in list(tensors):
            tensors[name.removeprefix("transformer.")] = tensors.pop(name)
        tensors["h.0.attn.bias"] = np.ones((1, 1, 96, 96), np.float32)

    change_tensors(folder, shorten)
    assert "h.1.mlp.c_fc.weight" in load_file(folder / "model.safetensors")
    opened = open_model(folder)
    assert opened.weights.keys() == want.keys()
    for name, weight in opened.weights.items():
        np.testing.assert_array_equal(weight.dequantise(), want[name])


def test_a_template_of_another_model_is_refused(tmp_path: Path) -> None:
    opened = open_model(save(outside_model("gemma2"), tmp_path / "theirs"))
    other = dict(opened.template or {}) | {"sliding_window": 10}
    with pytest.raises(ConfigError, match="template"):
        write_model(
            tmp_path / "ours", opened.config, dense_weights(opened),
            family=opened.family, template=other,
        )  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_we_write_is_what_transformers_wrote(name: str, tmp_path: Path) -> None:
    model = outside_model(name)
    opened = open_model(save(model, tmp_path / "theirs"), check_finite=True)
    write_model(tmp_path / "ours", opened.config, dense_weights(opened), family=opened.family)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    with torch.no_grad():
        assert torch.equal(again(ids()).logits, model(ids()).logits)
    assert read_config(tmp_path / "ours") == opened.config
    assert again.generation_config.eos_token_id == 2


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_sources(dtype: str, tmp_path: Path) -> None:
    model = outside_model("qwen3").to(getattr(torch, dtype))
    opened = open_model(save(model, tmp_path / "half"))
    for name, theirs in model.named_parameters():
        if name.endswith("q_proj.weight"):
            layer = name.split(".")[2]
            ours = opened.weights[f"layers.{layer}.attention.query.weight"].dequantise()
            assert np.array_equal(ours, theirs.detach().float().numpy())


def test_bfloat16_round_trip(llama: Path, tmp_path: Path) -> None:
    opened = open_model(llama)
    write_model(tmp_path / "bf16", opened.config, dense_weights(opened), dtype="bfloat16")
    model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.bfloat16)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "bf16")
    assert again.dtype == torch.bfloat16
    for one, two in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
    written = open_model(tmp_path / "bf16")
    write_model(tmp_path / "second", written.config, dict(written.weights), dtype="bfloat16")
    first, second = tmp_path / "bf16", tmp_path / "second"
    name = "model.safetensors"
    assert (first / name).read_bytes() == (second / name).read_bytes()


def test_shards_both_ways(tmp_path: Path) -> None:
    model = outside_model("qwen2")
    theirs = save(model, tmp_path / "theirs", max_shard_size="60KB")
    assert len(list(theirs.glob("*.safetensors"))) > 2
    opened = open_model(theirs)
    write_model(tmp_path / "ours", opened.config, dense_weights(opened), shard_bytes=50_000)
    assert len(list((tmp_path / "ours").glob("*.safetensors"))) > 2
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    with torch.no_grad():
        assert torch.equal(again(ids()).logits, model(ids()).logits)
    assert dense_weights(open_model(tmp_path / "ours")).keys() == dense_weights(opened).keys()


def test_a_shard_and_its_index_must_agree(tmp_path: Path) -> None:
    folder = save(outside_model("llama"), tmp_path / "model", max_shard_size="60KB")
    index = folder / "model.safetensors.index.json"
    tree = json.loads(index.read_text())
    name = "model.norm.weight"
    broken = {"weight_map": {k: v for k, v in tree["weight_map"].items() if k != name}}
    index.write_text(json.dumps(broken))
    with pytest.raises(ArtefactError, match=f"{name} is not in the index for it"):
        open_model(folder)
    other = next(file for file in tree["weight_map"].values() if file != tree["weight_map"][name])
    index.write_text(json.dumps({"weight_map": tree["weight_map"] | {name: other}}))
    with pytest.raises(ArtefactError, match=f"{name} is not in model-"):
        open_model(folder)
    index.write_text(json.dumps({"weight_map": tree["weight_map"] | {name: "../x.safetensors"}}))
    with pytest.raises(ArtefactError, match="plain file name"):
        open_model(folder)


def test_missing_tensor_is_named(copy: Path) -> None:
    change_tensors(copy, lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(ArtefactError, match=r"missing model\.layers\.1\.mlp\.up_proj\.weight"):
        open_model(copy)


def test_left_over_tensor_is_named(copy: Path) -> None:
    extra = {"model.layers.0.mlp.gate_proj.bias": np.zeros(92, np.float32)}
    change_tensors(copy, lambda tensors: tensors.update(extra))
    with pytest.raises(ArtefactError, match=r"not call for model\.layers\.0\.mlp\.gate_proj\.bias"):
        open_model(copy)


def test_rotary_frequencies_of_old_folders_are_passed_over(copy: Path) -> None:
    extra = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.zeros(5, np.float32)}
    change_tensors(copy, lambda tensors: tensors.update(extra))
    assert len(open_model(copy).weights) == 21


@pytest.mark.parametrize("array", [np.zeros((60, 61), np.float32), np.zeros((60, 60), np.int32)])
def test_wrong_shape_or_dtype_is_named(copy: Path, array: np.ndarray) -> None:
    name = "model.layers.0.self_attn.o_proj.weight"
    change_tensors(copy, lambda tensors: tensors.update({name: array}))
    with pytest.raises(ArtefactError, match=r"o_proj\.weight: expected"):
        open_model(copy)


def test_a_tied_folder_may_repeat_its_embedding_but_not_change_it(copy: Path) -> None:
    change_config(copy, tie_word_embeddings=True)
    with pytest.raises(ArtefactError, match="tie_word_embeddings"):
        open_model(copy)
    same = load_file(copy / "model.safetensors")["model.embed_tokens.weight"]
    change_tensors(copy, lambda tensors: tensors.update({"lm_head.weight": same}))
    assert "head.weight" not in open_model(copy).weights


def test_nan_is_found_when_asked(copy: Path) -> None:
    def spoil(tensors: dict[str, np.ndarray]) -> None:
        tensors["model.norm.weight"][3] = np.nan

    change_tensors(copy, spoil)
    open_model(copy)
    with pytest.raises(ArtefactError, match=r"final_norm\.weight"):
        open_model(copy, check_finite=True)


def test_links_out_of_the_folder_are_refused(copy: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.safetensors"
    (copy / "model.safetensors").rename(outside)
    (copy / "model.safetensors").symlink_to(outside)
    with pytest.raises(ArtefactError, match="leaves the folder"):
        open_model(copy)
    (copy / "model.safetensors").unlink()
    outside.rename(copy / "weights.bin")
    (copy / "model.safetensors").symlink_to("weights.bin")
    assert len(open_model(copy).weights) == 21


def test_hub_snapshots_may_link_to_their_blobs(llama: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / "abc"
    blobs = tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for file in ("config.json", "model.safetensors"):
        shutil.copyfile(llama / file, blobs / file)
        (snapshot / file).symlink_to(blobs / file)
    assert len(open_model(snapshot).weights) == 21


def test_a_pipe_is_no_weight_file(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    os.mkfifo(copy / "model.safetensors")
    with pytest.raises(ArtefactError, match="not a regular file"):
        open_model(copy)


def test_pickled_weights_are_refused_with_the_reason(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ArtefactError, match="pickled weights are never loaded"):
        open_model(copy)


def test_generation_config_says_where_answers_end(copy: Path) -> None:
    (copy / "generation_config.json").write_text('{"eos_token_id": [2, 7]}')
    assert read_config(copy).eos == (2, 7)


def test_the_writer_refuses_what_does_not_fit(llama: Path, tmp_path: Path) -> None:
    opened = open_model(llama)
    tensors = dense_weights(opened)
    spare = tensors.pop("final_norm.weight")
    with pytest.raises(ConfigError, match="final_norm"):
        write_model(tmp_path / "a", opened.config, tensors)
    with pytest.raises(ConfigError, match="nonsense"):
        write_model(
            tmp_path / "a",
            opened.config,
            tensors | {"final_norm.weight": spare, "nonsense": spare},
        )
    with pytest.raises(ConfigError, match=r"shape \(60,\)"):
        write_model(tmp_path / "a", opened.config, tensors | {"final_norm.weight": spare[:5]})
    with pytest.raises(ConfigError, match="qk_norm"):
        write_model(
            tmp_path / "a",
            opened.config,
            tensors | {"final_norm.weight": spare},
            family="qwen3",
        )
    assert not (tmp_path / "a").exists()


def test_tokenizer_files_are_copied(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    (one / "tokenizer.json").write_text("{}")
    (one / "evil.py").write_text("1 / 0")
    copy_tokenizer(one, two)
    assert [file.name for file in two.iterdir()] == ["tokenizer.json"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_weight_that_is_no_number_is_refused_when_read(
    dtype: torch.dtype, value: float, tmp_path: Path
) -> None:
    model = outside_model("llama").to(dtype)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[91, 59] = value
    opened = open_model(save(model, tmp_path / "m"))
    assert opened.weights["layers.0.mlp.up.weight"].shape == (92, 60)
    with pytest.raises(ArtefactError, match=r"layers\.1\.mlp\.up\.weight: holds NaN"):
        opened.weights["layers.1.mlp.up.weight"]
