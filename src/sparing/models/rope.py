"""Inverse frequencies of rotary positions and their published stretchings, in numpy.

A pair y of a head's leading 2 Y features turns by position * frequency_Y[y]; features y and y + Y
form the pair (the half-split order of Hugging Face folders).  Cosines and sines are multiplied by
`attention_scale`, which is 1 except for yarn and longrope.
"""

import math

import numpy as np

from sparing.models.config import DecoderConfig, RopeScaling


def inverse_frequencies(
    config: DecoderConfig, *, length: int | None = None, windowed: bool = False
) -> np.ndarray:
    """The angle per position of each rotary pair.

    `length` is that of the whole sequence.  It matters for dynamic stretching, which begins
    beyond `config.context` (no sequence that the engine takes is as long), and for longrope,
    which has other frequencies beyond its original context.  `windowed` asks for those of layers
    with a window.

    Shapes:   -> frequency_Y, float32, Y = turned_width / 2.
    Numerics: computed in float64 and rounded once.
    Source:   Su et al. 2021, arXiv:2104.09864; the stretchings name theirs below.
    """
    scaling, theta, width = config.rope_scaling, config.rope_theta, config.turned_width
    if windowed and config.window_rope_theta is not None:
        return _plain(config.window_rope_theta, width).astype(np.float32)
    if scaling is None:
        return _plain(theta, width).astype(np.float32)
    if scaling.kind == "dynamic":
        theta = _dynamic_theta(config, scaling, max(length or 0, config.context))
    frequency_Y = _plain(theta, width)
    if scaling.kind == "linear":
        frequency_Y = frequency_Y / scaling.factor
    elif scaling.kind == "yarn":
        frequency_Y = _yarn(frequency_Y, theta, width, scaling)
    elif scaling.kind == "llama3":
        frequency_Y = _llama3(frequency_Y, scaling)
    elif scaling.kind == "longrope":
        # Ding et al. 2024, arXiv:2402.13753, section 3: searched factors, pair by pair.
        beyond = (length or 0) > (scaling.original_context or 0)
        factor_Y = np.array(scaling.long_factors if beyond else scaling.short_factors)
        frequency_Y = frequency_Y / factor_Y
    return frequency_Y.astype(np.float32)


def attention_scale(config: DecoderConfig) -> float:
    """What cosines and sines are multiplied by, so that logits keep their spread when stretched.

    Source: Peng et al. 2023, arXiv:2309.00071, section 3.4 (yarn); Ding et al. 2024,
        arXiv:2402.13753 and its model code (longrope); 1 for every other kind.
    """
    scaling = config.rope_scaling
    if scaling is None or scaling.kind not in ("yarn", "longrope"):
        return 1.0
    if scaling.attention_factor is not None:
        return scaling.attention_factor
    if scaling.kind == "longrope":
        grown = math.log(scaling.factor) / math.log(max(scaling.original_context or 2, 2))
        return math.sqrt(1.0 + grown)
    if scaling.mscale and scaling.mscale_all_dim:
        return _mscale(scaling.factor, scaling.mscale) / _mscale(
            scaling.factor, scaling.mscale_all_dim
        )
    return _mscale(scaling.factor, 1.0)


def _plain(theta: float, head_width: int) -> np.ndarray:
    return theta ** -(np.arange(0, head_width, 2, dtype=np.float64) / head_width)


def _dynamic_theta(config: DecoderConfig, scaling: RopeScaling, length: int) -> float:
    """NTK-aware growth of the base with the length.  Source: arXiv:2309.00071, section 3.1."""
    width = config.turned_width
    if width <= 2:  # a single pair turns by 1 whatever the base
        return config.rope_theta
    stretch = scaling.factor * length / config.context - (scaling.factor - 1.0)
    return config.rope_theta * stretch ** (width / (width - 2))


def _yarn(
    frequency_Y: np.ndarray, theta: float, head_width: int, scaling: RopeScaling
) -> np.ndarray:
    """Divide slow pairs, keep fast ones, and ramp between.  Source: arXiv:2309.00071, 3.2."""
    original = scaling.original_context or 1

    def pair_that_turns(times: float) -> float:
        return head_width * math.log(original / (times * 2 * math.pi)) / (2 * math.log(theta))

    low, high = pair_that_turns(scaling.beta_fast), pair_that_turns(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_width - 1)
    span = high - low if high != low else 0.001  # a step instead of a division by zero
    slow_Y = np.clip((np.arange(len(frequency_Y)) - low) / span, 0.0, 1.0)
    return frequency_Y / scaling.factor * slow_Y + frequency_Y * (1.0 - slow_Y)


def _llama3(frequency_Y: np.ndarray, scaling: RopeScaling) -> np.ndarray:
    """Divide long waves, keep short ones, and blend between.

    Source: the Llama 3.1 model code, `apply_scaling`; arXiv:2407.21783, section 3.4.2.
    """
    original = float(scaling.original_context or 1)
    low, high = scaling.low_freq_factor or 1.0, scaling.high_freq_factor or 4.0
    turns_Y = original * frequency_Y / (2 * math.pi)
    blend_Y = np.clip((turns_Y - low) / (high - low), 0.0, 1.0)
    return (1.0 - blend_Y) * frequency_Y / scaling.factor + blend_Y * frequency_Y


def _mscale(factor: float, weight: float) -> float:
    return 0.1 * weight * math.log(factor) + 1.0 if factor > 1.0 else 1.0
