"""Two runs side by side: quality and cost, and the ratio of each figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sparing.measure import cost
from sparing.report.gather import RunParts, figure_at
from sparing.report.overview import ngrams


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One figure of both runs."""

    name: str
    """What it is, with its unit."""

    first: float | None
    """Of the first run; None where it has none."""

    second: float | None
    """Of the second run."""

    @property
    def ratio(self) -> float | None:
        """Second over first, where both are known."""
        if self.first is None or self.second is None or self.first == 0:
            return None
        return self.second / self.first

    def to_tree(self) -> dict[str, Any]:
        """As a plain dictionary."""
        return {
            "name": self.name,
            "first": self.first,
            "second": self.second,
            "ratio": self.ratio,
        }


def compare(first: RunParts, second: RunParts) -> list[Pair]:
    """Every figure that at least one of the runs has, quality first."""
    left, right = figures(first), figures(second)
    return [
        Pair(name=name, first=left.get(name), second=right.get(name))
        for name in dict.fromkeys([*left, *right])
    ]


def figures(parts: RunParts) -> dict[str, float]:
    """The comparable figures of one run by name."""
    found: dict[str, float | None] = {
        "held-out bits per byte": figure_at(parts.evaluation, "quality", "bits_per_byte"),
    }
    for order, value in sorted(ngrams(parts.evaluation).items()):
        found[f"{order}-gram bits per byte"] = value
    if parts.metrics:
        found["tokens trained on"] = figure_at(parts.metrics[-1], "tokens")
    for entry in parts.compressed:
        scheme = str(entry.card.get("scheme", entry.name))
        found[f"{scheme} mean KL, nats"] = figure_at(entry.card, "against_original", "kl_mean")
        found[f"{scheme} bytes"] = figure_at(entry.card, "after", "disk_bytes")
        found[f"{scheme} tokens/s"] = figure_at(entry.card, "after", "decode", "tokens_per_s")
    found |= _spent(parts)
    return {name: value for name, value in found.items() if value is not None}


def _spent(parts: RunParts) -> dict[str, float | None]:
    spent = [(row.stage, row.cost) for row in parts.rows if row.cost is not None]
    found: dict[str, float | None] = {}
    for stage, part in spent:
        name = f"{stage} seconds"
        found[name] = (found.get(name) or 0.0) + part.seconds
    if spent:
        total = cost.total([part for _, part in spent])
        found["all stages, seconds"] = total.seconds
        found[f"all stages, joules ({total.energy_label})"] = total.joules
        found["all stages, gCO2e"] = total.gco2e
        found["peak memory, bytes"] = total.peak_rss_bytes
    return found
