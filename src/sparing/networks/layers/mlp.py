"""The gated feed-forward map.  Source: Shazeer 2020, arXiv:2002.05202 (SwiGLU)."""

from torch import Tensor, nn
from torch.nn import functional as F


class GatedMLP(nn.Module):
    """down(silu(gate(x)) * up(x)), gate and up in one product."""

    def __init__(self, width: int, hidden: int, *, bias: bool) -> None:
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * hidden, bias=bias)
        self.down = nn.Linear(hidden, width, bias=bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        gate_BTM, up_BTM = self.gate_up(x_BTD).chunk(2, -1)
        return self.down(F.silu(gate_BTM) * up_BTM)
