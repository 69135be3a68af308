"""`measured()` on blocks whose cost is known."""

import subprocess
import sys
import time

import numpy as np
import pytest

from sparing.measure import memory, meter
from sparing.measure.energy import Meter
from sparing.measure.settings import MeasureConfig

BURN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"


def test_sleeping_costs_wall_time_and_no_processor_time() -> None:
    with meter.measured() as block:
        time.sleep(0.3)
    assert 0.3 <= block.cost.seconds < 60.0
    assert block.cost.cpu_seconds < 0.25


def test_the_work_of_a_finished_child_counts() -> None:
    with meter.measured() as block:
        subprocess.run([sys.executable, "-c", BURN], check=True)
    assert 0.28 <= block.cost.cpu_seconds < 2.0


def test_the_work_of_a_child_that_still_runs_counts() -> None:
    code = BURN + "\nimport sys\nprint('burnt', flush=True)\nsys.stdin.read()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as child:
        child.stdout.readline()
        with meter.measured() as idle:
            pass
        child.stdin.close()
        child.wait()
    assert idle.cost.cpu_seconds < 0.25  # what it did before the block is not the block's


def test_peak_memory_sees_an_array_that_is_gone_at_the_end() -> None:
    before = memory.own_resident_bytes()
    with meter.measured() as block:
        array = np.ones(12_000_000)  # 96 MB, touched
        time.sleep(0.5)  # ten looks of the sampler
        del array
    assert block.cost.peak_rss_bytes > before + 80e6


def test_peak_memory_of_a_block_is_not_that_of_an_earlier_one() -> None:
    with meter.measured() as big:
        array = np.ones(25_000_000)
        time.sleep(0.5)  # ten looks of the sampler
        del array
    with meter.measured() as small:
        time.sleep(0.05)
    assert small.cost.peak_rss_bytes < big.cost.peak_rss_bytes - 100e6


def test_peak_of_block_trusts_the_mark_only_when_the_block_moved_it() -> None:
    assert memory.peak_of_block(100, before=500, after=500) == 100
    assert memory.peak_of_block(100, before=500, after=700) == 700
    assert memory.peak_of_block(100, before=None, after=None) == 100


def test_bytes_through_system_calls(tmp_path) -> None:
    path = tmp_path / "block"
    with meter.measured() as block:
        path.write_bytes(bytes(3_000_000))
        path.read_bytes()
    if block.cost.written_bytes is None:
        pytest.skip("this system does not count them")
    assert block.cost.written_bytes >= 3_000_000
    assert block.cost.read_bytes >= 3_000_000


def test_carbon_and_money_follow_the_settings() -> None:
    config = MeasureConfig(
        grams_per_kwh=500.0, pue=2.0, watts_per_core=10.0, machine_per_hour=36.0, currency="EUR"
    )
    fake = Meter([], watts=meter.system_meter(10.0).watts, cores=2)
    if fake.watts is None:
        pytest.skip("this machine has counters")
    with meter.measured(config, meter=fake) as block:
        time.sleep(0.1)
    cost = block.cost
    assert cost.energy_label == "estimated"
    assert cost.gco2e == pytest.approx(cost.joules / 3.6e6 * 2.0 * 500.0)
    assert cost.money == pytest.approx(cost.seconds * 0.01, rel=0.01)
    assert cost.currency == "EUR"
    assert "PUE 2" in cost.carbon_method


def test_without_a_source_of_energy_nothing_is_zero() -> None:
    with meter.measured(meter=Meter([])) as block:
        pass
    cost = block.cost
    assert (cost.joules, cost.joules_net, cost.gco2e, cost.money) == (None,) * 4
    assert cost.energy_label == "unavailable"


def test_a_failing_block_is_metered_too() -> None:
    blocks = []

    def fail() -> None:
        with meter.measured() as block:
            blocks.append(block)
            time.sleep(0.05)
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        fail()
    (block,) = blocks
    assert block.cost.seconds >= 0.05
    frozen = block.cost
    time.sleep(0.02)
    assert block.cost == frozen


def test_the_heartbeat_tells_the_cost_so_far() -> None:
    seen = []
    with meter.measured(heartbeat=seen.append, heartbeat_s=0.1):
        deadline = time.monotonic() + 60
        while len(seen) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
    assert 0 < seen[0].seconds < seen[1].seconds
