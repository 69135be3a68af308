"""Named streams: equal names, equal numbers; other names, other numbers."""

import numpy as np

from sparing.base import seeds
from sparing.base.units import bytes_text, count_text, seconds_text


def test_streams_are_functions_of_their_names() -> None:
    first = seeds.stream(1, "data", 3).random(8)
    seeds.stream(1, "other").random(100)
    assert np.array_equal(first, seeds.stream(1, "data", 3).random(8))
    for other in ((2, "data", 3), (1, "data", 4), (1, "dat", "a3"), (1, "data")):
        assert not np.array_equal(first, seeds.stream(*other).random(8))


def test_recorded_numbers_do_not_move() -> None:
    """A change here would change every seeded answer and every training run."""
    assert seeds.derive(0, "golden") == 9029335087030848767
    assert seeds.stream(0, "golden").integers(0, 1000, 4).tolist() == [381, 47, 558, 882]


def test_units_as_people_read_them() -> None:
    assert bytes_text(1536) == "1.5 KiB"
    assert count_text(1234567) == "1.23M"
    assert [seconds_text(s) for s in (0.0123, 7, 75, 3700)] == ["12 ms", "7.0 s", "1:15", "1:01:40"]
