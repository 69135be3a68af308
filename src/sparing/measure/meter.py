"""`measured()`: what one block cost, whatever way it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

from sparing.measure import clock, energy, machine, memory, settings
from sparing.measure import watts as watts_room
from sparing.measure.cost import Cost
from sparing.measure.settings import MeasureConfig
from sparing.measure.units import Energy

TICK_S = 0.05
"""How often the sampler looks at this process: a reading takes about 20 us."""

CHILDREN_EVERY = 10
"""Every so many ticks it also looks at the children, which walks the process table."""

COUNTERS_EVERY = 600
"""Every so many ticks (30 s) it reads the counters, so that none wraps twice unseen."""


class Block:
    """A running block; `cost` may be asked for while it runs and stands still after the end."""

    def __init__(self, config: MeasureConfig, meter: energy.Meter) -> None:
        self._config, self._meter = config, meter
        self._high = memory.high_water_bytes()
        self._moved = memory.moved()
        self._peak = memory.resident_bytes()
        self._final: Cost | None = None
        self._mark = meter.mark()
        self._wall, self._cpu = self._mark.wall, self._mark.cpu

    def sample(self, *, children: bool) -> None:
        """Look at the memory now."""
        seen = memory.resident_bytes() if children else memory.own_resident_bytes()
        self._peak = max(self._peak, seen)

    @property
    def cost(self) -> Cost:
        """What the block has cost so far, or in all once it has ended."""
        return self._final or self._now()

    def finish(self) -> None:
        """Freeze the cost."""
        self._final = self._now()

    def _now(self) -> Cost:
        reading = self._meter.since(self._mark)
        self.sample(children=True)
        seconds = clock.wall() - self._wall
        moved = memory.moved().since(self._moved)
        used = None if reading.joules is None else Energy.of_joules(reading.joules)
        intensity, prices = self._config.intensity, self._config.prices
        pue = self._config.pue
        grams = None if used is None else intensity.of(used, pue=pue).grams
        return Cost(
            seconds=seconds,
            cpu_seconds=max(0.0, clock.cpu_seconds() - self._cpu),
            peak_rss_bytes=memory.peak_of_block(self._peak, self._high, memory.high_water_bytes()),
            read_bytes=moved.read_bytes,
            written_bytes=moved.written_bytes,
            joules=reading.joules,
            joules_net=reading.net_joules,
            joules_low=reading.low,
            joules_high=reading.high,
            energy_label=reading.label,
            energy_method=reading.method,
            energy_idle=reading.idle,
            gco2e=grams,
            carbon_method=(
                f"{intensity.grams_per_kwh:g} g/kWh ({intensity.source}), PUE {pue:g}"
                if used is not None
                else "no energy figure"
            ),
            money=prices.of(seconds, used),
            currency=prices.currency if prices.stated else None,
        )


@contextmanager
def measured(
    config: MeasureConfig | None = None,
    *,
    meter: energy.Meter | None = None,
    heartbeat: Callable[[Cost], None] | None = None,
    heartbeat_s: float = 5.0,
) -> Iterator[Block]:
    """Meter the block; read `block.cost` when it has ended, or while it runs.

    Without `config`, what the user's settings file states holds.
    `heartbeat` is called from the sampling thread about every `heartbeat_s` seconds with the
    cost so far, so that a killed process leaves what it had spent.
    """
    config = config or settings.stated()
    block = Block(config, meter or system_meter(config.watts_per_core))
    stop = threading.Event()
    beat = (heartbeat, max(1, round(heartbeat_s / TICK_S))) if heartbeat else None
    sampler = threading.Thread(
        target=_watch, args=(block, stop, beat), name="sparing-meter", daemon=True
    )
    sampler.start()
    try:
        yield block
    finally:
        stop.set()
        sampler.join()
        block.finish()


def _watch(
    block: Block, stop: threading.Event, beat: tuple[Callable[[Cost], None], int] | None
) -> None:
    ticks = 0
    while not stop.wait(TICK_S):
        ticks += 1
        block.sample(children=ticks % CHILDREN_EVERY == 0)
        if ticks % COUNTERS_EVERY == 0:
            block._meter.poll()
        if beat is not None and ticks % beat[1] == 0:
            beat[0](block.cost)


@lru_cache(maxsize=8)
def system_meter(watts_per_core: float | None = None) -> energy.Meter:
    """The meter of this machine: RAPL and NVML where they can be read, else the model."""
    rapl, why_no_rapl = energy.rapl_counters()
    nvml, _ = energy.nvml_counters()
    facts = machine.identify()
    model = None
    if not rapl:
        model = watts_room.core_watts(facts.model, watts_per_core)
        model = watts_room.because(model, why_no_rapl)
    return energy.Meter(
        [*rapl, *nvml],
        watts=model,
        cores=facts.cores,
        idle_watts=machine.idle_watts() if rapl else None,
    )
