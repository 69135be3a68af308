"""A model as a GGUF file that llama.cpp loads; what the format cannot hold is refused.

The file is read back and its traits compared before it is published.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sparing.base.errors import ArtefactError, ConfigError, require
from sparing.base.gguf import GgufFile
from sparing.base.gguf_writer import Stored, write
from sparing.kernels.formats import Weight
from sparing.models.config import DecoderConfig
from sparing.models.folder import ModelFolder
from sparing.models.gguf_config import describe
from sparing.models.gguf_encode import Kind, encode
from sparing.models.gguf_rope import FACTORS, LONG, SHORT, llama3_factors
from sparing.models.gguf_tensors import INTERLEAVED, gguf_parts, paired_order
from sparing.models.names import Family
from sparing.models.rope import attention_scale, inverse_frequencies
from sparing.tokenizer.gguf_pairs import vocabulary_pairs
from sparing.tokenizer.text import Tokenizer

_ARCHITECTURES: Mapping[Family, str] = {
    "llama": "llama",
    "mistral": "llama",
    "mixtral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "qwen2_moe": "qwen2moe",
    "qwen3_moe": "qwen3moe",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3_text": "gemma3",
    "phi3": "phi3",
    "gpt2": "gpt2",
    "gpt_neox": "gptneox",
    "starcoder2": "starcoder2",
    "olmo2": "olmo2",
    "smollm3": "smollm3",
    "granite": "granite",
}
_FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "BF16": 32}
"""`general.file_type` by the type of most weights; for people, no reader depends on it."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    path: Path
    file_bytes: int
    tensors: Mapping[str, int]
    """Type to how many tensors have it."""


def export_gguf(model: ModelFolder, out: Path, kind: Kind = "keep") -> Exported:
    """Write `model` as the GGUF file `out`.

    With "keep" every number stays what it is (`gguf_encode` says in which types); with another
    kind matrices are rounded to it.
    Errors: ArtefactError for a family, trait or tokenizer that has no GGUF form.
    """
    architecture = _ARCHITECTURES.get(model.family)
    if architecture is None:
        known = ", ".join(_ARCHITECTURES)
        raise ArtefactError(f"{model.path}: {model.family} is not written as GGUF; only {known}")
    config = model.config
    stored = dict(_tensors(model, architecture, kind))
    counts: dict[str, int] = {}
    for each in stored.values():
        counts[each.kind] = counts.get(each.kind, 0) + 1
    weights = {name: len(s.shape) > 1 and s.nbytes for name, s in stored.items()}
    commonest = stored[max(weights, key=lambda name: weights[name])].kind
    pairs: dict[str, Any] = {
        "general.architecture": architecture,
        "general.name": model.path.resolve().stem,
        "general.file_type": _FILE_TYPES[commonest],
        "general.quantization_version": 2,
    }
    pairs |= {f"{architecture}.{key}": value for key, value in _traits(config, model).items()}
    pairs |= _vocabulary(model)
    draft = out.with_name(f".{out.name}.draft")
    try:
        write(draft, pairs, stored)
        _check(draft, model)
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    return Exported(out, out.stat().st_size, counts)


def _tensors(model: ModelFolder, architecture: str, kind: Kind) -> Iterator[tuple[str, Stored]]:
    """Every tensor of the file under its name; what shares one there is joined."""
    joined: dict[str, list[str]] = {}
    parts = gguf_parts(model.config, architecture)
    for name, part in parts.items():
        joined.setdefault(part.published.partition("[")[0], []).append(name)
    for published, names in joined.items():
        records = [model.weights[name] for name in names]
        orders = [_order(name, record, model, architecture) for name, record in
                  zip(names, records, strict=True)]  # fmt: skip
        shape = parts[names[0]].shape
        if "[" in parts[names[0]].published:
            shape = (len(names), *shape)
        elif published.endswith("_shexp.weight") and shape[0] == 1:
            shape = shape[1:]
        yield published, _join(records, orders, kind, shape)
    yield from _rope_tensors(model.config, architecture)


def _order(name: str, record: Weight, model: ModelFolder, architecture: str) -> np.ndarray | None:
    turned = ".attention.query." in name or ".attention.key." in name
    if not turned or architecture not in INTERLEAVED:
        return None
    return paired_order(record.shape[0], model.config.head_width)


def _join(
    records: list[Weight], orders: list[np.ndarray | None], kind: Kind, shape: tuple[int, ...]
) -> Stored:
    """The records one after the other, all in one type."""
    pairs = list(zip(records, orders, strict=True))
    found = [encode(record, kind, order) for record, order in pairs]
    if len({each.kind for each in found}) > 1:
        found = [encode(record, "f32", order) for record, order in pairs]
    rows = itertools.chain.from_iterable(each.rows for each in found)
    return Stored(found[0].kind, shape, rows)


def _rope_tensors(config: DecoderConfig, architecture: str) -> Iterator[tuple[str, Stored]]:
    scaling = config.rope_scaling
    if scaling is None or scaling.kind not in ("llama3", "longrope"):
        return
    factors = {FACTORS: scaling.short_factors}
    if scaling.kind == "llama3":
        found = llama3_factors(scaling, config.rope_theta, config.turned_width)
        factors = {FACTORS: tuple(found.tolist())}
    elif architecture == "phi3":
        factors = {LONG: scaling.long_factors, SHORT: scaling.short_factors}
    elif scaling.short_factors != scaling.long_factors or attention_scale(config) != 1.0:
        raise ArtefactError("rope_scaling: longrope has no form in this architecture")
    for name, each in factors.items():
        values = np.array(each, np.float32)
        yield name, Stored("F32", values.shape, [values])


def _traits(config: DecoderConfig, model: ModelFolder) -> dict[str, Any]:
    """The architecture's own pairs."""
    found: dict[str, Any] = {
        "vocab_size": config.vocab,
        "context_length": config.context,
        "embedding_length": config.width,
        "block_count": config.layers,
        "feed_forward_length": config.hidden,
        "attention.head_count": config.heads,
        "attention.head_count_kv": config.kv_heads,
        "attention.key_length": config.head_width,
        "attention.value_length": config.head_width,
    }
    if config.positions == "rope":
        found["rope.dimension_count"] = config.turned_width
        found["rope.freq_base"] = float(config.rope_theta)
    if config.experts is not None:
        found["expert_count"] = config.experts.count
        found["expert_used_count"] = config.experts.per_token
        if model.family != "mixtral":
            found["expert_feed_forward_length"] = config.experts.hidden
        if config.experts.shared_hidden:
            found["expert_shared_feed_forward_length"] = config.experts.shared_hidden
    if model.family == "gpt_neox":
        found["use_parallel_residual"] = config.parallel
    eps = "layer_norm_rms_epsilon" if config.norm == "rms" else "layer_norm_epsilon"
    found[f"attention.{eps}"] = config.norm_eps
    window = max(config.windows, default=0)
    if window and model.family != "mistral":
        found["attention.sliding_window"] = window
    if config.attention_softcap is not None:
        found["attn_logit_softcapping"] = config.attention_softcap
    if config.logit_softcap is not None:
        found["final_logit_softcapping"] = config.logit_softcap
    if model.family == "granite":
        found |= {
            "attention.scale": config.query_scale or config.head_width**-0.5,
            "embedding_scale": config.embedding_scale,
            "residual_scale": config.residual_scale,
            "logit_scale": 1.0 / config.logit_scale,
        }
    return found | _scaling(config)


def _scaling(config: DecoderConfig) -> dict[str, Any]:
    scaling = config.rope_scaling
    if scaling is None or scaling.kind in ("llama3", "dynamic"):
        return {}  # dynamic: within the context, as every sequence is, it changes nothing
    if scaling.kind == "longrope":
        if scaling.short_factors == scaling.long_factors:
            return {}
        return {
            "rope.scaling.original_context_length": scaling.original_context or config.context,
            "rope.scaling.attn_factor": attention_scale(config),
        }
    found: dict[str, Any] = {
        "rope.scaling.type": scaling.kind,
        "rope.scaling.factor": scaling.factor,
    }
    if scaling.kind == "yarn":
        plain = 0.1 * float(np.log(scaling.factor)) + 1.0
        share = attention_scale(config) / plain
        found |= {
            "rope.scaling.original_context_length": scaling.original_context or config.context,
            "rope.scaling.yarn_beta_fast": scaling.beta_fast,
            "rope.scaling.yarn_beta_slow": scaling.beta_slow,
        }
        if abs(share - 1.0) > 1e-6:
            found["rope.scaling.attn_factor"] = share
    return found


def _vocabulary(model: ModelFolder) -> dict[str, Any]:
    """The tokenizer, and the ends of an answer that the config names."""
    config = model.config
    if model.tokenizer is None:
        pairs: dict[str, Any] = {"tokenizer.ggml.model": "no_vocab"}
    else:
        pairs = vocabulary_pairs(Tokenizer.load(model.tokenizer), config.vocab)
    if config.bos is not None:
        pairs.setdefault("tokenizer.ggml.bos_token_id", config.bos)
    ends = [end for end in config.eos if end != pairs.get("tokenizer.ggml.eos_token_id")]
    for key in ("eos_token_id", "eot_token_id", "eom_token_id"):
        if f"tokenizer.ggml.{key}" not in pairs and ends:
            pairs[f"tokenizer.ggml.{key}"] = ends.pop(0)
    require(not ends, "eos", "at most three ends of an answer", config.eos)
    return pairs


_NOT_COMPARED: dict[str, Any] = {"rope_scaling": None, "bos": None, "eos": ()}


def _check(draft: Path, model: ModelFolder) -> None:
    """Errors: ArtefactError when the file says another model than `model`."""
    try:
        again = _rounded(describe(GgufFile.open(draft)).config)
    except (ArtefactError, ConfigError) as error:
        raise ArtefactError(f"{model.path}: has no GGUF form: {error}") from None
    ours = _rounded(model.config)
    if replace(again, **_NOT_COMPARED) != replace(ours, **_NOT_COMPARED):
        differ = [
            name
            for name in DecoderConfig.__dataclass_fields__
            if name not in _NOT_COMPARED and getattr(again, name) != getattr(ours, name)
        ]
        raise ArtefactError(f"{model.path}: GGUF has no place for {', '.join(differ)}")
    close = np.allclose(inverse_frequencies(again), inverse_frequencies(ours), rtol=1e-5, atol=0)
    scales = attention_scale(again), attention_scale(ours)
    if not close or abs(scales[0] - scales[1]) > 1e-5 * scales[1]:
        raise ArtefactError(f"{model.path}: GGUF has no place for this rope_scaling")


def _rounded(config: DecoderConfig) -> DecoderConfig:
    """Numbers as float32 holds them, because the format has no other."""
    as_float32: Callable[[float], float] = lambda value: float(str(np.float32(value)))  # noqa: E731
    names = ("norm_eps", "rope_theta", "embedding_scale", "residual_scale", "logit_scale")
    changes: dict[str, Any] = {name: as_float32(getattr(config, name)) for name in names}
    for name in ("query_scale", "attention_softcap", "logit_softcap"):
        value = getattr(config, name)
        changes[name] = None if value is None else as_float32(value)
    return replace(config, **changes)
