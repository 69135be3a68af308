"""The probe's figures, its cache, and the readers of system files."""

import json
import time
from pathlib import Path

import pytest

from sparing.measure import machine, probe
from sparing.measure.machine import cache_bytes, usable_cores

FIGURES = {
    "read_bytes_per_s_1": 8.5e9,
    "read_bytes_per_s": 9.0e9,
    "fp32_flops": 5.0e10,
    "idle_watts": None,
    "load_before": 0.2,
    "int8_ops": None,
    "bf16_flops": None,
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPARING_HOME", str(tmp_path))
    return tmp_path


def test_facts_of_this_machine() -> None:
    facts = machine.identify()
    assert facts.model
    assert 1 <= facts.cores <= facts.machine_cores
    assert facts.ram_bytes > 1 << 28


def test_a_second_look_comes_from_the_cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(machine, "_measure", lambda cores: calls.append(cores) or dict(FIGURES))
    first, second = machine.probe(), machine.probe()
    assert len(calls) == 1
    assert first == second
    assert first.label == "measured"
    assert first.fp32_flops == 5.0e10
    machine.probe(cache=False)
    assert len(calls) == 2


def test_peaks_are_measured_once_and_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_measure", lambda cores: dict(FIGURES))
    calls: list[int] = []

    def peaks(threads: int) -> dict[str, float | None]:
        calls.append(threads)
        return {"int8_ops": 9.0e10, "bf16_flops": None}

    assert machine.probe().int8_ops is None
    assert machine.probe(peaks=peaks).int8_ops == 9.0e10
    assert machine.probe(peaks=peaks).int8_ops == machine.probe().int8_ops == 9.0e10
    assert calls == [machine.usable_cores()]
    machine.probe(cache=False, peaks=peaks)
    assert len(calls) == 2


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"x": 1}', "null"])
def test_a_damaged_cache_is_measured_anew(
    home: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    (home / "machine.json").write_text(damage)
    monkeypatch.setattr(machine, "_measure", lambda cores: dict(FIGURES))
    assert machine.probe().fp32_flops == 5.0e10
    kept = json.loads((home / "machine.json").read_text())
    assert FIGURES in kept.values()


def test_figures_of_another_processor_are_not_used(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "machine.json").write_text(json.dumps({"Other x 4": FIGURES | {"fp32_flops": 1.0}}))
    monkeypatch.setattr(machine, "_measure", lambda cores: dict(FIGURES))
    assert machine.probe().fp32_flops == 5.0e10
    assert "Other x 4" in json.loads((home / "machine.json").read_text())


def test_a_probe_that_cannot_run_is_unavailable(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.sys, "executable", "/nonexistent/python")
    found = machine.probe()
    assert found.label == "unavailable"
    assert found.fp32_flops is None
    assert not (home / "machine.json").exists()


def test_the_real_probe_is_quick_and_plausible(home: Path) -> None:
    begun = time.perf_counter()
    found = machine.probe()
    assert time.perf_counter() - begun < 30.0  # 3 s on an idle machine
    assert found.label == "measured"
    assert 5e8 < found.read_bytes_per_s_1 < 1e12
    assert 5e8 < found.fp32_flops < 1e14


def test_figures_are_work_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that gains two seconds with every look, a pass takes two seconds."""
    looks = iter(range(0, 1000, 2))
    monkeypatch.setattr(probe.time, "perf_counter", lambda: float(next(looks)))
    assert probe.read_bytes_per_s(2, array_bytes=1 << 20) == pytest.approx((1 << 20) / 2)
    assert probe.fp32_flops(64) == pytest.approx(2 * 64**3 / 2)


def test_a_containers_quota_limits_the_cores(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    assert usable_cores(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert usable_cores(tmp_path) == usable_cores(tmp_path / "absent")


def test_caches_as_the_kernel_lists_them(tmp_path: Path) -> None:
    rows = [("1", "Data", "32K"), ("1", "Instruction", "64K"), ("3", "Unified", "8M")]
    for index, (level, kind, size) in enumerate(rows):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        for name, value in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(value + "\n")
    assert cache_bytes(tmp_path) == {"L1d": 32 << 10, "L1i": 64 << 10, "L3": 8 << 20}
    assert cache_bytes(tmp_path / "absent") == {}
