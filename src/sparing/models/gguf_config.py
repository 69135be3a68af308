"""The pairs of a GGUF file as the traits of a decoder; one reader per architecture.

The architecture's own keys must all be understood: one that no reader asked for is refused.
Source: docs/gguf.md of github.com/ggml-org/ggml, and the graphs of llama.cpp for what a key means.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparing.base.config import nearest
from sparing.base.errors import ArtefactError, ConfigError
from sparing.base.gguf import GgufFile
from sparing.models.config import MOST_LAYERS, DecoderConfig, Experts
from sparing.models.fields import Fields
from sparing.models.gguf_rope import read_rope
from sparing.models.names import Family

Traits = dict[str, Any]
ENDS = ("eos_token_id", "eot_token_id", "eom_token_id")
_TENSOR = "token_embd.weight"


@dataclass(frozen=True, slots=True)
class Described:
    """What the pairs of a file say."""

    config: DecoderConfig
    family: Family
    architecture: str


@dataclass(frozen=True, slots=True)
class _Head:
    """The pairs of one architecture, without its name before the keys, and the tensors' shapes."""

    field: Fields
    shapes: Mapping[str, tuple[int, ...]]

    def has(self, name: str) -> bool:
        return name in self.shapes


def describe(file: GgufFile) -> Described:
    """The traits of the model in `file`.

    Errors: ArtefactError naming the key: an unknown architecture, one that is missing, of a wrong
            type, out of range, or not understood.
    """
    where = str(file.path)
    kind = file.pairs.get("general.architecture")
    if not isinstance(kind, str) or kind not in _READERS:
        known = ", ".join(_READERS)
        raise ArtefactError(
            f"{where}: general.architecture: expected one of {known}, got {str(kind)[:80]!r}"
            + nearest(str(kind)[:80], _READERS)
        )
    tree = {
        key.removeprefix(f"{kind}."): _plain(value)
        for key, value in file.pairs.items()
        if key.startswith(f"{kind}.")
    }
    shapes = {name: block.shape for name, block in file.tensors.items()}
    head = _Head(Fields(tree, f"{where}: {kind}"), shapes)
    family, reader = _READERS[kind]
    try:
        traits = _sizes(head) | reader(head)
        traits |= read_rope(head.field, file, traits) if "positions" not in traits else {}
        config = DecoderConfig(**traits, **_tokens(file))
    except ConfigError as error:
        raise ArtefactError(f"{where}: {error}") from None
    _refuse_unread(head.field)
    tokens = file.pairs.get("tokenizer.ggml.tokens", ())
    if isinstance(tokens, list) and len(tokens) > config.vocab:
        raise ArtefactError(
            f"{where}: tokenizer.ggml.tokens: {len(tokens)} tokens, but {_TENSOR} has only "
            f"{config.vocab} rows"
        )
    if kind == "llama" and config.experts:
        family = "mixtral"
    return Described(config, family, kind)


def _plain(value: Any) -> Any:
    """A per-layer list of one same number is that number; floats as they read in float32."""
    if isinstance(value, np.ndarray) and value.size and (value == value[0]).all():
        value = value[0].item()
    if isinstance(value, float) and math.isfinite(value):
        return float(str(np.float32(value)))
    return value


def _refuse_unread(field: Fields) -> None:
    known = field.read | _HARMLESS
    for key in field.tree:
        if key not in known:
            got = str(field.tree[key])[:80]
            raise ArtefactError(f"{field.name}.{key[:80]}: not supported, got {got!r}")


_HARMLESS = {
    "vocab_size",  # the embedding has as many rows
    "rope.scaling.finetuned",
    "attention.causal",
    "expert_weights_scale",
    "rope.scale_linear",
}


def _sizes(head: _Head) -> Traits:
    """What every architecture writes under the same names."""
    field, shapes = head.field, head.shapes
    heads, width = field.integer("attention.head_count"), field.integer("embedding_length")
    head_width = field.integer("attention.key_length", width // max(heads, 1))
    if field.integer("attention.value_length", head_width) != head_width:
        raise ArtefactError(f"{field.name}.attention.value_length: expected as key_length")
    if len(shapes.get(_TENSOR, ())) != 2:
        raise ArtefactError(f"{field.name}: missing {_TENSOR}, a matrix")
    return {
        "vocab": shapes[_TENSOR][0],
        "width": width,
        "layers": field.integer("block_count"),
        "heads": heads,
        "kv_heads": field.integer("attention.head_count_kv", heads),
        "head_width": head_width,
        "hidden": field.integer("feed_forward_length"),
        "context": field.integer("context_length"),
        "tied": not head.has("output.weight"),
    }


def _tokens(file: GgufFile) -> Traits:
    field = Fields(file.pairs, f"{file.path}: pairs")
    ends = [field.token(f"tokenizer.ggml.{name}") for name in ENDS]
    eos = tuple(dict.fromkeys(end for end in ends if end is not None))
    return {"bos": field.token("tokenizer.ggml.bos_token_id"), "eos": eos}


def _rms(head: _Head) -> Traits:
    return {"norm_eps": head.field.number("attention.layer_norm_rms_epsilon", 1e-6)}


def _biases(head: _Head) -> Traits:
    """Biases are there when the first layer has them."""
    return {
        "qkv_bias": head.has("blk.0.attn_q.bias") or head.has("blk.0.attn_qkv.bias"),
        "output_bias": head.has("blk.0.attn_output.bias"),
        "mlp_bias": head.has("blk.0.ffn_up.bias"),
    }


def _llama(head: _Head) -> Traits:
    experts = _experts(head) if head.field.integer("expert_count", 0) else {}
    head.field.read.add("expert_used_count")
    return _rms(head) | _biases(head) | experts


def _experts(head: _Head, *, normalised: bool = True) -> Traits:
    field = head.field
    if "expert_feed_forward_length" not in field.tree:
        hidden = field.integer("feed_forward_length")
    else:
        hidden = field.integer("expert_feed_forward_length")
    shared = head.shapes.get("blk.0.ffn_up_shexp.weight", (0,))[0]
    field.read.update(("expert_shared_feed_forward_length", "expert_weights_norm"))
    return {
        "experts": Experts(
            count=field.integer("expert_count"),
            per_token=field.integer("expert_used_count"),
            hidden=hidden,
            normalised=normalised,
            shared_hidden=shared,
        )
    }


def _qwen2(head: _Head) -> Traits:
    return _rms(head) | _biases(head)


def _qwen3(head: _Head) -> Traits:
    return _rms(head) | _biases(head) | {"qk_norm": "head"}


def _qwen2_moe(head: _Head) -> Traits:
    return _rms(head) | _biases(head) | {"mlp_bias": False} | _experts(head, normalised=False)


def _qwen3_moe(head: _Head) -> Traits:
    return _qwen3(head) | {"mlp_bias": False} | _experts(head)


def _windows(head: _Head, windowed: Callable[[int], bool], key: str = "sliding_window") -> Traits:
    window = head.field.integer(f"attention.{key}", 0)
    layers = min(head.field.integer("block_count"), MOST_LAYERS)
    lengths = tuple(window if windowed(layer) else 0 for layer in range(layers))
    return {"windows": lengths} if any(lengths) else {}


def _gemma(head: _Head) -> Traits:
    width = head.field.integer("embedding_length")
    return _rms(head) | {"activation": "gelu_tanh", "embedding_scale": math.sqrt(max(width, 1))}


def _gemma_query_scale(head: _Head, large: int) -> Traits:
    """The head's width, or in the largest model (`large` layers) the width over the heads."""
    field = head.field
    share = field.integer("embedding_length") / max(field.integer("attention.head_count"), 1)
    if field.integer("block_count") != large:
        share = field.integer("attention.key_length", int(share))
    return {"query_scale": max(share, 1) ** -0.5}


def _gemma2(head: _Head) -> Traits:
    traits = _gemma(head) | {"norm_place": "both"} | _gemma_query_scale(head, 46)
    traits |= {
        "attention_softcap": head.field.number("attn_logit_softcapping", 50.0),
        "logit_softcap": head.field.number("final_logit_softcapping", 30.0),
    }
    return traits | _windows(head, lambda layer: layer % 2 == 0)


def _gemma3(head: _Head) -> Traits:
    traits = _gemma(head) | {"norm_place": "both", "qk_norm": "head"}
    traits |= _gemma_query_scale(head, 62)
    cap = head.field.maybe("final_logit_softcapping")
    traits |= {"logit_softcap": cap} if cap else {}
    traits |= {"window_rope_theta": head.field.number("rope.freq_base_swa", 10000.0)}
    every = head.field.integer("attention.sliding_window_pattern", 6)
    return traits | _windows(head, lambda layer: (layer + 1) % max(every, 1) != 0)


def _phi3(head: _Head) -> Traits:
    return _rms(head) | _windows(head, lambda _: True)


def _layer_norm(head: _Head) -> Traits:
    eps = head.field.number("attention.layer_norm_epsilon", 1e-5)
    return _biases(head) | {"norm": "layer", "norm_eps": eps, "gated": False}


def _gpt2(head: _Head) -> Traits:
    return _layer_norm(head) | {"positions": "learned", "activation": "gelu_tanh"}


def _gpt_neox(head: _Head) -> Traits:
    parallel = head.field.boolean("use_parallel_residual", default=True)
    return _layer_norm(head) | {"parallel": parallel, "activation": "gelu"}


def _starcoder2(head: _Head) -> Traits:
    return _layer_norm(head) | {"activation": "gelu_tanh"} | _windows(head, lambda _: True)


def _olmo2(head: _Head) -> Traits:
    return _rms(head) | {"norm_place": "post", "qk_norm": "full"}


def _smollm3(head: _Head) -> Traits:
    layers = min(head.field.integer("block_count"), MOST_LAYERS)
    still = tuple(layer for layer in range(layers) if (layer + 1) % 4 == 0)
    return _rms(head) | _biases(head) | {"unrotated_layers": still}


def _granite(head: _Head) -> Traits:
    field = head.field
    logits = field.number("logit_scale", 1.0)
    scales = {"embedding_scale": field.number("embedding_scale", 1.0)}
    scales |= {"residual_scale": field.number("residual_scale", 1.0)}
    attention = field.maybe("attention.scale")
    scales |= {} if attention is None else {"query_scale": attention}
    return _rms(head) | _biases(head) | scales | {"logit_scale": 1.0 / logits if logits else 0.0}


_READERS: Mapping[str, tuple[Family, Callable[[_Head], Traits]]] = {
    "llama": ("llama", _llama),
    "qwen2": ("qwen2", _qwen2),
    "qwen3": ("qwen3", _qwen3),
    "qwen2moe": ("qwen2_moe", _qwen2_moe),
    "qwen3moe": ("qwen3_moe", _qwen3_moe),
    "gemma": ("gemma", _gemma),
    "gemma2": ("gemma2", _gemma2),
    "gemma3": ("gemma3_text", _gemma3),
    "phi3": ("phi3", _phi3),
    "gpt2": ("gpt2", _gpt2),
    "gptneox": ("gpt_neox", _gpt_neox),
    "starcoder2": ("starcoder2", _starcoder2),
    "olmo2": ("olmo2", _olmo2),
    "smollm3": ("smollm3", _smollm3),
    "granite": ("granite", _granite),
}
