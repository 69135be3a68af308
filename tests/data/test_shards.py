"""Token shards: what is written comes back, and nothing else is accepted."""

import hashlib
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparing.base.errors import ArtefactError
from sparing.data.shards import HEADER, Shard, Shards, split_documents, token_type, write_shard


@settings(max_examples=30, deadline=None)
@given(tokens=st.lists(st.integers(0, 2**32 - 1), max_size=50), wide=st.booleans())
def test_round_trip(tmp_path_factory, tokens, wide):
    path = tmp_path_factory.mktemp("shard") / "a.bin"
    tokens_N = np.array(tokens, np.uint64).astype(np.uint32 if wide else np.uint16)
    write_shard(path, tokens_N)
    found = Shard.open(path, verify=True)
    assert found.tokens.dtype == tokens_N.dtype
    np.testing.assert_array_equal(found.tokens, tokens_N)


def test_the_bytes_are_those_of_the_format(tmp_path):
    """Parsed here by hand, field by field, from the published layout."""
    tokens_N = np.array([1, 515, 65535], np.uint16)
    digest = write_shard(tmp_path / "a.bin", tokens_N)
    data = (tmp_path / "a.bin").read_bytes()
    assert data[:8] == b"SPARSHRD"
    assert struct.unpack_from("<IIQ", data, 8) == (1, 2, 3)
    assert data[24:32] == bytes(8)
    assert data[64:] == b"\x01\x00\x03\x02\xff\xff"
    assert data[32:64].hex() == hashlib.sha256(data[64:]).hexdigest() == digest


def test_token_type_holds_the_last_id():
    assert token_type(65536).itemsize == 2
    assert token_type(65537).itemsize == 4


@pytest.mark.parametrize("at", [0, 8, 12, 16, 24, 32, 63, 64, 69])
def test_every_flipped_byte_is_noticed(tmp_path, at):
    path = tmp_path / "a.bin"
    write_shard(path, np.arange(3, dtype=np.uint16))
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtefactError):
        Shard.open(path, verify=True)


@pytest.mark.parametrize("length", [0, 7, 63, 64, 69])
def test_every_truncation_is_noticed_without_verify(tmp_path, length):
    path = tmp_path / "a.bin"
    write_shard(path, np.arange(3, dtype=np.uint16))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ArtefactError):
        Shard.open(path)


def test_a_header_that_states_too_much_maps_nothing(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(HEADER.pack(b"SPARSHRD", 1, 2, 2**62, bytes(8), bytes(32)) + b"1234")
    with pytest.raises(ArtefactError, match="expected"):
        Shard.open(path)


@pytest.mark.parametrize("tokens", [np.zeros(3, np.int64), np.zeros((2, 2), np.uint16)])
def test_other_arrays_are_refused(tmp_path, tokens):
    with pytest.raises(ArtefactError, match="uint16 or uint32"):
        write_shard(tmp_path / "a.bin", tokens)


def _folder(path, streams):
    """A shards folder with one train shard per stream and no heldout."""
    path.mkdir()
    entries = []
    for number, tokens in enumerate(streams):
        name = f"train-{number:05}.bin"
        digest = write_shard(path / name, np.array(tokens, np.uint16))
        entries.append({"file": name, "tokens": len(tokens), "sha256": digest})
    total = sum(map(len, streams))
    splits = {
        "train": {"tokens": total, "documents": 3, "bytes": 9, "shards": entries},
        "heldout": {"tokens": 0, "documents": 0, "bytes": 0, "shards": []},
    }
    manifest = {"tokenizer_hash": "x", "vocab_size": 300, "bos": 0, "eos": 1, "splits": splits}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def test_documents_of_a_folder(tmp_path):
    shards = Shards.open(_folder(tmp_path / "s", [[0, 5, 6, 1, 0, 1], [0, 7, 1]]), verify=True)
    assert [list(map(int, d)) for d in shards.documents("train")] == [
        [0, 5, 6, 1],
        [0, 1],
        [0, 7, 1],
    ]
    assert shards.split("train").tolist() == [0, 5, 6, 1, 0, 1, 0, 7, 1]
    assert len(shards.split("heldout")) == 0
    assert shards.tokens("train") == 9
    assert shards.text_bytes("train") == 9


def test_split_documents_of_nothing():
    assert list(split_documents(np.zeros(0, np.uint16), 0)) == []


def test_a_shard_that_differs_from_the_manifest_is_refused(tmp_path):
    folder = _folder(tmp_path / "s", [[0, 5, 1]])
    write_shard(folder / "train-00000.bin", np.array([0, 6, 1], np.uint16))
    with pytest.raises(ArtefactError, match="differs from the manifest"):
        Shards.open(folder)


def test_a_manifest_cannot_name_a_file_outside(tmp_path):
    folder = _folder(tmp_path / "s", [[0, 5, 1]])
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["splits"]["train"]["shards"][0]["file"] = "../s/train-00000.bin"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtefactError, match="leaves the folder"):
        Shards.open(folder)


def test_an_unknown_split_is_named(tmp_path):
    with pytest.raises(ArtefactError, match="train, heldout"):
        Shards.open(_folder(tmp_path / "s", [[0, 1]])).split("test")
