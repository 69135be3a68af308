"""The verbs data, tokenizer and index, one after the other, as a person would type them."""

import json

import pytest

from sparing.cli.main import main


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    for number in range(12):
        text = "\n".join(f"value_{number}_{n} = {n * number}  # note" for n in range(20))
        (root / f"m{number}.py").write_text(f'"""Module {number} about harbours."""\n{text}\n')
    lines = [{"_id": "a", "text": "eels swim"}, {"_id": "b", "text": "crabs walk"}]
    (tmp_path / "records.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "who can swim"}')
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n")
    return tmp_path


def _json(capsys, *words):
    assert main([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_from_files_to_shards(source, capsys):
    corpus, tokenizer, shards = (source / name for name in ("corpus", "tokenizer", "shards"))
    found = _json(capsys, "data", "build", source / "in", "--min-chars", "50", "--out", corpus)
    assert sum(found["facts"]["documents"].values()) == 12
    assert found["cost"]["seconds"] > 0
    _json(capsys, "tokenizer", "train", corpus, "--vocab-size", "280", "--out", tokenizer)
    found = _json(capsys, "data", "tokenize", corpus, "--tokenizer", tokenizer, "--out", shards)
    assert found["tokens"] > 500
    assert _json(capsys, "data", "inspect", shards, "--verify")["vocab_size"] == 280
    assert _json(capsys, "data", "diff", corpus, corpus)["equal"]
    assert main(["data", "inspect", str(corpus)]) == 0
    text = capsys.readouterr().out
    assert "near duplicates: 12 -> 12" in text
    assert "documents: 12, 12" not in text
    assert main(["data", "diff", str(corpus), str(corpus)]) == 0
    assert "documents: 12, 12" in capsys.readouterr().out


def test_build_search_and_judge_an_index(source, capsys):
    index = source / "index"
    command = ["index", "build", source / "in", source / "records.jsonl", "--out", index]
    assert _json(capsys, *command)["facts"]["passages"] == 14
    found = _json(capsys, "index", "search", index, "harbours in module 3", "-k", "2")
    assert found["hits"][0]["source"] == "in/m3.py:1"
    assert len(found["hits"]) == 2
    assert main(["index", "search", str(index), "AND ("]) == 0
    assert "no passage holds" in capsys.readouterr().out
    judged = ["--queries", source / "queries.jsonl", "--qrels", source / "qrels.tsv"]
    assert _json(capsys, "index", "eval", index, *judged)["means"]["mrr@10"] == 1.0
    card = json.loads((index / "sparing.json").read_text())
    assert card["quality"]["means"]["ndcg@10"] == 1.0
    assert card["quality"]["queries"] == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["data", "build", "nowhere", "--out", "OUT"], 2, "nowhere"),
        (["data", "build", "in", "--threshold", "7", "--out", "OUT"], 2, "threshold"),
        (["data", "build", "in", "--kinds", "cod", "--out", "OUT"], 2, "did you mean 'code'"),
        (["data", "inspect", "in"], 1, "sparing.json"),
        (["tokenizer", "train", "in", "--vocab-size", "3", "--out", "OUT"], 2, "vocab_size"),
        (["index", "search", "in", "words"], 1, "sparing.json"),
        (["index", "build", "in", "--kind", "docstring", "--out", "OUT"], 2, "'docstrings'"),
    ],
)
def test_wrong_calls_say_what_to_change(source, monkeypatch, capsys, words, code, message):
    monkeypatch.chdir(source)
    assert main(words) == code
    assert message in capsys.readouterr().err
    assert not (source / "OUT").exists()
