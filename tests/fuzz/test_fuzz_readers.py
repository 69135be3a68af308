"""Every seed, and some thousand changes of them, through the targets that the fuzzers call."""

import random
from pathlib import Path

import pytest
from tests.fuzz.mutate import changed
from tests.fuzz.targets import TARGETS

SEEDS = Path(__file__).parent / "seeds"
CHANGES = 2000


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_their_neighbours(name: str) -> None:
    seeds = [path.read_bytes() for path in sorted((SEEDS / name).iterdir())]
    draw = random.Random(name)
    for data in seeds:
        TARGETS[name](data)
    for _ in range(CHANGES):
        TARGETS[name](changed(name, draw.choice(seeds), draw))


@pytest.mark.parametrize("name", TARGETS)
def test_every_reader_has_seeds(name: str) -> None:
    assert any((SEEDS / name).iterdir())
