"""The literal table of what a recipe may use."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from sparing.base.config import nearest
from sparing.base.errors import ConfigError
from sparing.base.stage import StageResult


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a stage and its configuration class live; loaded when first used."""

    module: str
    function: str
    settings: str

    def load(self) -> tuple[Callable[..., StageResult], type[Any]]:
        module = import_module(self.module)
        return getattr(module, self.function), getattr(module, self.settings)


STAGES = {
    "data.build": Stage("sparing.data.build", "build_corpus", "DataConfig"),
    "data.tokenize": Stage("sparing.data.tokenize", "tokenize_corpus", "TokenizeConfig"),
    "tokenizer.train": Stage("sparing.tokenizer.train", "train_tokenizer", "TokenizerConfig"),
    "pretrain": Stage("sparing.training.pretrain", "pretrain", "PretrainConfig"),
    "compress": Stage("sparing.compression.compress", "compress", "CompressConfig"),
    "eval": Stage("sparing.evaluation.evaluate", "evaluate", "EvalConfig"),
    "index.build": Stage("sparing.retrieval.build", "build_index", "IndexConfig"),
    "ask": Stage("sparing.recipe.ask", "ask", "AskConfig"),
}


def stage_named(use: str) -> Stage:
    """Errors: ConfigError naming the nearest stage."""
    if use not in STAGES:
        raise ConfigError(
            f"use={use!r}: no such stage"
            + (nearest(use, STAGES) or f"; one of {', '.join(STAGES)}")
        )
    return STAGES[use]
