"""Where the machine stands and what it costs."""

from dataclasses import dataclass
from pathlib import Path

from sparing.base import config
from sparing.base.errors import ConfigError, require
from sparing.base.home import home
from sparing.measure import carbon
from sparing.measure.price import Prices
from sparing.measure.units import Intensity


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureConfig:
    """What the meters cannot find out by themselves."""

    country: str = carbon.WORLD
    """ISO 3166 alpha-3 code of the country whose electricity is used."""

    grams_per_kwh: float | None = None
    """Carbon intensity of the electricity, when known better than the table."""

    pue: float = 1.0
    """Energy of the building per energy of the machine; 1.0 counts the machine alone."""

    watts_per_core: float | None = None
    """Draw of one busy core, for machines without a counter; None: by the processor's name."""

    electricity_per_kwh: float | None = None
    """Price of a kilowatt hour; None: not counted."""

    machine_per_hour: float | None = None
    """Price of the machine per hour; None: not counted."""

    currency: str = "USD"
    """ISO 4217 code of the prices."""

    def __post_init__(self) -> None:
        require(1.0 <= self.pue <= 5.0, "pue", "1.0 to 5.0", self.pue)
        watts = self.watts_per_core
        require(watts is None or 0 < watts <= 1000, "watts_per_core", "0 to 1000 W", watts)
        _ = self.intensity, self.prices  # both check their own fields

    @property
    def intensity(self) -> Intensity:
        """Carbon per kilowatt hour with its source."""
        return carbon.intensity(self.country, stated=self.grams_per_kwh)

    @property
    def prices(self) -> Prices:
        """The two prices."""
        return Prices(
            electricity_per_kwh=self.electricity_per_kwh,
            machine_per_hour=self.machine_per_hour,
            currency=self.currency,
        )


def settings_file() -> Path:
    """Where a user states them once for all runs: `measure.toml` in `$SPARING_HOME`."""
    return home() / "measure.toml"


def stated() -> MeasureConfig:
    """What the user's settings file says, else the defaults.

    Errors: ConfigError naming the file and the setting that is wrong in it.
    """
    path = settings_file()
    if not path.is_file():
        return MeasureConfig()
    try:
        return config.load(MeasureConfig, path, {})
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
