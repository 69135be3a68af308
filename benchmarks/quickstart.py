"""The main job, measured: `recipes/quickstart.toml` from nothing, then what a user waits for.

    .venv/bin/python benchmarks/quickstart.py            runs the demo afresh (minutes)
    .venv/bin/python benchmarks/quickstart.py --run DIR  the same into DIR, and keeps it

Peers: an interpolated Kneser-Ney 3-gram and 5-gram over the same tokenizer and tokens.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from common import ROOT, SPARING, median_spread, row, run_recipe, write

PACKAGES = ["torch", "numpy", "tokenizers", "safetensors", "pyarrow", "tantivy", "sparing"]
LIMIT_MB = 200


def first_token_seconds(model: Path) -> float:
    """From process start to the first byte of the answer on standard output."""
    command = [SPARING, "generate", model, "-p", "def read(path):", "--max-tokens", "8"]
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ
    )
    assert process.stdout
    first = process.stdout.read(1)
    seconds = time.perf_counter() - begun
    process.stdout.read()
    if process.wait() or not first:
        raise SystemExit("sparing generate failed")
    return seconds


def installed_megabytes() -> float:
    """Bytes on disk of `pip install .` without extras, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        python = shutil.which("python3")  # the venv has no pip; the system's python does
        subprocess.run(
            [
                *(python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"),
                *("--target", folder, "-c", ROOT / "constraints.txt", ROOT),
            ],
            check=True,
        )
        return sum(p.lstat().st_size for p in Path(folder).rglob("*") if p.is_file()) / 1e6


def quality_rows(steps: dict[str, Any]) -> list[dict[str, Any]]:
    """What the run's own cards say."""
    quality = steps["eval"]["quality"]
    model, three, five = (
        quality[name] for name in ("bits_per_byte", "ngram3_bits_per_byte", "ngram5_bits_per_byte")
    )
    rows = [
        row("demo model", model, "bits/byte", f"< {three:.4f}, the 3-gram", model < three),
        row("Kneser-Ney 3-gram", three, "bits/byte"),
        row("Kneser-Ney 5-gram", five, "bits/byte", note="beside it, not a goal of the demo"),
    ]
    for name, goal in (("int8", 0.01), ("int4", 0.08)):
        kl = steps[name]["quality"]["kl_mean"]
        rows.append(row(f"{name} KL, mean", kl, "nats", f"< {goal}", kl < goal))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, help="keep the run in this new folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run = options.run or Path(scratch) / "quickstart"
        figures = []
        done, seconds, peak = run_recipe("quickstart", run.absolute())
        steps = done["steps"]
        figures.append(row("demo after install", seconds, "s", "<= 300", seconds <= 300))
        figures.append(row("peak memory", peak / 2**30, "GiB", "<= 3", peak <= 3 * 2**30))
        figures += quality_rows(steps)
        first_token_seconds(run / "int4")  # warm file cache
        first = median_spread([first_token_seconds(run / "int4") for _ in range(9)])
        figures.append(
            row(
                "generate, first token",
                first["median"],
                "s",
                "<= 0.8",
                first["median"] <= 0.8,
                f"from process start; {first['least']:.2f} to {first['most']:.2f} in 9 runs",
            )
        )
        size = installed_megabytes()
        figures.append(row("pip install .", size, "MB", f"<= {LIMIT_MB}", size <= LIMIT_MB))
        times = {name: step["cost"]["seconds"] for name, step in steps.items()}
    path = write("quickstart", figures, PACKAGES, step_seconds=times)
    for figure in figures:
        print(f"{figure['figure']:24} {figure['value']:10.4g} {figure['unit']:10} {figure['goal']}")
    print(path)


if __name__ == "__main__":
    main()
