"""A server from start to stop: the port first, then the model, then answers, then the drain."""

from __future__ import annotations

import errno
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from sparing.base.errors import ConfigError, SparingError
from sparing.server.settings import ServerSettings
from sparing.server.wire import BoundedProtocol

CLOSE_SECONDS = 2
"""What connections get to close once the drain is over."""


def listen(settings: ServerSettings) -> socket.socket:
    """Take the port before anything slow is done.

    Errors:
        SparingError: the port is in use or not permitted; ConfigError: no such address.
    """
    host = settings.host.strip("[]")
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigError(f"host: {settings.host}: {error.strerror or error}") from None
    door = socket.socket(family, socket.SOCK_STREAM)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(address)
    except OSError as error:
        door.close()
        where = f"port {settings.port} on {settings.host}"
        if error.errno == errno.EADDRINUSE:
            raise SparingError(f"{where} is in use; choose another with --port") from None
        raise SparingError(f"{where}: {error.strerror or error}") from None
    return door


def url_of(door: socket.socket) -> str:
    """Where a browser on this machine finds the server."""
    host, port = door.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


class Server(uvicorn.Server):
    """uvicorn with a drain: SIGTERM lets running answers end, SIGINT stops at once."""

    def __init__(self, app: FastAPI, *, drain_seconds: float, on_ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedProtocol,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_level="error",
                access_log=False,
                server_header=False,
                timeout_keep_alive=15,
                timeout_graceful_shutdown=CLOSE_SECONDS,
            )
        )
        self._served, self._drain_seconds, self._on_ready = (
            app.state.served,
            drain_seconds,
            on_ready,
        )
        self._deadline: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the door, then say so."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM drains, a second one or SIGINT stops."""
        self._served.gate.draining = True
        if sig == signal.SIGTERM and self._deadline is None:
            self._deadline = time.monotonic() + self._drain_seconds
        elif self.should_exit:
            self.force_exit = True
        else:
            self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: stop once all is answered or the time is up."""
        if self._deadline is not None and (
            not self._served.gate.inside or time.monotonic() > self._deadline
        ):
            self.should_exit = True
        if self.should_exit:
            self._served.llm.service.close()  # what still runs gets its end now
        return await super().on_tick(counter)


def serve(
    app: FastAPI, door: socket.socket, *, drain_seconds: float, on_ready: Callable[[], None]
) -> None:
    """Answer on `door` until a signal; returns when every connection is closed."""
    Server(app, drain_seconds=drain_seconds, on_ready=on_ready).run(sockets=[door])
