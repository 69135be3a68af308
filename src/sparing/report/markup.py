"""Escaping, numbers, tables and figure frames: the only place where text becomes HTML."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sparing.base.units import bytes_text, count_text, seconds_text

ABSENT = "not in this run"


@dataclass(frozen=True, slots=True)
class Html:
    """Text that is HTML already; everything else is escaped when it enters a page."""

    text: str


def escape(value: Any) -> str:
    """Any value as text that a browser shows and does not obey."""
    if isinstance(value, Html):
        return value.text
    return html.escape(printable(str(value)), quote=True)


def printable(text: str) -> str:
    """The text without control characters, which neither HTML nor SVG may hold."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def number(value: Any, *, digits: int = 3) -> str:
    """A figure with `digits` significant digits; an en dash for "not known"."""
    if not is_number(value):
        return "\u2013"
    if isinstance(value, int) or (abs(value) >= 1000 and float(value).is_integer()):
        return f"{int(value):,}"
    if value and (abs(value) < 1e-3 or abs(value) >= 1e6):
        return f"{value:.{digits - 1}e}"
    text = f"{value:.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"
    return text


def is_number(value: Any) -> bool:
    """Whether it is a finite number (and not a truth value)."""
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return real and math.isfinite(value)


def seconds(value: Any) -> str:
    """A duration as people read it."""
    return seconds_text(value) if is_number(value) else "\u2013"


def size(value: Any) -> str:
    """Bytes as people read them."""
    return bytes_text(value) if is_number(value) else "\u2013"


def count(value: Any) -> str:
    """A count as people read it."""
    return count_text(value) if is_number(value) else "\u2013"


def joules(value: Any) -> str:
    """Energy in joules, kilojoules or watt hours."""
    if not is_number(value):
        return "\u2013"
    if value < 1000:
        return f"{value:.3g} J"
    return f"{value / 1000:.3g} kJ" if value < 36_000 else f"{value / 3600:.3g} Wh"


def grams(value: Any) -> str:
    """Carbon in milligrams, grams or kilograms."""
    if not is_number(value):
        return "\u2013"
    if value < 1:
        return f"{value * 1000:.3g} mg"
    return f"{value:.3g} g" if value < 1000 else f"{value / 1000:.3g} kg"


def money(value: Any, currency: Any) -> str:
    """An amount with its currency; cents and less are written out."""
    if not is_number(value):
        return "\u2013"
    return f"{value:.2f} {currency}" if value >= 1 else f"{value:.2g} {currency}"


def chip(text: str, kind: str = "") -> Html:
    """A small label such as `estimated`."""
    return Html(f'<span class="chip {escape(kind)}">{escape(text)}</span>')


def label_chip(label: str) -> Html:
    """The label of an energy figure, in its own colour."""
    known = label if label in ("measured", "estimated") else "unavailable"
    return chip(known, known)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    title: str
    numeric: bool = True


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[Any]], *, total: Sequence[Any] | None = None
) -> Html:
    """A table that scrolls sideways on a narrow screen, perhaps with a row of totals."""
    head = "".join(_cell("th", c.title, c.numeric) for c in columns)
    body = "".join(_row(columns, row) for row in rows)
    if total is not None:
        body += _row(columns, total, kind=' class="total"')
    return Html(
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(columns: Sequence[Column], values: Sequence[Any], *, kind: str = "") -> str:
    cells = [_cell("td", v, c.numeric) for c, v in zip(columns, values, strict=True)]
    return f"<tr{kind}>{''.join(cells)}</tr>"


def _cell(tag: str, value: Any, numeric: bool) -> str:
    place = ' class="n"' if numeric else ""
    return f"<{tag}{place}>{escape(value)}</{tag}>"


def figure(svg: Html, caption: str) -> Html:
    """A drawing with the sentence that says what it shows."""
    return Html(f"<figure>{svg.text}<figcaption>{escape(caption)}</figcaption></figure>")


def absent(what: str) -> Html:
    """The place of something that this run does not have."""
    return Html(f'<p class="absent">{escape(what)}: {ABSENT}.</p>')


def section(name: str, title: str, *parts: Html | str) -> Html:
    """A section with its heading."""
    body = "".join(escape(part) for part in parts)
    return Html(f'<section id="{escape(name)}"><h2>{escape(title)}</h2>{body}</section>')


def paragraph(*parts: Html | str, kind: str = "") -> Html:
    """A paragraph."""
    place = f' class="{escape(kind)}"' if kind else ""
    return Html(f"<p{place}>" + "".join(escape(part) for part in parts) + "</p>")


def pairs(entries: Sequence[tuple[str, Any]]) -> Html:
    """Names and values, one under the other."""
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in entries)
    return Html(f"<dl>{rows}</dl>")


def side_by_side(*parts: Html) -> Html:
    """Two or three blocks beside each other where there is room."""
    kind = "pair" if len(parts) < 3 else "three"
    return Html(f'<div class="{kind}">' + "".join(part.text for part in parts) + "</div>")
