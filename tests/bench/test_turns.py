"""Interleaving: everybody's turn, limits between, failures that stop nobody else."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from sparing.bench import bench, turns
from sparing.bench.bench import Group
from sparing.bench.cells import Cell
from sparing.bench.contestant import Entry
from sparing.bench.record import Record
from sparing.bench.roof import Work

Make = Callable[..., Entry]
WORK = Work(block_macs=100, head_macs=10)
LIMITS = {
    "read_bytes_per_s": 1e6,
    "fp32_flops": 1e9,
    "bf16_flops": None,
    "int8_ops": 2e9,
    "int4_ops": 4e9,
}


def group(*entries: Entry, cells: tuple[Cell, ...]) -> Group:
    return Group(
        name="model int8", width="int8", entries=entries, cells=cells, work=WORK, vocab=1000
    )


@pytest.fixture
def measured(tmp_path: Path) -> Callable[..., Record]:
    """Runs a group with fixed limits, into `record` in the test's folder."""

    def run(made: Group, **more: object) -> Record:
        record = Record(tmp_path / "record.jsonl")
        bench.run(
            made,
            threads=1,
            record=record,
            limits=lambda: dict(LIMITS),
            logs=tmp_path,
            say=lambda text: None,
            **more,
        )
        return record

    return run


def test_who_begins_changes_with_the_turn() -> None:
    assert turns.rotated("abc", 0) == ["a", "b", "c"]
    assert turns.rotated("abc", 4) == ["b", "c", "a"]
    assert {turns.rotated("abc", turn)[0] for turn in range(3)} == {"a", "b", "c"}
    assert turns.rotated([], 1) == []


def test_turns_are_taken_one_by_one_with_the_limits_between(
    entry: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    class Told(turns.Contestant):
        def ask(self, do: str, **fields: object) -> dict:
            order.append(f"{self.entry.label}:{do}")
            return super().ask(do, **fields)

    monkeypatch.setattr(bench, "Contestant", Told)
    cell = Cell(kind="decode", streams=2, prompt=4, steps=2)

    def look() -> dict:
        order.append("limits")
        return dict(LIMITS)

    made = group(entry("a", ours=True), entry("b"), cells=(cell,))
    bench.run(
        made, threads=1, record=Record(None), limits=look, logs=tmp_path, say=lambda text: None
    )
    steps = [each for each in order if each == "limits" or each.endswith("steps")]
    one, other = ["limits", "a:steps", "b:steps"], ["limits", "b:steps", "a:steps"]
    assert steps == [*one, *other, *one, *other, *one]
    assert order[:2] == ["a:load", "b:load"]
    assert order[2:4] == ["a:open", "b:open"]
    assert order[-4:] == ["a:close", "b:close", "a:memory", "b:memory"]


def test_figures_are_tokens_over_the_childs_own_time(
    entry: Make, measured: Callable[..., Record]
) -> None:
    decode = Cell(kind="decode", streams=3, prompt=4, steps=2)
    first = Cell(kind="first_token", prompt=6)
    made = group(
        entry("us", ours=True, step_s=0.01, prompt_s=0.01),
        entry("them", step_s=0.03, prompt_s=0.02),
        cells=(decode, first),
    )
    report = bench.report(measured(made), made)
    rows = {(cell["cell"], row["label"]): row for cell in report["cells"] for row in cell["rows"]}
    mine, theirs = rows["decode@3+4", "us"], rows["decode@3+4", "them"]
    assert 150 < mine["median"] <= 300  # three tokens in 10 ms and what sleeping adds
    assert 50 < theirs["median"] <= 100
    assert mine["best_peer"] == "them"
    assert mine["ratio"] == pytest.approx(mine["median"] / theirs["median"])
    assert mine["ratio"] > 1.5
    assert theirs["best_peer"] is None
    assert rows["first_token@6", "us"]["median"] >= 10.0
    assert rows["first_token@6", "us"]["ratio"] < 1.0
    assert mine["roof"] == pytest.approx(3 / (1000 / 1e6))  # bytes bound: 1 ms a step
    assert mine["fraction"] == pytest.approx(mine["median"] / mine["roof"])


@pytest.mark.parametrize("fault", ["fails_at", "dies_at"])
def test_a_failing_peer_is_named_and_the_others_go_on(
    entry: Make, measured: Callable[..., Record], fault: str
) -> None:
    made = group(
        entry("us", ours=True),
        entry("bad", **{fault: 4}),
        cells=(
            Cell(kind="decode", prompt=4, steps=2),
            Cell(kind="prefill", prompt=6),
        ),
    )
    report = bench.report(measured(made), made)
    by_label = {row["label"]: row for row in report["cells"][0]["rows"]}
    assert by_label["us"]["median"] > 0
    assert by_label["us"]["ratio"] is None
    assert by_label["bad"]["median"] is None
    expected = "out of luck" if fault == "fails_at" else "ended during 'steps'"
    assert expected in by_label["bad"]["note"]
    after = {row["label"]: row["median"] for row in report["cells"][1]["rows"]}
    assert after["us"] > 0


def test_a_peer_that_cannot_load_is_absent_with_its_reason(
    entry: Make, measured: Callable[..., Record]
) -> None:
    cell = Cell(kind="decode", prompt=4, steps=1)
    made = group(entry("us", ours=True), entry("gone", refuses=True), cells=(cell,))
    report = bench.report(measured(made), made)
    assert "no such file" in report["absent"]["gone"]
    assert [row["label"] for row in report["cells"][0]["rows"]] == ["us"]


def test_a_run_that_was_stopped_goes_on_with_the_next_cell(
    entry: Make, measured: Callable[..., Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = (
        Cell(kind="decode", prompt=4, steps=1),
        Cell(kind="decode", streams=2, prompt=4, steps=1),
    )
    made = group(entry("us", ours=True), cells=cells)
    answers = iter([True, True, False])
    first = measured(made, go_on=lambda: next(answers))
    assert [line["cell"]["streams"] for line in first.of("cell", made.name)] == [1]
    second = measured(made)
    assert [line["cell"]["streams"] for line in second.of("cell", made.name)] == [1, 2]
    loads = len(second.of("loaded", made.name))
    measured(made)
    assert len(Record(second.path).of("loaded", made.name)) == loads  # nothing left, nothing begun


def test_contestants_are_told_how_much_room_all_cells_need(
    entry: Make, measured: Callable[..., Record]
) -> None:
    cells = (
        Cell(kind="decode", streams=4, prompt=4, steps=1),
        Cell(kind="prefill", prompt=90),
    )
    made = group(entry("us", ours=True), cells=cells)
    (loaded,) = measured(made).of("loaded", made.name)
    asked = loaded["asked"]
    assert asked["streams"] == 4
    assert asked["room"] == 91
    assert asked["kv_tokens"] >= max(91, 4 * cells[0].room)


def test_cells_beyond_the_context_are_left_out_with_the_reason() -> None:
    cells = [Cell(kind="prefill", prompt=90), Cell(kind="prefill", prompt=100)]
    fits, left = bench.fitting(cells, 91)
    assert [cell.prompt for cell in fits] == [90]
    assert left == ["prefill@100 needs 101 tokens, the model's context is 91"]


def test_two_contestants_of_one_name_are_refused(entry: Make) -> None:
    with pytest.raises(Exception, match="distinct labels"):
        group(entry("a"), entry("a"), cells=(Cell(kind="decode"),))


def test_nothing_is_left_running(entry: Make, tmp_path: Path) -> None:
    import psutil

    with ExitStack() as stack:
        child = stack.enter_context(turns.Contestant(entry(), threads=1, log=tmp_path / "log"))
        pid = child.pid
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)
