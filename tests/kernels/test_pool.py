"""The pool of threads under the thread sanitizer."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NATIVE = HERE.parents[1] / "native"


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_every_task_runs_once_and_nothing_races(tmp_path: Path) -> None:
    flags = ("-std=c++17", "-O1", "-g", "-fsanitize=thread", f"-I{NATIVE / 'include'}")
    sources = (HERE / "pool_driver.cpp", NATIVE / "src" / "pool" / "pool.cpp")
    built = subprocess.run(
        ["g++", *flags, *sources, "-lpthread", "-o", tmp_path / "driver"],
        capture_output=True, text=True,
    )  # fmt: skip
    if "cannot find" in built.stderr:
        pytest.skip("needs the thread sanitizer's library")
    assert built.returncode == 0, built.stderr
    done = subprocess.run([tmp_path / "driver"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
