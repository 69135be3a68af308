"""What a decoder costs, in closed form: parameters, FLOP, bytes.

A multiply-add counts as two FLOP.  Norms, rotations, softmax and biases are left out of FLOP:
they are below one percent of the maps at any useful width.
"""

from sparing.models.config import DecoderConfig


def parameters(config: DecoderConfig, *, embedding: bool = True) -> int:
    """Learned numbers; a tied head counts once.  Without `embedding`, the table is left out."""
    every = range(config.layers)
    count = sum(_matrices(config, layer, all_experts=True) for layer in every)
    count += config.layers * _vectors(config) + _biases_of_mlp(config) + _norm(config)
    if config.positions == "learned":
        count += config.context * config.width
    if not config.tied:
        count += config.vocab * config.width
    return count + (config.vocab * config.width if embedding else 0)


def matrix_parameters(config: DecoderConfig) -> int:
    """Numbers that every token is multiplied with: the maps of all blocks and the head.

    Of experts, those that one token passes through.
    """
    every = range(config.layers)
    count = sum(_matrices(config, layer, all_experts=False) for layer in every)
    return count + config.vocab * config.width


def forward_flops(config: DecoderConfig, *, context: int) -> float:
    """FLOP to compute one token that attends to `context` positions, itself among them.

    Two per matrix parameter, and per layer and position two each for the logits and the mix.
    Source: Kaplan et al. 2020, arXiv:2001.08361, table 1.
    """
    seen = sum(_seen(config, layer, context) for layer in range(config.layers))
    attention = 4.0 * seen * config.query_width
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
    vectors = config.layers * _vectors(config) + _biases_of_mlp(config) + _norm(config)
    rows = config.width * (2 if config.positions == "learned" else 1)
    weights = (matrix_parameters(config) + vectors + rows) * bits / 8
    seen = sum(_seen(config, layer, context) for layer in range(config.layers))
    return weights + 2 * seen * config.kv_width * kv_element_bytes


def _seen(config: DecoderConfig, layer: int, context: int) -> int:
    """Positions that a token attends to in `layer`, of `context`."""
    return min(config.window(layer) or context, context)


def _matrices(config: DecoderConfig, layer: int, *, all_experts: bool) -> int:
    D, Q, G = config.width, config.query_width, config.kv_width
    attention, maps = D * (Q + 2 * G) + Q * D, 3 if config.gated else 2
    experts = config.experts
    if experts is None or layer in config.dense_layers:
        return attention + maps * D * config.hidden
    used = experts.count if all_experts else experts.per_token
    router = D * (experts.count + (1 if experts.shared_hidden else 0))
    return attention + router + maps * D * (used * experts.hidden + experts.shared_hidden)


def _norm(config: DecoderConfig) -> int:
    return config.width * (2 if config.norm == "layer" else 1)


def _vectors(config: DecoderConfig) -> int:
    """Of one layer, without the biases of its feed-forward map."""
    Q, G = config.query_width, config.kv_width
    count = _norm(config) * (4 if config.norm_place == "both" else 2)
    count += Q + 2 * G if config.qkv_bias else 0
    count += config.width if config.output_bias else 0
    per_head = {"head": 2 * config.head_width, "full": Q + G}
    return count + (per_head[config.qk_norm] if config.qk_norm else 0)


def _biases_of_mlp(config: DecoderConfig) -> int:
    """Of all layers; experts have none."""
    gates = 2 if config.gated else 1
    return config.layers * (gates * config.hidden + config.width) if config.mlp_bias else 0
