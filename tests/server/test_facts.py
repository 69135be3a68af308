"""What is said of a model folder: counted by hand, and nothing where nothing is known."""

import json
from pathlib import Path

import numpy as np

from sparing.base.files import new_artefact
from sparing.base.stage import StageResult
from sparing.measure.ledger import Ledger
from sparing.models.config import DecoderConfig
from sparing.models.folder import write_model
from sparing.models.names import shapes
from sparing.server.facts import facts_of

CONFIG = DecoderConfig(
    vocab=50, width=8, layers=1, heads=2, kv_heads=1, head_width=4, hidden=16, context=32, tied=True
)
NUMBERS = 50 * 8 + (8 * 8 + 2 * 8 * 4 + 8 * 8) + 3 * 8 * 16 + 3 * 8


def write(folder: Path) -> None:
    tensors = {name: np.ones(shape, np.float32) for name, shape in shapes(CONFIG).items()}
    write_model(folder, CONFIG, tensors)


def test_a_foreign_folder(tmp_path: Path) -> None:
    write(tmp_path)
    assert facts_of(tmp_path) == {
        "parameters": NUMBERS,
        "weights": "float32",
        "weight_bytes": 4 * NUMBERS,
        "vocab": 50,
    }


def test_the_history_of_a_run(tmp_path: Path) -> None:
    out = tmp_path / "model"
    with Ledger(tmp_path / "ledger.sqlite").stage("first", target=out) as row:
        with new_artefact(out, kind="model", stage={}, parents={}) as draft:
            write(draft.path)
        row.result(StageResult(artefact=out, quality={}, facts={}))
    facts = facts_of(out)
    assert facts["made_by"] == ["first"]
    assert facts["joules_to_make"] == row.cost.joules
    (tmp_path / "steps.json").write_text(json.dumps({"first": {"use": "pretrain"}}))
    assert facts_of(out)["made_by"] == ["pretrain"]
