"""Many clients at once: nobody gets another's words, and those who leave leave nothing behind."""

import asyncio
import contextlib
import json
import random
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import openai
import pytest
import server_toy

from sparing.engine.llm import LLM
from sparing.engine.request import Sampling


def test_streams_do_not_mix(url: str, llm: LLM) -> None:
    async def one(client: openai.AsyncOpenAI, at: int) -> tuple[str, int, list[int]]:
        text, indices, tokens = "", [], 0
        chunks = await client.completions.create(
            model="toy", prompt=f"client {at}", max_tokens=25, seed=at, stream=True,
            stream_options={"include_usage": True},
        )  # fmt: skip
        async for chunk in chunks:
            indices += [choice.index for choice in chunk.choices]
            text += "".join(choice.text for choice in chunk.choices)
            tokens = chunk.usage.completion_tokens if chunk.usage else tokens
        return text, tokens, indices

    async def crowd() -> list[tuple[str, int, list[int]]]:
        async with openai.AsyncOpenAI(base_url=url + "/v1", api_key="any", max_retries=0) as client:
            return await asyncio.gather(*(one(client, at) for at in range(24)))

    for at, (text, tokens, indices) in enumerate(asyncio.run(crowd())):
        alone = llm.generate([f"client {at}"], Sampling(max_tokens=25, seed=at))[0]
        assert (text, tokens) == (alone.text, len(alone.ids))
        assert set(indices) == {0}


@pytest.mark.slow
def test_an_abort_storm_leaves_nothing(tmp_path: Path) -> None:
    """300 clients close at a random byte; one that stays gets the same words as without them."""
    with server_toy.toy_llm(tmp_path, pause=0.002, ends=False) as llm, server_toy.live(llm) as url:
        port, draw = urlsplit(url).port, random.Random(1)
        quiet = llm.generate(["stay"], Sampling(max_tokens=400, seed=5))[0].text
        found: list[str] = []

        def stay() -> None:
            with openai.OpenAI(base_url=url + "/v1", api_key="any", max_retries=0) as client:
                for _ in range(3):
                    reply = client.completions.create(
                        model="toy", prompt="stay", max_tokens=400, seed=5, stream=True
                    )
                    found.append("".join(chunk.choices[0].text for chunk in reply))

        def leave() -> None:
            body = json.dumps({"prompt": "go", "max_tokens": 300, "stream": draw.random() < 0.7})
            raw = (
                f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}"
                f"\r\nContent-Type: application/json\r\n\r\n{body}"
            ).encode()
            with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
                line.sendall(raw[: draw.randint(1, len(raw) * 2)])
                line.settimeout(0.2)
                with contextlib.suppress(OSError):
                    line.recv(draw.randint(1, 4000))

        loyal = threading.Thread(target=stay)
        loyal.start()
        for _ in range(30):
            crowd = [threading.Thread(target=leave) for _ in range(10)]
            for each in crowd:
                each.start()
            for each in crowd:
                each.join()
        loyal.join()
        assert found == [quiet] * 3
        server_toy.until(lambda: llm.service.stats().kv_used_blocks == 0, 5.0)
        assert llm.service.stats().running == 0
