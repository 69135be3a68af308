"""Positions as rotations of feature pairs.  Source: Su et al. 2021, arXiv:2104.09864."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Rope:
    """Cosines and sines of the positions of a batch, the same for every layer."""

    cos_BT1Y: Tensor
    sin_BT1Y: Tensor

    def turn(self, x_BTHK: Tensor) -> Tensor:
        """Turn the pairs (y, y + K / 2) of every head by their positions' angles."""
        return _Turn.apply(x_BTHK, self.cos_BT1Y, self.sin_BT1Y)


def rope(positions_BT: Tensor, frequency_Y: Tensor, scale: float) -> Rope:
    """The rotation of each position; angles, cosines and sines are float32."""
    angle_BT1Y = positions_BT[:, :, None, None].float() * frequency_Y
    return Rope(angle_BT1Y.cos() * scale, angle_BT1Y.sin() * scale)


def _turned(x_BTHK: Tensor, cos_BT1Y: Tensor, sin_BT1Y: Tensor) -> Tensor:
    turned_BTHK = x_BTHK * torch.cat((cos_BT1Y, cos_BT1Y), -1)
    left, right = x_BTHK.chunk(2, -1)
    turned_left, turned_right = turned_BTHK.chunk(2, -1)
    turned_left.addcmul_(right, sin_BT1Y, value=-1)
    turned_right.addcmul_(left, sin_BT1Y)
    return turned_BTHK.to(x_BTHK.dtype)


class _Turn(torch.autograd.Function):
    """A rotation, whose gradient is the rotation back: two passes and nothing kept but angles."""

    @staticmethod
    def forward(ctx: Any, x_BTHK: Tensor, cos_BT1Y: Tensor, sin_BT1Y: Tensor) -> Tensor:
        ctx.save_for_backward(cos_BT1Y, sin_BT1Y)
        return _turned(x_BTHK, cos_BT1Y, sin_BT1Y)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cos_BT1Y, sin_BT1Y = ctx.saved_tensors
        return _turned(gradients[0], cos_BT1Y, -sin_BT1Y), None, None
