"""What a processor draws, from its name, when nothing counts joules.

The figure is the thermal design power divided by the cores of the part, times the share of the
cores that work. It is a stated assumption and always labelled `estimated`: validation studies
found such models off by up to 40 % (arXiv:2509.22092), and a virtual core may be half a real
one, so the range is wide.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

IDLE_SHARE = 0.25
"""Idle draw of a core as a share of its full draw. Cloud Carbon Footprint's SPECpower averages
give 0.16 (Skylake) to 0.32 (first EPYC), https://www.cloudcarbonfootprint.org/docs/methodology"""

KNOWN_RANGE = 0.4
"""Half-width of the range for a part in the table (arXiv:2509.22092)."""

UNKNOWN_RANGE = 0.6
"""Half-width of the range for the default, 2 to 8 W: what the sources named here span."""

DEFAULT_WATTS_PER_CORE = 5.0
"""For an unknown part, such as a cloud's own: between the 1.6 to 6 W per virtual core of Cloud
Carbon Footprint and the median of the server rows below (6.6 W per real core)."""


@dataclass(frozen=True, slots=True)
class Part:
    """One published processor: its thermal design power and its cores."""

    pattern: str
    tdp_watts: float
    cores: int
    source: str


# Vendors' product pages (TDP, cores); one row per part that people meet on clouds and desks.
AMD = "amd.com product page"
INTEL = "ark.intel.com"
PARTS: tuple[Part, ...] = (
    Part(r"EPYC 7251\b", 120, 8, AMD),
    Part(r"EPYC 7401", 170, 24, AMD),
    Part(r"EPYC 7551", 180, 32, AMD),
    Part(r"EPYC 7601\b", 180, 32, AMD),
    Part(r"EPYC 7742\b", 225, 64, AMD),
    Part(r"EPYC 7452\b", 155, 32, AMD),
    Part(r"EPYC 7702", 200, 64, AMD),
    Part(r"EPYC 7763\b", 280, 64, AMD),
    Part(r"EPYC 7543", 225, 32, AMD),
    Part(r"EPYC 9654", 360, 96, AMD),
    Part(r"EPYC 9554", 360, 64, AMD),
    Part(r"Ryzen 9 5950X", 105, 16, AMD),
    Part(r"Ryzen 9 7950X\b", 170, 16, AMD),
    Part(r"Ryzen 7 5800X\b", 105, 8, AMD),
    Part(r"Xeon.*E5-2686 v4", 145, 18, INTEL),
    Part(r"Xeon.*E5-2620 v3", 85, 6, INTEL),
    Part(r"Xeon.*Platinum 8175M", 240, 24, INTEL),
    Part(r"Xeon.*Platinum 8259CL", 210, 24, INTEL),
    Part(r"Xeon.*Platinum 8375C", 300, 32, INTEL),
    Part(r"Xeon.*Platinum 8480", 350, 56, INTEL),
    Part(r"Core.*i7-1165G7", 28, 4, INTEL),
    Part(r"Core.*i9-13900K", 125, 24, INTEL),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreWatts:
    """What one busy and one idle core draw, with the range and the reason."""

    active: float
    """Watts of a core that computes."""

    idle: float
    """Watts of a core that waits."""

    spread: float
    """Half-width of the range, as a share of the figure."""

    method: str
    """Where the figure is from, in words."""


def core_watts(model_name: str, stated: float | None = None) -> CoreWatts:
    """Watts per core of the part with this name, or as `stated` by the user."""
    if stated is not None:
        return _of(stated, 0.0, f"{stated:g} W per core as stated by the user")
    for part in PARTS:
        if re.search(part.pattern, model_name):
            watts = part.tdp_watts / part.cores
            words = f"TDP {part.tdp_watts:g} W / {part.cores} cores ({part.source})"
            return _of(watts, KNOWN_RANGE, words)
    name = model_name or "an unknown processor"
    words = f"{DEFAULT_WATTS_PER_CORE:g} W per core assumed ({name} is not in the table)"
    return _of(DEFAULT_WATTS_PER_CORE, UNKNOWN_RANGE, words)


def _of(active: float, spread: float, method: str) -> CoreWatts:
    return CoreWatts(active=active, idle=active * IDLE_SHARE, spread=spread, method=method)


def because(watts: CoreWatts, reason: str) -> CoreWatts:
    """The same figures, saying why there is only a model."""
    return replace(watts, method=f"{watts.method}; {reason}")
