"""The stage and the verb on tiny folders, against the parts computed one by one."""

import json
import math

import numpy as np
import pytest
from toy_models import write_toy_model

from sparing.base.errors import ArtefactError, ConfigError
from sparing.base.files import open_artefact, verify_artefact
from sparing.cli.main import main
from sparing.engine.native_executor import NativeExecutor
from sparing.evaluation import divergence, perplexity
from sparing.evaluation.documents import sample
from sparing.evaluation.evaluate import EvalConfig, evaluate, measure


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A second model of the same tokenizer."""
    folder = tmp_path_factory.mktemp("other") / "model"
    write_toy_model(folder, hidden=64)
    return folder


@pytest.fixture(scope="module")
def made(model, shards, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "eval"
    result = evaluate(EvalConfig(model=model, data=shards, tokens=400, threads=1), out)
    return out, result


def test_the_stage_writes_model_and_ngrams_on_the_same_text(made):
    out, result = made
    verify_artefact(out)
    assert open_artefact(out, kind="eval").quality == result.quality
    tree = json.loads((out / "eval.json").read_text())
    assert tree["evaluation"]["tokens"] == tree["quality"]["tokens"] == result.tokens == 400
    assert [entry["order"] for entry in tree["ngrams"]] == [3, 5]
    assert result.quality["ngram3_bits_per_byte"] == tree["ngrams"][0]["bits_per_byte"]
    assert result.quality["bits_per_byte"] > result.quality["ngram3_bits_per_byte"], "it is random"


def test_perplexity_through_the_executor_equals_transformers(model, shards, made):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.set_num_threads(1)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(model).eval()
    nats, count = 0.0, 0
    for document in sample(shards, model, tokens=400).documents:
        ids = torch.from_numpy(document.ids_N.astype(np.int64))[None]
        assert ids.shape[1] <= 128, "within one window"
        with torch.no_grad():
            nats += theirs(ids, labels=ids).loss.item() * (ids.shape[1] - 1)
        count += ids.shape[1] - 1
    tree = json.loads((made[0] / "eval.json").read_text())
    assert count == 400
    assert tree["quality"]["perplexity"] == pytest.approx(math.exp(nats / count), rel=1e-4)
    bits = nats / math.log(2) / tree["evaluation"]["bytes"]
    assert tree["quality"]["bits_per_byte"] == pytest.approx(bits, rel=1e-4)


def test_a_long_file_is_read_in_windows_of_the_models_context(model, tmp_path):
    path = tmp_path / "long.txt"
    path.write_text("left + right, return = naive\n" * 40)
    result = measure(EvalConfig(model=model, data=path, tokens=None, ngrams=(), threads=1))
    text = sample(path, model, tokens=None)
    assert len(text.documents[0].ids_N) > 2 * 128
    assert result["quality"]["tokens"] == len(text.documents[0].ids_N) - 1
    assert "windows of 128 tokens advancing by 64" in result["evaluation"]["context_policy"]


def test_against_a_second_model(model, other, shards):
    config = EvalConfig(model=model, data=shards, tokens=300, against=other, ngrams=(), threads=1)
    result = measure(config)
    executors = [NativeExecutor(path, kv_tokens=128, threads=1) for path in (model, other)]
    text = sample(shards, model, tokens=300)
    how = perplexity.policy(128, 320)
    wanted = divergence.summarise(divergence.compare(*(e.logits for e in executors), text, how))
    assert result["against"]["kl_mean"] == wanted.kl_mean.tree()
    assert result["against"]["nats_lost"]["value"] == pytest.approx(
        result["against"]["quality"]["nats_per_token"]["value"]
        - result["quality"]["nats_per_token"]["value"]
    )


def test_the_verb_prints_text_and_json(model, other, tmp_path, capsys):
    path = tmp_path / "a.md"
    path.write_text("# left\n\nreturn right * 3\n")
    words = ["eval", str(model), "--perplexity", str(path), "--against", str(other)]
    assert main([*words, "--threads", "1"]) == 0
    shown = capsys.readouterr().out
    assert "bits/byte" in shown
    assert "top1_agreement" in shown
    assert main([*words, "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["evaluation"]["source"] == "a.md"
    assert f"{tree['quality']['perplexity']:.4f}" in shown


def test_the_verb_writes_an_artefact(model, shards, tmp_path, capsys):
    words = ["eval", str(model), "--perplexity", str(shards), "--tokens", "60"]
    words += ["--ngrams", "2,3", "--out", str(tmp_path / "eval"), "--json"]
    assert main(words) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["ngram2_bits_per_byte"] > 0
    assert main(words) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_wrong_calls_are_refused_before_any_work(model, shards, tmp_path):
    with pytest.raises(ConfigError, match="at most the model's 128"):
        measure(EvalConfig(model=model, data=shards, context=129))
    with pytest.raises(ConfigError, match="orders from 2 to 8"):
        EvalConfig(model=model, data=shards, ngrams=(1,))
    with pytest.raises(ArtefactError, match="no such file or folder"):
        evaluate(EvalConfig(model=model, data=tmp_path / "none"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_of_nan_is_refused_and_leaves_nothing(model, shards, tmp_path):
    from safetensors.numpy import load_file, save_file

    broken = tmp_path / "broken"
    broken.mkdir()
    for path in model.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    tensors = load_file(broken / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][:] = np.nan
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArtefactError, match=r"mlp\.up\.weight: holds NaN or infinite values"):
        evaluate(EvalConfig(model=broken, data=shards, tokens=50), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken"]
