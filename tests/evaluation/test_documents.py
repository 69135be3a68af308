"""Which tokens and bytes are scored, counted against the text itself."""

import json

import numpy as np
import pytest
import tokenizers
from toy_models import TEXTS

from sparing.base.errors import ArtefactError, ConfigError
from sparing.evaluation.documents import sample, standard_library


def decoded(model, ids) -> str:
    library = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
    return library.decode(ids.tolist())


def test_shards_give_every_held_out_document_and_the_manifests_bytes(model, shards):
    found = sample(shards, model, tokens=None)
    manifest = json.loads((shards / "manifest.json").read_text())["splits"]["heldout"]
    assert len(found.documents) == manifest["documents"] == 25
    assert found.text_bytes == manifest["bytes"]
    assert found.scored_tokens == manifest["tokens"] - 25
    assert all(document.ids_N[0] == 0 for document in found.documents)
    assert (found.left_out, found.cut) == (0, 0)
    assert decoded(model, found.documents[0].ids_N[1:]) == TEXTS[-25]


@pytest.mark.parametrize("limit", [1, 50, 51, 52, 53, 300])
def test_a_limit_is_met_exactly_and_what_it_leaves_out_is_counted(model, shards, limit):
    found = sample(shards, model, tokens=limit)
    assert found.scored_tokens == limit
    assert len(found.documents) + found.left_out == 25
    assert sample(shards, model, tokens=limit).documents[0].text_bytes == (
        found.documents[0].text_bytes
    )
    whole = sample(shards, model, tokens=None)
    originals = {document.ids_N.tobytes(): document.text_bytes for document in whole.documents}
    for document in found.documents[:-1]:
        assert originals[document.ids_N.tobytes()] == document.text_bytes
    last = found.documents[-1].ids_N
    cut = last.tobytes() not in originals
    assert found.cut == cut
    assert any(whole_ids.startswith(last.tobytes()) for whole_ids in originals)


def test_another_seed_takes_other_documents(model, shards):
    first, second = (sample(shards, model, tokens=100, seed=seed) for seed in (0, 1))
    assert first.documents[0].ids_N.tobytes() != second.documents[0].ids_N.tobytes()


def test_bytes_of_a_cut_add_up_over_all_cuts_of_characters(model, tmp_path):
    """Bytes of tokens, not of decoded text: a cut inside a character counts its bytes so far."""
    path = tmp_path / "wide.txt"
    path.write_text("\u4f60\u597d\u4e16\u754c", encoding="utf-8")
    total = sample(path, model, tokens=None)
    sizes = [
        sample(path, model, tokens=count).text_bytes for count in range(1, total.scored_tokens + 1)
    ]
    assert sizes == sorted(sizes)
    assert sizes[-1] == total.text_bytes == 12
    assert len(set(sizes)) == total.scored_tokens


def test_a_text_file_is_one_document_after_the_start_token(model, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(TEXTS[3], encoding="utf-8")
    found = sample(path, model, tokens=None)
    assert len(found.documents) == 1
    assert found.documents[0].ids_N[0] == 0
    assert found.documents[0].ids_N[-1] != 1
    assert found.text_bytes == len(TEXTS[3].encode())
    assert decoded(model, found.documents[0].ids_N) == TEXTS[3]


def test_without_a_start_token_the_first_tokens_bytes_do_not_count(model, tmp_path):
    folder = tmp_path / "nobos"
    folder.mkdir()
    (folder / "tokenizer.json").write_bytes((model / "tokenizer.json").read_bytes())
    (tmp_path / "a.txt").write_text("\u4f60 return left")
    found = sample(tmp_path / "a.txt", folder, tokens=None)
    first = found.documents[0].ids_N[:1]
    assert found.scored_tokens == len(found.documents[0].ids_N) - 1
    rest = decoded(model, found.documents[0].ids_N[1:])
    assert 0 < found.text_bytes < len("\u4f60 return left".encode())
    assert found.text_bytes == pytest.approx(len(rest.encode()), abs=6)
    assert len(first) == 1


def test_control_tokens_typed_in_a_text_are_text(model, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("<|eos|> left")
    found = sample(path, model, tokens=None)
    assert 1 not in found.documents[0].ids_N
    assert found.text_bytes == len("<|eos|> left")


def test_jsonl_holds_a_document_a_line(model, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in TEXTS[:7]) + "\n\n")
    found = sample(path, model, tokens=None)
    assert len(found.documents) == 7
    assert found.text_bytes == sum(len(text.encode()) for text in TEXTS[:7])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"good \xff bad", "not UTF-8 text at byte 5"),
        ("a.txt", b"", "no text to evaluate on"),
        ("a.jsonl", b'{"text": "fine"}\n{"text": 3}', "line 2: expected an object"),
        ("a.jsonl", b'{"text": "fine"}\n{"te', "line 2 is not JSON"),
        ("a.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("a.jsonl", b"\n\n", "no text to evaluate on"),
    ],
)
def test_what_is_not_text_is_refused(model, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtefactError, match=message):
        sample(tmp_path / name, model, tokens=None)


def test_missing_and_huge_files_are_refused(model, tmp_path):
    with pytest.raises(ArtefactError, match="no such file or folder"):
        sample(tmp_path / "none.txt", model, tokens=None)
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(ConfigError, match="shards"):
        sample(path, model, tokens=10)


def test_shards_of_another_tokenizer_are_refused(model, shards, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes((model / "tokenizer.json").read_bytes() + b" ")
    with pytest.raises(ArtefactError, match="another tokenizer"):
        sample(shards, tmp_path, tokens=None)


def test_the_standard_library_is_always_there(model):
    found = standard_library(model, tokens=500, seed=0)
    assert found.scored_tokens == 500
    assert found.text_bytes > 500
    again = standard_library(model, tokens=500, seed=0)
    np.testing.assert_array_equal(again.documents[0].ids_N, found.documents[0].ids_N)
    assert again.source_hash == found.source_hash
    assert standard_library(model, tokens=500, seed=1).source_hash != found.source_hash
