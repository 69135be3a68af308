"""A request's JSON object, read strictly: size, type, depth, duplicates, finite numbers."""

import asyncio
import json
import math
import re
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect, Request

from sparing.base.errors import RequestError

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


async def read_object(
    request: Request, *, limit: int, depth: int, seconds: float
) -> dict[str, Any]:
    """The body as a dictionary.

    Errors:
        RequestError: 415 for another type or encoding, 413 past `limit`, 408 past `seconds`,
        400 for anything that is not one strict JSON object.
    """
    _check_type(request)
    try:
        raw = await asyncio.wait_for(_read(request, limit), seconds)
    except TimeoutError:
        raise RequestError(f"the body took longer than {seconds:g} s", status=408) from None
    except ClientDisconnect:
        raise RequestError("the client went away", status=400) from None
    return parse_object(raw, depth=depth)


def _check_type(request: Request) -> None:
    kind, _, rest = request.headers.get("content-type", "").partition(";")
    charset = re.sub(r"\s|\"", "", rest).lower()
    if kind.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        raise RequestError(
            "Content-Type: expected application/json in UTF-8", param="content-type", status=415
        )
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError(
            "Content-Encoding: only identity is read", param="content-encoding", status=415
        )


async def _read(request: Request, limit: int) -> bytes:
    too_large = RequestError(f"body: more than {limit} bytes", status=413)
    declared = request.headers.get("content-length", "0")
    if not declared.isdigit() or int(declared[:20]) > limit:
        raise too_large
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > limit:
            raise too_large
    return bytes(raw)


def parse_object(raw: bytes, *, depth: int) -> dict[str, Any]:
    """One JSON object from UTF-8 bytes; duplicated keys, NaN and overflow are refused."""
    if _deepest(raw, depth) > depth:
        raise RequestError(f"body: nested deeper than {depth}")
    try:
        text = raw.decode("utf-8")
        tree = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except UnicodeDecodeError as error:
        raise RequestError(f"body: not UTF-8 at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise RequestError(f"body: not valid JSON: {error}") from None
    if not isinstance(tree, dict):
        raise RequestError(f"body: expected a JSON object, got {type(tree).__name__}")
    return tree


def _deepest(raw: bytes, enough: int) -> int:
    """The nesting of brackets outside strings; counting ends once past `enough`."""
    deepest = now = 0
    for bracket in _STRINGS.sub(b"", raw).translate(None, _NOT_BRACKETS):
        now += 1 if bracket in b"[{" else -1
        if now > deepest:
            deepest = now
            if deepest > enough:
                break
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise RequestError(f"body: {twice[:60]!r} stands twice", param=twice)
    return tree


def _no_constant(name: str) -> NoReturn:
    raise RequestError(f"body: {name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise RequestError(f"body: the number {digits[:30]} is too large")
    return value
