"""Files to documents: pieces, records and the policy for bad bytes."""

import gzip
import json

import pytest

from sparing.data.document import Count
from sparing.data.reading import ReadLimits, read
from sparing.data.sources import find


def _read(path, **changes):
    limits = {
        "line_bytes": 1 << 16,
        "document_bytes": 1 << 20,
        "text_field": "text",
        "share": 1.0,
        "seed": 0,
    }
    count = Count("read")
    [file] = find([str(path)], Count("find"))
    return list(read(file, ReadLimits(**limits | changes), count)), count


def _jsonl(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_a_file_is_one_document(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    [document], count = _read(tmp_path / "a.txt")
    assert (document.text, document.source, document.kind) == ("one\ntwo\n", "a.txt", "text")
    assert (count.documents_in, count.documents_out, count.bytes_in) == (1, 1, 8)


def test_a_long_file_is_cut_at_line_ends_and_nothing_is_lost(tmp_path):
    text = "".join(f"line {number}\n" for number in range(1000))
    (tmp_path / "a.txt").write_text(text)
    documents, _ = _read(tmp_path / "a.txt", document_bytes=1024)
    assert "".join(d.text for d in documents) == text
    assert [d.source for d in documents] == [f"a.txt#{n + 1}" for n in range(len(documents))]
    assert all(len(d.text) <= 1024 and d.text.endswith("\n") for d in documents)


def test_records_of_jsonl(tmp_path):
    path = _jsonl(
        tmp_path / "a.jsonl", [{"text": "one", "_id": "k", "title": "T"}, {"text": "two"}]
    )
    documents, _ = _read(path)
    assert [(d.text, d.source, d.kind) for d in documents] == [
        ("one", "a.jsonl:1", "text"),
        ("two", "a.jsonl:2", "text"),
    ]
    assert (documents[0].key, documents[0].title, documents[1].key) == ("k", "T", "")


def test_the_text_field_is_a_setting(tmp_path):
    path = _jsonl(tmp_path / "a.jsonl", [{"body": "one"}])
    assert _read(path, text_field="body")[0][0].text == "one"
    documents, count = _read(path)
    assert not documents
    assert count.dropped == {"no text in field 'text'": 1}


def test_a_share_of_records_is_chosen_by_hash(tmp_path):
    path = _jsonl(tmp_path / "a.jsonl", [{"text": str(n)} for n in range(1000)])
    half, count = _read(path, share=0.5)
    assert 400 < len(half) < 600  # binomial, 6 standard errors
    assert count.dropped["over max_bytes"] == 1000 - len(half)
    assert _read(path, share=0.5)[0] == half


def test_gzip_reads_as_the_plain_file(tmp_path):
    text = "".join(f"line {number}\n" for number in range(5000))
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "b.txt.gz").write_bytes(
        gzip.compress(text[:100].encode()) + gzip.compress(text[100:].encode())
    )
    assert _read(tmp_path / "b.txt.gz")[0][0].text == _read(tmp_path / "a.txt")[0][0].text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xef\xbb\xbfmarked\n", "marked\n"),
        (b"plain \xe2\x82\xac\n", "plain \u20ac\n"),
        (
            b"long enough to be repaired " * 8 + b"\xff\n",
            "long enough to be repaired " * 8 + "\ufffd\n",
        ),
    ],
)
def test_decoding(tmp_path, data, text):
    (tmp_path / "a.txt").write_bytes(data)
    [document], count = _read(tmp_path / "a.txt")
    assert document.text == text
    assert count.changed == ({"broken UTF-8 repaired": 1} if "\ufffd" in text else {})


def test_too_broken_text_is_refused(tmp_path):
    (tmp_path / "a.txt").write_bytes(
        "Stra\u00dfe gr\u00fc\u00dft \u00fcberall ".encode("latin-1") * 9
    )
    documents, count = _read(tmp_path / "a.txt")
    assert not documents
    assert count.dropped == {"broken UTF-8": 1}
