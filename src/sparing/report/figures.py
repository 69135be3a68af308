"""Drawings by matplotlib, as SVG inside the page, whose colours follow the page's theme.

matplotlib draws in fixed stand-in colours; `svg` replaces each by the page's variable, keeps
text as text in the page's own font, and drops everything that names another place.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparing.base.errors import missing_extra
from sparing.report.markup import Html, escape, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, GRID = "#010203", "#040506", "#070809"
ONE, TWO, THREE, FOUR = "#0a0b0c", "#0d0e0f", "#101112", "#131415"
CARD = "#161718"
COLOURS = {
    INK: "var(--ink)",
    SOFT: "var(--soft)",
    GRID: "var(--grid)",
    ONE: "var(--one)",
    TWO: "var(--two)",
    THREE: "var(--three)",
    FOUR: "var(--four)",
    CARD: "var(--card)",
}
SERIES = (ONE, TWO, THREE, FOUR)

WIDTH_IN = 4.7
"""Inches at 96 pixels: a bit less than half a desktop page, so that it is readable on a phone."""

NARROW_IN = 3.7
"""The same for three beside each other."""

LABEL_CHARS = 28
"""Longest label of a bar."""

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"

RC = {
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 10.5,
    "axes.edgecolor": GRID,
    "axes.labelcolor": SOFT,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "axes.formatter.use_mathtext": False,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "grid.color": GRID,
    "grid.linewidth": 1.0,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One curve; `faint` for the raw values behind a smoothed one."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str = ONE
    faint: bool = False
    dots: bool = False


@dataclass(frozen=True, slots=True)
class Level:
    """A horizontal line to compare with."""

    label: str
    y: float
    colour: str = TWO


@dataclass(frozen=True, slots=True)
class Bars:
    """A panel of horizontal bars; `low` and `high` draw the range of an estimate."""

    title: str
    values: Sequence[float | None]
    texts: Sequence[str]
    low: Sequence[float | None] | None = None
    high: Sequence[float | None] | None = None
    colour: str = ONE


def _canvas(height_in: float, width_in: float = WIDTH_IN) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure as Drawing

    figure = Drawing(figsize=(width_in, height_in), layout="constrained")
    return figure, figure.add_subplot()


def check() -> None:
    """Errors: MissingExtraError when matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise missing_extra("matplotlib", "report") from None


def _styled() -> Any:
    import matplotlib

    return matplotlib.rc_context(RC)


def curves(
    title: str,
    lines: Sequence[Line],
    *,
    x_label: str,
    levels: Sequence[Level] = (),
    name: str,
    top: float | None = None,
) -> Html:
    """Curves over one axis that starts at zero, with levels named at its left end."""
    check()
    with _styled():
        figure, axes = _canvas(2.9)
        for line in lines:
            _draw_line(axes, line)
        for level in levels:
            axes.axhline(level.y, color=level.colour, linewidth=1.5, linestyle=(0, (5, 3)))
            _name_level(axes, level, above=level.y == max(each.y for each in levels))
        axes.set_title(printable(title))
        axes.set_xlabel(x_label)
        axes.xaxis.set_major_formatter(_count_ticks())
        if axes.get_ylim()[1] >= 1000:
            axes.yaxis.set_major_formatter(_count_ticks())
        axes.margins(x=0.02, y=0.1)
        axes.set_xlim(left=0)
        if top is not None:
            axes.set_ylim(0, top)
        if sum(not line.faint for line in lines) > 1:
            axes.legend(loc="best", labelcolor=INK)
        return svg(figure, name, title)


def _draw_line(axes: Axes, line: Line) -> None:
    axes.plot(
        line.x,
        line.y,
        color=line.colour,
        alpha=0.28 if line.faint else 1.0,
        linewidth=1.0 if line.faint else 2.2,
        marker="o" if line.dots or len(line.x) < 3 else None,
        markersize=5 if len(line.x) > 1 else 8,
        label="_nolegend_" if line.faint else printable(line.label),
        solid_capstyle="round",
    )


def _name_level(axes: Axes, level: Level, *, above: bool) -> None:
    """At the left, where a falling curve is far away; the highest above its line, others below."""
    axes.annotate(
        printable(level.label),
        xy=(0.012, level.y),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3 if above else -3),
        textcoords="offset points",
        ha="left",
        va="bottom" if above else "top",
        color=level.colour,
        fontsize=10,
    )


def _count_ticks() -> Any:
    from matplotlib.ticker import FuncFormatter

    from sparing.base.units import count_text

    return FuncFormatter(lambda value, _: count_text(value) if value else "0")


def bars(labels: Sequence[str], panel: Bars, *, name: str, width_in: float = WIDTH_IN) -> Html:
    """Horizontal bars, each with its value written beside it."""
    check()
    with _styled():
        figure, axes = _canvas(0.6 + 0.3 * max(1, len(labels)), width_in)
        _draw_bars(axes, labels, panel, width_in)
        return svg(figure, name, panel.title)


def _draw_bars(axes: Axes, labels: Sequence[str], panel: Bars, width_in: float) -> None:
    lengths = [value or 0.0 for value in panel.values]
    axes.barh(range(len(labels)), lengths, color=panel.colour, height=0.62)
    ends = [max(length, _at(panel.high, i) or 0.0) for i, length in enumerate(lengths)]
    for place, end in enumerate(ends):
        low, high = _at(panel.low, place), _at(panel.high, place)
        if low is not None and high is not None and high > low:
            axes.plot([low, high], [place, place], color=INK, linewidth=1.4, alpha=0.75)
        known = panel.values[place] is not None
        axes.annotate(
            _short(panel.texts[place]),
            (end, place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=INK if known else SOFT,
            fontsize=10,
        )
    longest = max((len(_short(text)) for text in panel.texts), default=0)
    room = 0.035 * longest * WIDTH_IN / width_in  # for the text behind the longest bar
    axes.set_xlim(0, (max(ends, default=0.0) or 1.0) * (1.08 + room))
    axes.set_yticks(range(len(labels)), [_short(label) for label in labels], color=INK)
    axes.invert_yaxis()
    axes.set_title(printable(panel.title))
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.tick_params(length=0)


def _short(text: str) -> str:
    """At most `LABEL_CHARS` printable characters: a label that fills the drawing hides it."""
    clean = printable(text)
    return clean if len(clean) <= LABEL_CHARS else clean[: LABEL_CHARS - 3] + "..."


def _at(values: Sequence[float | None] | None, index: int) -> float | None:
    return values[index] if values is not None else None


def svg(figure: Figure, name: str, title: str) -> Html:
    """The figure as an inline SVG: no header, no metadata, no ids shared with its neighbours."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(xlink:)?href="#', f'href="#{name}-', text)
    text = text.replace("url(#", f"url(#{name}-")
    text = re.sub(r"'DejaVu Sans'(, [^;\"]*)?", FONT, text)
    for stand_in, variable in COLOURS.items():
        text = text.replace(stand_in, variable)
    head = re.search(r'viewBox="[^"]*"', text)
    box = head.group(0) if head else ""
    body = text[text.index(">") + 1 :]
    return Html(f'<svg {box} role="img" aria-label="{escape(title)}">{body}'.strip())
