"""The stage that says what a model is worth: bits per byte beside what counting alone reaches."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparing.base.config import to_tree
from sparing.base.errors import ArtefactError, require
from sparing.base.files import check_free, hash_of, new_artefact
from sparing.base.logs import Progress
from sparing.base.stage import StageResult
from sparing.evaluation import divergence, perplexity
from sparing.evaluation.baselines import ngram_figures
from sparing.evaluation.documents import Sample, sample
from sparing.evaluation.origin import trained_context
from sparing.evaluation.perplexity import Policy

RESULT = "eval.json"
"""The result's file name in the artefact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalConfig:
    """One model on one text, beside n-grams and a second model where asked."""

    model: Path
    """Model folder to evaluate."""
    data: Path
    """A shards folder (its held-out split), or a .txt, .md or .jsonl file."""
    tokens: int | None = 65_536
    """Most tokens to score; `none` for all of them."""
    context: int | None = None
    """Tokens of one window; by default what was trained, else up to 1024 as the model allows."""
    against: Path | None = None
    """A second model of the same tokenizer: KL divergence and agreement with it."""
    ngrams: tuple[int, ...] = (3, 5)
    """Orders of Kneser-Ney n-grams, trained on what the model saw, to score beside it."""
    threads: int | None = None
    """Threads; by default as many as there are cores."""
    seed: int = 0
    """Seed of the choice of documents and of the bootstrap."""

    def __post_init__(self) -> None:
        require(self.tokens is None or self.tokens >= 2, "tokens", "at least 2", self.tokens)
        good = all(2 <= order <= 8 for order in self.ngrams)
        require(good, "ngrams", "orders from 2 to 8", self.ngrams)


def evaluate(
    config: EvalConfig, out: Path, *, resume: bool = False, overwrite: bool = False
) -> StageResult:
    """Measure, and write `eval.json` into the folder `out`.

    Nothing is kept between calls; `resume` measures again.

    Errors:
        ArtefactError: `out` exists already, the text does not fit the model, or the model's
        outputs are not finite.
    """
    check_free(out, overwrite=overwrite)
    parents = {"model": hash_of(config.model), "data": hash_of(config.data)}
    if config.against:
        parents["against"] = hash_of(config.against)
    with new_artefact(
        out, kind="eval", stage=to_tree(config), parents=parents, overwrite=overwrite
    ) as draft:
        result = measure(config)
        text = json.dumps(result, indent=1, allow_nan=False) + "\n"
        (draft.path / RESULT).write_text(text)
        draft.quality.update(headline(result))
        draft.facts.update(text=result["evaluation"]["source"])
    return StageResult(
        artefact=out,
        tokens=result["evaluation"]["tokens"],
        quality=headline(result),
        facts={"text": result["evaluation"]["source"]},
    )


def measure(config: EvalConfig) -> dict[str, Any]:
    """Everything asked for, as JSON values."""
    from sparing.engine.native_executor import NativeExecutor
    from sparing.models.folder import open_model

    text = sample(config.data, config.model, tokens=config.tokens, seed=config.seed)
    folder = open_model(config.model)
    shape = folder.config
    how = perplexity.policy(
        shape.context,
        shape.vocab,
        context=config.context,
        trained=trained_context(config.model),
    )
    base = NativeExecutor(folder, kv_tokens=how.context, threads=config.threads)
    result: dict[str, Any] = {"model": _named(config.model), "stage": to_tree(config)}
    if config.against:
        other = NativeExecutor(config.against, kv_tokens=how.context, threads=config.threads)
        result |= _paired(base.logits, other.logits, text, how, config)
    else:
        with Progress("evaluate", "tokens", text.scored_tokens) as progress:
            scores = perplexity.score(base.logits, text, how, progress=progress.update)
        result["quality"] = perplexity.summarise(scores, seed=config.seed).tree()
    if config.ngrams:
        result["ngrams"] = ngram_figures(config.ngrams, config.model, config.data, text)
    if not math.isfinite(result["quality"]["bits_per_byte"]):
        raise ArtefactError(f"{config.model}: the model's outputs are not finite numbers")
    result["evaluation"] = text.facts() | {
        "context_policy": how.text(),
        "interval": "95 % bootstrap",
        "seed": config.seed,
    }
    return result


def _named(model: Path) -> dict[str, str]:
    return {"path": str(model), "hash": hash_of(model)}


def _paired(
    base: perplexity.Logits,
    other: perplexity.Logits,
    text: Sample,
    how: Policy,
    config: EvalConfig,
) -> dict[str, Any]:
    with Progress("evaluate both", "tokens", text.scored_tokens) as progress:
        pair = divergence.compare(base, other, text, how, progress=progress.update)
    return {
        "quality": perplexity.summarise(pair.base, seed=config.seed).tree(),
        "against": _named(config.against or config.model)
        | {"quality": perplexity.summarise(pair.other, seed=config.seed).tree()}
        | divergence.summarise(pair, seed=config.seed).tree()
        | {"direction": "KL(model || against)"},
    }


def headline(result: Mapping[str, Any]) -> dict[str, Any]:
    """The few figures that a ledger, a report or a terminal shows."""
    figures = {
        "bits_per_byte": result["quality"]["bits_per_byte"],
        "perplexity": result["quality"]["perplexity"],
    }
    for entry in result.get("ngrams", ()):
        figures[f"ngram{entry['order']}_bits_per_byte"] = entry["bits_per_byte"]
    against = result.get("against")
    if against:
        figures |= {
            "kl_mean": against["kl_mean"]["value"],
            "kl_p99": against["kl_p99"]["value"],
            "top1_agreement": against["top1_agreement"]["value"],
            "nats_lost": against["nats_lost"]["value"],
        }
    return figures
