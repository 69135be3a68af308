"""What a block of work cost, as one flat record, and how records add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sparing.measure.units import Label, weakest


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds, bytes, joules, grams and money of one block; None is "not known"."""

    seconds: float
    """Wall time."""

    cpu_seconds: float
    """User and system time with children."""

    peak_rss_bytes: int | None = None
    """Largest resident memory of the process and its children; of a sum, the largest part."""

    read_bytes: int | None = None
    """Bytes read through system calls, page cache included."""

    written_bytes: int | None = None
    """Bytes written through system calls."""

    joules: float | None = None
    """Gross energy."""

    joules_net: float | None = None
    """Energy with the idle draw taken off."""

    joules_low: float | None = None
    """Lower end of the range of the gross energy."""

    joules_high: float | None = None
    """Upper end of the range of the gross energy."""

    energy_label: Label = "unavailable"
    """measured, estimated or unavailable."""

    energy_method: str = "not metered"
    """Counter or model behind the joules, with its boundary."""

    energy_idle: str = "not treated"
    """How the idle draw was treated."""

    gco2e: float | None = None
    """Grams of CO2 equivalent of the gross energy; operational only."""

    carbon_method: str = "not computed"
    """Intensity, its source and year, and the PUE."""

    money: float | None = None
    """In `currency`; None when no price was stated."""

    currency: str | None = None
    """ISO 4217 code of `money`."""

    def to_tree(self) -> dict[str, Any]:
        """As a plain dictionary, for cards and JSON."""
        return asdict(self)


def total(parts: Sequence[Cost]) -> Cost:
    """The sum of costs; a figure that any part lacks is None, a label is the weakest of all.

    Peak memory is the largest part: stages run one after the other.
    """
    currencies = {part.currency for part in parts}
    peaks = [part.peak_rss_bytes for part in parts if part.peak_rss_bytes is not None]
    return Cost(
        seconds=sum(part.seconds for part in parts),
        cpu_seconds=sum(part.cpu_seconds for part in parts),
        peak_rss_bytes=max(peaks, default=None),
        read_bytes=_sum([part.read_bytes for part in parts]),
        written_bytes=_sum([part.written_bytes for part in parts]),
        joules=_sum([part.joules for part in parts]),
        joules_net=_sum([part.joules_net for part in parts]),
        joules_low=_sum([part.joules_low for part in parts]),
        joules_high=_sum([part.joules_high for part in parts]),
        energy_label=weakest(part.energy_label for part in parts),
        energy_method=_words([part.energy_method for part in parts]),
        energy_idle=_words([part.energy_idle for part in parts]),
        gco2e=_sum([part.gco2e for part in parts]),
        carbon_method=_words([part.carbon_method for part in parts]),
        money=_sum([part.money for part in parts]) if len(currencies) == 1 else None,
        currency=currencies.pop() if len(currencies) == 1 else None,
    )


def _sum(values: Sequence[Any]) -> Any:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _words(texts: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(texts)) or "nothing to add up"
