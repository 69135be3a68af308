"""The seeds of the native fuzz targets, under the sanitizers of g++."""

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.fuzz.native_build import HERE, TARGETS, replay


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.parametrize("target", TARGETS)
def test_seeds_break_nothing(target: str, tmp_path: Path) -> None:
    seeds = sorted((HERE / "seeds" / f"native-{target}").iterdir())
    assert seeds
    done = subprocess.run([replay(target, tmp_path), *seeds], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
