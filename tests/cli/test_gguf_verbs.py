"""A .gguf file as MODEL: every verb answers as for the folder that it was made from."""

import json

import pytest

import sparing
from cli.random_model import write_random_model
from sparing.cli.main import main
from sparing.engine.sampling import Sampling
from sparing.models.config import DecoderConfig
from sparing.models.folder import open_model
from sparing.server.facts import facts_of

PROMPT = "the quick brown fox"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder and the file that `sparing export` makes of it."""
    folder = tmp_path_factory.mktemp("gguf") / "model"
    config = DecoderConfig(
        vocab=420, width=64, layers=2, heads=4, kv_heads=2, head_width=16, hidden=96,
        context=128, tied=False, bos=0, eos=(1,),
    )  # fmt: skip
    write_random_model(folder, config)
    file = folder.with_name("model.gguf")
    assert main(["export", str(folder), "--to", "gguf", "--out", str(file), "--json"]) == 0
    return folder, file


def test_export_says_what_it_made(models, capsys):
    folder, file = models
    again = ["export", str(file), "--out", str(folder.with_name("again.gguf")), "--json"]
    assert main(again) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["tensors"] == {"F32": 21}
    assert folder.with_name("again.gguf").stat().st_size == made["bytes"] == file.stat().st_size
    assert main(again) == 1
    assert "exists already" in capsys.readouterr().err
    assert main([*again, "--overwrite", "--type", "q8_0"]) == 0
    assert json.loads(capsys.readouterr().out)["tensors"] == {"Q8_0": 16, "F32": 5}


def test_generate(models, capsys):
    answers = []
    for model in models:
        words = ["generate", str(model), "-p", PROMPT, "--max-tokens", "12", "--temperature", "0"]
        assert main([*words, "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out)["text"])
    assert answers[0] == answers[1] != ""


def test_llama_cpp_answers_the_same(models):
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is this test's oracle")
    theirs = llama_cpp.Llama(str(models[1]), n_ctx=128, n_threads=1, verbose=False)
    with sparing.load(models[1]) as llm:
        rule = Sampling(max_tokens=24, temperature=0.0, ignore_eos=True)
        ours = llm.generate(PROMPT, rule)
        ids = llm.prompt_ids(PROMPT)
        stream = theirs.generate(ids, temp=0.0, repeat_penalty=1.0)
        found = [id for id, _ in zip(stream, range(24), strict=False)]
        assert llm.tokenizer.decode(found) == ours[0].text


def test_eval(models, tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 4)
    found = []
    for model in models:
        assert main(["eval", str(model), "--perplexity", str(text), "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out)["quality"])
    assert found[0] == found[1]


def test_compress(models, tmp_path, capsys):
    words = ["--scheme", "int8", "--tokens", "60", "--context", "32", "--accept-quality", "--json"]
    assert main(["compress", str(models[1]), *words, "--out", str(tmp_path / "small")]) == 0
    capsys.readouterr()
    assert main(["generate", str(tmp_path / "small"), "-p", PROMPT, "--max-tokens", "4"]) == 0
    card = json.loads((tmp_path / "small" / "quality.json").read_text())
    assert json.dumps(card["before"]).count("null") < 9
    back = tmp_path / "small.gguf"
    assert main(["export", str(tmp_path / "small"), "--out", str(back)]) == 0
    assert open_model(back).quantization[0].bits == 8
    assert main(["compress", str(back), *words, "--out", str(tmp_path / "twice")]) == 1
    assert "is compressed already" in capsys.readouterr().err


def test_what_the_server_says(models):
    folder, file = (facts_of(model) for model in models)
    assert file == folder
    assert file["weights"] == "float32"


def test_a_folder_of_files_names_one(models, capsys):
    assert main(["generate", str(models[1].parent), "-p", "a"]) in (0, 1)
    empty = models[1].parent / "files"
    empty.mkdir()
    (empty / "a.gguf").write_bytes(b"GGUF")
    assert main(["generate", str(empty), "-p", "a"]) == 1
    assert "name the file to run it" in capsys.readouterr().err
    assert main(["generate", str(empty / "a.gguf"), "-p", "a"]) == 1
    assert "truncated" in capsys.readouterr().err
