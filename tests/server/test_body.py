"""Whatever is sent as a body: a documented refusal, quickly, and the server goes on."""

import http.client
import json
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparing.base.errors import RequestError
from sparing.server.body import parse_object
from sparing.server.protocol import CHAT, COMPLETION, Ask, parse_chat, parse_completion

BIG = 2**31 - 1
ASK = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}


def send(url: str, raw: bytes, headers: dict[str, str] | None = None, path: str = "") -> tuple:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        connection.request(
            "POST",
            path or "/v1/chat/completions",
            raw,
            {"Content-Type": "application/json"} | (headers or {}),
        )
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"messages":',
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b'{"temperature": NaN}',
        b'{"temperature": 1e999}',
        b'{"temperature": -Infinity}',
        b'{"seed": ' + b"9" * 5000 + b"}",
        b'{"n": 1, "n": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": "\xc3"}',
        b'{"a": "' + b"\\" * 3,
        b"[" * 100_000,
        b'{"a":' * 50_000,
    ],
    ids=lambda raw: repr(raw[:24]),
)
def test_what_is_not_a_strict_object(raw: bytes) -> None:
    begun = time.perf_counter()
    with pytest.raises(RequestError) as found:
        parse_object(raw, depth=64)
    assert found.value.status == 400
    assert time.perf_counter() - begun < 1.0


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.text() | st.integers()
       | st.floats(allow_nan=False, allow_infinity=False),
       lambda inner: st.lists(inner, max_size=3)
       | st.dictionaries(st.text(), inner, max_size=3), max_leaves=20)))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_strict_reading_agrees_with_json(tree: dict) -> None:
    raw = json.dumps(tree).encode()
    assert parse_object(raw, depth=64) == json.loads(raw)


def test_depth_counts_brackets_outside_strings() -> None:
    assert parse_object(b'{"a": "[[[[{{{{", "b": "\\"[[["}', depth=2)
    assert parse_object(b'{"a": [[1]]}', depth=3)
    with pytest.raises(RequestError):
        parse_object(b'{"a": [[[1]]]}', depth=3)


odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, -1, 1, 2**31, 2**63, 2**64, -0.0, 1e308, 1.5]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.lists(st.integers() | st.text(max_size=4), max_size=4),
    st.dictionaries(st.text(max_size=8), st.integers(), max_size=2),
)


def read_or_refused(parse: Callable[[dict], Ask], tree: dict) -> Ask | None:
    """The request, or None when it was refused as a bad request that names a field."""
    refusal = None
    try:
        return parse(tree)
    except RequestError as error:
        refusal = error
    assert refusal.status == 400
    assert refusal.param is not None
    return None


@given(st.dictionaries(st.sampled_from(sorted(CHAT)) | st.text(max_size=10), odd, max_size=5))
@settings(max_examples=150, deadline=None)
def test_chat_bodies_are_read_or_refused(tree: dict) -> None:
    ask = read_or_refused(parse_chat, ASK | tree)
    assert ask is None or (1 <= ask.n <= 10**6 and set(tree) <= set(CHAT))


@given(st.dictionaries(st.sampled_from(sorted(COMPLETION)) | st.text(max_size=10), odd, max_size=5))
@settings(max_examples=100, deadline=None)
def test_completion_bodies_are_read_or_refused(tree: dict) -> None:
    ask = read_or_refused(parse_completion, {"prompt": "a"} | tree)
    assert ask is None or (ask.prompts and set(tree) <= set(COMPLETION))


REFUSED = [
    ("temperature", [-0.1, 2.1, "1", True, [1]]),
    ("top_p", [0, 1.01, "0.5", False]),
    ("top_k", [-2, 1.0, 2**31, True]),
    ("min_p", [-0.1, 1.1]),
    ("n", [0, -1, 1.0, "1", True, 10**6 + 1]),
    ("max_tokens", [0, -1, 2**31, 10.5, "5", True]),
    ("seed", [2**63, -(2**63) - 1, 1.5, "1", True]),
    ("stop", ["", [""], ["a"] * 17, "x" * 257, 5, [1]]),
    ("stream", [0, 1, "true", []]),
    ("presence_penalty", [-2.1, 2.1, "0"]),
    ("frequency_penalty", [-2.1, 2.1, True]),
    ("repetition_penalty", [0, 2.1]),
    ("top_logprobs", [21, -1, True, 1]),
    ("logprobs", [1, "yes"]),
    ("logit_bias", [{"1": 5}, 3]),
    ("tools", [[{"type": "function"}], {}]),
    ("response_format", [{"type": "json_object"}, "text"]),
    ("index", [5, ["docs"]]),
    ("index_passages", [0, 9, 1]),
    ("stream_options", [{"include_usage": True}, {"more": 1}, 1]),
    ("messages", [[], {}, "hi", [1], [{}], [{"role": "tool", "content": "x"}], [{"role": "user"}],
                  [{"role": "user", "content": "x", "extra": 1}],
                  [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}],
                  [{"role": "user", "content": "\ud800"}]]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in REFUSED for value in values], ids=repr
)
def test_out_of_range_names_the_field(name: str, value: object) -> None:
    with pytest.raises(RequestError) as found:
        parse_chat(ASK | {name: value})
    assert found.value.status == 400
    assert found.value.param.split(".")[0].split("[")[0] == name
    assert len(str(found.value)) < 400


def test_neutral_values_of_unserved_fields_pass() -> None:
    assert parse_chat(
        ASK
        | {"tools": [], "logit_bias": {}, "response_format": {"type": "text"}, "store": False}
        | {"user": "me", "stop": None, "metadata": {"a": "b"}}
    )


def test_both_names_of_the_limit() -> None:
    assert parse_chat(ASK | {"max_tokens": None, "max_completion_tokens": 7}).max_tokens == 7
    with pytest.raises(RequestError):
        parse_chat(ASK | {"max_completion_tokens": 7})


def test_types_and_sizes_at_the_door(url: str) -> None:
    good = json.dumps(ASK).encode()
    assert send(url, good)[0] == 200
    assert send(url, good, {"Content-Type": "application/json; charset=UTF-8"})[0] == 200
    for kind in ("text/plain", "application/json; charset=utf-16", "application/xml", ""):
        assert send(url, good, {"Content-Type": kind})[0] == 415
    assert send(url, good, {"Content-Encoding": "gzip"})[0] == 415
    status, body = send(url, b'{"a":"' + b"x" * (5 << 20) + b'"}')
    assert status == 413
    assert body["error"]["code"] == "request_too_large"


def test_a_body_without_a_length_is_limited_too(url: str) -> None:
    port = urlsplit(url).port
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: application/json\r\n\r\n"
        )
        piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        reply = b""
        try:
            for _ in range(80):
                line.sendall(piece)
            reply = line.recv(4096)
        except (BrokenPipeError, ConnectionResetError):
            reply = reply or b"HTTP/1.1 413"
    assert reply.startswith(b"HTTP/1.1 413")


@given(st.dictionaries(st.sampled_from(sorted(CHAT)), odd, max_size=4) | st.binary(max_size=200))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_server_answers_anything(url: str, body: dict | bytes) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(ASK | body).encode()
    streams = isinstance(body, dict) and body.get("stream") is True
    if streams:
        return
    status, reply = send(url, raw)
    assert status in (200, 400, 404)
    if status != 200:
        assert set(reply["error"]) == {"message", "type", "param", "code"}
    assert send(url, json.dumps(ASK).encode())[0] == 200
