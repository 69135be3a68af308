"""The whole verb on tiny folders: card, refusals, and what transformers reads back."""

import json
from pathlib import Path

import numpy as np
import pytest
from toy_models import write_toy_model

from sparing.base.errors import ArtefactError, ConfigError
from sparing.base.files import open_artefact, verify_artefact
from sparing.cli.main import main
from sparing.compression import rtn
from sparing.compression.card import QualityError
from sparing.compression.compress import CompressConfig, compress
from sparing.engine.native_executor import NativeExecutor
from sparing.evaluation.perplexity import log_probabilities
from sparing.models.folder import open_model


def settings(model: Path, shards: Path, scheme: str = "int8", **others) -> CompressConfig:
    known = {"tokens": 300, "threads": 1, "max_kl": 0.5, "group": 32}
    return CompressConfig(model=model, data=shards, scheme=scheme, **(known | others))


def bits(scheme: str) -> int:
    return int(scheme[3:])


@pytest.fixture(scope="module")
def made(model, shards, tmp_path_factory):
    """Every scheme of the toy model: scheme -> folder and card."""
    found = {}
    for scheme in ("int8", "int4", "int3"):
        out = tmp_path_factory.mktemp("made") / scheme
        compress(settings(model, shards, scheme, max_kl=0.5 if bits(scheme) > 3 else 2.0), out)
        found[scheme] = out, json.loads((out / "quality.json").read_text())
    return found


@pytest.mark.parametrize("scheme", ["int8", "int4", "int3"])
def test_the_folder_is_whole_and_its_card_complete(made, model, scheme):
    out, card = made[scheme]
    verify_artefact(out)
    artefact = open_artefact(out, kind="model")
    assert artefact.facts == {"scheme": scheme, "group": 32, "tensors": 14}
    assert artefact.quality["kl_mean"] == card["against_original"]["kl_mean"]["value"]
    assert set(artefact.parents) == {"model", "data"}
    assert card["scheme"] == scheme
    assert card["evaluation"]["tokens"] == card["against_original"]["tokens"] == 300
    assert card["verdict"]["passed"]
    for side in ("before", "after"):
        assert card[side]["perplexity"] > 1
        assert card[side]["bits_per_byte"] > 0
        assert card[side]["decode"]["tokens_per_s"] > 0
        assert card[side]["decode"]["runs"] >= 5
    for name in ("kl_mean", "kl_p99", "top1_agreement", "nats_lost"):
        interval = card["against_original"][name]
        assert interval["low"] <= interval["value"] <= interval["high"]
    size = (out / "model.safetensors").stat().st_size
    assert card["after"]["disk_bytes"] == size
    assert card["before"]["disk_bytes"] == (model / "model.safetensors").stat().st_size
    assert size < card["before"]["disk_bytes"]
    assert (out / "tokenizer.json").read_bytes() == (model / "tokenizer.json").read_bytes()


def test_fewer_bits_lose_more_and_read_less(made):
    cards = [made[scheme][1] for scheme in ("int8", "int4")]
    kl8, kl4 = (card["against_original"]["kl_mean"]["value"] for card in cards)
    assert 0 < 10 * kl8 < kl4
    agreement = [card["against_original"]["top1_agreement"]["value"] for card in cards]
    assert agreement[0] > agreement[1]
    read8, read4 = (card["after"]["read_bytes_per_token"] for card in cards)
    assert read4 < read8 < cards[0]["before"]["read_bytes_per_token"]


def test_bytes_read_per_token_by_hand(made):
    """int4, tied: half a byte and 4/32 bytes of scale per linear weight, float32 for the rest."""
    linear = 2 * (64 * (64 + 32 + 32 + 64) + 3 * 64 * 96)
    dense = 320 * 64 + 5 * 64 + 64
    wanted = linear // 2 + linear // 32 * 4 + dense * 4
    assert made["int4"][1]["after"]["read_bytes_per_token"] == wanted


@pytest.mark.parametrize("scheme", ["int8", "int4", "int3"])
def test_transformers_gives_the_logits_of_our_executor(made, scheme):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("compressed_tensors")
    torch.set_num_threads(1)
    out, _ = made[scheme]
    theirs = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
    ids = np.random.default_rng(0).integers(4, 320, 40)
    with torch.no_grad():
        wanted_TV = theirs(torch.from_numpy(ids)[None]).logits[0].float().numpy()
    found_TV = NativeExecutor(out, kv_tokens=64, threads=1, activations="exact").logits(
        ids.tolist()
    )
    assert np.abs(found_TV - wanted_TV).max() < 2e-4 * np.abs(wanted_TV).max()


@pytest.mark.parametrize("scheme", ["int8", "int4", "int3"])
def test_stored_weights_are_the_rounded_ones_and_the_rest_is_untouched(made, model, scheme):
    before, after = open_model(model).weights, open_model(made[scheme][0]).weights
    for name in before:
        weight = before[name].dequantise()
        if name.startswith("layers.") and "norm" not in name:
            weight = rtn.round_to_nearest(weight, bits=bits(scheme), group=32, shares=rtn.SEARCH)
            weight = weight.dequantise()
        np.testing.assert_array_equal(after[name].dequantise(), weight, err_msg=name)


def test_the_cards_divergence_is_that_of_the_two_executors(made, model, shards):
    """Computed a second time, from the folders on disk, without the evaluation room."""
    from sparing.evaluation.documents import sample

    out, card = made["int4"]
    base, other = (NativeExecutor(path, kv_tokens=128, threads=1) for path in (model, out))
    kl = []
    for document in sample(shards, model, tokens=300).documents:
        read = document.ids_N[:-1].tolist()
        assert len(read) < 128, "one window, so that this test needs no windows"
        p_TV, q_TV = (log_probabilities(executor.logits(read)) for executor in (base, other))
        kl.append((np.exp(p_TV) * (p_TV - q_TV)).sum(-1))
    mean = np.concatenate(kl).mean()
    assert card["against_original"]["kl_mean"]["value"] == pytest.approx(mean, rel=1e-6)


def test_equal_settings_give_equal_weights_and_figures(made, model, shards, tmp_path):
    compress(settings(model, shards, "int4"), tmp_path / "again")
    out, card = made["int4"]
    again = json.loads((tmp_path / "again" / "quality.json").read_text())
    first, second = (path / "model.safetensors" for path in (out, tmp_path / "again"))
    assert first.read_bytes() == second.read_bytes()
    assert again["against_original"] == card["against_original"]


def broken_scale(bits):
    original = rtn.bfloat16_scale
    return lambda scale_N: original(scale_N) * np.float32(4.0)


def test_a_broken_quantisation_makes_the_verb_fail_and_leaves_nothing(
    model, shards, tmp_path, monkeypatch, capsys
):
    """The same call without the break succeeds: the limit is what refuses."""
    words = ["compress", str(model), "--scheme", "int4", "--data", str(shards), "--tokens", "300"]
    words += ["--group", "32", "--max-kl", "0.5", "--threads", "1", "--json"]
    assert main([*words, "--out", str(tmp_path / "good")]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["passed"] is True
    assert shown["kl_mean"] < 0.5
    monkeypatch.setattr(rtn, "bfloat16_scale", broken_scale(4))
    assert main([*words, "--out", str(tmp_path / "bad")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "over the limit of 0.5" in captured.err
    assert "--accept-quality" in captured.err
    left = sorted(path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock"))
    assert left == ["good"]


def test_a_failure_can_be_accepted_by_name_and_the_card_says_so(
    model, shards, tmp_path, monkeypatch
):
    monkeypatch.setattr(rtn, "bfloat16_scale", broken_scale(4))
    with pytest.raises(QualityError, match="mean KL"):
        compress(settings(model, shards, "int4"), tmp_path / "a")
    assert not list(tmp_path.iterdir())
    compress(settings(model, shards, "int4", accept_quality=True), tmp_path / "a")
    verdict = json.loads((tmp_path / "a" / "quality.json").read_text())["verdict"]
    assert (verdict["passed"], verdict["accepted_by_caller"]) == (False, True)
    assert open_artefact(tmp_path / "a").quality["passed"] is False


def test_a_compressed_model_is_not_compressed_again(made, shards, tmp_path):
    with pytest.raises(ArtefactError, match="compressed already"):
        compress(settings(made["int8"][0], shards), tmp_path / "twice")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(model, shards, tmp_path, value):
    from safetensors.numpy import load_file, save_file

    broken = tmp_path / "broken"
    broken.mkdir()
    for path in model.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    tensors = load_file(broken / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 5] = value
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArtefactError, match="up"):
        compress(settings(broken, shards), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken"]


def test_the_model_itself_is_never_the_target(model, shards):
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    with pytest.raises(ConfigError, match="the model itself"):
        compress(settings(model, shards), model, overwrite=True)
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before


def test_an_untied_head_is_rounded_on_request_only(shards, tmp_path):
    write_toy_model(tmp_path / "untied", tied=False, dtype="bfloat16")
    cards = []
    for head, form in (("keep", "BFloat16"), ("int8", "Int8"), ("int4", "Int4")):
        out = tmp_path / f"out{head}"
        compress(settings(tmp_path / "untied", shards, head=head, max_kl=1.0), out)
        cards.append(json.loads((out / "quality.json").read_text()))
        assert type(open_model(out).weights["head.weight"]).__name__ == form
        assert type(open_model(out).weights["embed.weight"]).__name__ == "BFloat16"
    sizes = [card["after"]["disk_bytes"] for card in cards]
    assert sizes[0] > sizes[1] > sizes[2]
    assert [card["head"] for card in cards] == ["as in the original", "int8", "int4"]


def test_a_tied_head_that_is_rounded_parts_from_the_embedding(model, shards, tmp_path):
    """transformers reads the same model; the table keeps its numbers, the head is its rounding."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("compressed_tensors")
    out = tmp_path / "out"
    result = compress(settings(model, shards, head="int4"), out)
    assert result.facts["head"] == "int4"
    before, after = open_model(model), open_model(out)
    assert before.config.tied
    assert not after.config.tied
    table_VD = before.weights["embed.weight"].dequantise()
    np.testing.assert_array_equal(after.weights["embed.weight"].dequantise(), table_VD)
    wanted = rtn.round_to_nearest(table_VD, bits=4, group=32, shares=rtn.SEARCH).dequantise()
    np.testing.assert_array_equal(after.weights["head.weight"].dequantise(), wanted)
    kept = compress(settings(model, shards), tmp_path / "kept")
    read = [json.loads((tmp_path / name / "quality.json").read_text()) for name in ("out", "kept")]
    read_bytes = [card["after"]["read_bytes_per_token"] for card in read]
    assert read_bytes[1] - read_bytes[0] == 320 * 64 * 4 - 320 * (32 + 8)
    assert kept.quality["kl_mean"] < result.quality["kl_mean"]
    torch.set_num_threads(1)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
    ids = np.random.default_rng(0).integers(4, 320, 40)
    with torch.no_grad():
        wanted_TV = theirs(torch.from_numpy(ids)[None]).logits[0].float().numpy()
    executor = NativeExecutor(out, kv_tokens=64, threads=1, activations="exact")
    found_TV = executor.logits(ids.tolist())
    assert np.abs(found_TV - wanted_TV).max() < 2e-4 * np.abs(wanted_TV).max()


def test_the_card_tells_the_weights_from_the_activations(made, model, shards):
    """Recomputed from the folders: the card's second divergence is that of exact activations."""
    from sparing.evaluation.divergence import compare
    from sparing.evaluation.documents import sample
    from sparing.evaluation.perplexity import policy

    for out, card in made.values():
        how = policy(open_model(model).config.context, 320, context=None, trained=None)
        text = sample(shards, model, tokens=300)
        base, other = (
            NativeExecutor(path, kv_tokens=128, threads=1, activations="exact")
            for path in (model, out)
        )
        kl = compare(base.logits, other.logits, text, how).kl_N.mean()
        assert card["weights_alone"]["kl_mean"]["value"] == pytest.approx(kl, rel=1e-6)
        served = card["against_original"]
        assert (served["activations"], card["weights_alone"]["activations"]) == ("int8", "exact")
        assert served["kl_mean"]["value"] != card["weights_alone"]["kl_mean"]["value"]


def test_the_default_group_is_halved_to_fit(model, shards, tmp_path):
    result = compress(settings(model, shards, group=128), tmp_path / "out")
    assert result.facts["group"] == 32
    assert open_model(tmp_path / "out").quantization[0].group == 32


def test_without_data_the_text_is_the_standard_librarys(model, tmp_path):
    compress(settings(model, None, tokens=200), tmp_path / "out")
    card = json.loads((tmp_path / "out" / "quality.json").read_text())
    assert "standard library" in card["evaluation"]["source"]
    assert card["evaluation"]["tokens"] == 200


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("group", 7, "even"),
        ("tokens", 0, "at least 2"),
        ("speed_runs", 4, "5"),
        ("max_kl", -1, "0"),
    ],
)
def test_settings_out_of_range_are_refused(model, setting, value, message):
    with pytest.raises(ConfigError, match=message):
        CompressConfig(model=model, scheme="int8", **{setting: value})
