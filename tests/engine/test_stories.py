"""A really trained model, llama2.c's stories260K, against its recorded text and likelihoods."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.models.llama2c import write_folder

from sparing.engine.assemble import load
from sparing.engine.config import EngineConfig
from sparing.engine.native_executor import NativeExecutor
from sparing.engine.request import Sampling
from sparing.models.folder import open_model

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    return json.loads((source() / "reference_greedy_nll.json").read_text())


def source() -> Path:
    return Path(os.environ["SPARING_DATA"]) / "models" / "stories260k"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stories") / "model"
    write_folder(source() / "stories260K.bin", source() / "tok512.bin", out)
    return out


def test_the_folder_opens(folder: Path) -> None:
    model = open_model(folder, check_finite=True)
    assert (model.config.layers, model.config.heads, model.config.kv_heads) == (5, 8, 4)
    assert model.config.tied


def test_greedy_text(folder: Path, reference: dict[str, Any]) -> None:
    """All prompts at once; ids and text as recorded from numpy in float32."""
    cases = reference["greedy"]
    assert len(cases) > 4
    config = EngineConfig(kv_cache_tokens=2048, max_num_batched_tokens=64)
    with load(folder, config=config) as model:
        for case in cases:
            assert model.tokenizer.encode(case["prompt"], begin=True) == case["prompt_tokens"]
        rules = [
            Sampling(temperature=0.0, max_tokens=len(case["tokens"]) - len(case["prompt_tokens"]))
            for case in cases
        ]
        answers = model.generate([case["prompt"] for case in cases], rules)
        for case, answer in zip(cases, answers, strict=True):
            assert [*case["prompt_tokens"], *answer.ids] == case["tokens"]
            assert model.tokenizer.decode(case["tokens"][1:]).strip() == case["text"].strip()


def test_likelihood_of_given_text(folder: Path, reference: dict[str, Any]) -> None:
    """Mean negative log-likelihood in nats, to 1e-5 of what numpy found in float32."""
    executor = NativeExecutor(folder, kv_tokens=512)
    total = count = 0.0
    for case in reference["teacher_forced"]:
        ids = case["tokens"]
        logits_TV = executor.logits(ids[:-1]).astype(np.float64)
        top_T = logits_TV.max(-1)
        lse_T = top_T + np.log(np.exp(logits_TV - top_T[:, None]).sum(-1))
        nll_T = lse_T - logits_TV[np.arange(len(ids) - 1), ids[1:]]
        assert nll_T.mean() == pytest.approx(case["mean_nll"], abs=1e-5)
        total, count = total + nll_T.sum(), count + len(nll_T)
    assert total / count == pytest.approx(reference["mean_nll_all"], abs=1e-5)
