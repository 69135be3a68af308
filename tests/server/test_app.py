"""The whole server, judged by OpenAI's own client."""

import http.client
import json
import socket
from pathlib import Path
from urllib.parse import urlsplit

import openai
import pytest
import server_toy
from prometheus_client.parser import text_string_to_metric_families

from sparing.engine.llm import LLM
from sparing.engine.request import Sampling
from sparing.server.app import create_app
from sparing.server.settings import ServerSettings

ASK = [{"role": "user", "content": "hello there"}]


def chat(client: openai.OpenAI, **options):
    fields = {"model": "toy", "messages": ASK, "seed": 3, "max_tokens": 40} | options
    return client.chat.completions.create(**fields)


def post(url: str, path: str, body: object, headers: dict[str, str] | None = None):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.request("POST", path, raw, {"Content-Type": "application/json"} | (headers or {}))
    reply = connection.getresponse()
    text = reply.read()
    connection.close()
    return reply, json.loads(text)


def get(url: str, path: str, headers: dict[str, str] | None = None):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.request("GET", path, headers=headers or {})
    reply = connection.getresponse()
    text = reply.read()
    connection.close()
    return reply, text


def test_chat_is_what_the_engine_says(client: openai.OpenAI, llm: LLM) -> None:
    reply = chat(client)
    expected = llm.chat(ASK, Sampling(seed=3, max_tokens=40))
    assert reply.choices[0].message.content == expected.text
    assert reply.choices[0].finish_reason == expected.finish_reason
    assert reply.usage.prompt_tokens == len(llm.chat_ids(ASK))
    assert reply.usage.completion_tokens == len(expected.ids)
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + len(expected.ids)


@pytest.mark.parametrize("n", [1, 3])
def test_stream_equals_whole(client: openai.OpenAI, n: int) -> None:
    whole = chat(client, n=n, logprobs=True, top_logprobs=2)
    chunks = list(
        chat(
            client,
            n=n,
            logprobs=True,
            top_logprobs=2,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    texts, ends, logprobs = [""] * n, [None] * n, [[] for _ in range(n)]
    roles = [chunk.choices[0].delta.role for chunk in chunks[:n]]
    assert roles == ["assistant"] * n
    for chunk in chunks[:-1]:
        (choice,) = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        ends[choice.index] = choice.finish_reason or ends[choice.index]
        logprobs[choice.index] += choice.logprobs.content if choice.logprobs else []
        assert chunk.usage is None
    assert texts == [choice.message.content for choice in whole.choices]
    assert ends == [choice.finish_reason for choice in whole.choices]
    assert logprobs == [choice.logprobs.content for choice in whole.choices]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens
    assert len(set(texts)) == n, "choices of one request draw differently"


def test_done_is_said_once(url: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    body = {"messages": ASK, "stream": True, "max_tokens": 5}
    connection.request(
        "POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"}
    )
    lines = connection.getresponse().read().decode().strip().split("\n\n")
    connection.close()
    assert lines[-1] == "data: [DONE]"
    assert sum("[DONE]" in line for line in lines) == 1
    assert all(line.startswith("data: ") for line in lines)


def test_completion_echo_stop_and_batch(client: openai.OpenAI, llm: LLM) -> None:
    reply = client.completions.create(
        model="toy", prompt=["ab", "cd"], n=2, echo=True, max_tokens=30, seed=5, stop=[" "]
    )
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
    for at, prompt in ((0, "ab"), (2, "cd")):
        expected = llm.generate([prompt], Sampling(seed=5, max_tokens=30, stop=(" ",)))[0]
        assert reply.choices[at].text == prompt + expected.text
        assert reply.choices[at].finish_reason == expected.finish_reason
        assert " " not in expected.text
    assert reply.usage.prompt_tokens == 2 * len(llm.prompt_ids("ab"))
    streamed = client.completions.create(
        model="toy", prompt="ab", echo=True, max_tokens=30, seed=5, stop=" ", stream=True
    )
    assert "".join(chunk.choices[0].text for chunk in streamed) == reply.choices[0].text


def test_completion_logprobs(client: openai.OpenAI, llm: LLM) -> None:
    ids = llm.prompt_ids("ab")
    reply = client.completions.create(
        model="toy", prompt=ids, max_tokens=6, seed=1, logprobs=2, temperature=0
    )
    found = reply.choices[0].logprobs
    assert "".join(found.tokens) == reply.choices[0].text
    assert found.text_offset == list(range(6))
    for token, logprob, top in zip(
        found.tokens, found.token_logprobs, found.top_logprobs, strict=True
    ):
        assert top[token] == logprob == max(top.values()), "greedy takes the likeliest"
    streamed = client.completions.create(
        model="toy", prompt=ids, max_tokens=6, seed=1, logprobs=2, temperature=0, stream=True
    )
    pieces = [chunk.choices[0].logprobs for chunk in streamed]
    assert [at for piece in pieces for at in piece.text_offset] == found.text_offset


def test_usage_carries_the_cost(client: openai.OpenAI) -> None:
    cost = chat(client).usage.model_dump()["sparing"]
    assert cost["label"] == "measured"
    assert cost["joules"] == pytest.approx(1.0)  # the meter gives one joule a reading
    assert cost["gco2e"] == pytest.approx(481 / 3.6e6, rel=0.05)  # world average of 2023
    assert cost["money"] is None
    assert "by tokens computed" in cost["method"]
    assert cost["prefill_seconds"] > 0
    assert cost["decode_seconds"] > 0


def test_running_usage_in_every_chunk(client: openai.OpenAI) -> None:
    options = {"continuous_usage_stats": True, "include_usage": True}
    counts = [
        chunk.usage.completion_tokens
        for chunk in chat(client, stream=True, extra_body={"stream_options": options})
    ]
    assert counts == sorted(counts)
    assert counts[-1] > 5


def test_passages_before_the_question(
    client: openai.OpenAI, index: server_toy.ToyIndex, llm: LLM
) -> None:
    extra = {"index": "docs", "index_passages": 2}
    bare = chat(client)
    reply = chat(client, extra_body=extra)
    assert index.asked[-1] == ("hello there", 2)
    passages = reply.model_dump()["sparing"]["passages"]
    assert [passage["source"] for passage in passages] == ["statistics.py:312", "statistics.py:401"]
    assert all(passage["in_prompt"] for passage in passages)
    longer = reply.usage.prompt_tokens - bare.usage.prompt_tokens
    assert longer > sum(len(passage["text"]) for passage in passages)
    first = next(iter(chat(client, stream=True, extra_body=extra)))
    assert first.model_dump()["sparing"]["passages"] == passages
    _, text = get(str(client.base_url).removesuffix("/v1/"), "/v1/indexes")
    assert [row["id"] for row in json.loads(text)["data"]] == ["docs"]


def test_passages_that_do_not_fit_are_left_out(client: openai.OpenAI) -> None:
    long = "x" * (server_toy.CONTEXT - 60)
    reply = client.completions.create(
        model="toy", prompt=long, max_tokens=10, extra_body={"index": "docs"}
    )
    assert reply.usage.prompt_tokens < server_toy.CONTEXT - 10
    assert not any(each["in_prompt"] for each in reply.model_dump()["sparing"]["passages"])


def test_errors_are_openai_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as found:
        chat(client, model="other")
    assert found.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as found:
        chat(client, extra_body={"temprature": 1})
    assert found.value.param == "temprature"
    assert "temperature" in found.value.message
    with pytest.raises(openai.BadRequestError) as found:
        chat(client, max_tokens=None, messages=[{"role": "user", "content": "x" * 600}])
    assert found.value.code == "context_length_exceeded"
    assert "512" in found.value.message
    assert "600" not in found.value.message  # the count is of tokens, the template's included
    with pytest.raises(openai.BadRequestError) as found:
        chat(client, n=17)
    assert found.value.param == "n"
    with pytest.raises(openai.NotFoundError) as found:
        chat(client, extra_body={"index": "dosc"})
    assert "did you mean 'docs'" in found.value.message
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")
    assert client.models.list().data[0].id == "toy"
    assert client.models.retrieve("toy").model_dump()["max_model_len"] == server_toy.CONTEXT


def test_routes_that_are_not(url: str) -> None:
    for method, path, status in (("GET", "/nothing", 404), ("GET", "/v1/completions", 405)):
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        connection.request(method, path)
        reply = connection.getresponse()
        error = json.loads(reply.read())["error"]
        connection.close()
        assert reply.status == status
        assert set(error) == {"message", "type", "param", "code"}


def test_no_template_no_chat(tmp_path: Path) -> None:
    with (
        server_toy.toy_llm(tmp_path, template=False) as base,
        server_toy.live(base) as address,
    ):
        reply, body = post(address, "/v1/chat/completions", {"messages": ASK})
        assert reply.status == 400
        assert body["error"]["code"] == "no_chat_template"
        models = json.loads(get(address, "/v1/models")[1])
        assert models["data"][0]["sparing"]["chat"] is False


def test_metrics_add_up(client: openai.OpenAI, url: str) -> None:
    def read() -> dict[str, float]:
        families = text_string_to_metric_families(get(url, "/metrics")[1].decode())
        return {
            sample.name: sample.value
            for family in families
            for sample in family.samples
            if "le" not in sample.labels
        }

    before = read()
    usage = chat(client, n=2).usage
    after = read()
    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert grown["vllm:generation_tokens_total"] == usage.completion_tokens
    assert grown["vllm:prompt_tokens_total"] == 2 * usage.prompt_tokens
    assert grown["vllm:e2e_request_latency_seconds_count"] == 2
    assert grown["vllm:time_to_first_token_seconds_count"] == 2
    assert after["vllm:kv_cache_usage_perc"] == after["vllm:num_requests_running"] == 0
    assert any(name == "sparing:energy_joules_total" for name in after)


def test_disconnect_frees(tmp_path: Path) -> None:
    with (
        server_toy.toy_llm(tmp_path, pause=0.02) as slow,
        server_toy.live(slow) as address,
    ):
        for stream in (True, False):
            body = {
                "messages": ASK,
                "stream": stream,
                "max_tokens": 400,
                "ignore_eos": True,
                "n": 2,
            }
            raw = json.dumps(body).encode()
            head = (
                f"POST /v1/chat/completions HTTP/1.1\r\nHost: {urlsplit(address).netloc}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
            )
            port = urlsplit(address).port
            with socket.create_connection(("127.0.0.1", port)) as line:
                line.sendall(head.encode() + raw)
                server_toy.until(lambda: slow.service.stats().running == 2)
            aborted = slow.service.stats().finished["abort"] + 2
            server_toy.until(lambda a=aborted: slow.service.stats().finished["abort"] == a, 2.0)
            assert slow.service.stats().kv_used_blocks == 0


def test_queue_is_limited_all_or_nothing(tmp_path: Path) -> None:
    with server_toy.toy_llm(tmp_path, pause=0.02) as slow:
        app = create_app(slow, ServerSettings(max_requests=3))
        with server_toy.running(app) as address:
            client = openai.OpenAI(base_url=address + "/v1", api_key="any", max_retries=0)
            running = chat(
                client, n=2, stream=True, max_tokens=300, extra_body={"ignore_eos": True}
            )
            next(iter(running))
            reply, body = post(address, "/v1/chat/completions", {"messages": ASK, "n": 2})
            assert reply.status == 503
            assert reply.headers["Retry-After"] == "1"
            assert "2 of 3" in body["error"]["message"]
            post_one = {"messages": ASK, "max_tokens": 2}
            assert post(address, "/v1/chat/completions", post_one)[0].status == 200
            running.close()
            client.close()
            server_toy.until(lambda: app.state.served.gate.inside == 0)


def test_engine_failure_is_said(tmp_path: Path) -> None:
    class Failing(server_toy.ToyExecutor):
        def forward(self, batch):
            raise FloatingPointError("secret detail")

    with server_toy.toy_llm(tmp_path, make=Failing) as bad, server_toy.live(bad) as address:
        reply, body = post(address, "/v1/chat/completions", {"messages": ASK})
        assert reply.status == 500
        assert "secret" not in body["error"]["message"]
        client = openai.OpenAI(base_url=address + "/v1", api_key="any", max_retries=0)
        with pytest.raises(openai.APIError):
            list(chat(client, stream=True))
        client.close()


def test_draining_is_said(llm: LLM) -> None:
    app = create_app(llm, ServerSettings())
    with server_toy.running(app) as address:
        assert get(address, "/readyz")[0].status == 200
        app.state.served.gate.draining = True
        for path in ("/readyz", "/health"):
            assert get(address, path)[0].status == 503
        assert get(address, "/livez")[0].status == 200
        assert post(address, "/v1/completions", {"prompt": "a"})[0].status == 503
