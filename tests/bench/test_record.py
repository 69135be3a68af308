"""Lines on disk: whole or dropped, and nothing else's."""

from pathlib import Path

import pytest

from sparing.base.errors import ArtefactError
from sparing.bench.record import Record


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "record.jsonl"
    first = Record(path)
    first.add("cell", "a", figures=[1.5])
    first.add("memory", "a", bytes=3)
    assert Record(path).lines == first.lines
    assert [line["figures"] for line in Record(path).of("cell", "a")] == [[1.5]]
    assert Record(path).of("cell", "b") == []


def test_a_line_cut_short_is_dropped_and_the_next_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    Record(path).add("cell", "a", figures=[1.5])
    with path.open("a") as file:
        file.write('{"kind": "cell", "gro')
    record = Record(path)
    assert len(record.lines) == 1
    record.add("cell", "b")
    assert [line["group"] for line in Record(path).lines] == ["a", "b"]


@pytest.mark.parametrize("text", ["[1]\n", "{}\n", "nonsense\n", '{"kind": 1}\n'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.jsonl"
    path.write_text(text)
    with pytest.raises(ArtefactError, match="line 1"):
        Record(path)
    assert path.read_text() == text


def test_without_a_path_it_stays_in_memory() -> None:
    record = Record(None)
    record.add("cell", "a")
    assert len(record.of("cell", "a")) == 1
