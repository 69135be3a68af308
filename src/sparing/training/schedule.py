"""The learning rate of a step, as a share of its peak."""

import math

from sparing.base.errors import require


def wsd(step: int, steps: int, *, warmup: int, decay: float, final: float) -> float:
    """Warm-up, stable, decay: up in a line, flat, and down in a line over the last share `decay`.

    `step` counts from 0; the step after the last would have the share `final`.
    Source: Hu et al. 2024, MiniCPM, arXiv:2404.06395, section 4; Hagele et al. 2024,
    arXiv:2405.18392, for the linear fall.
    """
    _check(step, steps)
    falling = decay * steps
    left = 1.0 if falling == 0 else min(1.0, (steps - step) / falling)
    return _rise(step, warmup) * (final + (1 - final) * left)


def cosine(step: int, steps: int, *, warmup: int, final: float) -> float:
    """Up in a line, then half a cosine from 1 to `final`.

    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, without restarts.
    """
    _check(step, steps)
    share = max(0, step - warmup) / max(1, steps - warmup)
    return _rise(step, warmup) * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * share)))


def _rise(step: int, warmup: int) -> float:
    return min(1.0, (step + 1) / (warmup + 1))


def _check(step: int, steps: int) -> None:
    require(0 <= step < steps, "step", f"0 to {steps - 1}", step)
