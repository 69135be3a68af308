"""What a decoder costs, in closed form: parameters, FLOP, bytes.

A multiply-add counts as two FLOP.  Norms, rotations, softmax and biases are left out of FLOP:
they are below one percent of the maps at any useful width.
"""

from sparing.models.config import DecoderConfig


def parameters(config: DecoderConfig, *, embedding: bool = True) -> int:
    """Learned numbers; a tied head counts once.  Without `embedding`, the table is left out."""
    D = config.width
    count = config.layers * (_matrices(config) + _vectors(config)) + D
    if not config.tied:
        count += config.vocab * D
    return count + (config.vocab * D if embedding else 0)


def matrix_parameters(config: DecoderConfig) -> int:
    """Numbers that every token is multiplied with: the maps of all blocks and the head."""
    return config.layers * _matrices(config) + config.vocab * config.width


def forward_flops(config: DecoderConfig, *, context: int) -> float:
    """FLOP to compute one token that attends to `context` positions, itself among them.

    Two per matrix parameter, and per layer and position two each for the logits and the mix.
    Source: Kaplan et al. 2020, arXiv:2001.08361, table 1.
    """
    attention = 4.0 * config.layers * context * config.query_width
    return 2.0 * matrix_parameters(config) + attention


def training_flops(config: DecoderConfig, *, context: int) -> float:
    """FLOP to train on one token of causal sequences of `context` tokens.

    6 N and the attention to (context + 1) / 2 positions on average; the backward pass costs
    twice the forward pass.
    """
    attention = 4.0 * config.layers * config.query_width * (context + 1) / 2
    return 3.0 * (2.0 * matrix_parameters(config) + attention)


def weight_bytes(config: DecoderConfig, *, bits: float) -> float:
    """Bytes of all weights at `bits` per parameter (scales included in `bits`)."""
    return parameters(config) * bits / 8


def kv_bytes_per_token(config: DecoderConfig, *, element_bytes: int) -> int:
    """Bytes of keys and values that one position leaves in the cache."""
    return 2 * config.layers * config.kv_width * element_bytes


def bytes_per_token(
    config: DecoderConfig, *, bits: float, context: int, kv_element_bytes: int
) -> float:
    """Bytes read to decode one token alone: every matrix, its embedding row and its past.

    The floor of the time per token is this over the machine's read bandwidth.
    """
    vectors = config.layers * _vectors(config) + config.width
    weights = (matrix_parameters(config) + vectors + config.width) * bits / 8
    return weights + context * kv_bytes_per_token(config, element_bytes=kv_element_bytes)


def _matrices(config: DecoderConfig) -> int:
    D, Q, G, M = config.width, config.query_width, config.kv_width, config.hidden
    return D * (Q + 2 * G) + Q * D + 3 * D * M


def _vectors(config: DecoderConfig) -> int:
    D, Q, G, M = config.width, config.query_width, config.kv_width, config.hidden
    count = 2 * D
    count += Q + 2 * G if config.qkv_bias else 0
    count += D if config.output_bias else 0
    count += 2 * M + D if config.mlp_bias else 0
    return count + (2 * config.head_width if config.qk_norm else 0)
