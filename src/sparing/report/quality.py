"""Quality before and after compression, and the sample answer."""

from __future__ import annotations

from typing import Any

from sparing.report import figures, markup
from sparing.report.figures import ONE, THREE, TWO, Bars
from sparing.report.gather import Compressed, RunParts, at, figure_at
from sparing.report.markup import Column, Html, escape


def section(parts: RunParts) -> Html:
    """The quality cards side by side with the original."""
    if not parts.compressed:
        missing = markup.absent("A compressed model")
        return markup.section("quality", "Compression", missing)
    return markup.section("quality", "Compression", _drawing(parts), _table(parts), *_notes(parts))


def _name(entry: Compressed) -> str:
    return str(entry.card.get("scheme", entry.name))


def _drawing(parts: RunParts) -> Html:
    names = ["original", *map(_name, parts.compressed)]
    sizes = _of_all(parts, "disk_bytes")
    rates = _of_all(parts, "decode", "tokens_per_s")
    losses = [0.0, *_kl(parts)]
    size = Bars("Size on disk", sizes, [markup.size(size) for size in sizes], colour=ONE)
    loss = Bars(
        "Mean KL, nats per token",
        losses,
        [markup.number(loss) for loss in losses],
        low=[None, *_kl(parts, "low")],
        high=[None, *_kl(parts, "high")],
        colour=TWO,
    )
    speed = Bars(
        "Tokens per second, one request",
        rates,
        [markup.count(rate) for rate in rates],
        low=_of_all(parts, "decode", "slowest"),
        high=_of_all(parts, "decode", "fastest"),
        colour=THREE,
    )
    drawn = [
        figures.bars(names, panel, name=name, width_in=figures.NARROW_IN)
        for name, panel in (("size", size), ("divergence", loss), ("speed", speed))
    ]
    words = (
        "Weight files.",
        "How far the output moved, with its 95 % interval.",
        "Decoding, from the slowest to the fastest run.",
    )
    return markup.side_by_side(*map(markup.figure, drawn, words))


def _of_all(parts: RunParts, *names: str) -> list[float | None]:
    """One figure of the original and of each compressed model."""
    found = [figure_at(parts.compressed[0].card, "before", *names)]
    return found + [figure_at(entry.card, "after", *names) for entry in parts.compressed]


def _kl(parts: RunParts, *end: str) -> list[float | None]:
    return [
        figure_at(entry.card, "against_original", "kl_mean", *end) for entry in parts.compressed
    ]


def _table(parts: RunParts) -> Html:
    first = parts.compressed[0].card
    rows: list[list[Html | str]] = [
        ["original", *_side(first, "before"), "\u2013", "\u2013", "\u2013", ""]
    ]
    for entry in parts.compressed:
        card = entry.card
        agree = figure_at(card, "against_original", "top1_agreement")
        rows.append(
            [
                _name(entry),
                *_side(card, "after"),
                _interval(card, "kl_mean"),
                markup.number(figure_at(card, "against_original", "kl_p99")),
                "\u2013" if agree is None else f"{100 * agree:.2f} %",
                _verdict(card),
            ]
        )
    columns = [Column("model", numeric=False)]
    columns += [Column(name) for name in ("size", "bits per byte", "perplexity", "tokens/s")]
    columns += [Column(name) for name in ("mean KL, nats", "p99 KL", "top-1 agreement")]
    return markup.table([*columns, Column("verdict", numeric=False)], rows)


def _side(card: dict[str, Any], side: str) -> list[str]:
    return [
        markup.size(figure_at(card, side, "disk_bytes")),
        markup.number(figure_at(card, side, "bits_per_byte"), digits=4),
        markup.number(figure_at(card, side, "perplexity"), digits=4),
        markup.count(figure_at(card, side, "decode", "tokens_per_s")),
    ]


def _interval(card: dict[str, Any], name: str) -> Html:
    value = figure_at(card, "against_original", name)
    low, high = (figure_at(card, "against_original", name, end) for end in ("low", "high"))
    text = escape(markup.number(value))
    if low is not None and high is not None:
        text += (
            f' <span class="range">{escape(markup.number(low))}'
            f" to {escape(markup.number(high))}</span>"
        )
    return Html(text)


def _verdict(card: dict[str, Any]) -> Html:
    passed = at(card, "verdict", "passed")
    limit = markup.number(figure_at(card, "verdict", "max_kl"))
    if passed is True:
        return markup.chip(f"within {limit}", "good")
    if passed is False:
        accepted = at(card, "verdict", "accepted_by_caller") is True
        return markup.chip("over, accepted" if accepted else "over the limit", "bad")
    return markup.chip("no verdict")


def _notes(parts: RunParts) -> list[Html]:
    card = parts.compressed[0].card
    tokens, source = figure_at(card, "evaluation", "tokens"), at(card, "evaluation", "source")
    words = "KL(original || compressed), per token"
    if tokens is not None:
        words += f", over {markup.number(int(tokens))} tokens"
    if source:
        words += f" of {source}"
    method, group = at(card, "method"), figure_at(card, "group")
    if method:
        words += f". Method: {method}"
    if group is not None:
        words += f", group of {int(group)}"
    return [markup.paragraph(words + ".", kind="soft")]


def answer(parts: RunParts) -> Html:
    """The question, the passages with their sources first, then the model's own words."""
    found = parts.answer
    if found is None:
        return markup.section("answer", "Sample answer", markup.absent("A question"))
    passages = found.get("passages")
    shown = [_passage(p) for p in passages if isinstance(p, dict)] if passages else []
    text = escape(str(found.get("text", "")).strip("\n"))
    label = escape(found.get("label", "the model's own words"))
    words = Html(
        f'<blockquote class="model"><span class="soft">{label}</span>'
        f'<div class="words">{text}</div></blockquote>'
    )
    return markup.section(
        "answer",
        "Sample answer",
        Html(f"<p><strong>{escape(found.get('question', ''))}</strong></p>"),
        Html("<h3>Passages found</h3>"),
        *(shown or [markup.absent("Passages")]),
        Html("<h3>What the model writes</h3>"),
        words,
    )


def _passage(passage: dict[str, Any]) -> Html:
    text = str(passage.get("text", "")).strip()
    cut = text if len(text) <= 900 else text[:900] + " ..."
    title = escape(passage.get("title") or "")
    score = markup.number(figure_at(passage, "score"))
    return Html(
        f'<blockquote><span class="source">{escape(passage.get("source", ""))}</span> {title} '
        f'<span class="range">score {escape(score)}</span>'
        f'<div class="words">{escape(cut)}</div></blockquote>'
    )
