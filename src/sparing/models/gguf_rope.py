"""Rotary positions in the pairs and tensors of a GGUF file."""

import math
from typing import Any

import numpy as np

from sparing.base.errors import ArtefactError
from sparing.base.gguf import GgufFile
from sparing.models.config import RopeScaling
from sparing.models.fields import Fields

FACTORS, LONG, SHORT = "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_context": 8192}


def read_rope(field: Fields, file: GgufFile, traits: dict[str, Any]) -> dict[str, Any]:
    """Base, turned width and stretching; `traits` hold the sizes.

    The factors of Llama 3 come as a tensor; where they are those of the published rule, the rule
    is recovered, and otherwise they are taken as they are.
    """
    K, context = traits["head_width"], traits["context"]
    turned = field.integer("rope.dimension_count", K)
    theta = field.number("rope.freq_base", 10000.0)
    found: dict[str, Any] = {"rope_theta": theta}
    if turned != K:
        found["rotary_width"] = turned
    if FACTORS in file.tensors:
        factors = _numbers(file, FACTORS, turned)
        return found | {"rope_scaling": _by_factors(factors, theta, turned, context)}
    return found | {"rope_scaling": _scaling(field, file, turned, context)}


def _numbers(file: GgufFile, name: str, turned: int) -> tuple[float, ...]:
    block = file.tensors[name]
    if block.kind != "F32" or block.shape != (turned // 2,):
        raise ArtefactError(f"{file.path}: {name}: expected F32 of shape ({turned // 2},)")
    return tuple(float(str(factor)) for factor in file.rows(name).view("<f4")[0])


def _by_factors(factors: tuple[float, ...], theta: float, turned: int, context: int) -> RopeScaling:
    rule = RopeScaling(kind="llama3", factor=max(max(factors), 1.0), **_LLAMA3)
    if np.allclose(llama3_factors(rule, theta, turned), factors, rtol=1e-5):
        return rule
    return RopeScaling(
        kind="longrope", factor=1.0, original_context=context, attention_factor=1.0,
        short_factors=factors, long_factors=factors,
    )  # fmt: skip


def llama3_factors(rule: RopeScaling, theta: float, turned: int) -> np.ndarray:
    """What Llama 3's rule divides each pair's frequency by.

    Source: arXiv:2407.21783, section 3.4.2, as `models.rope` computes it.
    """
    frequency_Y = theta ** -(np.arange(0, turned, 2, dtype=np.float64) / turned)
    low, high = rule.low_freq_factor or 1.0, rule.high_freq_factor or 4.0
    turns_Y = float(rule.original_context or 1) * frequency_Y / (2 * math.pi)
    blend_Y = np.clip((turns_Y - low) / (high - low), 0.0, 1.0)
    return 1.0 / ((1.0 - blend_Y) / rule.factor + blend_Y)


def _scaling(field: Fields, file: GgufFile, turned: int, context: int) -> RopeScaling | None:
    kind = field.get("rope.scaling.type") or "none"
    original = field.integer("rope.scaling.original_context_length", context)
    attention = field.maybe("rope.scaling.attn_factor")
    if LONG in file.tensors and SHORT in file.tensors:
        return RopeScaling(
            kind="longrope", factor=max(context / max(original, 1), 1.0),
            original_context=original, attention_factor=attention or _phi_attention(field, context),
            short_factors=_numbers(file, SHORT, turned), long_factors=_numbers(file, LONG, turned),
        )  # fmt: skip
    factor = field.number("rope.scaling.factor", 1.0)
    if kind == "none" or (kind == "linear" and factor in (0.0, 1.0)):
        return None
    if kind == "linear":
        return RopeScaling(kind="linear", factor=factor)
    if kind != "yarn":
        raise ArtefactError(
            f"{field.name}.rope.scaling.type: expected none, linear or yarn, got {kind!s:.80}"
        )
    fast = field.maybe("rope.scaling.yarn_beta_fast") or 32.0
    slow = field.maybe("rope.scaling.yarn_beta_slow") or 1.0
    weight = field.maybe("rope.scaling.yarn_log_multiplier")
    if weight is not None or field.maybe("rope.scaling.yarn_ext_factor") not in (None, 1.0):
        raise ArtefactError(f"{field.name}.rope.scaling: this form of yarn is not supported")
    whole = None if attention is None else attention * (0.1 * math.log(factor) + 1.0)
    return RopeScaling(
        kind="yarn", factor=factor, original_context=original, beta_fast=fast, beta_slow=slow,
        attention_factor=whole,
    )  # fmt: skip


def _phi_attention(field: Fields, context: int) -> float:
    """Source: the attention factor of LongRoPE, arXiv:2402.13753, as Phi-3 folders leave it out."""
    original = field.integer("rope.scaling.original_context_length", context)
    if context <= original or original < 2:
        return 1.0
    return math.sqrt(1.0 + math.log(context / original) / math.log(original))
