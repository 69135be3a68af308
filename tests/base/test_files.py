"""An artefact is whole and checksummed, or absent; also when killed, and when bits rot."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparing.base import files
from sparing.base.errors import ArtefactError


def make(out: Path, content: bytes = b"content", *, overwrite: bool = False) -> None:
    stage = {"setting": 1}
    with files.new_artefact(out, kind="toy", stage=stage, overwrite=overwrite) as draft:
        (draft.path / "inner").mkdir()
        (draft.path / "inner" / "data.bin").write_bytes(content)
        (draft.path / "note.txt").write_text("note")
        draft.quality["score"] = 0.5


def others(out: Path) -> list[str]:
    return sorted(path.name for path in out.parent.iterdir() if path != out)


def test_round_trip(tmp_path: Path) -> None:
    out = tmp_path / "a"
    make(out)
    artefact = files.open_artefact(out, kind="toy", verify=True)
    assert artefact.quality == {"score": 0.5}
    assert artefact.stage == {"setting": 1}
    assert not others(out)


def test_equal_content_has_an_equal_hash(tmp_path: Path) -> None:
    for name, content in (("a", b"x"), ("b", b"x"), ("c", b"y")):
        make(tmp_path / name, content)
    a, b, c = (files.hash_of(tmp_path / name) for name in "abc")
    assert a == b != c


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with files.new_artefact(tmp_path / "a", kind="toy", stage={}) as draft:
            (draft.path / "half").write_text("half")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", ["fsync", "rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_failing_disk_leaves_the_old_one(
    call: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "a", b"old")
    before = files.hash_of(tmp_path / "a")

    def broken(*_: object, **__: object) -> None:
        raise OSError(number, "injected")

    target = (os, "fsync") if call == "fsync" else (Path, "rename")
    with monkeypatch.context() as patch:
        patch.setattr(*target, broken)
        with pytest.raises(OSError, match="injected"):
            make(tmp_path / "a", b"new", overwrite=True)
    files.verify_artefact(tmp_path / "a")
    assert files.hash_of(tmp_path / "a") == before


def test_existing_is_not_replaced_unasked(tmp_path: Path) -> None:
    make(tmp_path / "a", b"old")
    with pytest.raises(ArtefactError, match="exists already"):
        make(tmp_path / "a", b"new")
    make(tmp_path / "a", b"new", overwrite=True)
    assert (tmp_path / "a/inner/data.bin").read_bytes() == b"new"
    assert not others(tmp_path / "a")


def test_a_foreign_folder_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years")
    with pytest.raises(ArtefactError, match="not an artefact of ours"):
        make(tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine/thesis.txt").read_text() == "years"


@given(st.data())
def test_every_flipped_bit_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    out = tmp_path_factory.mktemp("rot") / "a"
    make(out, b"some bytes that rot")
    path = out / data.draw(st.sampled_from(["inner/data.bin", "note.txt"]))
    content = bytearray(path.read_bytes())
    bit = data.draw(st.integers(0, len(content) * 8 - 1))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match="damaged"):
        files.open_artefact(out, verify=True)


@pytest.mark.parametrize("harm", ["missing", "extra", "card", "kind"])
def test_other_damage_is_named(harm: str, tmp_path: Path) -> None:
    out = tmp_path / "a"
    make(out)
    match harm:
        case "missing":
            (out / "note.txt").unlink()
        case "extra":
            (out / "other").write_text("?")
        case "card":
            (out / files.CARD).write_text('{"version": 1}')
    with pytest.raises(ArtefactError):
        files.open_artefact(out, kind="other" if harm == "kind" else "toy", verify=True)


def test_second_writer_is_refused(tmp_path: Path) -> None:
    with (
        files.lock(tmp_path / "a"),
        pytest.raises(ArtefactError, match=f"process {os.getpid()}"),
        files.lock(tmp_path / "a"),
    ):
        pass
    with files.lock(tmp_path / "a"):
        pass


WRITER = """
import sys
from pathlib import Path
from sparing.base import files
out = Path(sys.argv[1])
print("ready", flush=True)
for turn in range(10_000):
    with files.new_artefact(out, kind="toy", stage={}, overwrite=True) as draft:
        for part in range(3):
            (draft.path / f"part{part}").write_bytes(bytes([turn % 256]) * 5000)
"""


def test_kill_at_any_moment(tmp_path: Path) -> None:
    """After each kill the artefact is whole (old or new), and the next writer cleans up."""
    out, dice = tmp_path / "a", random.Random(0)
    for _ in range(8):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(out)], stdout=subprocess.PIPE)
        assert writer.stdout
        writer.stdout.readline()
        time.sleep(dice.uniform(0.02, 0.25))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        with files.new_artefact(tmp_path / "b", kind="toy", stage={}, overwrite=True):
            pass
        files._collect(out)
        if out.exists():
            files.open_artefact(out, verify=True)
            assert len({(out / f"part{i}").read_bytes() for i in range(3)}) == 1
        assert not list(tmp_path.glob(".a.*"))
    assert out.exists()


def test_a_work_folder_outlives_a_failure_and_not_a_success(tmp_path: Path) -> None:
    out = tmp_path / "a"

    def fail() -> None:
        with files.working(out) as work:
            (work / "part").write_text("done")
            with pytest.raises(ArtefactError, match="being written"), files.working(out):
                pass
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert (files.work_dir(out) / "part").read_text() == "done"
    with files.working(out):
        pass
    assert not list(tmp_path.iterdir())


def test_write_atomic_replaces_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    files.write_atomic(path, "old")
    files.write_atomic(path, b"new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_bad_json_is_our_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match=r"x\.json"):
        files.read_json(path)
    with pytest.raises(ArtefactError, match="larger than"):
        files.read_json(path, most=-1)
