"""Stopped, killed or damaged and resumed: the same bytes as a run that was left alone."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sparing.base.errors import ArtefactError, ConfigError
from sparing.base.files import open_artefact
from sparing.training import loop
from sparing.training.config import PretrainConfig
from sparing.training.pretrain import pretrain

SOURCE = Path(__file__).parents[2] / "src"
MODEL_FILES = {"model.safetensors", "metrics.jsonl", "config.json", "tokenizer.json"}


@pytest.fixture
def config(shards, shape):
    return PretrainConfig(
        data=shards,
        model=str(shape),
        steps=40,
        batch=2,
        context=32,
        threads=1,
        log_every=3,
        warmup_steps=2,
        checkpoint_every=4,
        heldout_every=20,
        precision="fp32",
        device="cpu",
    )


def stop_after(monkeypatch, step):
    """Make the loop believe that a signal came during the step."""
    real = loop.take_step

    def step_and_stop(parts, number):
        outcome = real(parts, number)
        if number + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return outcome

    monkeypatch.setattr(loop, "take_step", step_and_stop)


def same(one: Path, other: Path) -> None:
    files = {path.name: path.read_bytes() for path in one.iterdir() if path.name != "sparing.json"}
    assert files.keys() >= MODEL_FILES
    for name, content in files.items():
        assert (other / name).read_bytes() == content, name
    assert open_artefact(one).content_hash == open_artefact(other).content_hash


@pytest.mark.parametrize("step", [1, 6, 8, 39])
def test_a_signal_saves_and_the_resumed_run_is_the_same(config, tmp_path, monkeypatch, step):
    alone = pretrain(config, tmp_path / "alone")
    with monkeypatch.context() as patch:
        stop_after(patch, step)
        with pytest.raises(loop.Stopped, match=rf"SIGTERM after step {step} of 40.*--resume"):
            pretrain(config, tmp_path / "model")
    work = tmp_path / ".model.work"
    assert (work / f"checkpoint-{step}").is_dir()
    with pytest.raises(ArtefactError, match="--resume"):
        pretrain(config, tmp_path / "model")
    with pytest.raises(ConfigError, match="learning_rate"):
        pretrain(replace(config, learning_rate=0.02), tmp_path / "model", resume=True)
    again = pretrain(replace(config, keep_checkpoints=1), tmp_path / "model", resume=True)
    same(alone.artefact, again.artefact)
    assert not work.exists()


def test_a_damaged_newest_checkpoint_costs_steps_and_no_bits(config, tmp_path, monkeypatch, caplog):
    alone = pretrain(config, tmp_path / "alone")
    with monkeypatch.context() as patch:
        stop_after(patch, 10)
        with pytest.raises(loop.Stopped):
            pretrain(config, tmp_path / "model")
    newest = tmp_path / ".model.work" / "checkpoint-10" / "optimiser.safetensors"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 4
    newest.write_bytes(content)
    again = pretrain(config, tmp_path / "model", resume=True)
    assert "checkpoint-10" in caplog.text
    same(alone.artefact, again.artefact)


def test_overwrite_starts_again(config, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 10)
        with pytest.raises(loop.Stopped):
            pretrain(replace(config, seed=7), tmp_path / "model")
    fresh = pretrain(config, tmp_path / "model", overwrite=True)
    same(pretrain(config, tmp_path / "alone").artefact, fresh.artefact)


def test_resuming_a_finished_run_changes_nothing(config, tmp_path):
    first = pretrain(config, tmp_path / "model")
    card = (first.artefact / "sparing.json").read_bytes()
    (tmp_path / ".model.work" / "checkpoint-40").mkdir(parents=True)  # as a kill may leave it
    again = pretrain(config, tmp_path / "model", resume=True)
    assert (again.artefact / "sparing.json").read_bytes() == card
    assert not (tmp_path / ".model.work").exists()
    assert (again.tokens, again.flops, again.quality) == (first.tokens, first.flops, first.quality)
    with pytest.raises(ArtefactError, match="--overwrite"):
        pretrain(replace(config, seed=3), tmp_path / "model", resume=True)


def start(config: PretrainConfig, out: Path, *flags: str) -> subprocess.Popen:
    """The stage in a process of its own."""
    code = (
        "import sys; from pathlib import Path; from sparing.base.config import build\n"
        "from sparing.training.config import PretrainConfig\n"
        "from sparing.training.pretrain import pretrain\n"
        "settings = dict(pair.split('=', 1) for pair in sys.argv[2:] if '=' in pair)\n"
        "pretrain(build(PretrainConfig, settings), Path(sys.argv[1]),"
        " resume='--resume' in sys.argv)\n"
    )
    settings = [f"{name}={getattr(config, name)}" for name in PretrainConfig.__dataclass_fields__]
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, str(out), *settings, *flags]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def kill_and_resume(config: PretrainConfig, tmp_path: Path, *, kills: int, seed: int) -> None:
    """kill -9 at random instants while it trains, then resume to the end, over and over."""
    alone = pretrain(config, tmp_path / "alone")
    draw, out = random.Random(seed), tmp_path / "model"
    live = tmp_path / ".model.work" / "metrics.jsonl"
    killed = 0
    while killed < kills and not out.exists():
        before = live.stat().st_mtime_ns if live.exists() else 0
        process = start(config, out, "--resume")
        while process.poll() is None and (not live.exists() or live.stat().st_mtime_ns == before):
            time.sleep(0.002)  # until it trains
        time.sleep(draw.uniform(0.0, 0.25))
        killed += process.poll() is None
        process.kill()
        _, said = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), said
    assert killed >= kills // 2, "the run is too short to be killed so often"
    if not out.exists():
        last = start(config, out, "--resume")
        _, said = last.communicate(timeout=300)
        assert last.returncode == 0, said
    same(alone.artefact, out)
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_kill_9_at_random_instants(config, tmp_path):
    kill_and_resume(replace(config, steps=150, checkpoint_every=2), tmp_path, kills=4, seed=0)


@pytest.mark.slow
def test_kill_9_at_many_random_instants(config, tmp_path):
    busy = replace(config, steps=1500, checkpoint_every=1)
    kill_and_resume(busy, tmp_path, kills=24, seed=1)


def test_the_command_line_stops_on_sigterm_and_tells_how_to_go_on(config, tmp_path):
    out = tmp_path / "model"
    options = []
    long = replace(config, steps=100000)
    for name in ("data", "model", "steps", "batch", "context", "threads", "warmup_steps"):
        options += ["--" + name.replace("_", "-"), str(getattr(long, name))]
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "sparing", "pretrain", "--out", str(out), *options]
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    live = tmp_path / ".model.work" / "metrics.jsonl"
    while process.poll() is None and not (live.exists() and live.stat().st_size):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1, said
    assert "--resume" in said.splitlines()[-1]
    assert not out.exists()
    assert list((tmp_path / ".model.work").glob("checkpoint-*"))
