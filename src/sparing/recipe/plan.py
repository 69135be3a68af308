"""TOML and overrides -> a checked list of steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from sparing.base import config
from sparing.base.errors import ConfigError
from sparing.recipe.stages import stage_named

HEADER = ("name", "description")


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of a run: `with_` still holds `@name` where an earlier step's folder goes."""

    name: str
    use: str
    with_: Mapping[str, Any]

    @property
    def parents(self) -> list[str]:
        """Names of the earlier steps it takes from, in the order they appear."""
        return [
            item[1:]
            for value in self.with_.values()
            for item in (value if isinstance(value, list) else [value])
            if isinstance(item, str) and item.startswith("@")
        ]


@dataclass(frozen=True, slots=True)
class Recipe:
    name: str
    description: str
    steps: tuple[Step, ...]

    def to_toml(self) -> str:
        """The resolved recipe; reading it back gives an equal one."""
        tree: dict[str, Any] = {"name": self.name, "description": self.description}
        tree |= {step.name: {"use": step.use, **step.with_} for step in self.steps}
        return tomli_w.dumps(tree)


def read_recipe(path: Path, overrides: Mapping[str, str]) -> Recipe:
    """The recipe in a TOML file, with `step.key=text` overrides put in.

    Errors: ConfigError for an unknown stage, setting or step, a setting of the wrong type, or a
    reference to a step that does not come earlier.
    """
    tree = config.read_toml(path)
    for dotted in overrides:
        step = dotted.partition(".")[0]
        if step not in tree:
            raise ConfigError(f"--{dotted}: no such step{config.nearest(step, tree)}")
        if "." not in dotted and step not in HEADER:
            raise ConfigError(f"--{dotted}: {step} is a step; set one of its keys: --{dotted}.KEY=")
    config.override(tree, overrides)
    steps: list[Step] = []
    for name, section in tree.items():
        if name in HEADER:
            continue
        if not isinstance(section, dict):
            raise ConfigError(f"{name}: no such setting{config.nearest(name, HEADER)}")
        steps.append(_step(name, section, {step.name for step in steps}))
    if not steps:
        raise ConfigError(f"{path}: a recipe needs at least one step, a section with use = ...")
    return Recipe(str(tree.get("name", path.stem)), str(tree.get("description", "")), tuple(steps))


def _step(name: str, section: Mapping[str, Any], earlier: set[str]) -> Step:
    if not name.isidentifier():
        raise ConfigError(f"{name!r}: a step's name is letters, digits and _")
    if "use" not in section:
        raise ConfigError(f"{name}.use: required: the stage that the step runs")
    with_ = {key: value for key, value in section.items() if key != "use"}
    step = Step(name, section["use"], with_)
    for parent in step.parents:
        if parent not in earlier:
            raise ConfigError(
                f"{name}: @{parent} is not an earlier step{config.nearest(parent, earlier)}"
            )
    return Step(name, step.use, _typed(step))


def _typed(step: Step) -> dict[str, Any]:
    """Parse every setting once, before anything runs; text from the command line is typed."""
    _, cls = stage_named(step.use).load()
    settings = config.build(cls, dict(step.with_), prefix=step.name + ".")
    tree = config.to_tree(settings)
    return {key: tree[key] for key in step.with_ if key in tree}


def settings_of(step: Step, run: Path) -> Any:
    """The step's configuration, with `@name` replaced by folders of the run."""
    _, cls = stage_named(step.use).load()
    return config.build(cls, {key: _place(value, run) for key, value in step.with_.items()})


def _place(value: Any, run: Path) -> Any:
    if isinstance(value, list):
        return [_place(item, run) for item in value]
    if isinstance(value, str) and value.startswith("@"):
        return str(run / value[1:])
    return value
