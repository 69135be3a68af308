"""Settings of the data stages."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sparing.base.errors import require
from sparing.base.limits import LIMITS

Kind = Literal["text", "code", "markdown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """What to read, what to keep, and how to divide it."""

    sources: tuple[str, ...]
    """Files and folders, or `stdlib` for the Python standard library of this machine."""
    kinds: tuple[Kind, ...] = ("text", "code", "markdown")
    """Kinds of document to keep."""
    text_field: str = "text"
    """Field of a jsonl record that holds its text."""
    max_bytes: int | None = None
    """Most bytes of source files to read, chosen by hash of their names; none reads all."""
    min_chars: int = 100
    """Shorter documents are refused."""
    quality: bool = True
    """Whether the quality rules for prose and code are applied."""
    near_duplicates: bool = True
    """Whether near-duplicates are removed (exact ones always are)."""
    threshold: float = 0.7
    """Estimated Jaccard similarity of word 5-grams from which two documents are one."""
    heldout_fraction: float = 0.05
    """Share of the documents kept apart for evaluation."""
    seed: int = 0
    """Seed of the choices by hash."""
    line_bytes: int = LIMITS.line_bytes
    """Longer lines are passed over and counted."""
    document_bytes: int = 256 << 10
    """Longer files are cut into pieces at line ends; jsonl records are never cut."""
    part_bytes: int = 4 << 20
    """Source bytes between two points from which a killed run can be resumed."""
    workers: int = 1
    """Processes that read and clean; the result does not depend on it."""

    def __post_init__(self) -> None:
        require(bool(self.sources), "sources", "at least one file, folder or `stdlib`", ())
        require(all(self.sources), "sources", "no empty name", self.sources)
        require(bool(self.kinds), "kinds", "at least one of text, code, markdown", ())
        require(self.max_bytes is None or self.max_bytes > 0, "max_bytes", "> 0", self.max_bytes)
        require(self.min_chars >= 1, "min_chars", "at least 1", self.min_chars)
        require(0 < self.threshold <= 1, "threshold", "in (0, 1]", self.threshold)
        require(
            0 <= self.heldout_fraction < 1, "heldout_fraction", "in [0, 1)", self.heldout_fraction
        )
        for name in ("line_bytes", "document_bytes", "part_bytes"):
            require(getattr(self, name) >= 1024, name, "at least 1024", getattr(self, name))
        require(1 <= self.workers <= 256, "workers", "from 1 to 256", self.workers)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeConfig:
    """Which corpus to write as token shards, with which tokenizer."""

    corpus: Path
    """Folder that `data build` made."""
    tokenizer: Path
    """Folder with tokenizer.json and tokenizer_config.json."""
    shard_tokens: int = 32 << 20
    """Tokens from which a new shard is begun; also the most that a killed run repeats."""

    def __post_init__(self) -> None:
        require(self.shard_tokens >= 1, "shard_tokens", "at least 1", self.shard_tokens)
