"""A disk that fills up while it trains: a clear error, nothing half-written, and a way to go on."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]
SETTINGS = (
    "--steps 12 --batch 2 --context 32 --threads 1 --checkpoint-every 4 --keep-checkpoints 1 "
    "--warmup-steps 2 --precision fp32 --device cpu"
)


def can_mount(folder: Path) -> bool:
    if shutil.which("unshare") is None:
        return False
    command = [*NAMESPACE, "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
    return subprocess.run(command, capture_output=True).returncode == 0


def digest(model: Path) -> str:
    return hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()


def test_pretrain_on_a_disk_that_fills_up_and_is_given_room(shards, shape, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if not can_mount(disk):
        pytest.skip("needs a mount namespace of its own")
    train = f"{sys.executable} -m sparing pretrain --data {shards} --model {shape} {SETTINGS}"
    script = f"""
        mount -t tmpfs -o size=68k tmpfs {disk}
        {train} --out {disk}/model 2> {tmp_path}/full.txt
        echo $? > {tmp_path}/status
        ls -A {disk} > {tmp_path}/left.txt
        mount -o remount,size=16m {disk}
        {train} --out {disk}/model --resume 2> {tmp_path}/again.txt && cp -r {disk}/model {tmp_path}
        {train} --out {tmp_path}/alone 2> {tmp_path}/alone.txt
    """
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "SPARING_HOME": str(tmp_path / "home")}
    subprocess.run([*NAMESPACE, "sh", "-c", script], env=environment, check=True)
    error = (tmp_path / "full.txt").read_text()
    assert (tmp_path / "status").read_text() == "1\n", error
    assert "No space left on device" in error
    assert "Traceback" not in error
    assert "model" not in (tmp_path / "left.txt").read_text().split()
    assert digest(tmp_path / "model") == digest(tmp_path / "alone")
