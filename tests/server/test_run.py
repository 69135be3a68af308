"""The verb and its process: ready line, signals, ports, and no torch."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import server_toy

from sparing.base.errors import ConfigError, SparingError
from sparing.cli.main import main
from sparing.models.config import DecoderConfig
from sparing.models.folder import write_model
from sparing.models.names import shapes
from sparing.server.run import listen, url_of
from sparing.server.settings import ServerSettings, digest_of

TOY = str(Path(server_toy.__file__))
VERB = [sys.executable, "-m", "sparing", "serve"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with a toy tokenizer, as a folder."""
    folder = server_toy.write_tokenizer(tmp_path_factory.mktemp("served") / "tiny")
    config = DecoderConfig(
        vocab=260, width=16, layers=1, heads=2, kv_heads=1, head_width=8, hidden=32, context=256,
        bos=0, eos=(1,), tied=True,
    )  # fmt: skip
    draw = np.random.default_rng(0)
    tensors = {
        name: draw.normal(0, 0.3, shape).astype(np.float32)
        for name, shape in shapes(config).items()
    }
    write_model(folder, config, tensors)
    return folder


@contextlib.contextmanager
def process(command: list[str], **environment: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """A server process and the address from its ready line."""
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    try:
        line = running.stdout.readline()
        assert "http://" in line, running.stderr.read()
        yield running, line.split()[-1].rstrip("/")
    finally:
        running.kill()
        running.communicate()


def get(url: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.request("GET", path, headers=headers or {})
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    return reply.status, body


def begin_stream(url: str, tokens: int) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    body = {"prompt": "a", "max_tokens": tokens, "stream": True, "ignore_eos": True}
    connection.request(
        "POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"}
    )
    reply = connection.getresponse()
    assert reply.readline().startswith(b"data: ")
    return reply


def test_the_verb_serves_and_stops(model: Path) -> None:
    with process([*VERB, str(model), "--port", "0"], SPARING_API_KEY="k") as (running, url):
        assert get(url, "/health")[0] == 200
        assert get(url, "/v1/models")[0] == 401
        status, body = get(url, "/v1/models", {"Authorization": "Bearer k"})
        facts = json.loads(body)["data"][0]
        assert status == 200
        assert (facts["id"], facts["max_model_len"]) == ("tiny", 256)
        assert facts["sparing"]["weights"] == "float32"
        assert facts["sparing"]["parameters"] == 260 * 16 + 16 * 48 + 16 * 32 * 3 + 16 * 3
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=10)
        assert running.returncode == 0
        assert (out, err) == ("", "")


def test_sigterm_lets_answers_end() -> None:
    with process([sys.executable, TOY, "0.02", "20"]) as (running, url):
        reply = begin_stream(url, 60)
        running.send_signal(signal.SIGTERM)
        server_toy.until(lambda: get(url, "/readyz")[0] == 503)
        rest = reply.read()
        assert rest.rstrip().endswith(b"[DONE]")
        assert running.wait(10) == 0


@pytest.mark.parametrize(("sent", "drain_seconds"), [(signal.SIGTERM, "0"), (signal.SIGINT, "9")])
def test_without_time_a_stream_ends_in_an_error(sent: int, drain_seconds: str) -> None:
    with process([sys.executable, TOY, "0.05", drain_seconds]) as (running, url):
        reply = begin_stream(url, 400)
        running.send_signal(sent)
        rest = reply.read()
        assert b"[DONE]" not in rest
        assert b'"error"' in rest
        assert b'"stop"' not in rest
        assert running.wait(4) == 0


def verb(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    """The verb's exit code and its lines on standard error, within this process."""
    code = main(["serve", *arguments])
    return code, capsys.readouterr().err.splitlines()


def test_a_port_in_use_is_one_line(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, (line,) = verb(capsys, str(model), "--port", port)
    assert code == 1
    assert f"port {port}" in line
    assert "--port" in line


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere"], 1, "nowhere"),
        ([], 2, "model"),
        (["nowhere", "--host", "0.0.0.0"], 2, "--api-key-file"),
        (["nowhere", "--port", "70000"], 2, "port"),
        (["nowhere", "--host", "no.such.host.invalid", "--api-key", "k"], 2, "host"),
        (["nowhere", "--index", "docs"], 2, "NAME=DIR"),
        (["nowhere", "--index", "docs=absent"], 1, "absent"),
        (["nowhere", "--max-num-seqs", "0"], 2, "max_num_seqs"),
    ],
)
def test_wrong_starts_are_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    extra = [] if "--port" in arguments else ["--port", "0"]
    found, lines = verb(capsys, *arguments, *extra)
    lines = [line for line in lines if "--api-key is visible" not in line]
    assert found == code
    assert len(lines) == 1, lines
    assert words in lines[0]


def test_listen_and_its_address() -> None:
    with listen(ServerSettings(port=0)) as door:
        assert url_of(door) == f"http://127.0.0.1:{door.getsockname()[1]}/"
        door.listen()
        with pytest.raises(SparingError, match="in use"):
            listen(ServerSettings(port=door.getsockname()[1]))
    with listen(ServerSettings(host="0.0.0.0", port=0, key_digests=(digest_of("k"),))) as door:
        assert url_of(door).startswith("http://127.0.0.1:")
    with pytest.raises(ConfigError):
        listen(ServerSettings(host="no.such.host.invalid", key_digests=(digest_of("k"),)))


def test_serving_never_imports_torch(model: Path) -> None:
    script = f"""
import json, sys, threading, urllib.request
import server_toy
from pathlib import Path
from sparing.engine.assemble import load
from sparing.server.facts import facts_of
from sparing.server.costs import server_meter
folder = Path({str(model)!r})
with load(folder) as llm:
    with server_toy.live(llm, meter=server_meter(None), facts=facts_of(folder)) as url:
        for path, body in (
            ("/v1/chat/completions", {{"messages": [{{"role": "user", "content": "x"}}]}}),
            ("/v1/completions", {{"prompt": "x", "max_tokens": 3}}),
            ("/render", {{"text": "**x**"}}),
        ):
            ask = urllib.request.Request(
                url + path, json.dumps(body).encode(), {{"Content-Type": "application/json"}}
            )
            assert urllib.request.urlopen(ask).status == 200
heavy = {{"torch", "transformers", "pyarrow", "matplotlib"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(Path(TOY).parent)])},
    )
    assert done.returncode == 0, done.stderr
