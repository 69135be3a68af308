"""Settings of an index."""

from dataclasses import dataclass
from typing import Literal

from sparing.base.errors import require


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexConfig:
    """What to index, and how it is cut."""

    sources: tuple[str, ...]
    """Files and folders, or `stdlib` for the Python standard library of this machine."""
    kind: Literal["auto", "docstrings", "text"] = "auto"
    """auto: docstrings of Python files and the text of all others; or only one of these."""
    passage_words: int = 160
    """Words of a passage at most; longer texts are cut at paragraphs, then lines."""
    text_field: str = "text"
    """Field of a jsonl record that holds its text."""

    def __post_init__(self) -> None:
        require(bool(self.sources), "sources", "at least one file, folder or `stdlib`", ())
        require(all(self.sources), "sources", "no empty name", self.sources)
        require(
            8 <= self.passage_words <= 4096, "passage_words", "from 8 to 4096", self.passage_words
        )
