"""Sharing joules: computed by hand, and nothing is lost or made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparing.measure.energy import UNAVAILABLE, Reading
from sparing.measure.settings import MeasureConfig
from sparing.server.costs import Account


class Counter:
    """Joules that the test sets."""

    def __init__(self) -> None:
        self.total = 0.0

    def mark(self) -> float:
        return self.total

    def since(self, mark: float) -> Reading:
        return Reading(joules=self.total - mark, label="measured", method="set", idle="none")


def test_two_requests_by_hand() -> None:
    counter = Counter()
    account = Account(counter, MeasureConfig(electricity_per_kwh=0.36, machine_per_hour=3.6))
    account.settle(0.0)
    counter.total = 5.0  # nothing runs
    first = account.open(1.0)
    first.computed = 30
    counter.total = 11.0  # 6 J for 30 tokens of the first
    second = account.open(2.0)
    first.computed, second.computed = 31, 3
    counter.total = 19.0  # 8 J for 1 and 3 tokens
    account.close(first, 4.0)
    counter.total = 20.0
    second.computed = 4
    account.close(second, 5.0)
    account.close(second, 6.0)
    assert (first.joules, second.joules) == pytest.approx((8.0, 7.0))
    assert (first.seconds, second.seconds) == pytest.approx((1.5, 2.5))
    assert account.idle_joules == pytest.approx(5.0)
    assert account.request_joules == pytest.approx(15.0)
    cost = account.of(first)
    assert cost["money"] == pytest.approx(8 / 3.6e6 * 0.36 + 1.5 / 3600 * 3.6)
    assert cost["gco2e"] == pytest.approx(8 / 3.6e6 * MeasureConfig().intensity.grams_per_kwh)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.floats(0, 10)), max_size=40))
def test_nothing_is_lost(moves: list[tuple[int, int, float]]) -> None:
    counter, now = Counter(), 0.0
    account = Account(counter)
    account.settle(now)
    shares = []
    for kind, tokens, joules in moves:
        now += 1.0
        counter.total += joules
        if kind == 0:
            shares.append(account.open(now))
        elif shares:
            shares[-1].computed += tokens
            if kind == 1:
                account.settle(now)
            if kind == 2:
                account.close(shares[-1], now)
    for share in shares:
        account.close(share, now + 1)
    account.settle(now + 2)
    assert account.request_joules + account.idle_joules == pytest.approx(counter.total)
    assert sum(share.joules for share in shares) == pytest.approx(account.request_joules)


class Blind:
    """A meter that knows nothing."""

    def mark(self) -> None:
        return None

    def since(self, mark: None) -> Reading:
        return UNAVAILABLE


@pytest.mark.parametrize("meter", [None, Blind()])
def test_unknown_is_not_zero(meter: object) -> None:
    account = Account(meter)
    share = account.open(0.0)
    share.computed = 5
    account.close(share, 1.0)
    cost = account.of(share)
    assert cost["joules"] is None
    assert cost["gco2e"] is None
    assert cost["label"] == "unavailable"
