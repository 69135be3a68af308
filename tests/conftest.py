"""One thread, fixed seeds, and which tests run where."""

import os
import random

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reasons = {
        "slow": None if os.environ.get("SPARING_SLOW") else "takes minutes; set SPARING_SLOW=1",
        "realdata": None if os.environ.get("SPARING_DATA") else "set SPARING_DATA to the data",
        "gpu": _no_gpu(items),
    }
    for item in items:
        for mark, reason in reasons.items():
            if reason and item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


def _no_gpu(items: list[pytest.Item]) -> str | None:
    if not any(item.get_closest_marker("gpu") for item in items):
        return None
    import torch

    return None if torch.cuda.is_available() else "no CUDA device on this machine"


@pytest.fixture(autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches and ledgers of a test go to a folder of its own session, seeds are fixed."""
    monkeypatch.setenv("SPARING_HOME", str(tmp_path_factory.getbasetemp() / "home"))
    random.seed(0)
