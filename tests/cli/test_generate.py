"""The verb end to end: streaming, files, passages, and no heavy import on the way."""

import json
import subprocess
import sys

import pytest

from cli.random_model import write_random_model
from sparing.cli.main import main
from sparing.models.config import DecoderConfig


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "model"
    config = DecoderConfig(
        vocab=420, width=32, layers=2, heads=2, kv_heads=1, head_width=16, hidden=48,
        context=128, tied=True, bos=0, eos=(1,),
    )  # fmt: skip
    return write_random_model(folder, config)


def test_streams_text_and_figures(model, capsys):
    args = ["generate", str(model), "-p", "the fox", "--max-tokens", "12", "--seed", "4"]
    assert main(args) == 0
    first = capsys.readouterr()
    assert "3 prompt tokens, first token" in first.err
    assert "tokens/s" in first.err
    assert main(args) == 0
    assert capsys.readouterr().out == first.out != "\n"


def test_json_is_one_object(model, capsys):
    base = ["generate", str(model), "-p", "the fox", "--max-tokens", "8", "--seed", "4", "--json"]
    assert main(base) == 0
    one = json.loads(capsys.readouterr().out)
    assert (one["prompt"], one["completion_tokens"]) == ("the fox", 8)
    assert main([*base, "-n", "3"]) == 0
    three = json.loads(capsys.readouterr().out)["answers"]
    assert [row["choice"] for row in three] == [0, 1, 2]
    assert three[0]["text"] == one["text"] != three[1]["text"] != three[2]["text"]


def test_a_file_of_prompts(model, tmp_path, capsys):
    file = tmp_path / "prompts.jsonl"
    file.write_text('"the dog"\n\n{"prompt": "the fox", "id": 3}\n')
    args = ["generate", str(model), "--input", str(file), "--max-tokens", "5", "--seed", "1"]
    assert main(args) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["prompt"] for row in rows] == ["the dog", "the fox"]


def test_passages_come_first_with_their_source(model, monkeypatch, capsys):
    from sparing.retrieval import index

    hit = index.Hit(0, 2.5, "A fox is red. " * 40, "book.md:3", "Foxes")

    class Fake:
        def search(self, query: str, k: int) -> list[index.Hit]:
            assert (query, k) == ("what is a fox?", 2)
            return [hit]

    monkeypatch.setattr(index.Index, "open", lambda folder: Fake())
    args = ["generate", str(model), "-p", "what is a fox?", "--index", "x", "--passages", "2"]
    assert main([*args, "--max-tokens", "4"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("[1] book.md:3 - Foxes\nA fox is red.")
    assert "model writes (a model's words, not the sources'):" in shown.out
    assert int(shown.err.split()[0]) > 60, "the prompt holds no passage"
    assert main([*args, "--max-tokens", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passages"][0]["source"] == "book.md:3"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["-p", "a", "--temperature", "9"], 2, "temperature: expected a number in 0.0 .. 2.0"),
        (["-p", "a", "-n", "0"], 2, "at least 1"),
        (["-p", "a b c d e f", "--max-tokens", "127"], 1, "context is 128"),
        (["-p", "a", "--stop", ""], 2, "stop"),
        (["--input", "/none.jsonl"], 1, "none.jsonl"),
    ],
)
def test_wrong_calls(model, capsys, options, code, message):
    assert main(["generate", str(model), *options]) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{", '{"text": 1}', "[1]", "[" * 50_000])
def test_damaged_files_of_prompts(model, tmp_path, capsys, content):
    file = tmp_path / "prompts.jsonl"
    file.write_text(content)
    assert main(["generate", str(model), "--input", str(file)]) == 1
    assert "prompts.jsonl" in capsys.readouterr().err


def test_a_folder_that_is_no_model(tmp_path, capsys):
    assert main(["generate", str(tmp_path), "-p", "a"]) == 1
    assert "no config.json" in capsys.readouterr().err


def test_nothing_heavy_is_imported(model):
    """Start-up time is the first token's: none of these is needed for it."""
    code = (
        "import sys; from sparing.cli.main import main;"
        f"main(['generate', {str(model)!r}, '-p', 'the fox', '--max-tokens', '3']);"
        "heavy = {'torch', 'transformers', 'fastapi', 'asyncio', 'jinja2', 'safetensors',"
        " 'pyarrow', 'psutil', 'tantivy', 'msgspec'} & set(sys.modules); print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
