"""Which variant of the native operations runs here: chosen once, in the open, with a reason."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from sparing.base.errors import ConfigError

VARIABLE = "SPARING_ISA"
ISAS = ("avx512", "avx2", "i8mm", "dotprod", "neon", "reference")  # best first


@dataclass(frozen=True, slots=True)
class Choice:
    """An instruction set and why it was taken."""

    isa: str
    reason: str


def choose(available: Sequence[str], wanted: str | None = None) -> Choice:
    """The best of `available`, or `wanted`.

    Errors: ConfigError when the one that is wanted is unknown or cannot run here.
    """
    if not wanted:
        isa = next(isa for isa in ISAS if isa in available)
        return Choice(isa, "the best that this processor and build can run")
    if wanted not in ISAS:
        raise ConfigError(f"{VARIABLE}: expected one of {', '.join(ISAS)}, got {wanted!r}")
    if wanted not in available:
        can = ", ".join(available)
        raise ConfigError(f"{VARIABLE}: {wanted} cannot run on this processor or build; can: {can}")
    return Choice(wanted, f"{VARIABLE} asks for it")


def wanted() -> str | None:
    """What the environment asks for, if anything."""
    return os.environ.get(VARIABLE) or None
