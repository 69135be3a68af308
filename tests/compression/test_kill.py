"""Killed at any moment, the target is absent or whole, and the next run succeeds."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sparing.base.files import verify_artefact

KILLS = 12


@pytest.mark.slow
def test_a_kill_leaves_nothing_or_all(model, shards, tmp_path):
    source = Path(__file__).parents[2] / "src"
    environment = os.environ | {"PYTHONPATH": str(source), "SPARING_HOME": str(tmp_path / "home")}
    out = tmp_path / "made" / "int4"
    words = [sys.executable, "-m", "sparing", "compress", str(model), "--scheme", "int4"]
    words += ["--data", str(shards), "--tokens", "300", "--max-kl", "1", "--threads", "1"]
    words += ["--out", str(out)]
    begin = time.monotonic()
    subprocess.run(words, env=environment, check=True, capture_output=True)
    whole = time.monotonic() - begin
    weights = (out / "model.safetensors").read_bytes()
    generator, killed = random.Random(0), 0
    for _ in range(KILLS):
        if out.exists():
            verify_artefact(out)
            for path in out.iterdir():
                path.unlink()
            out.rmdir()
        running = subprocess.Popen(
            words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(generator.uniform(0.2, 1.0) * whole)
        running.send_signal(signal.SIGKILL)
        killed += running.wait() == -signal.SIGKILL
    assert killed >= KILLS // 2, "the kills came too late to mean anything"
    subprocess.run([*words, "--overwrite"], env=environment, check=True, capture_output=True)
    verify_artefact(out)
    assert (out / "model.safetensors").read_bytes() == weights
    left = {path.name for path in out.parent.iterdir() if not path.name.endswith(".lock")}
    assert left == {"int4"}
