"""Heads that are too long, too slow or no HTTP at all."""

import json
import socket
import time
from urllib.parse import urlsplit

import pytest

from sparing.server import wire


def talk(url: str, *pieces: bytes, pause: float = 0.0) -> tuple[int, dict]:
    """Send pieces one after another; the status and the JSON body of the answer."""
    with socket.create_connection(("127.0.0.1", urlsplit(url).port), timeout=10) as line:
        try:
            for piece in pieces:
                line.sendall(piece)
                time.sleep(pause)
        except (BrokenPipeError, ConnectionResetError):
            pass
        reply = b""
        while piece := line.recv(65536):
            reply += piece
    head, _, body = reply.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    "pieces",
    [
        [b"GET /livez HTTP/1.1\r\nX: "] + [b"x" * 8192] * 9,
        [b"GET /" + b"x" * 70_000],
        [b"GET /livez HTTP/1.1\r\n"] + [b"X: y\r\n" * 2000] * 7,
    ],
    ids=["value", "target", "many"],
)
def test_heads_are_bounded(url: str, pieces: list[bytes]) -> None:
    status, body = talk(url, *pieces, pause=0.01)
    assert status == 431
    assert set(body["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "raw",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
        b"Content-Length: 2\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n",
    ],
    ids=lambda raw: repr(raw[-40:]),
)
def test_malformed_requests_are_refused(url: str, raw: bytes) -> None:
    status, body = talk(url, raw)
    assert status == 400
    assert set(body["error"]) == {"message", "type", "param", "code"}


def test_slow_heads_are_cut(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "HEAD_SECONDS", 0.3)
    begun = time.monotonic()
    status, _ = talk(url, b"GET /livez HTTP/1.1\r\n", b"X: y")
    assert status == 408
    with socket.create_connection(("127.0.0.1", urlsplit(url).port), timeout=10) as line:
        assert line.recv(100) == b"", "a silent connection is closed"
    assert time.monotonic() - begun < 5


def test_a_long_body_is_no_long_head(url: str) -> None:
    body = json.dumps({"text": "x" * 150_000}).encode()
    head = (
        b"POST /render HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    assert talk(url, head + body)[0] == 200
