"""A stopped run's state on disk: whole and verified, or passed over for the one before.

    WORK/checkpoint-N/  weights.safetensors  optimiser.safetensors  trainer_state.json  sparing.json

Each is written by the atomic-commit library, so one that exists is whole; every byte is checked
against its card before it is used. The newest that passes is the one to go on from.
"""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sparing.base.errors import ArtefactError, ConfigError
from sparing.base.files import new_artefact, open_artefact, read_json
from sparing.base.logs import logger

WEIGHTS, OPTIMISER, STATE = "weights.safetensors", "optimiser.safetensors", "trainer_state.json"
_NAME = re.compile(r"checkpoint-([0-9]{1,12})")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that a run's next step depends on, beside its configuration and data."""

    step: int
    """Steps done."""
    weights: Mapping[str, Tensor]
    """Our tensor names to float32 weights."""
    optimiser: Mapping[str, Tensor]
    """What `Optimiser.state` gave."""
    journal: Mapping[str, Any]
    """Lines written so far, as plain values."""


def save(work: Path, checkpoint: Checkpoint, *, run: Mapping[str, Any], keep: int) -> Path:
    """Write `checkpoint-N`, then remove all but the newest `keep`.

    `run` describes what must be the same when the run goes on.
    Errors: ArtefactError when it cannot be written (a full disk, say); those before it stay.
    """
    path = work / f"checkpoint-{checkpoint.step}"
    with new_artefact(path, kind="checkpoint", stage=run, overwrite=True) as draft:
        _write(draft.path / WEIGHTS, checkpoint.weights)
        _write(draft.path / OPTIMISER, checkpoint.optimiser)
        state = {"step": checkpoint.step, "journal": checkpoint.journal}
        (draft.path / STATE).write_text(json.dumps(state) + "\n")
    for _, old in listed(work)[keep:]:
        shutil.rmtree(old)
    return path


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    try:
        save_file(_plain(tensors), path)
    except SafetensorError as error:  # how the library tells of a failed write
        raise ArtefactError(f"{path.parent}: {error}; make room and go on with --resume") from None


def listed(work: Path) -> list[tuple[int, Path]]:
    """Steps and folders of the checkpoints there, newest first; none is opened."""
    found = []
    for path in work.glob("checkpoint-*") if work.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match and path.is_dir():
            found.append((int(match[1]), path))
    return sorted(found, reverse=True)


def latest(work: Path, *, run: Mapping[str, Any]) -> Checkpoint | None:
    """The newest undamaged checkpoint; a damaged newer one is named in the log and removed.

    Errors:
        ConfigError: the run was started with other settings, which are named.
        ArtefactError: there are checkpoints, and all are damaged.
    """
    damaged: list[Path] = []
    for _, path in listed(work):
        try:
            found = _load(path, run)
        except ArtefactError as error:
            logger("training").warning("%s; going back to the checkpoint before", error)
            damaged.append(path)
            continue
        for bad in damaged:
            shutil.rmtree(bad)
        return found
    if damaged:
        raise ArtefactError(f"{work}: every checkpoint is damaged; start again with --overwrite")
    return None


def _load(path: Path, run: Mapping[str, Any]) -> Checkpoint:
    card = open_artefact(path, kind="checkpoint", verify=True)
    _same(card.stage, run)
    state = read_json(path / STATE)
    return Checkpoint(
        step=int(state["step"]),
        weights=load_file(path / WEIGHTS),
        optimiser=load_file(path / OPTIMISER),
        journal=state["journal"],
    )


def _same(was: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name in sorted(was.keys() | now.keys()):
        if was.get(name) != now.get(name):
            raise ConfigError(
                f"{name}: expected {was.get(name)!r}, as the run that --resume continues was "
                f"started, got {now.get(name)!r}; --overwrite starts again"
            )


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
