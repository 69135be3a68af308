"""Energy, carbon and labels do not mix, and their conversions agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparing.base.errors import ConfigError
from sparing.measure.units import Carbon, Energy, Intensity, weakest

amounts = st.floats(0, 1e9, allow_nan=False)


@given(amounts)
def test_kwh_mwh_and_joules_are_one_energy(kwh: float) -> None:
    assert Energy.of_kwh(kwh).joules == pytest.approx(kwh * 3.6e6)
    assert Energy.of_mwh(kwh / 1000).kwh == pytest.approx(kwh)
    assert Energy.of_joules(kwh * 3.6e6).kwh == pytest.approx(kwh)


@given(amounts, st.floats(0, 2, allow_nan=False), st.floats(1, 3))
def test_kg_per_kwh_kg_per_mwh_and_grams_agree(kwh: float, kg: float, pue: float) -> None:
    energy = Energy.of_kwh(kwh)
    grams = Intensity(kg * 1000, "a").of(energy, pue=pue)
    assert Intensity.of_kg_per_kwh(kg, "a").of(energy, pue=pue).grams == pytest.approx(grams.grams)
    assert Intensity.of_kg_per_mwh(kg * 1000, "a").of(energy, pue=pue).kg == pytest.approx(
        kwh * pue * kg
    )


def test_a_printed_unit_that_is_a_thousand_off_is_refused() -> None:
    """CodeCarbon's worked example: a mix of 731.59 kg/MWh is 0.73159 kg/kWh."""
    mix = Intensity.of_kg_per_mwh(731.59, "mix")
    assert mix.of(Energy.of_kwh(1)).kg == pytest.approx(0.73159)
    with pytest.raises(ConfigError, match="grams_per_kwh"):
        Intensity.of_kg_per_kwh(731.59, "kg per MWh taken for kg per kWh")


def test_kinds_do_not_add_up() -> None:
    with pytest.raises(TypeError):
        Energy.of_joules(1) + Carbon.of_grams(1)
    with pytest.raises(TypeError):
        Carbon.of_kg(1) + 1.0
    with pytest.raises(TypeError, match="energy"):
        Intensity(100, "a").of(3.6e6)
    assert (Carbon.of_kg(1) + Carbon.of_grams(1)).grams == 1001


def test_a_sum_carries_the_weakest_label() -> None:
    assert weakest(["measured", "measured"]) == "measured"
    assert weakest(["measured", "estimated"]) == "estimated"
    assert weakest(["measured", "estimated", "unavailable"]) == "unavailable"
    assert weakest([]) == "unavailable"
