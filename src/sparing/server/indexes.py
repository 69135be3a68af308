"""Search indexes that a request may name: passages before the prompt, and shown."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sparing.base.config import nearest
from sparing.base.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from sparing.retrieval.index import Hit

PASSAGE_CHARS = 2000
"""Most of one passage that is sent back to the client."""


class Searcher(Protocol):
    """Anything with a search."""

    def search(self, query: str, k: int, /) -> Sequence[Hit]: ...


def open_indexes(named: Sequence[str]) -> dict[str, Searcher]:
    """Open each `NAME=DIR`.

    Errors:
        ConfigError: not of that form, or a name twice; whatever opening the folder raises.
    """
    from sparing.retrieval.index import Index

    opened: dict[str, Searcher] = {}
    for item in named:
        name, equals, folder = item.partition("=")
        if not (name and equals and folder):
            raise ConfigError(f"index: expected NAME=DIR, got {item!r}")
        if name in opened:
            raise ConfigError(f"index: {name!r} is attached twice")
        opened[name] = Index.open(Path(folder))
    return opened


async def find(indexes: Mapping[str, Searcher], name: str, query: str, k: int) -> tuple[Hit, ...]:
    """The best `k` passages of a named index, searched off the event loop."""
    if name not in indexes:
        known = f"; attached: {', '.join(indexes)}" if indexes else "; none is attached"
        raise RequestError(
            f"index: {name!r} is not attached{nearest(name, indexes) or known}",
            param="index",
            code="index_not_found",
            status=404,
        )
    return tuple(await asyncio.to_thread(indexes[name].search, query, k))


def shown(hits: Sequence[Hit], in_prompt: int) -> list[dict[str, Any]]:
    """Passages as they stand in an answer; the first `in_prompt` were put before the question."""
    return [
        {
            "title": hit.title,
            "source": hit.source,
            "score": round(float(hit.score), 4),
            "text": hit.text[:PASSAGE_CHARS],
            "in_prompt": at < in_prompt,
        }
        for at, hit in enumerate(hits)
    ]
