"""Joules: counted where something counts them, else modelled and said to be so.

    RAPL (processor package, memory)   measured    /sys/class/powercap, microjoules that wrap
    NVML (GPUs)                        measured    total-energy counter, millijoules
    model (processor)                  estimated   processor seconds x watts per core

Gross joules include what the machine draws while it waits; net joules have the idle draw taken
off where it is known.  Counters see the whole machine, the model only this process.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sparing.measure import clock
from sparing.measure.units import Label, weakest
from sparing.measure.watts import CoreWatts

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The energy of one block of work."""

    joules: float | None = None
    """Gross; None when nothing can be said, never 0 for that."""

    net_joules: float | None = None
    """With the idle draw of the same seconds taken off; None where that draw is unknown."""

    low: float | None = None
    """Lower end of the range of `joules`; equal to it when measured."""

    high: float | None = None
    """Upper end of the range of `joules`."""

    label: Label = "unavailable"
    """measured, estimated or unavailable; the weakest of the parts."""

    method: str = "no counter and no model"
    """Which counters or which assumption, and the boundary."""

    idle: str = "not treated"
    """How the idle draw was treated."""


UNAVAILABLE = Reading()


class Counter(Protocol):
    """Something that counts joules since it was made."""

    name: str
    label: Label

    def total(self) -> float:
        """Joules since it was made; never falls."""
        ...


class RaplCounter:
    """One powercap zone, summed across the wraps of its register.

    Right when it is read at least once per wrap (262 kJ on many parts: 20 minutes at 200 W),
    which the meter's sampling thread does.
    Source: https://docs.kernel.org/power/powercap/powercap.html
    """

    label: Label = "measured"

    def __init__(self, zone: Path, name: str) -> None:
        self.name = name
        self._file = zone / "energy_uj"
        # The register runs 0 .. max_energy_range_uj, both included.
        self._range = int((zone / "max_energy_range_uj").read_text()) + 1
        self._last, self._sum = self._raw(), 0
        self._guard = threading.Lock()

    def _raw(self) -> int:
        return int(self._file.read_text())

    def total(self) -> float:
        """Joules since the counter was made."""
        with self._guard:
            now = self._raw()
            self._sum += (now - self._last) % self._range
            self._last = now
            return self._sum * 1e-6


class NvmlCounter:
    """All NVIDIA GPUs of the machine, by NVML's total-energy counter (Volta and later)."""

    label: Label = "measured"

    def __init__(self, nvml: Any, handles: Sequence[Any]) -> None:
        self.name = f"NVML, {len(handles)} GPU" + ("s" if len(handles) > 1 else "")
        self._nvml, self._handles = nvml, tuple(handles)
        self._start = self._millijoules()

    def _millijoules(self) -> int:
        return sum(self._nvml.nvmlDeviceGetTotalEnergyConsumption(h) for h in self._handles)

    def total(self) -> float:
        """Joules since the counter was made."""
        return (self._millijoules() - self._start) * 1e-3


def rapl_counters(root: Path = POWERCAP) -> tuple[list[RaplCounter], str]:
    """Counters of the package and memory zones, and why there are none (else "").

    Package zones hold their `core` and `uncore` parts, which are not counted again; `psys`
    (the whole platform) overlaps with the packages and is left out.
    """
    counters: list[RaplCounter] = []
    reason = "no RAPL counter on this machine"
    seen: set[Path] = set()
    for zone in sorted(root.glob("*rapl*:*")) if root.is_dir() else []:
        real = zone.resolve()
        if real in seen or "-mmio" in zone.name:
            continue
        seen.add(real)
        try:
            name = (zone / "name").read_text().strip()
            if name.startswith("package") or name == "dram":
                counters.append(RaplCounter(zone, f"RAPL {name}"))
        except PermissionError:
            reason = f"RAPL is there but not readable; run: sudo chmod a+r {root}/*/energy_uj"
        except (OSError, ValueError):
            continue
    packages = any(counter.name.startswith("RAPL package") for counter in counters)
    return (counters, "") if packages else ([], reason)


def nvml_counters() -> tuple[list[NvmlCounter], str]:
    """A counter of the GPUs that have one, and why there is none (else "")."""
    try:
        import pynvml  # type: ignore[missing-import]  # of nvidia-ml-py, where there is a GPU
    except ImportError:
        return [], "no nvidia-ml-py"
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        return ([NvmlCounter(pynvml, handles)], "") if handles else ([], "no NVIDIA GPU")
    except pynvml.NVMLError as error:
        return [], f"NVML: {error}"


@dataclass(frozen=True, slots=True)
class Mark:
    """Where the counters stood."""

    wall: float
    cpu: float
    totals: tuple[float, ...]


class Meter:
    """Marks and differences over all energy sources of a machine.

    `counters` count joules; when none of them sees the processor, `watts` models it.
    """

    def __init__(
        self,
        counters: Sequence[Counter],
        *,
        watts: CoreWatts | None = None,
        cores: int = 1,
        idle_watts: float | None = None,
        wall: clock.Clock = clock.wall,
        cpu: clock.Clock = clock.cpu_seconds,
    ) -> None:
        self.counters = tuple(counters)
        self.watts, self.cores, self.idle_watts = watts, cores, idle_watts
        self._wall, self._cpu = wall, cpu

    def mark(self) -> Mark:
        """Where everything stands now."""
        totals = tuple(counter.total() for counter in self.counters)
        return Mark(self._wall(), self._cpu(), totals)

    def poll(self) -> None:
        """Read the counters so that none wraps twice unseen; call it every few minutes."""
        for counter in self.counters:
            counter.total()

    def since(self, mark: Mark) -> Reading:
        """The energy between `mark` and now."""
        now = self.mark()
        seconds = max(0.0, now.wall - mark.wall)
        parts: list[Reading] = []
        if self.counters:
            used = sum(now.totals) - sum(mark.totals)
            parts.append(_counted(used, seconds, self.counters, self.idle_watts))
        if self.watts is not None:
            cpu = max(0.0, now.cpu - mark.cpu)
            parts.append(modelled(self.watts, cpu, seconds, self.cores))
        return add(parts)


def _counted(
    joules: float, seconds: float, counters: Sequence[Counter], idle_watts: float | None
) -> Reading:
    net = None if idle_watts is None else max(0.0, joules - idle_watts * seconds)
    idle = (
        "idle draw unknown, not subtracted"
        if idle_watts is None
        else f"gross, and net of {idle_watts:.1f} W measured at rest"
    )
    return Reading(
        joules=joules,
        net_joules=net,
        low=joules,
        high=joules,
        label=weakest(counter.label for counter in counters),
        method=" + ".join(counter.name for counter in counters) + "; whole machine",
        idle=idle,
    )


def modelled(watts: CoreWatts, cpu: float, seconds: float, cores: int) -> Reading:
    """The energy of a processor from the seconds it worked.

    gross = cpu x active + (seconds x cores - cpu) x idle;  net = cpu x (active - idle).
    """
    resting = max(0.0, seconds * cores - cpu)
    gross = cpu * watts.active + resting * watts.idle
    net = cpu * (watts.active - watts.idle)
    return Reading(
        joules=gross,
        net_joules=net,
        low=gross * (1 - watts.spread),
        high=gross * (1 + watts.spread),
        label="estimated",
        method=f"processor time x {watts.method}, +-{watts.spread:.0%}; processor only",
        idle=f"gross, and net of {watts.idle:.2g} W per idle core (assumed)",
    )


def add(parts: Sequence[Reading]) -> Reading:
    """The sum of readings; a figure that one of them lacks is absent from the sum."""
    if not parts:
        return UNAVAILABLE
    return Reading(
        joules=_sum([part.joules for part in parts]),
        net_joules=_sum([part.net_joules for part in parts]),
        low=_sum([part.low for part in parts]),
        high=_sum([part.high for part in parts]),
        label=weakest(part.label for part in parts),
        method=" + ".join(dict.fromkeys(part.method for part in parts)),
        idle="; ".join(dict.fromkeys(part.idle for part in parts)),
    )


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None
