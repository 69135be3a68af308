"""What each data step removed, and why."""

from __future__ import annotations

from typing import Any

from sparing.report import figures, markup
from sparing.report.figures import ONE, TWO, Bars
from sparing.report.gather import RunParts, at, figure_at
from sparing.report.markup import Column, Html


def section(parts: RunParts) -> Html:
    """Documents and bytes removed per step, what is left, and the token shards."""
    if parts.corpus is None and parts.shards is None:
        return markup.section("corpus", "Data", markup.absent("A corpus"))
    steps = [step for step in _list(parts.corpus, "steps") if isinstance(step, dict)]
    blocks: list[Html | str] = []
    if steps:
        blocks += [_removed(steps), _reasons(steps)]
    else:
        blocks.append(markup.absent("The steps of the data build"))
    blocks.append(_left(parts))
    for warning in _list(parts.corpus, "warnings"):
        blocks.append(markup.paragraph(markup.chip("warning", "warn"), f" {warning}"))
    return markup.section("corpus", "Data", *blocks)


def _list(tree: Any, name: str) -> list[Any]:
    found = at(tree, name)
    return found if isinstance(found, list) else []


def _difference(step: dict[str, Any], before: str, after: str) -> float | None:
    first, last = figure_at(step, before), figure_at(step, after)
    return None if first is None or last is None else max(0.0, first - last)


def _removed(steps: list[dict[str, Any]]) -> Html:
    names = [str(step.get("step", "?")) for step in steps]
    documents = [_difference(step, "in", "out") for step in steps]
    sizes = [_difference(step, "bytes_in", "bytes_out") for step in steps]
    shares = [_share(step, gone) for step, gone in zip(steps, documents, strict=True)]
    documents_drawn = figures.bars(
        names,
        Bars(
            title="Documents removed",
            values=documents,
            texts=[f"{markup.number(gone)}{share}" for gone, share in _zip(documents, shares)],
            colour=ONE,
        ),
        name="documents",
    )
    bytes_drawn = figures.bars(
        names,
        Bars("Text removed", sizes, [markup.size(gone) for gone in sizes], colour=TWO),
        name="bytes",
    )
    return markup.side_by_side(
        markup.figure(documents_drawn, "Documents that each step took out, in running order."),
        markup.figure(bytes_drawn, "The same in bytes, with what was cut from kept documents."),
    )


def _zip(values: list[float | None], texts: list[str]) -> list[tuple[Any, str]]:
    whole = [None if value is None else int(value) for value in values]
    return list(zip(whole, texts, strict=True))


def _share(step: dict[str, Any], gone: float | None) -> str:
    entered = figure_at(step, "in")
    if gone is None or not entered:
        return ""
    percent = 100 * gone / entered
    return f" ({percent:.1f} %)" if gone else ""


def _reasons(steps: list[dict[str, Any]]) -> Html:
    rows = []
    for step in steps:
        dropped = at(step, "dropped")
        reasons = sorted(
            ((str(k), v) for k, v in (dropped or {}).items() if markup.is_number(v)),
            key=lambda pair: -pair[1],
        )
        words = ", ".join(f"{reason} {markup.number(count)}" for reason, count in reasons)
        rows.append(
            (
                step.get("step", "?"),
                _whole(step, "in"),
                _whole(step, "out"),
                markup.size(figure_at(step, "bytes_out")),
                words or "nothing removed",
            )
        )
    columns = [
        Column("step", numeric=False),
        Column("documents in"),
        Column("out"),
        Column("text left"),
        Column("removed because", numeric=False),
    ]
    return markup.table(columns, rows)


def _whole(tree: Any, name: str) -> str:
    value = figure_at(tree, name)
    return markup.number(None if value is None else int(value))


def _left(parts: RunParts) -> Html:
    rows = []
    for split in ("train", "heldout"):
        text, tokens = at(parts.corpus, "splits", split), at(parts.shards, "splits", split)
        if text is None and tokens is None:
            continue
        size = figure_at(text or tokens, "bytes")
        token_count = figure_at(tokens, "tokens")
        rows.append(
            (
                split,
                _whole(text or tokens, "documents"),
                markup.size(size),
                markup.count(token_count),
                markup.number(size / token_count if size and token_count else None),
            )
        )
    columns = [
        Column("split", numeric=False),
        Column("documents"),
        Column("text"),
        Column("tokens"),
        Column("bytes per token"),
    ]
    return markup.table(columns, rows) if rows else markup.absent("What was left")
