"""`sparing bench` on a small model: our own engine for real, peers as they are here."""

import json
from pathlib import Path

import numpy as np
import pytest

from sparing.cli.main import main
from sparing.kernels.formats import Float32
from sparing.models.config import DecoderConfig
from sparing.models.folder import write_model
from sparing.models.names import shapes

CONFIG = DecoderConfig(
    vocab=61, width=32, layers=2, heads=2, kv_heads=1, head_width=16, hidden=48, context=128
)
SMALL = ["--threads", "1", "--prompt", "4", "--prefill", "24", "--first-token", "16"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "tiny"
    draw = np.random.default_rng(0)
    tensors = {
        name: Float32(draw.standard_normal(shape, dtype=np.float32) * np.float32(0.1))
        for name, shape in shapes(CONFIG).items()
    }
    write_model(folder, CONFIG, tensors)
    return folder


def test_our_own_engine_in_every_cell(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "record.jsonl"
    command = ["bench", str(model), *SMALL, "--streams", "1,2", "--json", "--out", str(out)]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert [cell["cell"] for cell in result["cells"]] == [
        *("decode@1+4", "decode@2+4", "prefill@24", "first_token@16")
    ]
    for cell in result["cells"]:
        (row,) = cell["rows"]
        assert row["median"] > 0
        assert row["fraction"] > 0
        assert row["ratio"] is None
    (loaded,) = result["loaded"]
    weights = sum(4 * np.prod(shape) for shape in shapes(CONFIG).values())
    assert loaded["weight_bytes"] == weights - 4 * CONFIG.vocab * CONFIG.width  # the embedding
    assert main(command) == 0  # all from the record
    again = json.loads(capsys.readouterr().out)
    assert again["cells"] == result["cells"]


def test_what_does_not_fit_and_who_is_absent_is_said(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARING_HOME", str(tmp_path))
    command = ["bench", str(model), *SMALL[:-4], "--streams", "1", "--against", "openvino"]
    assert main([*command, "--first-token", "0"]) == 0
    text = capsys.readouterr().out
    assert "decode@1+4, tokens/s" in text
    assert "absent: openvino: " in text
    assert "left out: prefill@1024 needs 1025 tokens, the model's context is 128" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--against", "llamacpp"], "did you mean 'llama.cpp'"),
        (["--turns", "3"], "turns: expected at least 5"),
        (["--threads", "0"], "threads: expected at least 1"),
        (["--streams", "0"], "streams: expected at least 1"),
        (["--streams", "64", "--prompt", "500", "--prefill", "0", "--first-token", "0"], "context"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(
    model: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["bench", str(model), *words]) == 2
    assert said in capsys.readouterr().err
