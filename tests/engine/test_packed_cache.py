"""Packed weights beside a model: made once, found by content, and never in the way."""

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sparing.engine import packed_cache
from sparing.engine.native_executor import NativeExecutor
from sparing.engine.packed_cache import packed_weights
from sparing.kernels import native
from sparing.kernels.formats import Int4, pack_int4
from sparing.models.config import DecoderConfig
from sparing.models.folder import ModelFolder, open_model, write_model
from sparing.models.names import shapes

CONFIG = DecoderConfig(
    vocab=67, width=32, layers=2, heads=4, kv_heads=2, head_width=8, hidden=48, context=64
)
IDS = [3, 1, 4, 1, 5]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_cache, "LEAST_BYTES", 1)


def model_in(folder: Path, seed: int = 0) -> ModelFolder:
    """Linear maps in int4, the rest in float32."""
    draw = np.random.default_rng(seed)
    dense, quantised = {}, {}
    for name, shape in shapes(CONFIG).items():
        if len(shape) == 2 and name != "embed.weight":
            codes = draw.integers(-8, 8, shape).astype(np.int8)
            scale_ZJ = np.full((shape[0], shape[1] // 16), 0.03, np.float32)
            quantised[name] = Int4(pack_int4(codes), scale_ZJ)
        else:
            dense[name] = draw.normal(size=shape).astype(np.float32)
    write_model(folder, CONFIG, dense, quantised=quantised)
    return open_model(folder)


def kept(model: ModelFolder) -> list[Path]:
    return sorted(model.path.with_name(f".{model.path.name}.packed").glob("*.packed"))


def logits(model: ModelFolder, packed: bool = True) -> np.ndarray:
    found = packed_weights(model) if packed else {}
    return NativeExecutor(model, kv_tokens=32, threads=1, packed=found).logits(IDS)


def test_the_second_start_maps_what_the_first_packed(tmp_path: Path) -> None:
    model = model_in(tmp_path / "model")
    want = logits(model, packed=False)
    np.testing.assert_array_equal(logits(model), want)
    (path,) = kept(model)
    before = path.stat()
    np.testing.assert_array_equal(logits(open_model(model.path)), want)
    assert path.stat() == before
    names = {name for name, shape in shapes(CONFIG).items() if len(shape) == 2}
    assert packed_weights(model).keys() == names - {"embed.weight"}
    assert sorted(file.name for file in model.path.iterdir()) == [
        "config.json", "generation_config.json", "model.safetensors",
    ]  # fmt: skip


def test_nothing_of_the_model_is_packed_at_the_second_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_in(tmp_path / "model")
    packed_weights(model)

    def refuse(*_: object) -> None:
        raise AssertionError("packed again")

    monkeypatch.setattr(native, "pack", refuse)
    monkeypatch.setattr(packed_cache, "sha256_file", refuse)
    assert packed_weights(model)


def test_other_weights_are_packed_anew_and_the_old_ones_go(tmp_path: Path) -> None:
    model = model_in(tmp_path / "model")
    packed_weights(model)
    (old,) = kept(model)
    changed = model_in(tmp_path / "model", seed=1)
    np.testing.assert_array_equal(logits(changed), logits(changed, packed=False))
    (new,) = kept(changed)
    assert new != old


def test_equal_weights_with_other_times_are_found_again(tmp_path: Path) -> None:
    model = model_in(tmp_path / "model")
    packed_weights(model)
    (path,) = kept(model)
    before = path.stat()
    os.utime(model.path / "model.safetensors", (1, 1))
    assert packed_weights(model)
    assert path.stat() == before


def test_a_copied_cache_of_another_model_is_not_believed(tmp_path: Path) -> None:
    one, two = model_in(tmp_path / "one"), model_in(tmp_path / "two", seed=1)
    packed_weights(one)
    shutil.copytree(tmp_path / ".one.packed", tmp_path / ".two.packed")
    np.testing.assert_array_equal(logits(two), logits(two, packed=False))


@pytest.mark.parametrize("damage", ["cut", "table", "empty", "bytes"])
def test_a_damaged_file_is_made_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = model_in(tmp_path / "model")
    want = logits(model)
    (path,) = kept(model)
    data = path.read_bytes()
    path.write_bytes(
        {
            "cut": data[:-7],
            "table": data.replace(b'"tensors"', b'"tensorz"'),
            "empty": b"",
            "bytes": data.replace(b'"int4", 32, 32', b'"int8", 32, 32', 1),
        }[damage]
    )
    with caplog.at_level(logging.WARNING, logger="sparing"):
        np.testing.assert_array_equal(logits(model), want)
    assert "made again" in caplog.text
    assert path.read_bytes() == data


def test_a_place_that_cannot_be_written_is_said_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = model_in(tmp_path / "model")
    (tmp_path / ".model.packed").write_text("in the way")
    with caplog.at_level(logging.WARNING, logger="sparing"):
        assert packed_weights(model) == {}
    assert "not kept" in caplog.text


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_full_disk_is_said_and_leaves_nothing(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = model_in(tmp_path / "model")
    packed_weights(model)
    (path,) = kept(model)
    path.unlink()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "rename")), full)
    with caplog.at_level(logging.WARNING, logger="sparing"):
        assert packed_weights(model) == {}
    assert "No space left" in caplog.text
    left = {file.suffix for file in path.parent.iterdir()}  # a lock is no content
    assert left <= {".json", ".lock"}


def test_too_little_space_is_found_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = model_in(tmp_path / "model")
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with caplog.at_level(logging.WARNING, logger="sparing"):
        assert packed_weights(model) == {}
    assert "10 are free" in caplog.text
    assert not kept(model)


START = """
import sys
from pathlib import Path
from sparing.engine import packed_cache
from sparing.models.folder import open_model
packed_cache.LEAST_BYTES = 1
found = packed_cache.packed_weights(open_model(Path(sys.argv[1])))
print(sum(int(matrix.data.sum(dtype="u8")) for matrix in found.values()))
"""


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    model = model_in(tmp_path / "model")
    command = [sys.executable, "-c", START, str(model.path)]
    starts = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    answers = [start.communicate() for start in starts]
    whole = sum(int(matrix.data.sum(dtype="u8")) for matrix in packed_weights(model).values())
    for out, err in answers:  # one that came while another wrote goes without, and says so
        assert int(out) == whole or "being written by process" in err, err
    assert len(kept(model)) == 1


def test_a_killed_writer_leaves_nothing_that_counts(tmp_path: Path) -> None:
    model = model_in(tmp_path / "model")
    packed_weights(model)
    (path,) = kept(model)
    data = path.read_bytes()
    path.unlink()
    path.with_name(f"{path.name}.partial").write_bytes(data[: len(data) // 2])
    assert packed_weights(model)
    assert path.read_bytes() == data
    assert not list(path.parent.glob("*.partial"))


def test_small_models_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_cache, "LEAST_BYTES", 1 << 30)
    model = model_in(tmp_path / "model")
    assert packed_weights(model) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
