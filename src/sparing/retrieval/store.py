"""The index on disk: tantivy's BM25 (k1 = 1.2, b = 0.75) over titles and texts.

tantivy names its files by random numbers and takes a lock file when it opens a folder.  Here
the names become fixed ones when the index is finished, so that equal passages give equal
bytes, and an index is opened through a temporary folder of links, so that nothing is ever
written beside its files.
Source: Robertson & Zaragoza 2009, "The probabilistic relevance framework: BM25 and beyond".
"""

import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparing.base.errors import ArtefactError, missing_extra
from sparing.base.files import read_json
from sparing.retrieval.passage import Passage

ANALYZER = "sparing-english-1"
"""Words split at what is not alphanumeric, lower-cased, English stems; recorded in the index."""
LONGEST_WORD = 60
QUERY_TERMS = 256
"""Terms of a query that are looked up; the rest of a very long text is passed over."""
TITLE_WEIGHT = 0.5
"""Weight of a term in the title against the same in the text; best on the mean of CRAN and CISI."""
_JOINED = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_HEAP_BYTES = 512 << 20
"""Memory that a segment may take before a second one is begun (reserved as it is needed)."""


def _tantivy() -> Any:
    try:
        import tantivy
    except ImportError:
        raise missing_extra("tantivy", "retrieval") from None
    return tantivy


def _analyzer(tantivy: Any) -> Any:
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    for rule in (
        tantivy.Filter.remove_long(LONGEST_WORD),
        tantivy.Filter.lowercase(),
        tantivy.Filter.ascii_fold(),
        tantivy.Filter.stemmer("english"),
    ):
        builder = builder.filter(rule)
    return builder.build()


def _schema(tantivy: Any) -> Any:
    builder = tantivy.SchemaBuilder()
    for name in ("title_words", "text"):
        builder.add_text_field(
            name, stored=name == "text", tokenizer_name=ANALYZER, index_option="freq"
        )
    for name in ("title", "source", "key"):
        builder.add_text_field(name, stored=True, tokenizer_name="raw", index_option="basic")
    return builder.build()


def title_words(title: str) -> str:
    """A title and the words its names are joined of: `csv.DictReader` is found by `dict` too."""
    parts = _JOINED.sub(" ", title)
    return title if parts == title else f"{title} {parts}"


def write(passages: Iterable[Passage], folder: Path) -> int:
    """Index passages into an empty folder; return how many.  Equal passages give equal bytes.

    Errors: ArtefactError when tantivy cannot write (a full disk, say); MissingExtraError.
    """
    try:
        number = _write(passages, folder)
    except ValueError as error:  # what tantivy raises for everything, input and output included
        raise ArtefactError(f"the index could not be written: {error}") from None
    _fix_names(folder)
    return number


def _write(passages: Iterable[Passage], folder: Path) -> int:
    tantivy = _tantivy()
    index = tantivy.Index(_schema(tantivy), path=str(folder))
    index.register_tokenizer(ANALYZER, _analyzer(tantivy))
    writer = index.writer(heap_size=_HEAP_BYTES, num_threads=1)
    number = 0
    for passage in passages:
        document = tantivy.Document(
            title=passage.title,
            title_words=title_words(passage.title),
            text=passage.text,
            source=passage.source,
            key=passage.key,
        )
        writer.add_document(document)
        number += 1
    writer.commit()
    writer.wait_merging_threads()
    return number


def _fix_names(folder: Path) -> None:
    """Give the segments numbers for names, and drop the lock files."""
    for path in folder.glob(".*.lock"):
        path.unlink()
    meta = read_json(folder / "meta.json")
    kept = {"meta.json"}
    for number, segment in enumerate(meta["segments"]):
        old, new = segment["segment_id"].replace("-", ""), f"{number:032x}"
        for path in sorted(folder.glob(f"{old}.*")):
            path.rename(folder / f"{new}{path.suffix}")
            kept.add(f"{new}{path.suffix}")
        segment["segment_id"] = f"{new[:8]}-{new[8:12]}-{new[12:16]}-{new[16:20]}-{new[20:]}"
    (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")
    (folder / ".managed.json").write_text(json.dumps(sorted(kept)) + "\n")
    for path in folder.iterdir():
        if path.name not in kept | {".managed.json"}:
            path.unlink()  # what a merge left behind


@dataclass(frozen=True, slots=True)
class Found:
    """A stored passage, its number and its score."""

    document: int
    score: float
    passage: Passage


class Store:
    """An index opened for searching."""

    def __init__(self, folder: Path) -> None:
        """Errors: ArtefactError when tantivy cannot read the folder; MissingExtraError."""
        tantivy = _tantivy()
        self._links = Path(tempfile.mkdtemp(prefix="sparing-index-"))
        try:
            for path in folder.resolve().iterdir():
                if path.is_file():
                    (self._links / path.name).symlink_to(path)
            self._index = tantivy.Index.open(str(self._links))
            self._analyzer = _analyzer(tantivy)
            self._index.register_tokenizer(ANALYZER, self._analyzer)
            self._searcher = self._index.searcher()
        except (OSError, ValueError) as error:
            raise ArtefactError(f"{folder}: not a readable index: {error}") from None
        finally:
            shutil.rmtree(self._links, ignore_errors=True)  # the mapped files stay readable
        self._schema = self._index.schema

    @property
    def passages(self) -> int:
        """Number of passages."""
        return int(self._searcher.num_docs)

    def terms(self, text: str) -> list[str]:
        """The terms of a text, as they stand in the index."""
        return list(self._analyzer.analyze(text.encode(errors="replace").decode()))

    def search(self, text: str, k: int) -> Sequence[Found]:
        """The `k` best passages for the words of a text, ties by number; none without words."""
        terms = self.terms(text)[:QUERY_TERMS]
        if not terms or k < 1:
            return []
        found = [
            self._read(score, place)
            for score, place in self._searcher.search(self._query(terms), k).hits
        ]
        return sorted(found, key=lambda one: (-one.score, one.document))

    def _query(self, terms: list[str]) -> Any:
        tantivy = _tantivy()
        query, should = tantivy.Query, tantivy.Occur.Should
        clauses = [(should, query.term_query(self._schema, "text", term)) for term in terms]
        for term in terms:
            inner = query.term_query(self._schema, "title_words", term)
            clauses.append((should, query.boost_query(inner, TITLE_WEIGHT)))
        return query.boolean_query(clauses)

    def _read(self, score: float, place: Any) -> Found:
        stored = self._searcher.doc(place)
        fields = {name: stored.get_first(name) or "" for name in ("text", "source", "title", "key")}
        return Found((place.segment_ord << 32) | place.doc, float(score), Passage(**fields))
