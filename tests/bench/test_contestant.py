"""Child processes: what they see, and what becomes of their failures."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sparing.bench.contestant import Contestant, ContestantError, Entry

Make = Callable[..., Entry]
LOAD = {"engine": "fake", "model": "m", "threads": 1, "streams": 2, "room": 9, "kv_tokens": 18}


def test_another_interpreter_sees_this_package_and_no_library_of_ours(
    entry: Make, tmp_path: Path
) -> None:
    with Contestant(entry(), threads=3, log=tmp_path / "log") as child:
        answer = child.ask("load", **LOAD, options={})
    assert answer["seen"] == ["sparing"]
    assert answer["threads"] == "3"
    assert answer["version"] == "fake 1"
    assert answer["peak_bytes"] >= answer["resident_bytes"] > 1 << 20


def test_what_an_engine_prints_is_no_answer(entry: Make, tmp_path: Path) -> None:
    with Contestant(entry(), threads=1, log=tmp_path / "log") as child:
        child.ask("load", **LOAD, options={})
        assert child.ask("open", prompts=[[1], [2]], room=9).keys() == {"seconds"}
    text = (tmp_path / "log").read_text()
    assert "an engine that talks" in text
    assert "even past Python" in text


def test_steps_are_timed_after_one_that_is_not(entry: Make, tmp_path: Path) -> None:
    with Contestant(entry(), threads=1, log=tmp_path / "log") as child:
        child.ask("load", **LOAD, options={"step_s": 0.02})
        child.ask("open", prompts=[[1], [2]], room=9)
        begun = time.perf_counter()
        answer = child.ask("steps", count=3)
        whole = time.perf_counter() - begun
    assert answer["tokens"] == 6
    assert 0.06 <= answer["seconds"] <= whole - 0.02


def test_a_failure_names_the_engine_and_leaves_it_alive(entry: Make, tmp_path: Path) -> None:
    with Contestant(entry("slow one"), threads=1, log=tmp_path / "log") as child:
        with pytest.raises(ContestantError, match=r"slow one: load: RuntimeError: no such file"):
            child.ask("load", **LOAD, options={"refuses": True})
        child.ask("load", **LOAD, options={})
        with pytest.raises(ContestantError, match="KeyError"):
            child.ask("dance")
        assert "peak_bytes" in child.ask("memory")


def test_an_end_is_an_error_and_not_a_wait(entry: Make, tmp_path: Path) -> None:
    with Contestant(entry(), threads=1, log=tmp_path / "log") as child:
        child.ask("load", **LOAD, options={"dies_at": 1})
        child.ask("open", prompts=[[1]], room=9)
        with pytest.raises(ContestantError, match="ended during 'steps'"):
            child.ask("steps", count=1)
        with pytest.raises(ContestantError, match="ended"):
            child.ask("memory")


def test_a_hang_ends_at_the_limit(entry: Make, tmp_path: Path) -> None:
    with Contestant(entry(), threads=1, log=tmp_path / "log", timeout_s=5.0) as child:
        child.ask("load", **LOAD, options={"hangs_at": 1})
        child.ask("open", prompts=[[1]], room=9)
        with pytest.raises(ContestantError, match="no answer to 'steps' within 5 s"):
            child.ask("steps", count=1)
    assert child._process.poll() is not None


def test_the_files_that_peers_load_import_nothing_else_of_ours() -> None:
    """A peer's environment has neither our dependencies nor the rest of the package's."""
    code = (
        "import sys; import sparing.bench.worker\n"
        "known = set(sys.stdlib_module_names) | {'sparing'}\n"
        "import sparing.bench.runner\n"
        "print(sorted({n.split('.')[0] for n in sys.modules} - known))\n"
        "print(sorted(n for n in sys.modules if n.startswith('sparing')))"
    )
    import subprocess

    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
    )
    assert done.returncode == 0, done.stderr
    foreign, mine = done.stdout.splitlines()
    assert foreign == "['__main__']" or foreign == "[]", foreign
    assert mine == str(["sparing", "sparing.bench", "sparing.bench.runner", "sparing.bench.worker"])
