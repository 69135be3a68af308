"""What a stage returns: its artefact and what it knows about its own work."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """One finished stage."""

    artefact: Path
    """The folder it made."""
    tokens: int = 0
    """Tokens it processed; 0 where tokens are not what it counts."""
    flops: float | None = None
    """Floating-point operations by the closed form; None where there is none."""
    quality: dict[str, Any] = field(default_factory=dict)
    """What it measured of its product's quality."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Everything else worth a line."""
