"""What the samples say: medians, the ratio to the best peer, the fraction of the roof."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from sparing.bench import roof
from sparing.bench.cells import Cell
from sparing.bench.roof import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One contestant in one cell."""

    cell: str
    unit: str
    label: str
    ours: bool
    median: float | None
    """None where it failed; `note` says why."""
    least: float | None
    most: float | None
    best_peer: str | None
    """Who was best among the others; for a peer, among the other peers."""
    ratio: float | None
    """Median over that peer's: above 1 is better for tokens/s, below 1 for ms."""
    ratio_range: tuple[float, float] | None
    """Least and most of the ratios turn by turn."""
    step_bytes: float | None
    """Bytes that one step or prompt reads at least."""
    roof: float | None
    """What `step_bytes` and the operations allow here, in `unit`."""
    fraction: float | None
    """Of the roof that was reached, 0 to 1."""
    foreign_cores: float | None
    """Median of the cores that others used meanwhile."""
    note: str

    def tree(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def typical(limits: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The median of each limit over the looks."""
    names = limits[0].keys() if limits else ()
    return {name: _middle([look[name] for look in limits]) for name in names}


def _middle(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if len(known) == len(values) else None


def rows(
    cell: Cell,
    samples: Mapping[str, Mapping[str, Any]],
    facts: Mapping[str, Mapping[str, Any]],
    limits: Sequence[Mapping[str, float | None]],
    *,
    work: Work,
    width: str,
) -> list[Row]:
    """A row per contestant, ours first, then the best.

    `samples` are `turns.Samples` trees by label; `facts` say of a label whether it is `ours`,
    its `weight_bytes`, `kv_token_bytes`, the width of its `head` and `note`.
    """
    middle = typical(limits)
    made = [_row(cell, label, samples, facts, middle, work=work, width=width) for label in samples]
    sign = 1.0 if cell.kind == "first_token" else -1.0
    worst = float("inf")
    return sorted(made, key=lambda r: (not r.ours, worst if r.median is None else sign * r.median))


def _row(
    cell: Cell,
    label: str,
    samples: Mapping[str, Mapping[str, Any]],
    facts: Mapping[str, Mapping[str, Any]],
    limits: Mapping[str, float | None],
    *,
    work: Work,
    width: str,
) -> Row:
    fact, mine = facts[label], samples[label]
    figures: list[float] = mine["figures"]
    best = best_peer(cell, samples, facts, besides=label)
    middle = median(figures) if figures else None
    step_bytes, limit = fact.get("weight_bytes"), None
    if step_bytes is not None:
        kv = fact.get("kv_token_bytes")
        step_bytes = roof.bytes_of(cell, weight_bytes=step_bytes, kv_token_bytes=kv)
        head = fact.get("head") or ""
        least_s = roof.seconds(cell, work, moved=step_bytes, width=width, limits=limits, head=head)
        limit = roof.figure(cell, least_s)
    pairs = _ratios(figures, samples[best]["figures"]) if best and figures else []
    foreign = mine.get("foreign_cores") or []
    return Row(
        cell=cell.name,
        unit=cell.unit,
        label=label,
        ours=fact["ours"],
        median=middle,
        least=min(figures, default=None),
        most=max(figures, default=None),
        best_peer=best,
        ratio=middle / median(samples[best]["figures"]) if best and middle else None,
        ratio_range=(min(pairs), max(pairs)) if pairs else None,
        step_bytes=step_bytes,
        roof=limit,
        fraction=_fraction(cell, middle, limit),
        foreign_cores=median(foreign) if foreign else None,
        note="; ".join(filter(None, (fact.get("note"), mine.get("error")))),
    )


def best_peer(
    cell: Cell,
    samples: Mapping[str, Mapping[str, Any]],
    facts: Mapping[str, Mapping[str, Any]],
    *,
    besides: str,
) -> str | None:
    """The peer with the best median, `besides` and our own engine left out."""
    medians = {
        label: median(each["figures"])
        for label, each in samples.items()
        if label != besides and not facts[label]["ours"] and each["figures"]
    }
    if not medians:
        return None
    choose = min if cell.kind == "first_token" else max
    return choose(medians, key=medians.__getitem__)


def _ratios(mine: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(mine, theirs, strict=False)]


def _fraction(cell: Cell, middle: float | None, limit: float | None) -> float | None:
    if middle is None or limit is None:
        return None
    return limit / middle if cell.kind == "first_token" else middle / limit


def text(made: Sequence[Row], limits: Mapping[str, float | None]) -> str:
    """One cell for a person."""
    if not made:
        return ""
    first = made[0]
    bandwidth = limits.get("read_bytes_per_s")
    head = f"{first.cell}, {first.unit}"
    head += f"   (memory reads {bandwidth / 1e9:.1f} GB/s)" if bandwidth else ""
    width = max(len(row.label) for row in made)
    return "\n".join([head, *(f"  {_line(row, width)}" for row in made)])


def _line(row: Row, width: int) -> str:
    if row.median is None:
        return f"{row.label.ljust(width)}  none: {row.note}"
    parts = [f"{row.label.ljust(width)}  {row.median:9.1f}  ({row.least:.1f} to {row.most:.1f})"]
    if row.ratio is not None and row.ours:
        parts.append(f"{row.ratio:.2f}x {row.best_peer}")
    if row.fraction is not None and row.roof is not None:
        parts.append(f"{row.fraction:.0%} of the roof {row.roof:.1f}")
    if row.foreign_cores is not None and row.foreign_cores > 0.2:
        parts.append(f"others used {row.foreign_cores:.1f} cores")
    return "  ".join([*parts, *([row.note] if row.note else [])])
