"""A decoder language model: embedding, pre-norm blocks, final norm, head.

    x = embed(ids)
    x = x + attention(norm(x));  x = x + mlp(norm(x))      for each block
    logits = head(norm(x))

Source: Touvron et al. 2023, arXiv:2302.13971 (Llama); Qwen2 adds biases, Qwen3 norms on q and k.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparing.base.errors import ShapeError, require
from sparing.base.seeds import derive
from sparing.models.config import DecoderConfig, refuse_traits
from sparing.models.names import shapes
from sparing.models.rope import attention_scale, inverse_frequencies
from sparing.networks.layers.attention import SelfAttention
from sparing.networks.layers.documents import Documents, layout, restarting_positions
from sparing.networks.layers.mlp import GatedMLP
from sparing.networks.layers.norm import RMSNorm
from sparing.networks.layers.rotary import Rope, rope

# Standard deviation of freshly drawn weights; those that write into the residual stream get
# less, by the number of times that they do.  Source: Radford et al. 2019 (GPT-2), section 2.3.
INITIAL_STD = 0.02
# Traits that may differ from their defaults.
_TRAITS = {
    "norm_eps", "rope_theta", "rope_scaling", "qkv_bias", "output_bias", "mlp_bias", "qk_norm",
    "tied", "bos", "eos",
}  # fmt: skip


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.norm_eps)
        self.attention = SelfAttention(config)
        self.mlp_norm = RMSNorm(config.width, config.norm_eps)
        self.mlp = GatedMLP(config.width, config.hidden, bias=config.mlp_bias)

    def forward(self, x_BTD: Tensor, rope: Rope, documents: Documents | None) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), rope, documents)
        return x_BTD + self.mlp(self.mlp_norm(x_BTD))


class Decoder(nn.Module):
    """Token ids to logits over the next token.

    `hidden` and `head` are apart so that a loss may take the head in pieces.  Parameters of maps
    that share an input are one; `tensors` and `load` speak the names of `models.names`.
    """

    def __init__(self, config: DecoderConfig) -> None:
        """Errors: ConfigError naming a trait that these modules do not have."""
        refuse_traits(config, _TRAITS, "networks trained here")
        head_norm = config.qk_norm in (None, "head")
        require(head_norm, "qk_norm", "head or none in networks trained here", config.qk_norm)
        one_set = config.short_context is None
        require(one_set, "rope_scaling.kind", "one set of frequencies here", "longrope")
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab, config.width)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_norm = RMSNorm(config.width, config.norm_eps)
        self.untied = None if config.tied else nn.Linear(config.width, config.vocab, bias=False)
        # No buffer: angles stay float32 when the module is cast to a narrower dtype.
        self.frequency_Y = torch.from_numpy(inverse_frequencies(config))
        self.rope_scale = attention_scale(config)

    def hidden(
        self,
        ids_BT: Tensor,
        *,
        documents_BT: Tensor | None = None,
        positions_BT: Tensor | None = None,
    ) -> Tensor:
        """Normed features of every position.

        `documents_BT` are int64 ids; a run of equal ids in a row is a document, which sees only
        itself.  Positions restart with each document unless given.

        Shapes: ids_BT -> hidden_BTD.
        """
        if positions_BT is None:
            alone = torch.zeros_like(ids_BT[:1])
            positions_BT = restarting_positions(alone if documents_BT is None else documents_BT)
        documents = None if documents_BT is None else layout(documents_BT)
        turns = rope(positions_BT, self.frequency_Y.to(ids_BT.device), self.rope_scale)
        x_BTD = self.embed(ids_BT)
        for block in self.layers:
            x_BTD = block(x_BTD, turns, documents)
        return self.final_norm(x_BTD)

    def head(self, hidden_BTD: Tensor) -> Tensor:
        """Logits of normed features, for any leading dimensions."""
        return F.linear(hidden_BTD, self.head_weight)

    @property
    def head_weight(self) -> Tensor:
        """[V, D], the embedding when tied."""
        return self.embed.weight if self.untied is None else self.untied.weight

    def forward(
        self,
        ids_BT: Tensor,
        *,
        documents_BT: Tensor | None = None,
        positions_BT: Tensor | None = None,
    ) -> Tensor:
        """Logits of every position; as `hidden`, then `head`."""
        return self.head(self.hidden(ids_BT, documents_BT=documents_BT, positions_BT=positions_BT))

    @torch.no_grad()
    def initialise(self, seed: int) -> "Decoder":
        """Draw all weights anew, each tensor from its own stream; returns self."""
        writes = (2 * self.config.layers) ** -0.5
        for name, view in self.views().items():
            generator = torch.Generator().manual_seed(derive(seed, "weights", name))
            if name.endswith("norm.weight"):
                view.fill_(1.0)
            elif name.endswith(".bias"):
                view.zero_()
            else:
                inner = name.endswith((".output.weight", ".down.weight"))
                std = INITIAL_STD * (writes if inner else 1.0)
                view.copy_(torch.empty(view.shape).normal_(0.0, std, generator=generator))
        return self

    def views(self) -> dict[str, Tensor]:
        """Every tensor under our name, as a view of the parameters."""
        found: dict[str, Tensor] = {"embed.weight": self.embed.weight}
        for index, block in enumerate(self.layers):
            assert isinstance(block, Block)  # what this class put there
            found |= {f"layers.{index}.{name}": view for name, view in _views(block).items()}
        found["final_norm.weight"] = self.final_norm.weight
        if self.untied is not None:
            found["head.weight"] = self.untied.weight
        return {name: view.detach() for name, view in found.items()}

    def tensors(self) -> dict[str, np.ndarray]:
        """Every tensor under our name, as float32 numpy copies."""
        return {name: view.float().cpu().numpy().copy() for name, view in self.views().items()}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, np.ndarray | Tensor]) -> "Decoder":
        """Copy in exactly the tensors of the config; returns self.

        Errors: ShapeError naming tensors that are missing, left over or misshapen.
        """
        wanted = shapes(self.config)
        differing = sorted(wanted.keys() ^ tensors.keys())
        if differing:
            raise ShapeError(f"tensors: expected those of the config, differs in {differing[:5]}")
        for name, view in self.views().items():
            tensor = _tensor(tensors[name])
            if tuple(tensor.shape) != wanted[name]:
                raise ShapeError(f"{name}: expected {wanted[name]}, got {tuple(tensor.shape)}")
            view.copy_(tensor)
        return self


def _tensor(values: np.ndarray | Tensor) -> Tensor:
    """A tensor of the values; torch takes no read-only memory, so a mapped array is copied."""
    if isinstance(values, Tensor):
        return values
    return torch.from_numpy(np.require(values, np.float32, ["C", "W"]))


def _views(block: Block) -> dict[str, Tensor]:
    """The tensors of one block; the joint maps are taken apart."""
    attention, mlp = block.attention, block.mlp
    H, G, K = attention.heads, attention.kv_heads, attention.head_width
    joint = {
        attention.qkv: (("query", "key", "value"), (H * K, G * K, G * K), "attention"),
        attention.output: (("output",), (attention.output.out_features,), "attention"),
        mlp.gate_up: (("gate", "up"), (mlp.down.in_features,) * 2, "mlp"),
        mlp.down: (("down",), (mlp.down.out_features,), "mlp"),
    }
    found: dict[str, Tensor] = {
        "attention_norm.weight": block.attention_norm.weight,
        "mlp_norm.weight": block.mlp_norm.weight,
    }
    if attention.q_norm is not None and attention.k_norm is not None:
        found["attention.q_norm.weight"] = attention.q_norm.weight
        found["attention.k_norm.weight"] = attention.k_norm.weight
    for linear, (names, rows, room) in joint.items():
        for leaf, parameter in linear.named_parameters():
            parts = parameter.split(rows, 0)
            found |= {
                f"{room}.{name}.{leaf}": part for name, part in zip(names, parts, strict=True)
            }
    return found
