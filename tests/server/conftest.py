"""A toy model on a live server, shared by the tests of a file."""

import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import server_toy

from sparing.engine.llm import LLM


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    with server_toy.toy_llm(tmp_path_factory.mktemp("toy")) as made:
        yield made


@pytest.fixture(scope="module")
def index() -> server_toy.ToyIndex:
    return server_toy.ToyIndex()


@pytest.fixture(scope="module")
def url(llm: LLM, index: server_toy.ToyIndex) -> Iterator[str]:
    with server_toy.live(
        llm, meter=server_toy.FixedMeter(), indexes={"docs": index}, facts={"weights": "none"}
    ) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url + "/v1", api_key="any", max_retries=0) as made:
        yield made


@pytest.fixture(autouse=True)
def _all_is_given_back(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test on the shared model, every block is free and nothing runs."""
    yield
    if "llm" in request.fixturenames:
        made = request.getfixturevalue("llm")
        server_toy.until(lambda: made.service.stats().kv_used_blocks == 0)
        stats = made.service.stats()
        assert (stats.running, stats.waiting) == (0, 0)
