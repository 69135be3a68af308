"""The quality card: what a compressed model lost and saved, measured, with a verdict."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sparing.base.errors import SparingError
from sparing.evaluation.divergence import Divergence, Pair
from sparing.evaluation.divergence import summarise as summarise_pair
from sparing.evaluation.documents import Sample
from sparing.evaluation.perplexity import Policy
from sparing.evaluation.perplexity import summarise as summarise_scores
from sparing.evaluation.speed import DecodeSpeed

CARD = "quality.json"
"""The card's file name in the model folder."""


class QualityError(SparingError):
    """A compressed model is past its stated limit, and that was not accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What one form of the model takes."""

    disk_bytes: int
    """Bytes of the weight files."""
    read_bytes_per_token: int
    """Weight bytes that decoding one token reads: all but the rest of the embedding table."""
    speed: DecodeSpeed | None
    """None where it was not measured."""

    def tree(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "disk_bytes": self.disk_bytes,
            "read_bytes_per_token": self.read_bytes_per_token,
            "decode": self.speed.tree() if self.speed else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the compressed model is within the stated limit, and why not."""

    max_kl: float
    """Most mean KL divergence from the original, nats per token."""
    reasons: tuple[str, ...]
    """Every way in which it failed; empty when it passed."""
    accepted: bool
    """Published although it failed, because the caller said so."""

    @property
    def passed(self) -> bool:
        """Within every limit."""
        return not self.reasons

    def tree(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "passed": self.passed,
            "max_kl": self.max_kl,
            "reasons": list(self.reasons),
            "accepted_by_caller": self.accepted,
        }


def judge(divergence: Divergence, *, max_kl: float, accepted: bool) -> Verdict:
    """Compare the mean KL with its limit; a value that is not finite always fails."""
    mean, p99 = divergence.kl_mean.value, divergence.kl_p99.value
    reasons = []
    if not (math.isfinite(mean) and math.isfinite(p99)):
        reasons.append("the models' outputs are not finite numbers")
    elif mean > max_kl:
        reasons.append(f"mean KL {mean:.4g} nats is over the limit of {max_kl:g}")
    return Verdict(max_kl=max_kl, reasons=tuple(reasons), accepted=accepted and bool(reasons))


def card(
    pair: Pair,
    weights_alone: Pair,
    sample: Sample,
    policy: Policy,
    *,
    rounding: Mapping[str, Any],
    before: Size,
    after: Size,
    max_kl: float,
    accepted: bool,
    seed: int,
) -> dict[str, Any]:
    """The whole card as JSON values; `rounding` says how the weights were rounded.

    `pair` is the compressed model as it is served, its activations rounded to int8, and decides;
    `weights_alone` is the same model with exact activations.
    """
    divergence = summarise_pair(pair, seed=seed)
    quality_before = summarise_scores(pair.base, seed=seed)
    quality_after = summarise_scores(pair.other, seed=seed)
    return finite(
        {
            "version": 1,
            **rounding,
            "before": quality_before.tree() | before.tree(),
            "after": quality_after.tree() | after.tree(),
            "against_original": divergence.tree()
            | {"direction": "KL(original || compressed)", "activations": "int8"},
            "weights_alone": summarise_pair(weights_alone, seed=seed).tree()
            | {"direction": "KL(original || compressed)", "activations": "exact"},
            "evaluation": sample.facts()
            | {"context_policy": policy.text(), "interval": "95 % bootstrap", "seed": seed},
            "verdict": judge(divergence, max_kl=max_kl, accepted=accepted).tree(),
        }
    )


def finite(tree: Any) -> Any:
    """The tree with None where a number is not finite: JSON has no word for it."""
    if isinstance(tree, dict):
        return {key: finite(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [finite(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree


def headline(tree: dict) -> dict[str, object]:
    """The card's few figures that a ledger, a report or a terminal shows."""
    against = tree["against_original"]
    before, after = tree["before"], tree["after"]
    figures = {
        "kl_mean": against["kl_mean"]["value"],
        "kl_mean_exact_activations": tree["weights_alone"]["kl_mean"]["value"],
        "kl_p99": against["kl_p99"]["value"],
        "top1_agreement": against["top1_agreement"]["value"],
        "perplexity_before": before["perplexity"],
        "perplexity_after": after["perplexity"],
        "bits_per_byte_before": before["bits_per_byte"],
        "bits_per_byte_after": after["bits_per_byte"],
        "disk_bytes_before": before["disk_bytes"],
        "disk_bytes_after": after["disk_bytes"],
        "passed": tree["verdict"]["passed"],
    }
    for name, side in (("before", before), ("after", after)):
        if side["decode"]:
            figures[f"tokens_per_s_{name}"] = side["decode"]["tokens_per_s"]
    return figures
