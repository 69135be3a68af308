"""T5's relative positions: from distances to buckets, and from buckets to a table by distance."""

import math

import numpy as np

from sparing.models.encoder_config import Relative, StackConfig


def buckets(distances: np.ndarray, relative: Relative, *, causal: bool) -> np.ndarray:
    """The bucket of each distance key - query.

    Half of a direction's buckets hold one distance each, the rest grow as powers up to
    `farthest`.  Both directions have buckets of their own unless `causal`.

    Numerics: the logarithm in float32, as published models were trained.
    Source:   Raffel et al. 2020, arXiv:1910.10683, section 2.1.
    """
    count = relative.buckets if causal else relative.buckets // 2
    ahead = np.zeros_like(distances) if causal else (distances > 0) * count
    away = np.maximum(-distances, 0) if causal else np.abs(distances)
    exact = count // 2
    ratio = np.maximum(away, 1).astype(np.float32) / np.float32(exact)
    grown = np.log(ratio) / np.float32(math.log(relative.farthest / exact))
    far = exact + (grown * np.float32(count - exact)).astype(np.int64)
    return ahead + np.where(away < exact, away, np.minimum(far, count - 1))


def by_distance(bias_UH: np.ndarray, stack: StackConfig) -> np.ndarray:
    """The biases of distances -farthest .. farthest, head by head.

    Shapes: float32 bias_UH of U buckets -> float32 [H, 2 farthest + 1].
    """
    assert stack.relative is not None
    reach = stack.relative.farthest
    distances = np.arange(-reach, reach + 1)
    chosen = buckets(distances, stack.relative, causal=stack.causal)
    return np.ascontiguousarray(bias_UH[chosen].T, dtype=np.float32)
