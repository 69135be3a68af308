"""Grouped-query self-attention within documents.  Source: Ainslie et al. 2023, arXiv:2305.13245."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparing.models.config import DecoderConfig
from sparing.networks.layers.documents import Documents
from sparing.networks.layers.norm import RMSNorm
from sparing.networks.layers.rotary import Rope


class SelfAttention(nn.Module):
    """Queries, keys and values in one product, rotated positions, causal within each document."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        D, K, H, G = config.width, config.head_width, config.heads, config.kv_heads
        self.heads, self.kv_heads, self.head_width = H, G, K
        self.qkv = nn.Linear(D, (H + 2 * G) * K, bias=config.qkv_bias)
        self.q_norm = RMSNorm(K, config.norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(K, config.norm_eps) if config.qk_norm else None
        self.output = nn.Linear(H * K, D, bias=config.output_bias)

    def forward(self, x_BTD: Tensor, rope: Rope, documents: Documents | None) -> Tensor:
        H, G = self.heads, self.kv_heads
        heads_BTHK = self.qkv(x_BTD).unflatten(-1, (H + 2 * G, self.head_width))
        if self.q_norm is None or self.k_norm is None:
            qk_BTHK, v_BTGK = heads_BTHK.split((H + G, G), 2)
            q_BTHK, k_BTGK = rope.turn(qk_BTHK).split((H, G), 2)
        else:
            q_BTHK, k_BTGK, v_BTGK = heads_BTHK.split((H, G, G), 2)
            q_BTHK, k_BTGK = rope.turn(self.q_norm(q_BTHK)), rope.turn(self.k_norm(k_BTGK))
        return self.output(attend(q_BTHK, k_BTGK, v_BTGK, documents).flatten(-2))


def attend(q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, documents: Documents | None) -> Tensor:
    """Causal attention within documents (over whole rows when there is no layout).

    Shapes: q_BTHK, k_BTGK, v_BTGK -> mixed_BTHK, with H a multiple of G.
    """
    if documents is None:
        return _causal(q_BTHK, k_BTGK, v_BTGK, None)
    if documents.lengths is None:
        return _causal(q_BTHK, k_BTGK, v_BTGK, documents.mask_B1TT)
    runs = [x.flatten(0, 1)[None].split(documents.lengths, 1) for x in (q_BTHK, k_BTGK, v_BTGK)]
    mixed = [_causal(q, k, v, None) for q, k, v in zip(*runs, strict=True)]
    return torch.cat(mixed, 1).view(q_BTHK.shape)


def _causal(q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, mask_B1TT: Tensor | None) -> Tensor:
    mixed_BHTK = F.scaled_dot_product_attention(
        q_BTHK.transpose(1, 2),
        k_BTGK.transpose(1, 2),
        v_BTGK.transpose(1, 2),
        attn_mask=mask_B1TT,
        is_causal=mask_B1TT is None,
        enable_gqa=q_BTHK.shape[2] != k_BTGK.shape[2],
    )
    return mixed_BHTK.transpose(1, 2)
