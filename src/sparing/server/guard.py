"""The door that every request passes: host, origin, key, security headers, last barrier."""

import hashlib
import hmac
import ipaddress
import re
import uuid
from collections.abc import Callable, Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sparing.base.logs import logger
from sparing.server.errors import error_response

OPEN_PATHS = frozenset({"/livez", "/readyz", "/health"})
"""Routes that need no key besides the files of the page; everything else does."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::\d{1,5})?")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = logger("server")


def host_allowed(host: str, allowed: Collection[str]) -> bool:
    """Whether a Host header may be answered: an address, localhost, or a name on the list.

    A page of another site can reach this server under its own name after it has changed that
    name's address (DNS rebinding); it cannot do so under a bare address.
    """
    match = _HOST.fullmatch(host)
    if not match:
        return False
    name = match[1].strip("[]").lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost") or name in allowed:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def origin_allowed(origin: str | None, host: str) -> bool:
    """Whether a browser's Origin is this server itself; no Origin means no browser asks."""
    return origin is None or origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")


def key_allowed(authorization: str | None, digests: Collection[str]) -> bool:
    """Whether `Authorization: Bearer KEY` holds a known key; every digest is compared."""
    if not digests:
        return True
    scheme, _, key = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        return False
    mine = hashlib.sha256(key.strip().encode("latin-1", "replace")).hexdigest()
    found = False
    for digest in digests:
        found |= hmac.compare_digest(mine, digest)
    return found


class Guard:
    """ASGI layer around all routes; a path that is not named open needs a key."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        digests: Collection[str],
        hosts: Collection[str],
        open_paths: Collection[str],
        on_answer: Callable[[int], None],
    ) -> None:
        self._app, self._digests, self._on_answer = app, tuple(digests), on_answer
        self._hosts = frozenset(name.lower() for name in hosts)
        self._open = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        request_id = _request_id(Headers(scope=scope).get("x-request-id"))
        scope["request_id"] = request_id
        begun = False

        async def send_sealed(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                self._on_answer(message["status"])
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
                headers["X-Request-Id"] = request_id
            await send(message)

        try:
            refusal = self._refusal(scope)
            await (refusal or self._app)(scope, receive, send_sealed)
        except Exception:
            _log.exception("request %s failed", request_id)
            if begun:
                raise
            await error_response(500, "the server failed")(scope, receive, send_sealed)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
            return error_response(400, "Host: one valid host is needed", param="host")
        if not host_allowed(hosts[0], self._hosts):
            return error_response(
                403,
                f"Host: {hosts[0]} is not served here; --allowed-hosts adds a name",
                param="host",
                code="host_not_allowed",
            )
        if not origin_allowed(headers.get("origin"), hosts[0]):
            return error_response(
                403, "Origin: another site's page may not ask", param="origin", code="cross_origin"
            )
        if scope["path"] in self._open or key_allowed(headers.get("authorization"), self._digests):
            return None
        return error_response(401, "a valid API key is needed: Authorization: Bearer KEY")


def _request_id(given: str | None) -> str:
    """The client's id if it is plain, else a new one."""
    return given if given and _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
