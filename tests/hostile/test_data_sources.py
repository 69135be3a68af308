"""Sources that lie, break off, explode or loop: counted and named, never a crash."""

import gzip
import json
import os
import random
import resource
import subprocess
import sys
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparing.data.document import Count
from sparing.data.reading import ReadLimits, read
from sparing.data.sources import find

LIMITS = ReadLimits(
    line_bytes=1 << 16, document_bytes=1 << 20, text_field="text", share=1.0, seed=0
)


def _read(path, limits=LIMITS):
    count = Count("read")
    [file] = find([str(path)], Count("find"))
    return list(read(file, limits, count)), count


def _write(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["a.txt", "a.py", "a.jsonl", "a.md"])
def test_binary_junk_is_dropped_whole(tmp_path, name):
    junk = random.Random(0).randbytes(1 << 20)
    documents, count = _read(_write(tmp_path / name, junk))
    assert not documents
    assert count.dropped == {"binary": 1}


def test_junk_behind_a_clean_beginning_is_dropped(tmp_path):
    data = b"clean text\n" * 1000 + b"\0" * 50
    documents, count = _read(_write(tmp_path / "a.txt", data))
    assert not documents
    assert count.dropped == {"binary": 1}


def test_a_long_line_is_passed_over_and_its_neighbours_stay(tmp_path):
    data = b"before\n" + b"x" * (1 << 20) + b"\nafter\n"
    documents, count = _read(_write(tmp_path / "a.txt", data))
    assert documents[0].text == "before\n\nafter\n"
    assert count.changed == {"line over line_bytes": 1}


def test_a_long_record_is_passed_over_and_lines_keep_their_numbers(tmp_path):
    long = json.dumps({"text": "x" * (1 << 20)})
    data = f'{{"text": "one"}}\n{long}\n{{"text": "three"}}\n'.encode()
    documents, count = _read(_write(tmp_path / "a.jsonl", data))
    assert [(d.text, d.source) for d in documents] == [("one", "a.jsonl:1"), ("three", "a.jsonl:3")]
    assert count.changed == {"line over line_bytes": 1}


def test_a_giant_line_takes_bounded_memory(tmp_path):
    """A sparse line of 512 MB without a line end, whose beginning looks like text."""
    path = tmp_path / "a.txt"
    with path.open("wb") as file:
        file.write(b"text " * 4000)
        file.truncate(512 << 20)
    code = (
        "import sys\n"
        "from sparing.data.build import build_corpus\n"
        "from sparing.data.config import DataConfig\n"
        "from sparing.base.errors import ConfigError\n"
        "from pathlib import Path\n"
        "try:\n"
        "    build_corpus(DataConfig(sources=(sys.argv[1],)), Path(sys.argv[2]))\n"
        "except ConfigError as error:\n"
        "    sys.stdout.write(str(error))\n"
        "status = Path('/proc/self/status').read_text()\n"  # rusage would count the parent too
        "sys.stdout.write('|' + status.split('VmHWM:')[1].split()[0])\n"
    )
    words = [sys.executable, "-c", code, str(path), str(tmp_path / "c")]
    found = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    message, _, peak_kib = found.rpartition("|")
    assert "removed everything" in message
    assert int(peak_kib) < 300 << 10
    assert not (tmp_path / "c").exists()


def _records(count):
    random.seed(1)
    return [json.dumps({"text": f"record {n} {random.getrandbits(200):x}"}) for n in range(count)]


def test_a_truncated_gzip_keeps_the_good_records_and_says_where(tmp_path):
    lines = _records(3000)
    data = gzip.compress(("\n".join(lines) + "\n").encode())
    cut = len(data) * 2 // 3
    documents, count = _read(_write(tmp_path / "a.jsonl.gz", data[:cut]))
    unpacked = zlib.decompressobj(31).decompress(data[:cut])
    whole = unpacked.count(b"\n")  # lines whose end was still there
    assert 1000 < whole < 3000
    assert whole - 200 <= len(documents) <= whole + 1
    assert [d.text for d in documents] == [json.loads(line)["text"] for line in lines][
        : len(documents)
    ]
    assert count.changed["truncated gzip"] == 1
    [place] = count.samples["truncated gzip"]
    assert f"packed byte {cut}" in place


@pytest.mark.parametrize("seed", range(30))
def test_gzip_cut_or_flipped_anywhere_never_crashes(tmp_path, seed):
    source = random.Random(seed)
    data = bytearray(gzip.compress("\n".join(_records(200)).encode()))
    if seed % 2:
        del data[source.randrange(len(data)) :]
    else:
        data[source.randrange(len(data))] ^= 1 << source.randrange(8)
    if not data:
        return
    documents, _ = _read(_write(tmp_path / "a.jsonl.gz", bytes(data)))
    assert len(documents) <= 200


def test_a_file_that_is_not_gzip_says_so(tmp_path):
    documents, count = _read(_write(tmp_path / "a.txt.gz", b"plain text, wrong name\n" * 9))
    assert not documents
    assert count.changed == {"damaged gzip": 1}


def test_a_gzip_bomb_stops_at_its_bound(tmp_path):
    bomb = gzip.compress(b"all work and no play\n" * 5_000_000)  # 105 MB from 0.2 MB
    limits = ReadLimits(
        line_bytes=1 << 16,
        document_bytes=1 << 20,
        text_field="text",
        share=1.0,
        seed=0,
        unpack_ratio=20,
    )
    documents, count = _read(_write(tmp_path / "a.txt.gz", bomb), limits)
    most = (1 << 20) + 20 * len(bomb)
    assert sum(len(d.text) for d in documents) <= most
    assert count.changed["gzip bomb: over the unpack limit"] == 1


def test_a_bomb_in_one_line_takes_bounded_memory(tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bomb = gzip.compress(b"a" * 200_000_000)
    documents, count = _read(_write(tmp_path / "a.txt.gz", bomb))
    assert all(len(d.text) < 10 for d in documents)
    assert count.changed["line over line_bytes"] == 1
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 300 << 10  # the bomb itself was made in this process


HOSTILE_LINES = [
    b"[" * 100_000,
    b'{"text": ' * 5000,
    b"nul",
    b"{}",
    b"[]",
    b'"text"',
    b"3",
    b'{"text": null}',
    b'{"text": ["a"]}',
    b'{"text": 3}',
    b'{"text": "\\ud800"}',
    b'{"text": "a", "text": "b"}',
    b'{"text": NaN}',
    b'{"n": ' + b"9" * 5000 + b', "text": "a"}',
    b'{"text": "\xff\xfe"}',
    b'{"text": "a", "title": {"deep": []}, "_id": 1e999}',
    b"\xef\xbb\xbf{}",
    b'{"text": "a"} trailing',
]


def test_hostile_records_are_counted_one_by_one(tmp_path):
    good = b'{"text": "good"}'
    data = b"".join(good + b"\n" + line + b"\n" for line in HOSTILE_LINES)
    limits = ReadLimits(
        line_bytes=1 << 20, document_bytes=1 << 20, text_field="text", share=1.0, seed=0
    )
    documents, count = _read(_write(tmp_path / "a.jsonl", data), limits)
    assert sum(d.text == "good" for d in documents) == len(HOSTILE_LINES)
    assert len(documents) + sum(count.dropped.values()) == 2 * len(HOSTILE_LINES)
    for document in documents:
        document.text.encode()  # storable


@settings(max_examples=200, deadline=None)
@given(data=st.binary(min_size=1, max_size=400), name=st.sampled_from(["a.txt", "a.py", "a.jsonl"]))
def test_any_bytes_are_read_or_counted(tmp_path_factory, data, name):
    path = tmp_path_factory.mktemp("any") / name
    documents, count = _read(_write(path, data))
    assert count.documents_out == len(documents)
    for document in documents:
        document.text.encode()
        document.source.encode()


def test_a_file_that_vanishes_is_counted(tmp_path):
    path = _write(tmp_path / "a.txt", b"text\n")
    [file] = find([str(path)], Count("find"))
    os.unlink(path)
    count = Count("read")
    assert list(read(file, LIMITS, count)) == []
    assert count.dropped == {"unreadable: No such file or directory": 1}
