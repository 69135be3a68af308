"""BM25 on disk against another implementation, with reproducible bytes."""

import random

import pytest

from sparing.base.errors import ArtefactError
from sparing.base.files import sha256_file
from sparing.retrieval.passage import Passage
from sparing.retrieval.store import Store, title_words, write

WORDS = [f"word{chr(97 + n)}{chr(97 + m)}" for n in range(8) for m in range(6)]


def _passages(count, seed=0):
    source = random.Random(seed)
    return [
        Passage(" ".join(source.choices(WORDS, k=source.randint(3, 35))), f"s:{n}", key=str(n))
        for n in range(count)
    ]


def _write(folder, passages):
    folder.mkdir()
    assert write(passages, folder) == len(passages)
    return folder


def _hashes(folder):
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir())}


def test_equal_passages_give_equal_bytes(tmp_path):
    one = _write(tmp_path / "a", _passages(500))
    two = _write(tmp_path / "b", _passages(500))
    assert _hashes(one) == _hashes(two)
    assert _hashes(_write(tmp_path / "c", _passages(500, seed=1))) != _hashes(one)


def test_opening_and_searching_writes_nothing(tmp_path):
    folder = _write(tmp_path / "a", _passages(50))
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    hashes = _hashes(folder)
    folder.chmod(0o555)
    for _ in range(2):
        assert Store(folder).search("wordaa wordbb", 5)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert _hashes(folder) == hashes
    folder.chmod(0o755)


def test_scores_are_those_of_bm25s(tmp_path):
    """Short passages, because tantivy rounds lengths over 40 words to one byte."""
    bm25s = pytest.importorskip("bm25s")
    passages = _passages(300)
    store = Store(_write(tmp_path / "a", passages))
    theirs = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    theirs.index([store.terms(p.text) for p in passages], show_progress=False)
    for query in ("wordaa", "wordab wordcd wordfe", "wordha wordha wordbb"):
        scores = theirs.get_scores(store.terms(query)) * (1.2 + 1)  # lucene leaves the factor out
        found = store.search(query, 20)
        assert len(found) == 20
        for one in found:
            assert one.score == pytest.approx(scores[one.document], rel=1e-4)
        assert min(one.score for one in found) >= sorted(scores)[-20] * (1 - 1e-4)


def test_ties_are_in_the_order_of_documents(tmp_path):
    passages = [Passage("the same words here", f"s:{n}") for n in range(30)]
    store = Store(_write(tmp_path / "a", passages))
    assert [one.document for one in store.search("same words", 7)] == list(range(7))


HOSTILE = ['"', "wordaa AND (", "wordaa:wordbb", "title:x", "*", "+-!(){}[]^~?\\/", "\ud800", "\0"]
HOSTILE += ["a" * 100_000, "wordaa " * 20_000, "NOT", "/regex(/", "wordaa^1e999", "[a TO b]"]


@pytest.mark.parametrize("query", HOSTILE)
def test_no_text_is_a_query_language(tmp_path, query):
    store = Store(_write(tmp_path / "a", _passages(20)))
    plain = store.search(" ".join(store.terms(query)), 5)
    assert store.search(query, 5) == plain


def test_no_words_no_hits(tmp_path):
    store = Store(_write(tmp_path / "a", _passages(20)))
    assert store.search("", 5) == store.search("?! ...", 5) == store.search("absent", 5) == []


def test_words_meet_by_case_stem_and_accent(tmp_path):
    passages = [Passage("Reading FILES in a caf\u00e9", "s:1"), Passage("nothing of it", "s:2")]
    store = Store(_write(tmp_path / "a", passages))
    for query in ("read", "file", "cafe", "CAF\u00c9S", "Readings"):
        assert [one.document for one in store.search(query, 5)] == [0], query


def test_titles_count_and_joined_names_are_found_by_their_parts(tmp_path):
    passages = [Passage("some text", "s:1", "csv.DictReader"), Passage("some text", "s:2", "other")]
    store = Store(_write(tmp_path / "a", passages))
    for query in ("dictreader", "reader", "csv"):
        found = store.search(query, 5)
        assert [one.passage.title for one in found] == ["csv.DictReader"]
    assert title_words("csv.DictReader") == "csv.DictReader csv.Dict Reader"
    assert title_words("HTTPServer") == "HTTPServer HTTP Server"


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(ArtefactError, match="could not be written"):
        write(_passages(5), tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["meta.json", ".managed.json"])
def test_a_damaged_store_is_named(tmp_path, name):
    folder = _write(tmp_path / "a", _passages(5))
    (folder / name).write_text("{")
    with pytest.raises(ArtefactError, match="not a readable index"):
        Store(folder)
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(ArtefactError):
        Store(folder)
