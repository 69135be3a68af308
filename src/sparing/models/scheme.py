"""How some of a folder's maps are quantised, and how a reader refuses what it does not know."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sparing.base.errors import ArtefactError

Layout = Literal["packed", "gptq", "gptq_v2", "awq", "gguf", "int8"]


@dataclass(frozen=True, slots=True)
class Scheme:
    """How some of a folder's maps are quantised."""

    bits: int
    """Bits of a code in memory."""

    group: int | None
    """Columns that share a scale; None for a whole row."""

    layout: Layout = "packed"
    """How codes lie in files: compressed-tensors (packed, int8), GPTQ (two versions), AWQ, GGUF."""

    symmetric: bool = True
    """packed: whether there are no zero points."""


def expect(ok: bool, name: str, expected: str, got: object) -> None:
    """Errors: ArtefactError naming the field, the rule and the value, unless `ok`."""
    if not ok:
        raise ArtefactError(f"{name}: expected {expected}, got {str(got)[:80]!r}")


def refuse_unknown(tree: Mapping[str, Any], known: set[str], name: str) -> None:
    """Errors: ArtefactError naming a field in use that is not among `known`."""
    for key, value in tree.items():
        if key not in known and value not in (None, False, {}, []):
            if key == "sparsity_config" and value == {"format": "dense"}:
                continue
            raise ArtefactError(f"{name}.{key[:80]}: not supported: {str(value)[:80]!r}")
