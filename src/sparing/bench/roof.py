"""The least time that work can take here: its bytes at the machine's read bandwidth, its
operations at the machine's peak, whichever is more."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sparing.bench.cells import Cell
from sparing.models.config import DecoderConfig
from sparing.models.cost import matrix_parameters

LONG_PROMPT = 4096
"""From here on the cache counts among the bytes; below, weights alone, as in the goals."""

PEAK_OF = {"int3": "int4_ops", "int4": "int4_ops", "int8": "int8_ops", "bf16": "bf16_flops"}
"""Width of the weights to the rate in `kernels.peaks.Limits`; others are float32 work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one row or one prompt of a model asks for, whatever the engine."""

    block_macs: int
    """Multiply-adds of one token in all blocks."""
    head_macs: int
    """Multiply-adds of one token's logits."""

    @classmethod
    def of(cls, config: DecoderConfig) -> "Work":
        """From the model's traits."""
        head = config.vocab * config.width
        return cls(block_macs=matrix_parameters(config) - head, head_macs=head)

    def operations(self, cell: Cell) -> tuple[float, float]:
        """Of the blocks and of the head, for one step or prompt; attention is left out."""
        if cell.kind == "decode":
            return 2.0 * cell.streams * self.block_macs, 2.0 * cell.streams * self.head_macs
        return 2.0 * cell.prompt * self.block_macs, 2.0 * self.head_macs

    def tree(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def bytes_of(cell: Cell, *, weight_bytes: float, kv_token_bytes: float | None) -> float:
    """Bytes that one step or one prompt must read: every weight once, long caches too."""
    if cell.kind != "decode" or cell.prompt < LONG_PROMPT:
        return weight_bytes
    mean = cell.prompt + (cell.room - cell.prompt) / 2
    return weight_bytes + cell.streams * mean * (kv_token_bytes or 0.0)


def seconds(
    cell: Cell,
    work: Work,
    *,
    moved: float,
    width: str,
    limits: Mapping[str, float | None],
    head: str = "",
) -> float:
    """The roof time of one step or prompt under `limits` (a `Limits` tree).

    `head` is the width of the head where it is another than `width`.
    """
    bandwidth = limits["read_bytes_per_s"]
    assert bandwidth
    blocks, logits = work.operations(cell)
    busy = blocks / _peak(width, limits) + logits / _peak(head or width, limits)
    return max(moved / bandwidth, busy)


def _peak(width: str, limits: Mapping[str, float | None]) -> float:
    peak = limits.get(PEAK_OF.get(width, "fp32_flops")) or limits["fp32_flops"]
    assert peak
    return peak


def figure(cell: Cell, roof_s: float) -> float:
    """The roof in the cell's unit."""
    tokens = cell.streams if cell.kind == "decode" else cell.prompt
    return cell.figure(tokens, roof_s)
