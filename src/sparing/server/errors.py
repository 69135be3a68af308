"""One body for every refusal: {"error": {"message", "type", "param", "code"}}."""

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from sparing.base.errors import CapacityError, RequestError, SparingError

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""The `type` of a status; 400 and what is not here are `invalid_request_error`."""

CODES = {
    401: "invalid_api_key",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "request_too_large",
    415: "unsupported_media_type",
    431: "headers_too_large",
    500: "internal_error",
    503: "overloaded",
}
"""The `code` of a status when the error brings none."""

MESSAGE_CHARS = 600
"""Longest message; what a client sent is echoed no further than this."""


def error_body(
    status: int, message: str, *, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """The four fields every OpenAI client reads, in valid UTF-8."""
    plain = message.encode("utf-8", "backslashreplace").decode()
    if len(plain) > MESSAGE_CHARS:
        plain = plain[: MESSAGE_CHARS - 3] + "..."
    param = param and param.encode("utf-8", "backslashreplace").decode()[:100]
    kind = TYPES.get(status, "invalid_request_error")
    return {
        "error": {
            "message": plain,
            "type": kind,
            "param": param,
            "code": code or CODES.get(status),
        }
    }


def error_response(
    status: int,
    message: str,
    *,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The refusal as an HTTP answer; 503 and 429 say when to try again, 401 says how."""
    extra = dict(headers or {})
    if status in (429, 503):
        extra.setdefault("Retry-After", "1")
    if status == 401:
        extra.setdefault("WWW-Authenticate", "Bearer")
    body = msgspec.json.encode(error_body(status, message, param=param, code=code))
    return Response(body, status, extra, "application/json")


def status_of(error: SparingError) -> int:
    """400 for what the client can change, 503 for want of room, 500 for our own trouble."""
    if isinstance(error, RequestError):
        return error.status
    return 503 if isinstance(error, CapacityError) else 500


def response_to(error: SparingError) -> Response:
    """The answer to one of our errors; a text about our own files is not sent to a client."""
    status = status_of(error)
    if isinstance(error, RequestError):
        return error_response(status, str(error), param=error.param, code=error.code)
    return error_response(status, str(error) if status == 503 else "the server failed")


def event_of(error: BaseException) -> dict[str, Any]:
    """The error as an event inside a stream that has already begun."""
    if isinstance(error, RequestError):
        return error_body(error.status, str(error), param=error.param, code=error.code)
    return error_body(500, "the server failed while answering")
