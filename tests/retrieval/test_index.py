"""The index artefact: built, opened, searched, and unchanged by all of it."""

import gzip
import json
import subprocess
import sys

import pytest

from sparing.base.errors import ArtefactError, ConfigError, RequestError
from sparing.base.files import open_artefact, verify_artefact
from sparing.retrieval.build import build_index
from sparing.retrieval.config import IndexConfig
from sparing.retrieval.index import Index

PYTHON = '''"""Tools for boats."""

def moor(boat, *, knots=2):
    """Tie the boat to the quay with a number of knots."""

def broken_english():
    return "no docstring here, only knots"
'''
PROSE = "Nets are mended in winter.\n\nIn spring the boats are painted blue and white.\n"
GUIDE = "# Harbour guide\n\n## Tides\n\nHigh water comes twice a day.\n"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("source") / "in"
    root.mkdir()
    (root / "boats.py").write_text(PYTHON)
    (root / "broken.py").write_text("def (")
    (root / "notes.txt").write_text(PROSE)
    (root / "guide.md").write_text(GUIDE)
    records = [
        {"_id": "r1", "title": "Eels", "text": "They swim at night."},
        {"text": "Crabs walk."},
    ]
    lines = "\n".join(map(json.dumps, records))
    (root / "records.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    return root


def _config(source, **changes):
    return IndexConfig(sources=(str(source),), **changes)


@pytest.fixture(scope="module")
def folder(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("index") / "index"
    build_index(_config(source, passage_words=8), out)
    return out


@pytest.mark.parametrize(
    ("query", "place", "title", "key"),
    [
        ("how do I tie knots?", "in/boats.py:4", "boats.moor", ""),
        ("tools for a boat", "in/boats.py:1", "boats", ""),
        ("painted in which colour: blue?", "in/notes.txt:3", "", ""),
        ("when is high water", "in/guide.md:5", "Harbour guide > Tides", ""),
        ("eels", "in/records.jsonl.gz:1", "Eels", "r1"),
        ("crabs", "in/records.jsonl.gz:2", "", ""),
    ],
)
def test_every_kind_of_source_is_found(folder, query, place, title, key):
    hit = Index.open(folder).search(query, 3)[0]
    assert (hit.source, hit.title, hit.key) == (place, title, key)


def test_code_without_docstrings_is_not_indexed_unless_asked_for(source, tmp_path, folder):
    assert not Index.open(folder).search("english", 3)
    build_index(_config(source, kind="text"), tmp_path / "text")
    assert Index.open(tmp_path / "text").search("english", 3)[0].source == "in/boats.py:1"
    build_index(_config(source, kind="docstrings"), tmp_path / "docs")
    index = Index.open(tmp_path / "docs")
    assert index.passages == 2
    assert not index.search("winter", 3)


def test_an_opened_index_stays_whole_and_equal(source, folder, tmp_path):
    index = Index.open(folder, verify=True)
    assert index.search("boats", 5)
    verify_artefact(folder)
    build_index(_config(source, passage_words=8), tmp_path / "again")
    assert open_artefact(tmp_path / "again").content_hash == open_artefact(folder).content_hash


def test_what_was_passed_over_is_on_the_card(folder):
    steps = json.loads((folder / "index.json").read_text())["steps"]
    assert steps[1]["changed"] == {"not parsed as Python: SyntaxError": 1}
    assert open_artefact(folder).facts["passages"] == 9


def test_scores_fall_and_k_is_kept(folder):
    hits = Index.open(folder).search("boats in the harbour at night", 4)
    assert len(hits) <= 4
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    for k in (0, -1, 10**6):
        with pytest.raises(RequestError, match="k: expected"):
            Index.open(folder).search("boats", k)


def test_finished_foreign_and_damaged_indexes(source, folder, tmp_path):
    config = _config(source, passage_words=8)
    assert build_index(config, folder, resume=True).facts["passages"] == 9
    with pytest.raises(ArtefactError, match="exists already"):
        build_index(config, folder)
    with pytest.raises(ArtefactError, match="no such folder"):
        Index.open(tmp_path / "nowhere")
    (tmp_path / "plain").mkdir()
    with pytest.raises(ArtefactError):
        Index.open(tmp_path / "plain")


def test_a_changed_byte_is_found_by_verify(source, tmp_path):
    build_index(_config(source), tmp_path / "i")
    path = next((tmp_path / "i" / "store").glob("*.store"))
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtefactError, match="damaged"):
        Index.open(tmp_path / "i", verify=True)


def test_nothing_to_index_is_an_error(source, tmp_path):
    with pytest.raises(ConfigError, match="no passage"):
        build_index(_config(source / "broken.py"), tmp_path / "i")
    with pytest.raises(ConfigError, match="nowhere"):
        build_index(_config(source / "nowhere"), tmp_path / "i")
    assert not (tmp_path / "i").exists()


def test_searching_needs_neither_torch_nor_arrow(folder):
    code = (
        "import sys; from sparing.retrieval.index import Index; "
        f"Index.open({str(folder)!r}).search('boats', 2); "
        "sys.exit(bool({'torch', 'pyarrow', 'pandas'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
