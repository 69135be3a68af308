"""Which peers can take a model, and the manifest that says so."""

import json
from pathlib import Path

import pytest

from sparing.base.errors import ArtefactError, ConfigError
from sparing.bench import peers
from sparing.bench.contestant import Entry

LLAMA = Entry(label="llama.cpp Q4_0", engine="llama.cpp", model="/x.gguf", python="/p", note="g32")


def test_the_manifest_comes_back_as_it_was(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    peers.write(tmp_path / "peers", {str(model): [LLAMA]})
    assert peers.read(tmp_path / "peers") == {str(model): [LLAMA]}
    found, absent = peers.find(model, ["llama.cpp"], folder=tmp_path / "peers", width="int4")
    assert found == [LLAMA]
    assert absent == {}


@pytest.mark.parametrize("tree", [[], {}, {"models": []}, {"models": {"a": [{"label": "b"}]}}])
def test_a_damaged_manifest_is_refused(tmp_path: Path, tree: object) -> None:
    (tmp_path / peers.MANIFEST).write_text(json.dumps(tree))
    with pytest.raises(ArtefactError):
        peers.read(tmp_path)


def test_what_is_missing_has_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None)
    found, absent = peers.find(tmp_path, ["openvino"], folder=tmp_path, width="int4")
    assert found == []
    assert "pip install 'sparing[bench]'" in absent["openvino"]
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: object())
    found, absent = peers.find(tmp_path, ["openvino"], folder=tmp_path, width="int4")
    assert "benchmarks/peers.py" in absent["openvino"]


def test_what_needs_no_conversion_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: object())
    found, _ = peers.find(tmp_path, ["transformers"], folder=tmp_path, width="bf16")
    assert [(each.model, each.options) for each in found] == [(str(tmp_path), {"dtype": "bf16"})]
    file = tmp_path / "model.gguf"
    file.write_bytes(b"12345")
    found, _ = peers.find(file, ["llama.cpp"], folder=tmp_path, width="int4")
    assert found[0].weight_bytes == 5


def test_an_unknown_peer_is_refused_with_the_nearest() -> None:
    assert peers.chosen(["openvino", "openvino"]) == ["openvino"]
    with pytest.raises(ConfigError, match=r"did you mean 'llama\.cpp'"):
        peers.chosen(["llamacpp"])
