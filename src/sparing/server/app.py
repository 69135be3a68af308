"""The routes: translate, refuse what would have to be ignored, and leave."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sparing import __version__
from sparing.base.errors import RequestError, SparingError
from sparing.measure.settings import MeasureConfig
from sparing.server import metrics as counters
from sparing.server.answer import Answer
from sparing.server.body import read_object
from sparing.server.costs import Account, EnergyMeter
from sparing.server.errors import error_response, response_to
from sparing.server.events import EventStream, chunks, gather, until_gone
from sparing.server.fields import checked, text
from sparing.server.gate import Gate
from sparing.server.guard import OPEN_PATHS, Guard
from sparing.server.indexes import Searcher, find, shown
from sparing.server.pages import pages
from sparing.server.prepare import Prepared, check_model, prepare, question_of
from sparing.server.protocol import Ask, parse_chat, parse_completion
from sparing.server.replies import Header, whole
from sparing.server.settings import ServerSettings

if TYPE_CHECKING:
    from sparing.engine.llm import LLM
    from sparing.retrieval.index import Hit

RENDER_CHARS = 200_000
"""Longest text that /render takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Everything that the routes use."""

    llm: LLM
    name: str
    settings: ServerSettings
    indexes: Mapping[str, Searcher]
    gate: Gate
    account: Account
    metrics: counters.Metrics
    facts: Mapping[str, Any]
    """What is said about the model under /v1/models."""
    created: int


def create_app(
    llm: LLM,
    settings: ServerSettings,
    *,
    indexes: Mapping[str, Searcher] | None = None,
    meter: EnergyMeter | None = None,
    measure: MeasureConfig | None = None,
    facts: Mapping[str, Any] | None = None,
) -> FastAPI:
    """The application around a loaded model; `app.state.served` holds what it uses."""
    account = Account(meter, measure or MeasureConfig())
    name = settings.served_model_name or llm.model_name
    served = Served(
        llm=llm,
        name=name,
        settings=settings,
        indexes=dict(indexes or {}),
        gate=Gate(settings.max_requests),
        account=account,
        metrics=counters.Metrics(name, llm.service.stats, account),
        facts=dict(facts or {}) | {"chat": llm.tokenizer.template is not None},
        created=int(time.time()),
    )
    app = FastAPI(
        title="Sparing",
        telemetry={"tracing": False, "metrics": False, "logs": False},
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.served = served
    open_paths = OPEN_PATHS | _add_pages(app)
    _add_state(app, served)
    _add_models(app, served)
    _add_answers(app, served)
    app.add_exception_handler(SparingError, _on_our_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_middleware(
        Guard,
        digests=settings.key_digests,
        hosts=settings.allowed_hosts,
        open_paths=open_paths,
        on_answer=served.metrics.count,
    )
    return app


def _json(tree: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(tree), status, media_type="application/json")


async def _on_our_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, SparingError)
    return response_to(error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = {
        404: f"{request.url.path[:100]}: no such route",
        405: f"{request.method[:20]} is not served at {request.url.path[:100]}",
    }.get(error.status_code, str(error.detail))
    return error_response(error.status_code, text, headers=error.headers)


def _add_pages(app: FastAPI) -> frozenset[str]:
    """A route per file of the playground; returns their paths."""
    found = pages()
    for path, page in found.items():
        app.add_api_route(path, _page_route(page), methods=["GET", "HEAD"], response_model=None)
    return frozenset(found)


def _page_route(page: Any) -> Callable[[Request], Awaitable[Response]]:
    async def send_page(request: Request) -> Response:
        headers = {"ETag": page.tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == page.tag:
            return Response(status_code=304, headers=headers)
        return Response(page.body, headers=headers, media_type=page.kind)

    return send_page


def _add_state(app: FastAPI, served: Served) -> None:
    @app.get("/livez", response_model=None)
    async def livez() -> Response:
        return _json({"status": "alive"})

    @app.get("/readyz", response_model=None)
    @app.get("/health", response_model=None)
    async def readyz() -> Response:
        if served.gate.draining:
            return error_response(503, "the server is shutting down", code="shutting_down")
        if served.llm.service.failure is not None:
            return error_response(503, "the engine has failed", code="engine_failed")
        return _json({"status": "ready"})

    @app.get("/version", response_model=None)
    async def version() -> Response:
        return _json({"version": __version__})

    @app.get("/metrics", response_model=None)
    async def metrics() -> Response:
        served.account.settle(time.monotonic())
        return Response(served.metrics.text(), media_type=counters.CONTENT_TYPE)


def _add_models(app: FastAPI, served: Served) -> None:
    model = {
        "id": served.name,
        "object": "model",
        "created": served.created,
        "owned_by": "sparing",
        "max_model_len": served.llm.service.context,
        "sparing": dict(served.facts),
    }

    @app.get("/v1/models", response_model=None)
    async def models() -> Response:
        return _json({"object": "list", "data": [model]})

    @app.get("/v1/models/{name:path}", response_model=None)
    async def one_model(name: str) -> Response:
        check_model(name, served.name)
        return _json(model)

    @app.get("/v1/indexes", response_model=None)
    async def list_indexes() -> Response:
        rows = [{"id": name, "object": "index"} for name in served.indexes]
        return _json({"object": "list", "data": rows})

    @app.post("/render", response_model=None)
    async def render(request: Request) -> Response:
        from sparing.server.render import to_html

        fields = checked(await _body(request, served), {"text": text(RENDER_CHARS)})
        if "text" not in fields:
            raise RequestError("text: missing", param="text")
        return _json({"html": await asyncio.to_thread(to_html, fields["text"])})


def _add_answers(app: FastAPI, served: Served) -> None:
    @app.post("/v1/chat/completions", response_model=None)
    async def chat(request: Request) -> Any:
        return await _answer(request, served, parse_chat(await _body(request, served)))

    @app.post("/v1/completions", response_model=None)
    async def completion(request: Request) -> Any:
        return await _answer(request, served, parse_completion(await _body(request, served)))


async def _body(request: Request, served: Served) -> dict[str, Any]:
    settings = served.settings
    return await read_object(
        request,
        limit=settings.body_bytes,
        depth=settings.json_depth,
        seconds=settings.body_seconds,
    )


async def _answer(request: Request, served: Served, ask: Ask) -> Any:
    check_model(ask.model, served.name)
    share = served.account.open(time.monotonic())  # searching and tokenising are charged too
    try:
        header, prepared = await _understood(served, ask)
        answer = Answer(
            prepared,
            id=header.id,
            share=share,
            service=served.llm.service,
            gate=served.gate,
            account=served.account,
            metrics=served.metrics,
        )
    except BaseException:
        served.account.close(share, time.monotonic())
        raise
    if ask.stream:
        return EventStream(chunks(answer, ask, header, prepared.echoes), finish=answer.finish)
    try:
        choices = await until_gone(gather(answer, prepared.echoes), request.receive)
        if choices is None:
            return error_response(408, "the client went away")
        return _json(whole(header, choices, answer.usage(final=True)))
    finally:
        answer.finish()


async def _understood(served: Served, ask: Ask) -> tuple[Header, Prepared]:
    """The request with its passages found and its prompts tokenised, and its answer's frame."""
    hits: tuple[Hit, ...] = ()
    if ask.index is not None:
        hits = await find(served.indexes, ask.index, question_of(ask), ask.passages)
    most = served.settings.max_choices
    prepared = await asyncio.to_thread(prepare, served.llm, ask, hits, most=most)
    chat = bool(ask.messages)
    header = Header(
        id=("chatcmpl-" if chat else "cmpl-") + uuid.uuid4().hex,
        created=int(time.time()),
        model=served.name,
        chat=chat,
        spell=served.llm.tokenizer.token_bytes,
        passages=shown(hits, prepared.in_prompt),
    )
    return header, prepared
