"""Shapes of work: names, room, units, prompts."""

import pytest

from sparing.base.errors import ConfigError
from sparing.bench.cells import Cell, prompt_ids, standard


def test_the_usual_cells() -> None:
    names = [cell.name for cell in standard()]
    assert names == ["decode@1", "decode@8", "decode@16", "prefill@1024", "first_token@512"]
    assert [cell.name for cell in standard(streams=(2,), prefill=0, first_token=0)] == ["decode@2"]
    assert Cell(kind="decode", prompt=16384).name == "decode@1+16384"


def test_room_is_the_prompt_the_first_token_and_every_step() -> None:
    assert Cell(kind="decode", prompt=10, steps=3, turns=5).room == 10 + 1 + 5 * 4
    assert Cell(kind="prefill", prompt=10).room == 11


def test_figures() -> None:
    assert Cell(kind="decode").figure(30, 2.0) == 15.0
    assert Cell(kind="prefill", prompt=100).figure(100, 0.5) == 200.0
    assert Cell(kind="first_token", prompt=100).figure(100, 0.5) == 500.0


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"kind": "decode", "turns": 4}, "turns"),
        ({"kind": "decode", "streams": 0}, "streams"),
        ({"kind": "prefill", "streams": 2}, "streams"),
        ({"kind": "decode", "steps": 0}, "steps"),
    ],
)
def test_a_cell_without_sense_is_refused(fields: dict, name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        Cell(**fields)


def test_prompts_are_the_same_for_all_and_differ_by_stream() -> None:
    first = prompt_ids(64, vocab=5000)
    assert first == prompt_ids(64, vocab=5000)
    assert first != prompt_ids(64, vocab=5000, stream=1)
    assert all(10 <= id < 900 for id in first)
    assert all(0 <= id < 7 for id in prompt_ids(64, vocab=7))
