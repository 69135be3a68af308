"""CPU inference beside its peers and the machine's limits, for two published shapes.

    .venv/bin/python benchmarks/cpu_inference.py prepare --peers DIR      once, beforehand
    .venv/bin/python benchmarks/cpu_inference.py measure --peers DIR      on a quiet machine
    .venv/bin/python benchmarks/cpu_inference.py table --peers DIR        results/cpu_inference.json

`measure` appends every finished cell to DIR/cpu_inference.jsonl and goes on from there when it is
started again; `--minutes` ends it before a cell that would begin later. Contestants of a cell take
turns in processes of their own; the machine's limits are measured before each turn.

Peers: llama.cpp, OpenVINO GenAI, onnxruntime-genai, transformers (`benchmarks/peers.py`).
"""

import argparse
import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import peers as conversions
import random_models
from common import row, write
from sparing.base.home import home
from sparing.bench import bench, peers
from sparing.bench.bench import Group
from sparing.bench.cells import Cell, standard
from sparing.bench.contestant import Entry
from sparing.bench.record import Record
from sparing.bench.roof import Work
from sparing.kernels.peaks import Probe
from sparing.measure.machine import usable_cores
from sparing.models.folder import read_config

SMALL, LARGE = random_models.SHAPES
RECORD = "cpu_inference.jsonl"
PACKAGES = ["numpy", "sparing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One group of the table: a shape, a width, and the cells."""

    shape: str
    width: str
    cells: tuple[Cell, ...]
    peers: bool = True
    """False for cells that only our own engine is measured in."""
    suffix: str = ""
    """Tells groups of the same shape and width apart."""
    kv: tuple[str, ...] = ("",)
    """Cache kinds of our own engine; empty is the default."""

    @property
    def name(self) -> str:
        """Of the group."""
        return f"{self.shape} {self.width}{self.suffix}"


def prompts(turns: int = 5) -> list[Cell]:
    """First token and reading of a prompt."""
    return [
        Cell(kind="first_token", prompt=512, turns=turns),
        Cell(kind="prefill", prompt=1024, turns=turns),
    ]


DECODE = tuple(standard(prefill=0, first_token=0))
ROWS = tuple(Cell(kind="decode", streams=rows, steps=15, turns=7) for rows in (2, 4, 8, 12))
LONG = (Cell(kind="decode", prompt=16384, steps=10),)
LESS = (*standard(streams=(1, 8), prefill=0, first_token=512),)
PLANS = (
    Plan(shape=SMALL, width="int4", cells=(*DECODE, *prompts())),
    Plan(shape=SMALL, width="int4", cells=ROWS, peers=False, suffix=" rows"),
    Plan(shape=SMALL, width="int8", cells=(*DECODE, *prompts())),
    Plan(shape=LARGE, width="int4", cells=LESS),
    Plan(shape=SMALL, width="bf16", cells=(*DECODE, *prompts())),
    Plan(shape=LARGE, width="int8", cells=LESS),
    Plan(shape=SMALL, width="int8", cells=LONG, suffix=" long", kv=("bf16", "int8")),
)
"""In the order of what matters most, for a window that may be too short."""

PEERS = {"int4": ("Q4_0", "OpenVINO", "onnx"), "int8": (), "bf16": ()}
"""Of several peers at a width, those that are measured; empty for all."""


def place(folder: Path, shape: str) -> conversions.Place:
    """Where a shape's checkpoint and conversions lie."""
    return conversions.Place(folder.absolute(), folder.absolute() / "checkpoints" / shape)


def prepare(folder: Path, only: list[str], shapes: list[str]) -> int:
    """Checkpoints, environments, conversions.  Returns how many peers could not be had."""
    failed = 0
    for shape in shapes:
        where = place(folder, shape)
        random_models.write(shape, where.source)
        failed += conversions.prepare(where, only)
    return failed


def group(folder: Path, plan: Plan) -> Group:
    """The contestants of a plan: our folders of that width, and what the manifest has."""
    where = place(folder, plan.shape)
    config = read_config(where.source)
    models = conversions.own_folders(where)[plan.width]
    manifest = peers.read(where.peers)
    wanted = PEERS[plan.width]
    theirs = [
        entry
        for entry in manifest.get(str(models[0].path.resolve()), [])
        if plan.peers and (not wanted or any(word in entry.label for word in wanted))
    ]
    mine = [
        Entry(
            label=f"sparing {own.label}" + (f", KV {kv}" if kv else ""),
            engine="sparing",
            model=str(own.path),
            options={"kv_dtype": kv} if kv else {},
            head="" if own.head == "keep" else own.head,
            note=own.note,
        )
        for own in models
        for kv in plan.kv
    ]
    return Group(
        name=plan.name,
        width=plan.width,
        entries=(*mine, *theirs),
        cells=plan.cells,
        work=Work.of(config),
        vocab=config.vocab,
    )


def chosen(names: list[str]) -> list[Plan]:
    """The plans whose names hold one of `names`; all without."""
    found = [plan for plan in PLANS if not names or any(name in plan.name for name in names)]
    if not found:
        raise SystemExit(f"no such group; there are: {', '.join(plan.name for plan in PLANS)}")
    return found


def measure(folder: Path, plans: list[Plan], *, minutes: float, threads: int) -> None:
    """Every cell that the record does not hold yet, while there is time."""
    begun = time.monotonic()
    record, probe = Record(folder / RECORD), Probe(threads)
    try:
        for plan in plans:
            bench.run(
                group(folder, plan),
                threads=threads,
                record=record,
                limits=lambda: probe.limits().tree(),
                logs=folder / "logs",
                say=lambda text: print(
                    f"[{time.monotonic() - begun:5.0f} s] {text}", file=sys.stderr, flush=True
                ),
                go_on=lambda: time.monotonic() - begun < minutes * 60,
            )
    finally:
        probe.close()


# cell, width and shape -> (least ratio to the best peer, least share of the roof)
GOALS: dict[tuple[str, str, str], tuple[float, float]] = {
    ("decode@1", "int4", SMALL): (1.5, 0.9),
    ("decode@1", "int4", LARGE): (1.2, 0.9),
    ("decode@1", "int8", SMALL): (1.15, 0.9),
    ("decode@1", "int8", LARGE): (1.15, 0.9),
    ("decode@1", "bf16", SMALL): (1.15, 0.9),
    ("decode@8", "int4", SMALL): (2.0, 0.9),
    ("decode@16", "int4", SMALL): (2.0, 0.9),
    ("decode@8", "int8", SMALL): (2.0, 0.9),
    ("decode@16", "int8", SMALL): (2.0, 0.9),
    ("decode@8", "int4", LARGE): (2.0, 0.9),
    ("decode@8", "int8", LARGE): (2.0, 0.9),
}
PREFILL_RATIO, PREFILL_SHARE, FIRST_TOKEN_RATIO, LONG_RATIO = 1.45, 0.68, 0.7, 1.3
STEP_SHARE = 1 / 1.15
EXTRA_BYTES = 150e6
"""Most memory beside weights and cache."""


def verdict(plan: Plan, one: dict[str, Any]) -> tuple[str, bool | None]:
    """Goal and whether a row of ours meets it; an empty goal where none was set."""
    ratio, share = one["ratio"], one["fraction"]
    if plan.suffix == " rows":
        return f">= {STEP_SHARE:.0%} of the roof", share is not None and share >= STEP_SHARE
    if plan.suffix == " long":
        return f">= {LONG_RATIO}x", None if ratio is None else ratio >= LONG_RATIO
    if one["cell"].startswith("first_token"):
        goal = f"<= {FIRST_TOKEN_RATIO}x"
        return goal, None if ratio is None else ratio <= FIRST_TOKEN_RATIO
    if one["cell"].startswith("prefill") and plan.width in ("int4", "int8"):
        goal = f">= {PREFILL_RATIO}x and {PREFILL_SHARE:.0%} of the peak"
        if ratio is None or share is None:
            return goal, None
        return goal, ratio >= PREFILL_RATIO and share >= PREFILL_SHARE
    if (wanted := GOALS.get((one["cell"], plan.width, plan.shape))) is None:
        return "", None
    goal = f">= {wanted[0]}x or {wanted[1]:.0%} of the roof"
    if ratio is None:
        return goal, None
    return goal, ratio >= wanted[0] or (share is not None and share >= wanted[1])


def note(one: dict[str, Any]) -> str:
    """Everything beside a figure, in words."""
    parts = [f"{one['least']:.4g} to {one['most']:.4g}"]
    if one["ratio"] is not None and one["ours"]:
        low, high = one["ratio_range"]
        parts.append(f"{one['ratio']:.2f}x {one['best_peer']} ({low:.2f} to {high:.2f})")
    if one["fraction"] is not None:
        parts.append(f"{one['fraction']:.0%} of the roof {one['roof']:.4g}")
    if one["step_bytes"] is not None:
        parts.append(f"{one['step_bytes'] / 1e6:.0f} MB read")
    if (one["foreign_cores"] or 0.0) > 0.2:
        parts.append(f"others used {one['foreign_cores']:.1f} cores")
    return "; ".join([*parts, *([one["note"]] if one["note"] else [])])


def figures(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows for the table, and the whole report of each group that was measured."""
    record = Record(folder / RECORD)
    rows: list[dict[str, Any]] = []
    reports = []
    for plan in PLANS:
        made = group(folder, plan)
        report = bench.report(record, made)
        reports.append(report)
        for cell in report["cells"]:
            for one in cell["rows"]:
                name = f"{plan.name}: {one['cell']}, {one['label']}"
                if one["median"] is None:
                    continue
                goal, met = verdict(plan, one) if one["ours"] else ("", None)
                rows.append(row(name, one["median"], one["unit"], goal, met, note(one)))
        rows += memory_rows(made, report)
    return rows, reports


def memory_rows(made: Group, report: dict[str, Any]) -> list[dict[str, Any]]:
    """Peak resident memory of every contestant, and our own beside weights and cache.

    Weights are all of a folder's: an embedding apart from the head is held, if not read.
    """
    folders = {entry.label: Path(entry.model) for entry in made.entries}
    loaded = {line["label"]: line for line in report["loaded"]}
    rows = []
    for line in report["memory"]:
        if "peak_bytes" not in line or not (facts := loaded.get(line["label"])):
            continue
        name = f"{made.name}: peak memory, {line['label']}"
        goal, met = "", None
        if facts["ours"]:
            files = folders[line["label"]].glob("*.safetensors")
            most = sum(file.stat().st_size for file in files) + facts["kv_bytes"] + EXTRA_BYTES
            goal, met = f"<= {most / 1e6:.0f}, weights + KV + 150", line["peak_bytes"] <= most
        text = f"loaded in {facts['seconds']:.1f} s"
        rows.append(row(name, line["peak_bytes"] / 1e6, "MB", goal, met, text))
    return rows


def table(folder: Path) -> Path:
    """`results/cpu_inference.json`, with versions as the engines said them."""
    rows, reports = figures(folder)
    path = write("cpu_inference", rows, PACKAGES, groups=reports)
    shutil.copyfile(folder / RECORD, path.with_suffix(".jsonl"))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("do", choices=("prepare", "measure", "table"))
    parser.add_argument("--peers", type=Path, default=home() / "peers")
    parser.add_argument("--groups", default="", help="parts of group names, by commas")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no cell after these")
    parser.add_argument("--turns", type=int, default=None, help="samples of every figure")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--only", default=",".join(conversions.CONVERT), help="peers to prepare")
    parser.add_argument("--shapes", default=f"{SMALL},{LARGE}", help="shapes to prepare")
    options = parser.parse_args()
    if options.do == "prepare":
        only, shapes = options.only.split(","), options.shapes.split(",")
        raise SystemExit(1 if prepare(options.peers, only, shapes) else 0)
    if options.do == "measure":
        plans = chosen([name for name in options.groups.split(",") if name])
        if options.turns:
            plans = [
                replace(plan, cells=tuple(replace(c, turns=options.turns) for c in plan.cells))
                for plan in plans
            ]
        measure(options.peers, plans, minutes=options.minutes, threads=options.threads)
        return
    print(table(options.peers))


if __name__ == "__main__":
    main()
