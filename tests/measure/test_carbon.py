"""The table, its way out, and the prices."""

import re
from pathlib import Path

import pytest

from sparing.base.errors import ConfigError
from sparing.measure import carbon
from sparing.measure.meter import measured
from sparing.measure.price import Prices
from sparing.measure.settings import MeasureConfig, settings_file, stated
from sparing.measure.units import Energy


def test_every_row_is_a_plausible_figure_of_a_recent_year() -> None:
    assert len(carbon.GRAMS_PER_KWH) > 40
    for code, (grams, year) in carbon.GRAMS_PER_KWH.items():
        assert code == carbon.WORLD or re.fullmatch("[A-Z]{3}", code)
        assert 10 <= grams <= 900, code
        assert 2022 <= year <= 2026, code


def test_the_source_and_the_year_travel_with_the_figure() -> None:
    france = carbon.intensity("fra")
    assert france.grams_per_kwh == 56
    assert "2023" in france.source
    assert "Ember" in france.source
    assert "no country was stated" in carbon.intensity().source


def test_a_users_own_figure_wins() -> None:
    own = MeasureConfig(country="DEU", grams_per_kwh=12.0).intensity
    assert own.grams_per_kwh == 12.0
    assert "user" in own.source


def test_an_unknown_country_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="DEU"):
        MeasureConfig(country="DEUU")


@pytest.mark.parametrize(
    "wrong",
    [
        {"pue": 0.5},
        {"watts_per_core": 0.0},
        {"machine_per_hour": -1.0},
        {"currency": "euro"},
        {"grams_per_kwh": -5.0},
        {"grams_per_kwh": 480_000.0},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        MeasureConfig(**wrong)


def test_money_needs_a_stated_price_and_its_quantity() -> None:
    kwh = Energy.of_kwh(2)
    assert Prices().of(3600, kwh) is None
    assert Prices(machine_per_hour=0.5).of(7200, None) == pytest.approx(1.0)
    assert Prices(electricity_per_kwh=0.3).of(3600, kwh) == pytest.approx(0.6)
    assert Prices(electricity_per_kwh=0.3, machine_per_hour=1).of(3600, kwh) == pytest.approx(1.6)
    assert Prices(electricity_per_kwh=0.3).of(3600, None) is None
    assert Prices(machine_per_hour=0.0).of(3600, None) == 0.0


def test_settings_of_the_user_hold_for_every_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARING_HOME", str(tmp_path))
    assert stated() == MeasureConfig()
    settings_file().write_text('country = "FRA"\nmachine_per_hour = 3600.0\ncurrency = "EUR"\n')
    with measured() as block:
        pass
    assert block.cost.currency == "EUR"
    assert block.cost.money == pytest.approx(block.cost.seconds)
    assert "FRA" in block.cost.carbon_method
    settings_file().write_text('contry = "FRA"\n')
    with pytest.raises(ConfigError, match=r"measure.toml.*country"):
        stated()
