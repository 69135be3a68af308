"""Counters with known power curves, wraps, marks, and what happens without any counter."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from sparing.measure import energy
from sparing.measure.energy import Meter, RaplCounter, Reading, add, modelled, rapl_counters
from sparing.measure.watts import CoreWatts, core_watts

RANGE_UJ = 262_143_328_850  # a real machine's max_energy_range_uj


class FakeMachine:
    """A powercap tree whose register follows a power curve, and a clock that we turn."""

    def __init__(self, root: Path, watts: Callable[[float], float], *, start_uj: int = 0) -> None:
        self.now, self._joules, self._watts, self._start = 0.0, 0.0, watts, start_uj
        self.zone = root / "intel-rapl:0"
        self.zone.mkdir(parents=True)
        (self.zone / "name").write_text("package-0\n")
        (self.zone / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
        self._write()

    def _write(self) -> None:
        raw = (self._start + round(self._joules * 1e6)) % (RANGE_UJ + 1)
        (self.zone / "energy_uj").write_text(f"{raw}\n")

    def run(self, seconds: float, *, step: float = 0.01) -> None:
        for _ in range(round(seconds / step)):
            self._joules += self._watts(self.now + step / 2) * step
            self.now += step
        self._write()

    def meter(self, **options: object) -> Meter:
        counter = RaplCounter(self.zone, "RAPL package-0")
        return Meter([counter], wall=lambda: self.now, cpu=lambda: 0.0, **options)


CURVES = {
    "square": (lambda t: 100.0 if int(t) % 2 else 20.0, 600.0),
    "ramp": (lambda t: 10.0 * t, 500.0),
    "idle and burst": (lambda t: 200.0 if 4.0 <= t < 5.0 else 10.0, 200.0 + 90.0),
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("start_uj", [0, RANGE_UJ - 50_000_000])
def test_energy_of_a_known_curve(tmp_path: Path, name: str, start_uj: int) -> None:
    watts, joules = CURVES[name]
    machine = FakeMachine(tmp_path, watts, start_uj=start_uj)
    meter = machine.meter()
    mark = meter.mark()
    machine.run(10.0)
    reading = meter.since(mark)
    assert reading.joules == pytest.approx(joules, rel=0.01)
    assert reading.label == "measured"
    assert "RAPL package-0" in reading.method


def test_sampling_every_ten_seconds_would_miss_the_burst() -> None:
    """The control of the test above: power sampled at 10 s is wrong by far more than 1 %."""
    watts, joules = CURVES["idle and burst"]
    assert abs(watts(0.0) * 10.0 - joules) / joules > 0.5


def test_window_edges_are_the_marks(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, lambda t: 100.0 if t >= 3.0 else 10.0)
    meter = machine.meter()
    machine.run(2.0)
    mark = meter.mark()
    machine.run(2.0)
    assert meter.since(mark).joules == pytest.approx(110.0)


def test_many_wraps_with_a_poll_in_each(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, lambda t: 200.0)
    meter = machine.meter()
    mark = meter.mark()
    for _ in range(8):
        machine.run(1000.0, step=10.0)
        meter.poll()
    assert meter.since(mark).joules == pytest.approx(1.6e6)
    assert 5 * RANGE_UJ * 1e-6 < 1.6e6


def test_without_polls_two_wraps_look_like_none(tmp_path: Path) -> None:
    """Why the sampler polls."""
    machine = FakeMachine(tmp_path, lambda t: 200.0)
    meter = machine.meter()
    mark = meter.mark()
    machine.run(8000.0, step=10.0)
    assert meter.since(mark).joules < 0.2 * 1.6e6


def test_idle_is_subtracted_only_when_it_is_known(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, lambda t: 50.0)
    unknown, known = machine.meter(), machine.meter(idle_watts=20.0)
    marks = unknown.mark(), known.mark()
    machine.run(10.0)
    first, second = unknown.since(marks[0]), known.since(marks[1])
    assert first.joules == second.joules == pytest.approx(500.0)
    assert first.net_joules is None
    assert "not subtracted" in first.idle
    assert second.net_joules == pytest.approx(300.0)
    assert "20.0 W" in second.idle


def test_zones_are_packages_and_memory_once_each(tmp_path: Path) -> None:
    zones = [
        ("intel-rapl:0", "package-0"),
        ("intel-rapl:0:0", "core"),
        ("intel-rapl:0:1", "dram"),
        ("intel-rapl:1", "package-1"),
        ("intel-rapl:2", "psys"),
        ("intel-rapl-mmio:0", "package-0"),
    ]
    for folder, name in zones:
        zone = tmp_path / folder
        zone.mkdir()
        (zone / "name").write_text(name + "\n")
        (zone / "energy_uj").write_text("5\n")
        (zone / "max_energy_range_uj").write_text("1000\n")
    (tmp_path / "intel-rapl:9").symlink_to(tmp_path / "intel-rapl:1")
    counters, reason = rapl_counters(tmp_path)
    names = [counter.name for counter in counters]
    assert names == ["RAPL package-0", "RAPL dram", "RAPL package-1"]
    assert reason == ""


def test_no_zone_is_a_reason_and_no_counter(tmp_path: Path) -> None:
    assert rapl_counters(tmp_path / "absent")[0] == []
    assert "no RAPL" in rapl_counters(tmp_path)[1]


def test_a_refused_register_names_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeMachine(tmp_path, lambda t: 1.0)

    def refuse(zone: Path, name: str) -> RaplCounter:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(energy, "RaplCounter", refuse)
    counters, reason = rapl_counters(tmp_path)
    assert counters == []
    assert "sudo chmod" in reason


class FakeNvml:
    """NVML's total-energy counter on two devices."""

    class NVMLError(Exception):
        pass

    millijoules = (1000, 5000)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        return self.millijoules[handle]


def test_nvml_counts_all_devices_from_its_start() -> None:
    nvml = FakeNvml()
    counter = energy.NvmlCounter(nvml, [0, 1])
    nvml.millijoules = (3000, 5500)
    assert counter.total() == pytest.approx(2.5)


def test_a_gpu_measured_and_a_cpu_modelled_is_estimated() -> None:
    nvml = FakeNvml()
    watts = CoreWatts(active=5.0, idle=1.0, spread=0.5, method="stated")
    now = {"wall": 0.0, "cpu": 0.0}
    meter = Meter(
        [energy.NvmlCounter(nvml, [0, 1])],
        watts=watts,
        cores=2,
        wall=lambda: now["wall"],
        cpu=lambda: now["cpu"],
    )
    mark = meter.mark()
    now.update(wall=10.0, cpu=4.0)
    nvml.millijoules = (11_000, 5000)
    reading = meter.since(mark)
    assert reading.joules == pytest.approx(10.0 + (4 * 5 + 16 * 1))
    assert reading.low == pytest.approx(10.0 + 18.0)
    assert reading.high == pytest.approx(10.0 + 54.0)
    assert reading.label == "estimated"
    assert "NVML" in reading.method
    assert "stated" in reading.method
    assert reading.net_joules is None  # the GPU's idle draw is unknown


def test_the_model_is_power_times_load_times_time() -> None:
    """With no idle draw it is the plain TDP x load x seconds of other tools."""
    tdp, cores, load, seconds = 170.0, 24, 0.37, 100.0
    watts = CoreWatts(active=tdp / cores, idle=0.0, spread=0.4, method="table")
    reading = modelled(watts, cpu=load * cores * seconds, seconds=seconds, cores=cores)
    assert reading.joules == pytest.approx(tdp * load * seconds, rel=0.02)
    assert reading.label == "estimated"
    assert "+-40%" in reading.method


def test_gross_and_net_of_the_model() -> None:
    watts = CoreWatts(active=8.0, idle=2.0, spread=0.25, method="stated")
    reading = modelled(watts, cpu=10.0, seconds=10.0, cores=4)
    assert reading.joules == pytest.approx(10 * 8 + 30 * 2)
    assert reading.net_joules == pytest.approx(10 * 6)
    assert reading.low == pytest.approx(0.75 * reading.joules)


def test_nothing_known_is_unavailable_and_never_zero() -> None:
    reading = Meter([]).since(Meter([]).mark())
    assert reading.joules is None
    assert reading.label == "unavailable"
    assert add([Reading(joules=5.0, label="measured"), reading]).joules is None
    assert add([Reading(joules=5.0, label="measured"), reading]).label == "unavailable"


def test_watts_of_parts_in_the_table_and_others() -> None:
    known = core_watts("Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz")
    assert known.active == pytest.approx(210 / 24)
    assert "210" in known.method
    unknown = core_watts("Imaginary 9000")
    assert "Imaginary 9000" in unknown.method
    assert unknown.spread > known.spread
    stated = core_watts("whatever", 3.0)
    assert (stated.active, stated.spread) == (3.0, 0.0)
    assert "stated by the user" in stated.method
    assert math.isclose(stated.idle, 0.75)
