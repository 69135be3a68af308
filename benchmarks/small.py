"""The patient recipe, measured: `recipes/small.toml` from nothing; its model against n-grams.

    .venv/bin/python benchmarks/small.py                 runs it afresh (under an hour)
    .venv/bin/python benchmarks/small.py --run DIR       the same into DIR, and keeps it
    .venv/bin/python benchmarks/small.py --finished DIR  reads a run that this machine has finished

Peer: an interpolated Kneser-Ney 5-gram over the same tokenizer and the tokens the model saw.
"""

import argparse
import json
import tempfile
from pathlib import Path

from common import row, run_recipe, write

PACKAGES = ["torch", "numpy", "tokenizers", "sparing"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, help="keep the run in this new folder")
    parser.add_argument("--finished", type=Path, help="the folder of a finished run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run = options.finished or options.run or Path(scratch) / "small"
        if not options.finished:
            run_recipe("small", run.absolute())
        steps = json.loads((run / "steps.json").read_text())
    times = {name: step["cost"]["seconds"] for name, step in steps.items()}
    peak = max(step["cost"]["peak_rss_bytes"] for step in steps.values())
    minutes = sum(times.values()) / 60
    quality = steps["eval"]["quality"]
    ours, five = quality["bits_per_byte"], quality["ngram5_bits_per_byte"]
    kl = steps["int4"]["quality"]["kl_mean"]
    figures = [
        row("whole recipe", minutes, "min", "<= 60", minutes <= 60),
        row("peak memory", peak / 2**30, "GiB"),
        row("model", ours, "bits/byte", f"< {five:.4f}, the 5-gram", ours < five),
        row("Kneser-Ney 5-gram", five, "bits/byte"),
        row("Kneser-Ney 3-gram", quality["ngram3_bits_per_byte"], "bits/byte"),
        row("int4 KL, mean", kl, "nats", "< 0.08", kl < 0.08),
    ]
    path = write("small", figures, PACKAGES, step_seconds=times)
    for figure in figures:
        print(f"{figure['figure']:20} {figure['value']:10.4g} {figure['unit']:10} {figure['goal']}")
    print(path)


if __name__ == "__main__":
    main()
