import math

import pytest

from sparing.base.errors import ConfigError
from sparing.training.config import PretrainConfig
from sparing.training.loop import rate_share
from sparing.training.schedule import cosine, wsd


def test_wsd_rises_stays_and_falls():
    shares = [wsd(step, 100, warmup=9, decay=0.4, final=0.1) for step in range(100)]
    assert shares[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert shares[10:61] == pytest.approx([1.0] * 51)
    assert shares[80] == pytest.approx(0.1 + 0.9 * 20 / 40)
    assert shares[99] == pytest.approx(0.1 + 0.9 * 1 / 40)
    assert wsd(99, 100, warmup=0, decay=0.0, final=0.0) == 1.0


def test_cosine_is_half_way_down_in_the_middle():
    assert cosine(60, 110, warmup=10, final=0.2) == pytest.approx(0.6)
    assert cosine(10, 110, warmup=10, final=0.0) == pytest.approx(1.0)
    quarter = 0.5 * (1 + math.cos(math.pi / 4))
    assert cosine(35, 110, warmup=10, final=0.0) == pytest.approx(quarter)
    assert cosine(4, 110, warmup=9, final=0.0) == pytest.approx(0.5)


def test_the_configuration_chooses(tmp_path):
    common = {"data": tmp_path, "steps": 50, "warmup_steps": 4, "final_fraction": 0.1}
    for step in (0, 20, 49):
        config = PretrainConfig(schedule="cosine", **common)
        assert rate_share(config, step) == cosine(step, 50, warmup=4, final=0.1)
        config = PretrainConfig(schedule="wsd", decay_fraction=0.3, **common)
        assert rate_share(config, step) == wsd(step, 50, warmup=4, decay=0.3, final=0.1)


def test_a_step_beyond_the_last_is_refused():
    with pytest.raises(ConfigError, match="step"):
        wsd(10, 10, warmup=0, decay=0.5, final=0.0)
