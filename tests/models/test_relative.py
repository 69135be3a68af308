"""Buckets of distances against transformers' own function."""

import numpy as np
import pytest
import torch
from transformers.models.t5.modeling_t5 import T5Attention

from sparing.base.errors import ConfigError
from sparing.models.encoder_config import Relative, StackConfig
from sparing.models.relative import buckets, by_distance


@pytest.mark.parametrize(
    ("count", "farthest"), [(32, 128), (12, 21), (64, 1000), (8, 9), (4, 65536)]
)
@pytest.mark.parametrize("causal", [False, True])
def test_buckets(count: int, farthest: int, causal: bool) -> None:
    distances = np.arange(-3000, 3001)
    theirs = T5Attention._relative_position_bucket(
        torch.from_numpy(distances),
        bidirectional=not causal,
        num_buckets=count,
        max_distance=farthest,
    )
    ours = buckets(distances, Relative(buckets=count, farthest=farthest), causal=causal)
    assert np.array_equal(ours, theirs.numpy())


def test_table_by_distance() -> None:
    relative = Relative(buckets=8, farthest=12)
    stack = StackConfig(
        width=4, layers=1, heads=2, head_width=2, hidden=4, relative=relative, causal=False
    )
    bias_UH = np.arange(16, dtype=np.float32).reshape(8, 2)
    table = by_distance(bias_UH, stack)
    assert table.shape == (2, 25)
    assert table[0, 12] == bias_UH[0, 0]  # distance 0
    assert table[1, 13] == bias_UH[5, 1]  # one ahead: the second half of the buckets
    assert table[1, 11] == bias_UH[1, 1]  # one back


@pytest.mark.parametrize("sizes", [(2, 128), (33, 128), (32, 32), (32, 1 << 20), (8192, 1 << 15)])
def test_sizes_without_sense_are_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="relative"):
        Relative(buckets=sizes[0], farthest=sizes[1])
