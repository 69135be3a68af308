"""Money, from prices that the user states; without a price there is no figure."""

from __future__ import annotations

from dataclasses import dataclass

from sparing.base.errors import require
from sparing.measure.units import Energy


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What electricity and the machine cost where this runs."""

    electricity_per_kwh: float | None = None
    """Price of a kilowatt hour; None: not stated."""

    machine_per_hour: float | None = None
    """Rent or write-off of the machine per hour; None: not stated."""

    currency: str = "USD"
    """ISO 4217 code of both prices."""

    def __post_init__(self) -> None:
        for name in ("electricity_per_kwh", "machine_per_hour"):
            value = getattr(self, name)
            require(value is None or value >= 0, name, "a price of at least 0", value)
        code = self.currency
        require(len(code) == 3 and code.isalpha() and code.isupper(), "currency", "like EUR", code)

    @property
    def stated(self) -> bool:
        """Whether there is a price at all."""
        return self.electricity_per_kwh is not None or self.machine_per_hour is not None

    def of(self, seconds: float, energy: Energy | None) -> float | None:
        """Money for these seconds and joules; None when a stated price lacks its quantity."""
        if not self.stated:
            return None
        total = 0.0
        if self.machine_per_hour is not None:
            total += self.machine_per_hour * seconds / 3600.0
        if self.electricity_per_kwh is not None:
            if energy is None:
                return None
            total += self.electricity_per_kwh * energy.kwh
        return total

    @property
    def method(self) -> str:
        """The prices in words."""
        words = []
        if self.machine_per_hour is not None:
            words.append(f"{self.machine_per_hour:g} {self.currency} per machine hour")
        if self.electricity_per_kwh is not None:
            words.append(f"{self.electricity_per_kwh:g} {self.currency} per kWh")
        return " + ".join(words) + ", as stated" if words else "no price stated"
