"""Two stages small enough to read: one writes a number, the other doubles it."""

from dataclasses import dataclass
from pathlib import Path

from sparing.base import config, files
from sparing.base.stage import StageResult

CALLS: list[str] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    number: int = 1
    """What is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubleConfig:
    source: Path
    """Where the number is read."""
    fail: bool = False
    """Fail half-way."""


def write(
    settings: SourceConfig, out: Path, *, resume: bool = False, overwrite: bool = False
) -> StageResult:
    CALLS.append(out.name)
    stage = config.to_tree(settings)
    with files.new_artefact(out, kind="toy", stage=stage, overwrite=overwrite) as draft:
        (draft.path / "number").write_text(str(settings.number))
    return StageResult(artefact=out, tokens=settings.number)


def double(
    settings: DoubleConfig, out: Path, *, resume: bool = False, overwrite: bool = False
) -> StageResult:
    CALLS.append(out.name)
    stage, parents = config.to_tree(settings), {"source": files.hash_of(settings.source)}
    with files.new_artefact(
        out, kind="toy", stage=stage, parents=parents, overwrite=overwrite
    ) as draft:
        if settings.fail:
            raise ValueError("asked to fail")
        number = int((settings.source / "number").read_text())
        (draft.path / "number").write_text(str(2 * number))
    return StageResult(artefact=out, quality={"number": 2 * number})
