"""An index of passages: open it, search it."""

from dataclasses import dataclass
from pathlib import Path

from sparing.base.errors import ArtefactError, RequestError
from sparing.base.files import open_artefact, read_json
from sparing.retrieval.store import ANALYZER, Store

VERSION = 1
CARD = "index.json"
STORE = "store"
MOST_HITS = 1000


@dataclass(frozen=True, slots=True)
class Hit:
    """One found passage."""

    document: int
    """Number of the passage in the index; ties in score are in this order."""
    score: float
    """BM25; comparable within one search only."""
    text: str
    source: str
    """Path inside its source and line: `stdlib/json/__init__.py:1`."""
    title: str
    """Qualified name or headings; empty where there is none."""
    key: str = ""
    """Identity of the record it is from; empty where there is none."""


class Index:
    """Passages on disk, searched by their words."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.passages = store.passages
        """How many passages it holds."""

    @classmethod
    def open(cls, folder: Path | str, *, verify: bool = False) -> "Index":
        """Open an index that `index build` made; no byte of it changes, now or later.

        Errors: ArtefactError when it is absent, damaged or of another version.
        """
        folder = Path(folder)
        open_artefact(folder, kind="index", verify=verify)
        card = read_json(folder / CARD)
        if not isinstance(card, dict) or card.get("version") != VERSION:
            raise ArtefactError(f"{folder}: expected an index of version {VERSION}; build it again")
        if card.get("analyzer") != ANALYZER:
            raise ArtefactError(f"{folder}: words are cut as {card.get('analyzer')!r}, not as here")
        index = cls(Store(folder / STORE))
        if index.passages != card.get("passages"):
            raise ArtefactError(f"{folder}: expected {card.get('passages')} passages")
        return index

    def search(self, query: str, k: int = 5) -> list[Hit]:
        """The `k` best passages for a text; words count, nothing in it is an operator.

        Errors: RequestError when `k` is not from 1 to MOST_HITS.
        """
        if not 1 <= k <= MOST_HITS:
            raise RequestError(f"k: expected 1 to {MOST_HITS}, got {k}", param="k")
        return [
            Hit(
                found.document,
                found.score,
                found.passage.text,
                found.passage.source,
                found.passage.title,
                found.passage.key,
            )
            for found in self._store.search(query, k)
        ]
