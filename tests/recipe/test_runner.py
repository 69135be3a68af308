"""Steps run once; what changed, and what stands on it, runs again; failures lose nothing."""

import json
from pathlib import Path

import pytest

from sparing.base import files
from sparing.base.errors import ArtefactError
from sparing.cli.main import main
from sparing.measure.ledger import Ledger
from sparing.recipe.plan import read_recipe
from sparing.recipe.runner import Done, run_recipe

pytestmark = pytest.mark.usefixtures("toys")


def go(recipe_file: Path, run: Path, **overrides: str) -> Done:
    dotted = {name.replace("__", "."): value for name, value in overrides.items()}
    recipe = read_recipe(recipe_file, dotted)
    return run_recipe(recipe, run, resume=True, tell=lambda line: None)


def test_a_finished_run_does_nothing(recipe_file: Path, tmp_path: Path, toys: list[str]) -> None:
    done = go(recipe_file, tmp_path / "run")
    assert toys == ["one", "two"]
    assert (tmp_path / "run/two/number").read_text() == "6"
    assert done.steps["two"]["quality"] == {"number": 6}
    assert done.steps["two"]["cost"]["seconds"] > 0
    assert go(recipe_file, tmp_path / "run").steps == done.steps
    assert toys == ["one", "two"]


def test_a_change_runs_what_stands_on_it(
    recipe_file: Path, tmp_path: Path, toys: list[str]
) -> None:
    go(recipe_file, tmp_path / "run")
    go(recipe_file, tmp_path / "run", one__number="5")
    assert toys == ["one", "two", "one", "two"]
    assert (tmp_path / "run/two/number").read_text() == "10"


def test_a_failed_step_is_tried_again(recipe_file: Path, tmp_path: Path, toys: list[str]) -> None:
    with pytest.raises(ValueError, match="asked to fail"):
        go(recipe_file, tmp_path / "run", two__fail="true")
    assert not (tmp_path / "run/two").exists()
    go(recipe_file, tmp_path / "run")
    assert toys == ["one", "two", "two"]
    statuses = [(row.stage, row.status) for row in Ledger(tmp_path / "run/ledger.sqlite").rows()]
    assert statuses == [("one", "finished"), ("two", "failed"), ("two", "finished")]


def test_a_damaged_card_is_made_again(recipe_file: Path, tmp_path: Path, toys: list[str]) -> None:
    go(recipe_file, tmp_path / "run")
    (tmp_path / "run/one/sparing.json").unlink()
    with pytest.raises(ArtefactError, match="not an artefact"):
        go(recipe_file, tmp_path / "run")


def test_the_ledger_knows_the_chain(recipe_file: Path, tmp_path: Path) -> None:
    go(recipe_file, tmp_path / "run")
    chain = Ledger(tmp_path / "run/ledger.sqlite").cost_of(files.hash_of(tmp_path / "run/two"))
    assert [row.stage for row in chain.rows] == ["one", "two"]


def test_command_line(
    recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    assert main(["run", str(recipe_file), "--out", run, "--json", "--one.number=4"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"]["two"]["quality"]["number"] == 8
    assert main(["run", str(recipe_file), "--out", run]) == 1
    assert "--resume" in capsys.readouterr().err
    assert main(["run", str(recipe_file), "--out", run, "--one.numbr=4"]) == 2
    assert "did you mean 'number'" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis").write_text("years")
    assert main(["run", str(recipe_file), "--out", str(tmp_path / "mine"), "--resume"]) == 1
    assert (tmp_path / "mine/thesis").read_text() == "years"
