"""The first page: what the run was, its headline figures, and what became of each step."""

from __future__ import annotations

from typing import Any

from sparing.measure import cost
from sparing.measure.ledger import Row
from sparing.report import markup
from sparing.report.gather import RunParts, figure_at
from sparing.report.markup import Html, escape

SECTIONS = {
    "learning": "Learning",
    "corpus": "Data",
    "quality": "Compression",
    "answer": "Sample answer",
    "spending": "Cost",
    "recipe": "Recipe",
    "machine": "Machine",
}


def header(parts: RunParts) -> Html:
    """Name, description, steps and links."""
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title in SECTIONS.items())
    lead = f'<p class="lead">{escape(parts.description)}</p>' if parts.description else ""
    return Html(
        f"<header><h1>{escape(parts.name)}</h1>{lead}<nav>{links}</nav>{_steps(parts)}</header>"
    )


def _steps(parts: RunParts) -> str:
    latest: dict[str, Row] = {row.stage: row for row in parts.rows}
    items = []
    for row in latest.values():
        done = row.status == "finished"
        mark = "&#10003;" if done else escape(row.status)
        kind = "done" if done else "not"
        spent = f" {markup.seconds(row.cost.seconds)}" if row.cost else ""
        items.append(
            f'<li><b>{escape(row.stage)}</b>{escape(spent)} <span class="{kind}">{mark}</span></li>'
        )
    return f'<ul class="steps">{"".join(items)}</ul>' if items else ""


def tiles(parts: RunParts) -> Html:
    """The headline figures; a figure that this run lacks has no tile."""
    found = [*_quality(parts), *_training(parts), *_smallest(parts), *_spent(parts)]
    if not found:
        return markup.absent("Headline figures")
    body = "".join(
        f'<div class="tile{" main" if first else ""}"><div class="name">{escape(name)}</div>'
        f'<div class="value">{escape(value)}</div><div class="note">{escape(note)}</div></div>'
        for first, (name, value, note) in zip([True] + [False] * len(found), found, strict=False)
    )
    return Html(f'<div class="tiles">{body}</div>')


Tile = tuple[str, Html | str, Html | str]


def _big(value: str, unit: str = "") -> Html:
    return Html(f"{escape(value)} <small>{escape(unit)}</small>")


def _quality(parts: RunParts) -> list[Tile]:
    bits = figure_at(parts.evaluation, "quality", "bits_per_byte")
    if bits is None:
        return []
    beside = [
        f"{order}-gram {markup.number(value)}" for order, value in ngrams(parts.evaluation).items()
    ]
    note = ", ".join(beside) or "no n-gram beside it"
    return [("held-out text", _big(markup.number(bits), "bits/byte"), note)]


def ngrams(evaluation: dict[str, Any] | None) -> dict[int, float]:
    """Bits per byte of each n-gram model, by order."""
    entries = evaluation.get("ngrams") if evaluation else None
    found = {}
    for entry in entries if isinstance(entries, list) else []:
        order, value = figure_at(entry, "order"), figure_at(entry, "bits_per_byte")
        if order is not None and value is not None:
            found[int(order)] = value
    return found


def _training(parts: RunParts) -> list[Tile]:
    if not parts.metrics:
        return []
    last = parts.metrics[-1]
    tokens, took = figure_at(last, "tokens"), figure_at(last, "seconds")
    if tokens is None:
        return []
    rate = f"{markup.count(tokens / took)} tokens/s" if took else "rate unknown"
    size = parameters(parts)
    note = f"{rate}, {size}" if size else rate
    return [("trained on", _big(markup.count(tokens), "tokens"), note)]


def parameters(parts: RunParts) -> str:
    """Size of the model in words; empty when its card does not say."""
    facts = parts.model.facts if parts.model else {}
    found = figure_at(facts, "parameters")
    return f"{markup.count(found)} parameters" if found else ""


def _smallest(parts: RunParts) -> list[Tile]:
    sizes = [
        (after, before, entry)
        for entry in parts.compressed
        if (after := figure_at(entry.card, "after", "disk_bytes"))
        and (before := figure_at(entry.card, "before", "disk_bytes"))
    ]
    if not sizes:
        return []
    after, before, entry = min(sizes, key=lambda item: item[0])
    loss = figure_at(entry.card, "against_original", "kl_mean")
    rate = figure_at(entry.card, "after", "decode", "tokens_per_s")
    notes = [f"{before / after:.1f}x smaller"]
    notes += [f"KL {markup.number(loss)} nats"] if loss is not None else []
    notes += [f"{markup.count(rate)} tokens/s"] if rate is not None else []
    scheme = str(entry.card.get("scheme", entry.name))
    value, unit = markup.size(after).split(" ")
    return [(f"{scheme} model", _big(value, unit), ", ".join(notes))]


def _spent(parts: RunParts) -> list[Tile]:
    spent = [row.cost for row in parts.rows if row.cost is not None]
    if not spent:
        return []
    total = cost.total(spent)
    peak = f"peak memory {markup.size(total.peak_rss_bytes)}"
    tiles: list[Tile] = [("whole run", _big(*_split(markup.seconds(total.seconds))), peak)]
    label = markup.label_chip(total.energy_label)
    if total.joules is None:
        tiles.append(("energy", "unknown", label))
    else:
        note = Html(f"{label.text} {escape(markup.grams(total.gco2e))} CO2e")
        tiles.append(("energy", _big(*_split(markup.joules(total.joules))), note))
    if total.money is not None:
        tiles.append(("money", markup.money(total.money, total.currency), "prices as stated"))
    return tiles


def _split(text: str) -> tuple[str, str]:
    value, _, unit = text.partition(" ")
    return value, unit or "min"
