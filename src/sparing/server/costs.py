"""Joules of the machine, shared among the requests that ran, and what follows from them.

Between two readings the machine's energy and seconds are shared among the running requests by
the tokens each had computed (its prompt, once read, and what it generated).  What is used while
nothing runs belongs to no request and is counted apart.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from sparing.measure.energy import UNAVAILABLE, Meter, Reading
from sparing.measure.meter import system_meter
from sparing.measure.settings import MeasureConfig
from sparing.measure.units import Energy

SHARING = "shared among running requests by tokens computed"


class EnergyMeter(Protocol):
    """What is asked of a meter: a place in time, and the energy since then."""

    def mark(self) -> Any: ...
    def since(self, mark: Any, /) -> Reading: ...


def server_meter(watts_per_core: float | None) -> EnergyMeter:
    """The machine's meter, counting this process's own time: a server has no children.

    Reading it then takes microseconds, so that it can be read at every request's ends.
    """
    meter = system_meter(watts_per_core)
    return Meter(
        meter.counters,
        watts=meter.watts,
        cores=meter.cores,
        idle_watts=meter.idle_watts,
        cpu=time.process_time,
    )


@dataclass(slots=True, eq=False)
class Share:
    """What one request has computed, and what it was charged for it."""

    computed: int = 0
    """Tokens computed so far; the owner adds to it."""
    seen: int = 0
    """Tokens already charged for."""
    joules: float = 0.0
    seconds: float = 0.0
    """Machine seconds: wall time divided among the requests that ran at once."""


@dataclass(slots=True)
class Account:
    """The one book of a server; all calls come from the event loop."""

    meter: EnergyMeter | None
    config: MeasureConfig = field(default_factory=MeasureConfig)
    reading: Reading = UNAVAILABLE
    """The last reading, for its label and method."""
    request_joules: float = 0.0
    idle_joules: float = 0.0
    _open: set[Share] = field(default_factory=set)
    _mark: Any = None
    _wall: float = 0.0

    def open(self, now: float) -> Share:
        """Begin to charge a request; `now` in monotonic seconds."""
        self.settle(now)
        share = Share()
        self._open.add(share)
        return share

    def close(self, share: Share, now: float) -> None:
        """Charge a request a last time; harmless when it is closed already."""
        if share in self._open:
            self.settle(now)
            self._open.discard(share)

    def settle(self, now: float) -> None:
        """Share out what was used since the last time; kept back while nothing was computed."""
        fresh = {share: share.computed - share.seen for share in self._open}
        total = sum(fresh.values())
        if self._mark is not None and self._open and not total:
            return
        joules = self._read()
        for share, tokens in fresh.items():
            part = tokens / total if total else 0.0
            share.joules += joules * part
            share.seconds += (now - self._wall) * part
            share.seen = share.computed
        if total:
            self.request_joules += joules
        else:
            self.idle_joules += joules
        self._wall = now

    def _read(self) -> float:
        if self.meter is None:
            self._mark = ()
            return 0.0
        joules = 0.0
        if self._mark is not None:
            self.reading = self.meter.since(self._mark)
            joules = self.reading.joules or 0.0
        self._mark = self.meter.mark()
        return joules

    def of(self, share: Share) -> dict[str, Any]:
        """What the request cost so far: joules, gco2e, money (each or None), label, method."""
        if self.reading.joules is None:
            money = self.config.prices.of(share.seconds, None)
            return {
                "joules": None,
                "gco2e": None,
                "money": money,
                "label": "unavailable",
                "method": self.reading.method,
            }
        energy = Energy.of_joules(share.joules)
        carbon = self.config.intensity.of(energy, pue=self.config.pue)
        return {
            "joules": share.joules,
            "gco2e": carbon.grams,
            "money": self.config.prices.of(share.seconds, energy),
            "label": self.reading.label,
            "method": f"{self.reading.method}; {self.reading.idle}; {SHARING}; "
            f"carbon: {self.config.intensity.source}",
        }
