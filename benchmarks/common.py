"""What every benchmark says beside its figures: machine, date, commit, versions."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sparing.measure.machine import probe

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SPARING = Path(sys.executable).parent / "sparing"


def circumstances(packages: Sequence[str]) -> dict[str, Any]:
    """Machine with its measured limits, date, commit and versions."""
    machine = probe(cache=False)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit or None,
        "machine": machine.to_tree(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in packages},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def run_recipe(name: str, folder: Path) -> tuple[dict[str, Any], float, float]:
    """`recipes/NAME.toml` in a fresh process -> its JSON, wall seconds and peak resident bytes."""
    command = [SPARING, "run", f"recipes/{name}.toml", "--out", folder, "--json"]
    begun = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{name} failed with status {status}")
    return json.loads(text), time.perf_counter() - begun, usage.ru_maxrss * 1024.0


def median_spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most of at least five repeats."""
    if len(values) < 5:
        raise ValueError(f"at least five repeats are needed, got {len(values)}")
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def write(name: str, figures: list[dict[str, Any]], packages: Sequence[str], **more: Any) -> Path:
    """`results/NAME.json`: figures are rows of {figure, value, unit, goal, met, note}."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    tree = {"name": name, **circumstances(packages), "figures": figures, **more}
    path.write_text(json.dumps(tree, indent=1, default=str) + "\n")
    return path


def row(
    figure: str, value: Any, unit: str, goal: str = "", met: bool | None = None, note: str = ""
) -> dict[str, Any]:
    """One line of a result; `met` is None where no goal is set."""
    return {"figure": figure, "value": value, "unit": unit, "goal": goal, "met": met, "note": note}
