"""Rows survive what happens to their writers; costs add up along the parents."""

import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparing.base.errors import ArtefactError
from sparing.base.files import hash_of, new_artefact
from sparing.base.stage import StageResult
from sparing.measure import schema
from sparing.measure.cost import Cost, total
from sparing.measure.ledger import Ledger, Row, chain_cost
from sparing.measure.units import Label


def make(out: Path, text: str, parents: dict[str, str] | None = None) -> StageResult:
    with new_artefact(out, kind="corpus", stage={}, parents=parents or {}) as draft:
        (draft.path / "text").write_text(text)
    return StageResult(artefact=out, tokens=7, flops=1e6, quality={"loss": 1.5})


def test_a_finished_stage(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    with ledger.stage("data.build", run="first", target=tmp_path / "corpus") as row:
        row.result(make(tmp_path / "corpus", "a", {"sources": "feed"}))
    (kept,) = ledger.rows()
    assert (kept.run, kept.stage, kept.status) == ("first", "data.build", "finished")
    assert kept.artefact_hash == hash_of(tmp_path / "corpus")
    assert kept.parents == {"sources": "feed"}
    assert (kept.tokens, kept.flops) == (7, 1e6)
    assert kept.facts["loss"] == 1.5
    assert kept.cost == row.cost
    assert kept.cost.seconds > 0
    assert kept.cost.energy_label in ("measured", "estimated")
    assert ledger.rows("other") == []


def test_a_failing_stage_is_kept_and_its_error_raised(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    with pytest.raises(ValueError, match="no text"), ledger.stage("data.build"):
        raise ValueError("no text")
    (kept,) = ledger.rows()
    assert kept.status == "failed"
    assert kept.error == "ValueError: no text"
    assert kept.cost.seconds > 0


KILLED = """
import sys, time
from pathlib import Path
from sparing.measure import ledger, meter
old = meter.measured
def quick(config, *, heartbeat):
    return old(config, heartbeat=heartbeat, heartbeat_s=0.1)
ledger.meter.measured = quick
with ledger.Ledger(Path(sys.argv[1])).stage("pretrain", run="r", target=Path("model")):
    print("begun", flush=True)
    while True:
        sum(range(1000))
"""


def start_and_kill(path: Path) -> None:
    """Kill a stage once the ledger has seen it work."""
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            (row,) = Ledger(path).rows()
            assert row.status == "started"
            if row.cost is not None and row.cost.cpu_seconds > 0.1:
                break
            time.sleep(0.05)
        child.send_signal(signal.SIGKILL)
        child.wait()


def test_kill_9_leaves_a_readable_ledger_and_what_was_spent(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    start_and_kill(path)
    ledger = Ledger(path)
    (kept,) = ledger.rows()
    assert kept.status == "interrupted"
    assert kept.cost.cpu_seconds > 0.1
    with ledger.stage("pretrain", run="r", target=Path("model")) as row:
        row.result(make(tmp_path / "model", "weights"))
    chain = ledger.cost_of(hash_of(tmp_path / "model"))
    assert [r.status for r in chain.rows] == ["interrupted", "finished"]
    assert chain.total.seconds == pytest.approx(kept.cost.seconds + row.cost.seconds)


HAMMER = """
import sys
from pathlib import Path
from sparing.measure import schema
from sparing.measure.ledger import _insert
while True:
    with schema.connect(Path(sys.argv[1]), create=True) as connection:
        for stage in ("one", "two"):
            _insert(connection, "stages", {"run": "h", "stage": stage, "status": "started",
                "begun_unix": 0.0, "pid": 1, "pid_begun": 0.0, "host": "h"})
    print("written", flush=True)
"""


def test_kills_in_the_middle_of_transactions(tmp_path: Path) -> None:
    """Both rows of a transaction or none of them, at eight random moments."""
    path = tmp_path / "ledger.sqlite"
    for round_ in range(8):
        command = [sys.executable, "-c", HAMMER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            time.sleep(0.01 + 0.017 * round_)  # any moment will do
            child.kill()
            child.wait()
    stages = [row.stage for row in Ledger(path).rows()]
    assert stages.count("one") == stages.count("two") >= 8
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


WRITER = """
import sys
from pathlib import Path
from sparing.measure.ledger import Ledger
for _ in range(10):
    with Ledger(Path(sys.argv[1])).stage("eval", run=sys.argv[2]):
        pass
"""


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), n]) for n in "ab"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    ledger = Ledger(path)
    assert len(ledger.rows("a")) == len(ledger.rows("b")) == 10
    assert {row.status for row in ledger.rows()} == {"finished"}


def test_no_ledger_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="no such ledger"):
        Ledger(tmp_path / "absent").rows()
    (tmp_path / "text").write_text("not a database, but long enough to be looked at" * 40)
    with pytest.raises(ArtefactError, match="text"):
        Ledger(tmp_path / "text").rows()
    with sqlite3.connect(tmp_path / "other") as connection:
        connection.execute("CREATE TABLE mine (x)")
    with pytest.raises(ArtefactError, match="not a ledger of ours"):
        Ledger(tmp_path / "other").rows()
    with (
        pytest.raises(ArtefactError, match="not a ledger of ours"),
        Ledger(tmp_path / "other").stage("eval"),
    ):
        pass


def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path).stage("eval"):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    with pytest.raises(ArtefactError, match="version 2"):
        Ledger(path).rows()


def test_the_journal_is_not_a_wal(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path).stage("eval"):
        pass
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert [file.name for file in tmp_path.iterdir()] == ["ledger.sqlite"]


def cost(seconds: float = 1.0, joules: float | None = 2.0, label: Label = "measured") -> Cost:
    return Cost(seconds=seconds, cpu_seconds=seconds, joules=joules, energy_label=label)


def row(number: int, content_hash: str | None, parents: tuple[str, ...] = (), **other) -> Row:
    fields = {
        "run": "r",
        "stage": f"s{content_hash}",
        "target": content_hash,
        "status": "finished",
        "cost": cost(),
    }
    return Row(
        id=number,
        begun_unix=0.0,
        ended_unix=1.0,
        artefact=content_hash,
        artefact_hash=content_hash,
        parents={f"p{i}": parent for i, parent in enumerate(parents)},
        tokens=0,
        flops=None,
        error=None,
        **(fields | other),
    )


def test_a_shared_parent_counts_once() -> None:
    rows = [row(1, "a"), row(2, "b", ("a",)), row(3, "c", ("a",)), row(4, "d", ("b", "c"))]
    chain = chain_cost(rows, "d")
    assert chain.total.seconds == 4.0
    assert [entry.id for entry in chain.rows] == [1, 2, 3, 4]
    assert chain.unknown == ()


def test_sources_that_no_stage_made_are_listed() -> None:
    chain = chain_cost([row(1, "a", ("raw",))], "a")
    assert chain.unknown == ("raw",)
    assert chain_cost([], "x").unknown == ("x",)
    assert chain_cost([], "x").total.joules is None


def test_a_chain_is_as_good_as_its_weakest_figure() -> None:
    measured = row(1, "a")
    estimated = row(2, "b", ("a",), cost=cost(label="estimated"))
    nothing = row(3, "c", ("b",), cost=cost(joules=None, label="unavailable"))
    assert chain_cost([measured], "a").total.energy_label == "measured"
    two = chain_cost([measured, estimated], "b").total
    assert (two.joules, two.energy_label) == (4.0, "estimated")
    three = chain_cost([measured, estimated, nothing], "c").total
    assert (three.joules, three.energy_label) == (None, "unavailable")


def test_attempts_before_a_success_count_and_older_ones_do_not() -> None:
    done = row(2, "a", stage="t", target="t")
    lost = replace(done, id=1, status="interrupted", artefact_hash=None)
    tried = replace(done, id=3, status="failed", artefact_hash=None)
    again = replace(done, id=4)
    elsewhere = replace(tried, id=5, target="other")
    chain = chain_cost([lost, done, tried, elsewhere, again], "a")
    assert [entry.id for entry in chain.rows] == [3, 4]
    assert [entry.id for entry in chain_cost([lost, done], "a").rows] == [1, 2]


@st.composite
def graphs(draw: st.DrawFn) -> list[Row]:
    """Stages in order, each from any subset of the earlier ones, perhaps unfinished."""
    rows: list[Row] = []
    for number in range(1, draw(st.integers(1, 12)) + 1):
        earlier = [entry.artefact_hash for entry in rows]
        parents = draw(st.lists(st.sampled_from(earlier), unique=True)) if earlier else []
        seconds = float(draw(st.integers(0, 1000)))
        joules = draw(st.none() | st.integers(0, 1000).map(float))
        spent = cost(seconds, joules, "unavailable" if joules is None else "estimated")
        rows.append(row(number, f"h{number}", tuple(parents), cost=spent))
    return rows


@given(graphs(), st.randoms())
@settings(max_examples=60, deadline=None)
def test_cost_of_any_graph(rows: list[Row], random) -> None:
    """Equal to the sum over all ancestors, found here by another walk; order is immaterial."""
    by_hash = {entry.artefact_hash: entry for entry in rows}
    wanted = {rows[-1].artefact_hash}
    while True:
        wider = wanted | {p for h in wanted for p in by_hash[h].parents.values()}
        if wider == wanted:
            break
        wanted = wider
    chain = chain_cost(rows, rows[-1].artefact_hash)
    assert {entry.artefact_hash for entry in chain.rows} == wanted
    assert chain.total.seconds == sum(by_hash[h].cost.seconds for h in wanted)
    parts = [by_hash[h].cost.joules for h in wanted]
    assert chain.total.joules == (None if None in parts else sum(parts))
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert chain_cost(shuffled, rows[-1].artefact_hash).total == chain.total


def test_a_sum_of_costs() -> None:
    parts = [
        Cost(seconds=1, cpu_seconds=2, peak_rss_bytes=10, money=1.0, currency="EUR"),
        Cost(seconds=3, cpu_seconds=4, peak_rss_bytes=30, money=2.0, currency="EUR"),
    ]
    both = total(parts)
    assert (both.seconds, both.cpu_seconds, both.peak_rss_bytes) == (4, 6, 30)
    assert (both.money, both.currency) == (3.0, "EUR")
    mixed = total([*parts, Cost(seconds=1, cpu_seconds=1, money=1.0, currency="USD")])
    assert (mixed.money, mixed.currency) == (None, None)


def test_the_cost_columns_are_the_fields_of_cost() -> None:
    assert tuple(schema.COST_COLUMNS) == Cost.__slots__
