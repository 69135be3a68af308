"""Which instruction set runs, and how one is forced."""

import os
import subprocess
import sys

import pytest

from sparing.base.errors import ConfigError
from sparing.kernels import native
from sparing.kernels.choose import choose

ASK = "from sparing.kernels import native; print(native.isa())"


def test_the_best_that_runs_is_taken() -> None:
    assert choose(("reference", "avx2", "avx512")).isa == "avx512"
    assert choose(("avx2", "reference")).isa == "avx2"
    assert "best" in choose(("reference",)).reason


def test_a_forced_one_is_taken_with_the_reason() -> None:
    choice = choose(("avx2", "reference"), "reference")
    assert choice.isa == "reference"
    assert "SPARING_ISA" in choice.reason


@pytest.mark.parametrize("wanted", ["sse", "AVX2", "avx512"])
def test_what_cannot_run_is_refused(wanted: str) -> None:
    with pytest.raises(ConfigError, match="SPARING_ISA"):
        choose(("avx2", "reference"), wanted)


@pytest.mark.parametrize("isa", native.library().isas())
def test_the_environment_forces_one(isa: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        env=os.environ | {"SPARING_ISA": isa},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == isa, done.stderr


def test_the_environment_cannot_force_another() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        env=os.environ | {"SPARING_ISA": "sse"},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "ConfigError" in done.stderr
