"""The tensors of a GGUF file under its own names, and which of ours each of them is.

Experts of a layer lie in one tensor there; number e of it is called `NAME[e]` here.
"""

import math
import re
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from sparing.base.errors import ArtefactError
from sparing.base.gguf import MOST_TENSORS, GgufFile
from sparing.kernels.formats import BFloat16, Float32, Weight
from sparing.models.config import DecoderConfig
from sparing.models.gguf_blocks import read_blocks, scheme_of_kind
from sparing.models.gguf_rope import FACTORS, LONG, SHORT
from sparing.models.names import Part, Rows, shapes
from sparing.models.scheme import Scheme
from sparing.models.tensor_file import Stored

if TYPE_CHECKING:
    from pathlib import Path

MOST_EXPERTS = 4096
OUTER = {
    "embed": "token_embd",
    "positions": "position_embd",
    "final_norm": "output_norm",
    "head": "output",
}
INNER = {
    "attention_norm": "attn_norm",
    "attention_post_norm": "post_attention_norm",
    "attention.query": "attn_q",
    "attention.key": "attn_k",
    "attention.value": "attn_v",
    "attention.output": "attn_output",
    "attention.q_norm": "attn_q_norm",
    "attention.k_norm": "attn_k_norm",
    "mlp_norm": "ffn_norm",
    "mlp_post_norm": "post_ffw_norm",
    "mlp.gate": "ffn_gate",
    "mlp.up": "ffn_up",
    "mlp.down": "ffn_down",
    "mlp.router": "ffn_gate_inp",
    "mlp.shared_router": "ffn_gate_inp_shexp",
    "mlp.shared.gate": "ffn_gate_shexp",
    "mlp.shared.up": "ffn_up_shexp",
    "mlp.shared.down": "ffn_down_shexp",
}
_EXPERTS = {"gate": "ffn_gate_exps", "up": "ffn_up_exps", "down": "ffn_down_exps"}
_JOINT = {name: "attn_qkv" for name in ("attention.query", "attention.key", "attention.value")}
_JOINT_ATTENTION = ("gpt2", "gptneox", "phi3")
INTERLEAVED = ("llama", "granite", "smollm3")
"""Architectures whose query and key rows are stored in the pairs that turn: 0, Y, 1, Y + 1..."""

_OURS = re.compile(r"layers\.([0-9]{1,4})\.([a-z_.]+)(?:\.([0-9]{1,4})\.([a-z]+))?\.(weight|bias)")
_TURNED = re.compile(r"blk\.[0-9]{1,4}\.attn_[qk]\.(weight|bias)")


def gguf_name(ours: str) -> str:
    """Our tensor's name in a GGUF file, where it has a tensor of its own."""
    matched = _OURS.fullmatch(ours)
    if matched is None:
        part, _, leaf = ours.rpartition(".")
        return f"{OUTER[part]}.{leaf}"
    layer, part, expert, map_, leaf = matched.groups()
    if expert is not None:
        return f"blk.{layer}.{_EXPERTS[map_]}.{leaf}[{expert}]"
    return f"blk.{layer}.{INNER[part]}.{leaf}"


def gguf_parts(config: DecoderConfig, architecture: str) -> dict[str, Part]:
    """Where a file of `architecture` holds each tensor of the model, our name to its place."""
    rows = _joint_rows(config, architecture)
    found: dict[str, Part] = {}
    for name, shape in shapes(config).items():
        matched = _OURS.fullmatch(name)
        place = rows.get(matched[2]) if matched else None
        if matched is None or place is None:
            found[name] = Part(gguf_name(name), shape)
            continue
        module = _JOINT.get(matched[2], "ffn_up")
        whole = shape[0] // (place.end - place.begin) * place.period
        published = f"blk.{matched[1]}.{module}.{matched[5]}"
        found[name] = Part(published, (whole, *shape[1:]), place)
    return found


def _joint_rows(config: DecoderConfig, architecture: str) -> dict[str, Rows]:
    """Which rows of a tensor that several of our modules share are whose."""
    if architecture not in _JOINT_ATTENTION:
        return {}
    Q, G, M = config.query_width, config.kv_width, config.hidden
    found = {
        "attention.query": Rows(0, Q, Q + 2 * G),
        "attention.key": Rows(Q, Q + G, Q + 2 * G),
        "attention.value": Rows(Q + G, Q + 2 * G, Q + 2 * G),
    }
    if architecture == "phi3":
        found |= {"mlp.gate": Rows(0, M, 2 * M), "mlp.up": Rows(M, 2 * M, 2 * M)}
    return found


class GgufTensors:
    """Every tensor of a file, as records made when they are asked for."""

    def __init__(self, file: GgufFile, config: DecoderConfig, architecture: str) -> None:
        self._file = file
        self._head_width = config.head_width if architecture in INTERLEAVED else None
        self._of: dict[str, tuple[str, int | None]] = {}
        self.stored: dict[str, Stored] = {}
        """Types are those of GGUF, offsets those of the whole tensor."""
        for name, block in file.tensors.items():
            if name in (FACTORS, LONG, SHORT):  # read with the pairs
                continue
            if len(block.shape) == 3 and name.endswith("_exps.weight"):
                self._check_experts(block.shape[0], name)
                for expert in range(block.shape[0]):
                    self._add(f"{name}[{expert}]", name, expert, block.shape[1:])
            elif name.endswith("_shexp.weight") and len(block.shape) == 1:
                self._add(name, name, None, (1, *block.shape))
            else:
                self._add(name, name, None, block.shape)

    def _check_experts(self, experts: int, name: str) -> None:
        """A tensor of a few bytes may state millions of experts; each would get a name."""
        if experts > MOST_EXPERTS or len(self.stored) + experts > MOST_TENSORS:
            raise ArtefactError(f"{self.path}: {name}: {experts} experts are more than allowed")

    def _add(self, shown: str, name: str, expert: int | None, shape: tuple[int, ...]) -> None:
        block = self._file.tensors[name]
        self._of[shown] = (name, expert)
        self.stored[shown] = Stored(block.kind, shape, block.start, block.stop)

    @property
    def path(self) -> "Path":
        return self._file.path

    def schemes(self) -> tuple[Scheme, ...]:
        """How matrices are quantised, the commonest first."""
        weights: Counter[Scheme] = Counter()
        for entry in self.stored.values():
            scheme = scheme_of_kind(entry.dtype)
            if scheme is not None:
                weights[scheme] += math.prod(entry.shape)
        return tuple(scheme for scheme, _ in weights.most_common())

    def record(self, name: str) -> Weight:
        """One tensor, its rows in our order.  Errors: ArtefactError for scales that are NaN."""
        whole, expert = self._of[name]
        entry, rows_ZB = self.stored[name], self._file.rows(whole)
        shape, where = entry.shape, f"{self.path}: {name}"
        if expert is not None:
            rows_ZB = rows_ZB[expert * shape[0] : (expert + 1) * shape[0]]
        if self._head_width is None or _TURNED.fullmatch(name) is None:
            return read_blocks(rows_ZB, entry.dtype, shape, where)
        order = half_split_order(shape[0], self._head_width)
        if len(shape) == 2:
            return read_blocks(rows_ZB[order], entry.dtype, shape, where)
        return _in_order(read_blocks(rows_ZB, entry.dtype, shape, where), order)


def half_split_order(rows: int, head_width: int) -> np.ndarray:
    """Of each row in our order, its place among rows that lie in turned pairs."""
    return np.arange(rows).reshape(-1, head_width // 2, 2).swapaxes(1, 2).reshape(-1)


def paired_order(rows: int, head_width: int) -> np.ndarray:
    """The inverse of `half_split_order`."""
    return np.arange(rows).reshape(-1, 2, head_width // 2).swapaxes(1, 2).reshape(-1)


def _in_order(vector: Weight, order: np.ndarray) -> Weight:
    if isinstance(vector, BFloat16):
        return BFloat16(vector.bits_ZD[order])
    return Float32(np.ascontiguousarray(vector.dequantise()[order]))
