"""Energy, carbon and their labels, as types that refuse to mix.

Plain floats named `joules` or `grams` are fine inside one function; where a figure crosses a
border between energy, carbon and money, these types make a wrong unit an error and not a
factor of 3600.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from sparing.base.errors import require

Label = Literal["measured", "estimated", "unavailable"]

STRENGTH: tuple[Label, ...] = ("unavailable", "estimated", "measured")

JOULES_PER_KWH = 3_600_000.0


@dataclass(frozen=True, slots=True, order=True)
class Energy:
    """An amount of energy; made and read through a named unit only."""

    _joules: float

    @classmethod
    def of_joules(cls, joules: float) -> Energy:
        """From joules."""
        return cls(float(joules))

    @classmethod
    def of_kwh(cls, kwh: float) -> Energy:
        """From kilowatt hours."""
        return cls(float(kwh) * JOULES_PER_KWH)

    @classmethod
    def of_mwh(cls, mwh: float) -> Energy:
        """From megawatt hours."""
        return cls.of_kwh(mwh * 1000.0)

    @property
    def joules(self) -> float:
        """In joules."""
        return self._joules

    @property
    def kwh(self) -> float:
        """In kilowatt hours."""
        return self._joules / JOULES_PER_KWH

    def __add__(self, other: Energy) -> Energy:
        return Energy(self._joules + other._joules) if isinstance(other, Energy) else NotImplemented


@dataclass(frozen=True, slots=True, order=True)
class Carbon:
    """A mass of CO2 equivalent."""

    _grams: float

    @classmethod
    def of_grams(cls, grams: float) -> Carbon:
        """From grams."""
        return cls(float(grams))

    @classmethod
    def of_kg(cls, kg: float) -> Carbon:
        """From kilograms."""
        return cls(float(kg) * 1000.0)

    @property
    def grams(self) -> float:
        """In grams."""
        return self._grams

    @property
    def kg(self) -> float:
        """In kilograms."""
        return self._grams / 1000.0

    def __add__(self, other: Carbon) -> Carbon:
        return Carbon(self._grams + other._grams) if isinstance(other, Carbon) else NotImplemented


@dataclass(frozen=True, slots=True)
class Intensity:
    """Carbon per energy, with where the number is from."""

    grams_per_kwh: float
    source: str

    def __post_init__(self) -> None:
        # Lignite alone is about 1,100 g/kWh: more than 2,000 is a unit mistake (kg or per MWh).
        sane = 0 <= self.grams_per_kwh <= 2000
        require(sane, "grams_per_kwh", "0 to 2000 grams per kWh", self.grams_per_kwh)

    @classmethod
    def of_kg_per_mwh(cls, kg_per_mwh: float, source: str) -> Intensity:
        """From kilograms per megawatt hour, which is the same number as grams per kWh."""
        return cls(float(kg_per_mwh), source)

    @classmethod
    def of_kg_per_kwh(cls, kg_per_kwh: float, source: str) -> Intensity:
        """From kilograms per kilowatt hour."""
        return cls(float(kg_per_kwh) * 1000.0, source)

    def of(self, energy: Energy, *, pue: float = 1.0) -> Carbon:
        """Carbon of `energy` used by the machine in a building with this overhead (PUE).

        Source: CO2e = energy x PUE x intensity, the operational term of ISO/IEC 21031 (SCI).
        """
        if not isinstance(energy, Energy):
            raise TypeError(f"energy: expected Energy, got {type(energy).__name__}")
        return Carbon(energy.kwh * pue * self.grams_per_kwh)


def weakest(labels: Iterable[Label]) -> Label:
    """The label of a sum: unavailable beats estimated beats measured; of nothing, unavailable."""
    return min(labels, key=STRENGTH.index, default="unavailable")
