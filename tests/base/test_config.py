"""Settings: what is written is what is read, and nothing unknown passes."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from sparing.base import config
from sparing.base.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    rate: float = 0.1
    name: str = "x"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    steps: int
    kind: Literal["a", "b"] = "a"
    where: Path | None = None
    sizes: tuple[int, ...] = ()
    on: bool = False
    inner: Inner = field(default_factory=Inner)


settings = st.builds(
    Outer,
    steps=st.integers(-(2**40), 2**40),
    kind=st.sampled_from(["a", "b"]),
    where=st.none() | st.sampled_from([Path("a/b"), Path("c")]),
    sizes=st.lists(st.integers(0, 9)).map(tuple),
    on=st.booleans(),
    inner=st.builds(Inner, rate=st.floats(0, 1), name=st.text("abc", min_size=1)),
)


@given(settings)
def test_round_trip_through_toml(outer: Outer) -> None:
    text = tomli_w.dumps(config.to_tree(outer))
    assert config.build(Outer, tomllib.loads(text)) == outer


def test_overrides_beat_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("steps = 3\n[inner]\nrate = 1\n")
    outer = config.load(Outer, file, {"steps": "5", "inner.name": "y", "on": "yes", "sizes": "1,2"})
    assert outer == Outer(steps=5, inner=Inner(rate=1.0, name="y"), on=True, sizes=(1, 2))


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"step": 1}, "did you mean 'steps'"),
        ({"steps": 1, "inner": {"rat": 1}}, "inner.rat: no such setting; did you mean 'rate'"),
        ({"steps": 1.5}, "steps: expected int"),
        ({"steps": True}, "steps: expected int"),
        ({"steps": "many"}, "steps: expected int"),
        ({"steps": 1, "kind": "c"}, "kind: expected one of a, b"),
        ({"steps": 1, "inner": 3}, "inner: expected a section"),
        ({}, "steps: required"),
    ],
)
def test_refusals_name_the_field(tree: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.build(Outer, tree)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a = ", b"[a]\n[a]\n"])
def test_a_file_that_is_not_toml(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.toml"):
        config.load(Outer, file, {})
