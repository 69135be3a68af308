"""The door: every route but the open ones needs a key, whatever the Host says."""

import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import server_toy

from sparing.base.errors import ConfigError
from sparing.engine.llm import LLM
from sparing.server.app import create_app
from sparing.server.guard import host_allowed, key_allowed, origin_allowed
from sparing.server.settings import ServerSettings, digest_of, read_keys

KEY = "right-key"
OPEN = {"/livez", "/readyz", "/health", "/"}


@pytest.fixture(scope="module")
def locked(llm: LLM) -> Iterator[tuple[str, list]]:
    settings = ServerSettings(key_digests=(digest_of("older"), digest_of(KEY)))
    app = create_app(llm, settings)
    with server_toy.running(app) as url:
        yield url, app.routes


def ask(url: str, method: str, path: str, headers: dict[str, str]) -> tuple:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in ({"Content-Length": "0"} | headers).items():
        connection.putheader(name, value)
    connection.endheaders()
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    return reply, body


def test_every_route_is_locked_or_named_open(locked: tuple[str, list]) -> None:
    url, routes = locked
    walked = 0
    for route in routes:
        path = route.path.replace("{name:path}", "toy")
        is_open = path in OPEN or path.startswith("/web/")
        for method in sorted(route.methods):
            walked += 1
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": KEY}):
                status = ask(url, method, path, headers)[0].status
                assert (status == 401) != is_open, (method, path, headers, status)
            for key in (KEY, "older"):
                status = ask(url, method, path, {"Authorization": f"Bearer {key}"})[0].status
                assert status not in (401, 403, 500), (method, path)
    assert walked > 15
    for path in ("/web", "/web/", "/web/../v1/models", "//v1/models", "/v1/models/", "/nothing"):
        assert ask(url, "GET", path, {})[0].status == 401, path


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:8000", "[::1]:80", "10.0.0.7", "app.localhost:3000"]
)
def test_host_does_not_change_what_needs_a_key(locked: tuple[str, list], host: str) -> None:
    url, _ = locked
    assert ask(url, "GET", "/v1/models", {"Host": host})[0].status == 401
    key = {"Authorization": f"Bearer {KEY}"}
    assert ask(url, "GET", "/v1/models", {"Host": host} | key)[0].status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 403),
        ("evil.example:8000", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("a@localhost", 400),
        ("localhost/x", 400),
        ("localhost?x", 400),
        ("localhost#x", 400),
        ("local host", 400),
        ("", 400),
        ("localhost:99999999", 400),
    ],
)
def test_foreign_hosts_are_refused_key_or_not(
    locked: tuple[str, list], host: str, status: int
) -> None:
    url, _ = locked
    for path in ("/v1/models", "/", "/livez"):
        reply, body = ask(url, "GET", path, {"Host": host, "Authorization": f"Bearer {KEY}"})
        assert reply.status == status
        assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}


def test_names_on_the_list_are_answered() -> None:
    assert host_allowed("Box.LAN:8000", {"box.lan"})
    assert not host_allowed("other.lan", {"box.lan"})


def test_pages_of_other_sites_may_not_ask(locked: tuple[str, list]) -> None:
    url, _ = locked
    key = {"Authorization": f"Bearer {KEY}"}
    for origin in ("https://evil.example", "null", url + ".evil.example", "http://127.0.0.1:1"):
        assert ask(url, "POST", "/render", key | {"Origin": origin})[0].status == 403
    assert ask(url, "GET", "/v1/models", key | {"Origin": url})[0].status == 200
    assert origin_allowed(None, "localhost")


def test_headers_of_every_answer(locked: tuple[str, list]) -> None:
    url, _ = locked
    for path in ("/", "/web/app.js", "/v1/models", "/nothing"):
        reply, _ = ask(url, "GET", path, {"X-Request-Id": "mine-1"})
        assert "default-src 'self'" in reply.headers["Content-Security-Policy"]
        assert "unsafe" not in reply.headers["Content-Security-Policy"]
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["X-Request-Id"] == "mine-1"
    reply, _ = ask(url, "GET", "/livez", {"X-Request-Id": "a b<script>"})
    assert "<" not in reply.headers["X-Request-Id"]


def test_key_comparison() -> None:
    digests = (digest_of("a"), digest_of("b"))
    assert key_allowed("Bearer a", digests)
    assert key_allowed("bearer  b ", digests)
    for wrong in (None, "", "Bearer", "Bearer ", "Basic a", "a", "Bearer " + digest_of("a")):
        assert not key_allowed(wrong, digests)
    assert key_allowed(None, ())


def test_other_machines_need_a_key(tmp_path) -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "box.lan"):
        with pytest.raises(ConfigError, match="api-key-file"):
            ServerSettings(host=host)
        ServerSettings(host=host, key_digests=(digest_of("k"),))
    for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"):
        ServerSettings(host=host)
    keys = tmp_path / "keys"
    keys.write_text("# team\nfirst\n\n second \n")
    assert read_keys(keys) == (digest_of("first"), digest_of("second"))
    keys.write_text("# nothing\n")
    with pytest.raises(ConfigError):
        read_keys(keys)
    with pytest.raises(ConfigError):
        read_keys(tmp_path / "absent")
