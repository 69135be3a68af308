"""Loss over tokens, held-out bits per byte beside the n-grams, throughput."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from sparing.report import figures, markup
from sparing.report.figures import FOUR, ONE, THREE, TWO, Level, Line
from sparing.report.gather import RunParts, figure_at
from sparing.report.markup import Html
from sparing.report.overview import ngrams

MOST_POINTS = 600
"""Points of one curve: more than a page shows would only make the file heavy."""

SHAPE = {
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "context": "max_position_embeddings",
}
"""Lines about the model's shape, and their names in `config.json`."""

SMOOTH = 25
"""Steps of the running mean drawn over the raw loss."""


def section(parts: RunParts) -> Html:
    """The curves of the training run."""
    if not parts.metrics:
        return markup.section("learning", "Learning", markup.absent("A training run"))
    return markup.section(
        "learning",
        "Learning",
        markup.side_by_side(_loss(parts), _heldout(parts)),
        markup.side_by_side(_throughput(parts), _facts(parts)),
    )


def series(parts: RunParts, name: str) -> tuple[list[float], list[float]]:
    """Tokens seen and the values of one metric, where both are finite."""
    pairs = [
        (tokens, value)
        for record in parts.metrics
        if (tokens := figure_at(record, "tokens")) is not None
        and (value := figure_at(record, name)) is not None
    ]
    return [x for x, _ in pairs], [y for _, y in pairs]


def thin(values: Sequence[float], most: int = MOST_POINTS) -> list[float]:
    """Evenly spaced values, the last one included."""
    step = -(-len(values) // most) if values else 1
    kept = list(values[::step])
    if kept and (len(values) - 1) % step:
        kept.append(values[-1])
    return kept


def running_mean(values: Sequence[float], width: int = SMOOTH) -> list[float]:
    """The mean of up to `width` values around each one; fewer, but evenly, near the ends."""
    sums = [0.0, *accumulate(values)]
    means = []
    for index in range(len(values)):
        half = min(width // 2, index, len(values) - 1 - index)
        means.append((sums[index + half + 1] - sums[index - half]) / (2 * half + 1))
    return means


def _loss(parts: RunParts) -> Html:
    tokens, loss = series(parts, "loss")
    if not loss:
        return markup.absent("The training loss")
    width = max(1, min(SMOOTH, len(loss) // 8))
    lines = [
        Line("each step", thin(tokens), thin(loss), ONE, faint=True),
        Line("running mean", thin(tokens), thin(running_mean(loss, width)), ONE),
    ]
    drawn = figures.curves("Training loss", lines, x_label="tokens seen", name="loss")
    words = "Cross-entropy in nats per token"
    words += f"; the line is the mean over {width} logged steps." if width > 1 else "."
    return markup.figure(drawn, words)


def _heldout(parts: RunParts) -> Html:
    tokens, bits = series(parts, "heldout_bpb")
    final = figure_at(parts.evaluation, "quality", "bits_per_byte")
    last = figure_at(parts.metrics[-1], "tokens")
    lines, words = [], "Lower is better: bits to write one byte of text from files kept apart."
    if bits:
        dots = len(bits) <= 60
        lines.append(Line("while training", thin(tokens), thin(bits), ONE, dots=dots))
    if final is not None and last is not None:
        lines.append(Line("by eval", [last], [final], FOUR, dots=True))
    if not lines:
        return markup.absent("Held-out bits per byte")
    found = sorted(ngrams(parts.evaluation).items())
    levels = [
        Level(f"{order}-gram {value:.3f}", value, colour)
        for (order, value), colour in zip(found, (TWO, THREE) * len(found), strict=False)
    ]
    if levels:
        words += " Dashed: interpolated Kneser-Ney models on the text and tokenizer of eval."
    drawn = figures.curves(
        "Held-out bits per byte", lines, x_label="tokens seen", levels=levels, name="heldout"
    )
    return markup.figure(drawn, words)


def _throughput(parts: RunParts) -> Html:
    tokens, rate = series(parts, "tokens_per_s")
    if not rate:
        return markup.absent("The throughput")
    width = max(1, min(SMOOTH, len(rate) // 8))
    lines = [
        Line("each step", thin(tokens), thin(rate), ONE, faint=True),
        Line("running mean", thin(tokens), thin(running_mean(rate, width)), ONE),
    ]
    top = 1.15 * sorted(rate)[int(0.98 * (len(rate) - 1))]
    drawn = figures.curves(
        "Tokens per second", lines, x_label="tokens seen", name="throughput", top=top
    )
    return markup.figure(drawn, "Training speed; the axis starts at zero.")


def _facts(parts: RunParts) -> Html:
    last = parts.metrics[-1]
    entries = [
        ("steps", markup.number(figure_at(last, "step"))),
        ("tokens seen", markup.count(figure_at(last, "tokens"))),
        ("last loss", f"{markup.number(figure_at(last, 'loss'), digits=4)} nats per token"),
        ("last learning rate", markup.number(figure_at(last, "lr"))),
        ("training time", markup.seconds(figure_at(last, "seconds"))),
    ]
    final = figure_at(parts.evaluation, "quality", "bits_per_byte")
    perplexity = figure_at(parts.evaluation, "quality", "perplexity")
    if final is not None:
        entries.append(("bits per byte, held out", markup.number(final, digits=4)))
        entries.append(("perplexity, held out", markup.number(perplexity, digits=4)))
    for order, value in sorted(ngrams(parts.evaluation).items()):
        entries.append((f"bits per byte, {order}-gram", markup.number(value, digits=4)))
    if parts.model is not None:
        entries.append(("parameters", markup.count(figure_at(parts.model.facts, "parameters"))))
    for title, name in SHAPE.items():
        value = figure_at(parts.shape, name)
        if value is not None:
            entries.append((title, markup.number(int(value))))
    return markup.pairs(entries)
