"""The toy stages take the real ones' place in the table."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import toy_stages

from sparing.recipe import stages


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The table holds `write` and `double`; returns the list of calls."""
    table = {
        "write": stages.Stage("toy_stages", "write", "SourceConfig"),
        "double": stages.Stage("toy_stages", "double", "DoubleConfig"),
    }
    monkeypatch.setattr(stages, "STAGES", table)
    toy_stages.CALLS.clear()
    return toy_stages.CALLS


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "toy.toml"
    path.write_text(
        'name = "toy"\n[one]\nuse = "write"\nnumber = 3\n[two]\nuse = "double"\nsource = "@one"\n'
    )
    return path
