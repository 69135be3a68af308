"""docs/benchmarks.md from benchmarks/results/*.json."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HEAD = """# Benchmarks

Made by `python benchmarks/table.py` from `benchmarks/results/*.json`; do not edit by hand.
"""


def section(result: dict[str, Any]) -> str:
    machine = result["machine"]
    facts = machine["facts"]
    lines = [
        f"\n## {result['name']}\n",
        f"{result['date']}, commit {result['commit']}, {facts['model']}, {facts['cores']} cores "
        f"({machine['label']}: reads {machine['read_bytes_per_s'] / 1e9:.0f} GB/s, float32 "
        f"{machine['fp32_flops'] / 1e9:.0f} GFLOP/s), Python {result['python']}, "
        + ", ".join(f"{name} {value}" for name, value in result["versions"].items() if value)
        + ".\n",
        "| figure | value | goal | met | note |",
        "|---|---|---|---|---|",
    ]
    for figure in result["figures"]:
        met = {True: "yes", False: "**no**", None: ""}[figure["met"]]
        lines.append(
            f"| {figure['figure']} | {figure['value']:.4g} {figure['unit']} | {figure['goal']} "
            f"| {met} | {figure['note']} |"
        )
    if steps := result.get("step_seconds"):
        lines.append("\nSeconds by step: ")
        lines[-1] += ", ".join(f"{name} {seconds:.1f}" for name, seconds in steps.items()) + "."
    return "\n".join(lines) + "\n"


def render() -> str:
    paths = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
    return HEAD + "".join(section(json.loads(path.read_text())) for path in paths)


if __name__ == "__main__":
    (ROOT / "docs" / "benchmarks.md").write_text(render())
