"""A small run folder with realistic figures, written through the real libraries."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparing.base.files import hash_of, new_artefact, open_artefact
from sparing.measure.cost import Cost
from sparing.measure.ledger import Ledger, _cost_values, _insert
from sparing.measure.schema import connect

RECIPE = """name = "quickstart"
description = "From the standard library's text to a served model in minutes"

[corpus]
use = "data.build"
sources = ["stdlib"]

[tokenizer]
use = "tokenizer.train"
corpus = "@corpus"
vocab_size = 2048

[shards]
use = "data.tokenize"
corpus = "@corpus"
tokenizer = "@tokenizer"

[model]
use = "pretrain"
data = "@shards"
model = "demo"
steps = 400

[eval]
use = "eval"
model = "@model"
data = "@shards"

[int8]
use = "compress"
model = "@model"
scheme = "int8"

[int4]
use = "compress"
model = "@model"
scheme = "int4"

[index]
use = "index.build"
sources = ["stdlib"]
kind = "docstrings"

[answer]
use = "ask"
model = "@int4"
index = "@index"
question = "How do I read a CSV file with a header row into dictionaries?"
"""

CORPUS = {
    "steps": [
            {"step": "read", "in": 1893, "out": 1871, "bytes_in": 31_400_000,
             "bytes_out": 30_900_000, "dropped": {"binary": 14, "not UTF-8": 8}},
            {"step": "normalise", "in": 1871, "out": 1871, "bytes_in": 30_900_000,
             "bytes_out": 30_850_000, "dropped": {}},
            {"step": "filter", "in": 1871, "out": 1544, "bytes_in": 30_850_000,
             "bytes_out": 24_100_000,
             "dropped": {"too short": 201, "mostly numbers": 77, "long lines": 49}},
            {"step": "exact duplicates", "in": 1544, "out": 1502, "bytes_in": 24_100_000,
             "bytes_out": 23_800_000, "dropped": {"exact duplicate": 42}},
            {"step": "near duplicates", "in": 1502, "out": 1411, "bytes_in": 23_800_000,
             "bytes_out": 21_300_000, "dropped": {"near duplicate": 91}},
    ],
    "splits": {
        "train": {"documents": 1356, "bytes": 20_400_000, "files": []},
        "heldout": {"documents": 55, "bytes": 900_000, "files": []},
    },
    "warnings": ["normalise removed nothing"],
}  # fmt: skip

SHARDS = {
    "vocab_size": 2048,
    "splits": {
        "train": {"tokens": 6_120_000, "documents": 1356, "bytes": 20_400_000, "shards": []},
        "heldout": {"tokens": 271_000, "documents": 55, "bytes": 900_000, "shards": []},
    },
}

EVAL = {
    "quality": {
        "perplexity": 14.2,
        "nats_per_token": {"value": 2.653, "low": 2.58, "high": 2.72},
        "bits_per_byte": 1.142,
        "tokens": 100_000,
        "bytes": 333_000,
    },
    "ngrams": [
        {"order": 3, "bits_per_byte": 1.291, "method": "interpolated Kneser-Ney"},
        {"order": 5, "bits_per_byte": 1.187, "method": "interpolated Kneser-Ney"},
    ],
    "evaluation": {"tokens": 100_000, "source": "heldout split"},
}


def quality(scheme: str, kl: float, disk: int, rate: float, passed: bool) -> dict[str, Any]:
    before = {"perplexity": 14.2, "bits_per_byte": 1.142, "disk_bytes": 10_490_000}
    after = {"perplexity": 14.2 * math.exp(kl), "bits_per_byte": 1.142 + kl / 2.3}
    return {
        "version": 1,
        "scheme": scheme,
        "method": "round to nearest, scale of least squared error per group",
        "group": 64,
        "before": before | {"decode": _speed(612.0)},
        "after": after | {"disk_bytes": disk, "decode": _speed(rate)},
        "against_original": {
            "kl_mean": {"value": kl, "low": kl * 0.93, "high": kl * 1.08},
            "kl_p99": {"value": kl * 9, "low": kl * 8, "high": kl * 10},
            "top1_agreement": {"value": 1 - kl * 2, "low": 0.8, "high": 1.0},
            "direction": "KL(original || compressed)",
        },
        "evaluation": {"tokens": 8192, "source": "heldout split of the shards"},
        "verdict": {"passed": passed, "max_kl": 0.2, "reasons": [], "accepted_by_caller": False},
    }


def _speed(rate: float) -> dict[str, float]:
    return {"tokens_per_s": rate, "slowest": rate * 0.94, "fastest": rate * 1.03, "runs": 5}


ANSWER = {
    "question": "How do I read a CSV file with a header row into dictionaries?",
    "passages": [
        {
            "source": "csv.py#DictReader",
            "title": "class csv.DictReader",
            "score": 18.4,
            "text": "Create an object that operates like a regular reader but maps the\n"
            "information in each row to a dict whose keys are given by the optional\n"
            "fieldnames parameter.",
        },
        {"source": "csv.py", "title": "csv", "score": 12.1, "text": "CSV parsing and writing."},
    ],
    "text": "    def read(self, fieldnames):\n        return self.reader.fieldnames",
    "label": "written by a model that is minutes old; trust the passages, not this",
}

MACHINE = {
    "facts": {
        "model": "AMD EPYC",
        "cores": 2,
        "isa": ["avx2", "fma", "f16c"],
        "cache_bytes": {"L1d": 32768, "L2": 524288, "L3": 8388608},
        "ram_bytes": 25_276_063_744,
        "system": "Linux x86_64, Python 3.11.7",
    },
    "read_bytes_per_s_1": 8.9e9,
    "read_bytes_per_s": 15.1e9,
    "fp32_flops": 5.9e10,
    "label": "measured",
}

SHAPE = {
    "num_hidden_layers": 4,
    "hidden_size": 192,
    "num_attention_heads": 6,
    "max_position_embeddings": 256,
}

STAGES = {
    "corpus": (14.2, 22.0, 0, None),
    "tokenizer": (6.1, 11.0, 0, None),
    "shards": (5.3, 9.0, 6_391_000, None),
    "model": (151.0, 290.0, 3_276_800, 5.2e13),
    "eval": (21.0, 40.0, 100_000, 6.0e11),
    "int8": (8.8, 12.0, 8192, None),
    "int4": (9.4, 13.0, 8192, None),
    "index": (3.9, 4.1, 0, None),
    "answer": (0.9, 1.1, 300, None),
}


def metrics(steps: int = 400) -> list[dict[str, Any]]:
    """A loss curve that falls like a small model's, with a wobble that repeats."""
    records = []
    for step in range(1, steps + 1):
        wobble = math.sin(step * 1.7) * 0.12 + math.sin(step * 0.31) * 0.05
        record = {
            "step": step,
            "tokens": step * 8192,
            "loss": 2.62 + 5.0 * math.exp(-step / 28) + 0.9 * math.exp(-step / 150) + wobble,
            "lr": 3e-3 * min(1, step / 40, (steps - step + 1) / 80),
            "grad_norm": 1.1,
        }
        if step % 50 == 0:
            record["heldout_bpb"] = 1.13 + 0.75 * math.exp(-step / 110)
        records.append(record)
    return records


def timing(steps: int = 400) -> dict[str, list[float]]:
    """The columns that a training run leaves on its card."""
    numbers = list(range(1, steps + 1))
    return {
        "step": numbers,
        "seconds": [step * 0.375 for step in numbers],
        "tokens_per_s": [21_800 + 900 * math.sin(step * 0.9) for step in numbers],
    }


def build(run: Path, *, without: tuple[str, ...] = ()) -> Path:
    """Write the run; `without` leaves out steps or the files `recipe` and `ledger`."""
    run.mkdir(parents=True)
    if "recipe" not in without:
        (run / "recipe.toml").write_text(RECIPE)
    if "machine" not in without:
        (run / "machine.json").write_text(json.dumps(MACHINE))
    log = "".join(json.dumps(record) + "\n" for record in metrics())
    parts: list[tuple[str, str, dict[str, str], dict[str, str]]] = [
        ("corpus", "corpus", {"manifest.json": json.dumps(CORPUS)}, {}),
        ("tokenizer", "tokenizer", {"tokenizer.json": "{}"}, {"corpus": "corpus"}),
        ("shards", "shards", {"manifest.json": json.dumps(SHARDS)}, {"corpus": "corpus"}),
        (
            "model",
            "model",
            {"metrics.jsonl": log, "config.json": json.dumps(SHAPE)},
            {"data": "shards", "t": "tokenizer"},
        ),
        ("eval", "eval", {"eval.json": json.dumps(EVAL)}, {"model": "model"}),
        *(
            (name, "model", {"quality.json": json.dumps(card)}, {"model": "model"})
            for name, card in (
                ("int8", quality("int8", 0.0031, 2_900_000, 884.0, True)),
                ("int4", quality("int4", 0.0524, 1_710_000, 1021.0, True)),
            )
        ),
        ("index", "index", {"index": "i"}, {}),
        ("answer", "answer", {"answer.json": json.dumps(ANSWER)}, {"model": "int4"}),
    ]
    for name, kind, contents, parents in parts:
        if name not in without:
            _artefact(run, name, kind, contents, parents)
    if "ledger" not in without:
        for name in STAGES:
            if name not in without:
                add_row(run, name)
    return run


def _artefact(
    run: Path, name: str, kind: str, contents: Mapping[str, str], parents: Mapping[str, str]
) -> None:
    hashes = {key: hash_of(run / at) for key, at in parents.items() if (run / at).is_dir()}
    with new_artefact(run / name, kind=kind, stage={}, parents=hashes) as draft:
        for file, text in contents.items():
            (draft.path / file).write_text(text)
        if name == "model":
            draft.facts |= {"parameters": 2_620_000, "timing": timing()}


def cost_of(seconds: float, cpu: float) -> Cost:
    joules = cpu * 5.0 + max(0.0, 2 * seconds - cpu) * 1.25
    return Cost(
        seconds=seconds,
        cpu_seconds=cpu,
        peak_rss_bytes=int(3.1e8 + 4e6 * seconds),
        read_bytes=int(1e6 * cpu),
        written_bytes=int(4e5 * cpu),
        joules=joules,
        joules_net=cpu * 3.75,
        joules_low=0.4 * joules,
        joules_high=1.6 * joules,
        energy_label="estimated",
        energy_method="processor time x 5 W per core assumed, +-60%; processor only",
        energy_idle="gross, and net of 1.2 W per idle core (assumed)",
        gco2e=joules / 3.6e6 * 481,
        carbon_method="481 g/kWh (world average (no country stated), 2023), PUE 1",
    )


def add_row(run: Path, name: str, *, status: str = "finished") -> None:
    """One row of the ledger for a step of the fake run."""
    seconds, cpu, tokens, flops = STAGES[name]
    values = _cost_values(cost_of(seconds, cpu)) | {
        "run": "",
        "stage": name,
        "target": str(run / name),
        "status": status,
        "begun_unix": 1.7e9,
        "ended_unix": 1.7e9 + seconds,
        "pid": 1,
        "pid_begun": 0.0,
        "host": "fake",
        "artefact": str(run / name),
        "artefact_hash": hash_of(run / name),
        "tokens": tokens,
        "flops": flops,
    }
    ledger = Ledger(run / "ledger.sqlite")
    with connect(ledger.path, create=True) as connection:
        row_id = _insert(connection, "stages", values)
        for parent, content_hash in open_artefact(run / name).parents.items():
            _insert(
                connection, "parents", {"stage_id": row_id, "name": parent, "hash": content_hash}
            )
