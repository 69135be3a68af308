"""A recipe is checked whole before anything runs."""

from pathlib import Path

import pytest

from sparing.base.errors import ConfigError
from sparing.recipe.plan import read_recipe, settings_of
from sparing.recipe.stages import STAGES, Stage

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


@pytest.mark.usefixtures("toys")
def test_resolved_recipe_reads_back_equal(recipe_file: Path, tmp_path: Path) -> None:
    recipe = read_recipe(recipe_file, {"one.number": "7"})
    again = tmp_path / "again.toml"
    again.write_text(recipe.to_toml())
    assert read_recipe(again, {}) == recipe
    assert recipe.steps[0].with_ == {"number": 7}
    assert settings_of(recipe.steps[1], Path("run")).source == Path("run/one")


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"one.numbr": "1"}, "one.numbr: no such setting; did you mean 'number'"),
        ({"on.number": "1"}, "--on.number: no such step; did you mean 'one'"),
        ({"one.number": "x"}, "one.number: expected int"),
        ({"one.use": "wirte"}, "no such stage; did you mean 'write'"),
        ({"two.source": "@tow"}, "@tow is not an earlier step"),
        ({"two.source": "@two"}, "@two is not an earlier step"),
    ],
)
def test_mistakes_are_named(recipe_file: Path, overrides: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_recipe(recipe_file, overrides)


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize("text", ["", "nme = 1", "[one]\nnumber = 1", '["a b"]\nuse = "write"'])
def test_bad_recipes(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        read_recipe(path, {})


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid(path: Path) -> None:
    assert read_recipe(path, {}).steps


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_every_stage_of_the_table_exists(stage: Stage) -> None:
    function, settings = stage.load()
    assert callable(function)
    assert settings.__dataclass_params__.frozen
