"""What one pretraining run is asked to do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sparing.base.errors import require


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainConfig:
    """One run: these, the shards and the machine's arithmetic decide every bit of the weights."""

    data: Path
    """Folder of token shards, as `sparing data tokenize` writes it."""

    model: str = "demo"
    """A preset's name, or a folder whose config.json gives the shape."""

    steps: int = 500
    """Optimiser steps."""

    batch: int = 16
    """Rows per step."""

    context: int = 256
    """Tokens per row; at most the model's context."""

    train_tokens: int = 0
    """Most tokens of the corpus to train on, in whole documents drawn by the seed; 0 for all."""

    micro_batch: int = 0
    """Rows per forward pass, to bound memory; 0 takes the whole batch at once."""

    optimiser: Literal["muon", "adamw"] = "muon"
    """What moves the matrices of the blocks; everything else is moved by AdamW."""

    learning_rate: float = 0.01
    """Peak rate of AdamW, for the head and the norms (and the embedding where it is the head)."""

    embedding_learning_rate: float = 0.1
    """Peak rate of AdamW for an embedding that is not the head; each row is seldom met, so high."""

    matrix_learning_rate: float = 0.03
    """Peak rate of Muon: the root-mean-square change of a square matrix's singular directions."""

    schedule: Literal["wsd", "cosine"] = "wsd"
    """Shape of the rate after warm-up: flat and then down in a line, or half a cosine."""

    warmup_steps: int = 20
    """Steps in which the rate rises from 0 in a line."""

    decay_fraction: float = 0.5
    """wsd: share of the steps in which the rate falls."""

    final_fraction: float = 0.0
    """Share of the peak rate that is left at the end."""

    weight_decay: float = 0.0
    """Share of a matrix's weights taken off per step, times the rate."""

    beta1: float = 0.9
    """AdamW: memory of the gradient."""

    beta2: float = 0.95
    """AdamW: memory of the squared gradient."""

    momentum: float = 0.95
    """Muon: memory of the gradient."""

    clip_norm: float = 1.0
    """Largest norm of the whole gradient; 0 for no limit."""

    seed: int = 0
    """Seed of the first weights and of the order of the documents."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the matrix products; auto takes bf16 where the machine has it in hardware."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes a GPU when there is one."""

    threads: int = 0
    """CPU threads; 0 for one per core. Another number may change the last bits of a run."""

    head_rows: int = 8192
    """Tokens whose logits are held at once."""

    log_every: int = 10
    """Steps between lines of metrics.jsonl."""

    checkpoint_every: int = 100
    """Steps between checkpoints; 0 for none but on a signal."""

    keep_checkpoints: int = 2
    """Newest checkpoints kept while the run lasts."""

    heldout_every: int = 0
    """Steps between measurements on held-out text; 0 for one at the end."""

    heldout_tokens: int = 20000
    """Most held-out tokens in one measurement, in whole documents; 0 for no measurement."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "head_rows", "log_every", "keep_checkpoints"):
            require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in (
            "train_tokens",
            "micro_batch",
            "warmup_steps",
            "weight_decay",
            "clip_norm",
            "threads",
            "checkpoint_every",
            "heldout_every",
            "heldout_tokens",
        ):
            require(getattr(self, name) >= 0, name, "0 or more", getattr(self, name))
        require(self.context >= 2, "context", "at least 2 tokens", self.context)
        for name in ("learning_rate", "embedding_learning_rate", "matrix_learning_rate"):
            require(0 < getattr(self, name) < 10, name, "between 0 and 10", getattr(self, name))
        for name in ("beta1", "beta2", "momentum"):
            require(0 <= getattr(self, name) < 1, name, "0 to below 1", getattr(self, name))
        for name in ("decay_fraction", "final_fraction"):
            require(0 <= getattr(self, name) <= 1, name, "0 to 1", getattr(self, name))
        require(
            self.micro_batch == 0 or self.batch % self.micro_batch == 0,
            "micro_batch",
            f"a divisor of batch={self.batch}",
            self.micro_batch,
        )
