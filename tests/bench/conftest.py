"""Fake engines behind real child processes."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparing.bench.contestant import Entry

FAKE = Path(__file__).with_name("fake_worker.py")


@pytest.fixture
def fake_python(tmp_path: Path) -> str:
    """A program that takes the place of an interpreter and runs the fake worker."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}"\n')
    script.chmod(0o755)
    return str(script)


@pytest.fixture
def entry(fake_python: str) -> Callable[..., Entry]:
    """An entry of the fake engine; options tell it how to behave."""

    def make(label: str = "peer", *, ours: bool = False, **options: Any) -> Entry:
        return Entry(
            label=label,
            engine="sparing" if ours else "fake",
            model="nothing",
            python=fake_python,
            weight_bytes=1000,
            options=options,
        )

    return make
