"""One model of ours against the peers that can take it: what the verb `bench` does."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparing.base.errors import ConfigError, require
from sparing.bench import bench, peers
from sparing.bench.bench import Group, Say
from sparing.bench.cells import Cell
from sparing.bench.contestant import Entry
from sparing.bench.record import Record
from sparing.bench.roof import Work
from sparing.engine.assemble import find_model
from sparing.kernels.formats import BFloat16, Float32, Int8
from sparing.kernels.peaks import Probe
from sparing.measure.machine import usable_cores
from sparing.models.folder import ModelFolder, open_model


def compare(
    model: Path,
    against: Sequence[str],
    *,
    cells: Sequence[Cell],
    peers_folder: Path,
    threads: int | None,
    out: Path | None,
    say: Say,
) -> dict[str, Any]:
    """Measure, and return `bench.report` with what was left out and why.

    Errors: ConfigError for an unknown peer or when the context fits no cell, ArtefactError for
    a folder that cannot be read.
    """
    names = peers.chosen(against)
    require(threads is None or threads >= 1, "threads", "at least 1", threads)
    opened = open_model(find_model(model))
    fits, left_out = bench.fitting(cells, opened.config.context)
    if not fits:
        raise ConfigError(f"{model}: {'; '.join(left_out)}")
    width = width_of(opened)
    entries, absent = peers.find(model, names, folder=peers_folder, width=width)
    group = Group(
        name=f"{model.resolve().name} {width}",
        width=width,
        entries=(Entry(label=f"sparing {width}", engine="sparing", model=str(model)), *entries),
        cells=tuple(fits),
        work=Work.of(opened.config),
        vocab=opened.config.vocab,
    )
    threads = threads or usable_cores()
    record, probe = Record(out), Probe(threads)
    with tempfile.TemporaryDirectory() as logs:
        try:
            bench.run(
                group,
                threads=threads,
                record=record,
                limits=lambda: probe.limits().tree(),
                logs=Path(logs) if out is None else out.with_suffix(".logs"),
                say=say,
            )
        finally:
            probe.close()
    result = bench.report(record, group)
    result["absent"] |= absent
    return result | {"threads": threads, "left_out": left_out}


def width_of(model: ModelFolder) -> str:
    """The width of the maps of a model: of the largest weight among them."""
    weights = dict(model.weights.items())
    maps = [w for name, w in weights.items() if name.startswith("layers.") and len(w.shape) == 2]
    largest = max(maps, key=lambda weight: weight.shape[0] * weight.shape[1])
    if isinstance(largest, Float32):
        return "fp32"
    if isinstance(largest, BFloat16):
        return "bf16"
    return "int8" if isinstance(largest, Int8) else type(largest).__name__.lower()
