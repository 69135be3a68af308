"""`sparing ledger` on a small run."""

import json
import sys
from pathlib import Path

import pytest

from sparing.cli.main import main
from sparing.measure.ledger import Ledger
from sparing.report.compare import Pair, compare
from sparing.report.gather import gather

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
import fake_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_run.build(tmp_path_factory.mktemp("runs") / "first")


def test_show_lists_stages_and_what_models_cost(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", "show", str(run)]) == 0
    text = capsys.readouterr().out
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert lines["int4"][:5] == ["int4", "finished", "9.4", "s", "13.0"]
    assert lines["int4"][-1] == "3:06"  # corpus, tokenizer, shards, model and int4
    assert lines["sum"][1:3] == ["3:41", "6:42"]
    assert "estimated" in lines["model"]
    assert "5 W per core" in text


def test_show_as_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "show", str(run / "ledger.sqlite"), "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert [row["stage"] for row in tree["rows"]] == list(fake_run.STAGES)
    assert tree["total"]["energy_label"] == "estimated"
    last = tree["rows"][6]["artefact_hash"]
    assert tree["cost_of"][last]["seconds"] == pytest.approx(14.2 + 6.1 + 5.3 + 151.0 + 9.4)


def test_show_without_a_run_takes_the_stages_run_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPARING_HOME", str(tmp_path))
    assert main(["ledger", "show"]) == 1
    assert "run a stage first" in capsys.readouterr().err
    with Ledger(tmp_path / "ledger.sqlite").stage("alone"):
        pass
    assert main(["ledger", "show"]) == 0
    assert "alone" in capsys.readouterr().out


def test_report_writes_the_page(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "report", str(run), "--json"]) == 0
    path = Path(json.loads(capsys.readouterr().out)["report"])
    assert path == run / "report.html"
    assert path.read_text().startswith("<!doctype html>")


def test_compare_two_runs(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = fake_run.build(tmp_path / "second", without=("int8",))
    assert main(["ledger", "compare", str(run), str(other), "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    figures = {entry["name"]: entry for entry in tree["figures"]}
    assert figures["held-out bits per byte"]["ratio"] == 1.0
    assert figures["int8 mean KL, nats"] == {
        "name": "int8 mean KL, nats",
        "first": 0.0031,
        "second": None,
        "ratio": None,
    }
    seconds = figures["all stages, seconds"]
    assert seconds["first"] - seconds["second"] == pytest.approx(8.8)
    assert main(["ledger", "compare", str(run), str(other)]) == 0
    assert "second / first" in capsys.readouterr().out


def test_a_ratio_needs_both_sides() -> None:
    assert Pair(name="x", first=2.0, second=3.0).ratio == 1.5
    assert Pair(name="x", first=0.0, second=3.0).ratio is None
    assert Pair(name="x", first=None, second=3.0).ratio is None


def test_an_empty_run_compares_with_nothing(tmp_path: Path) -> None:
    assert compare(gather(tmp_path), gather(tmp_path)) == []


@pytest.mark.parametrize("verb", ["show", "report"])
def test_a_run_that_is_not_there(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", verb, str(tmp_path / "absent")]) == 1
    assert "absent" in capsys.readouterr().err
