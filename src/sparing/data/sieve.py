"""The per-document steps over one part of the sources: read, normalise, filter, fingerprint.

A part is a run of files; its result is one Parquet file and its counts, both whole or absent,
and a pure function of the files and the settings.  Parts are independent of each other, so any
number of processes may make them.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sparing.base.files import write_atomic
from sparing.base.seeds import derive
from sparing.data.config import DataConfig
from sparing.data.document import Count, Document, Drop
from sparing.data.duplicates import digest, signatures
from sparing.data.filters import judge
from sparing.data.normalise import normalise
from sparing.data.parquet import Writer
from sparing.data.reading import ReadLimits, read
from sparing.data.sources import SourceFile

STEPS = ("read", "normalise", "filter")
COLUMNS = ("text", "source", "kind", "hash", "signature")
_BATCH = 128


@dataclass(frozen=True, slots=True)
class Part:
    """One unit of work that is done or not."""

    number: int
    files: tuple[SourceFile, ...]
    share: float
    """Share of jsonl records to keep."""

    def parquet(self, work: Path) -> Path:
        """Where its documents are kept."""
        return work / f"part-{self.number:05}.parquet"

    def counts(self, work: Path) -> Path:
        """Where its counts are kept; the file exists when the part is finished."""
        return work / f"part-{self.number:05}.json"


def parts(files: Sequence[SourceFile], share: float, part_bytes: int) -> list[Part]:
    """Files in order, divided where `part_bytes` of them are together."""
    divided: list[Part] = []
    held: list[SourceFile] = []
    for file in files:
        held.append(file)
        if sum(one.disk_bytes for one in held) >= part_bytes or len(held) >= 1024:
            divided.append(Part(len(divided), tuple(held), share))
            held = []
    if held:
        divided.append(Part(len(divided), tuple(held), share))
    return divided


def sieve(part: Part, config: DataConfig, work: Path) -> None:
    """Make one part's two files in `work`."""
    counts = {name: Count(name) for name in STEPS}
    kept = clean(_read(part, config, counts["read"]), config, counts)
    seed = derive(config.seed, "minhash") & 0xFFFFFFFF
    binary = ("hash", "signature")
    temporary = part.parquet(work).with_suffix(".partial")
    with Writer(temporary, COLUMNS, binary) as writer:
        while batch := list(islice(kept, _BATCH)):
            rows = _fingerprints([document.text for document in batch], config, seed)
            for document, (hashed, signature) in zip(batch, rows, strict=True):
                writer.add(document.text, document.source, document.kind, hashed, signature)
    temporary.rename(part.parquet(work))
    tree = [counts[name].tree() for name in STEPS]
    write_atomic(part.counts(work), json.dumps({"steps": tree}))


def _read(part: Part, config: DataConfig, count: Count) -> Iterator[Document]:
    limits = ReadLimits(
        line_bytes=config.line_bytes,
        document_bytes=config.document_bytes,
        text_field=config.text_field,
        share=part.share,
        seed=config.seed,
    )
    for file in part.files:
        yield from read(file, limits, count)


def _fingerprints(texts: list[str], config: DataConfig, seed: int) -> Iterator[tuple[bytes, bytes]]:
    if not config.near_duplicates:
        return ((digest(text), b"") for text in texts)
    rows = signatures(texts, seed)
    return ((digest(text), row.tobytes()) for text, row in zip(texts, rows, strict=True))


def clean(
    documents: Iterator[Document], config: DataConfig, counts: dict[str, Count]
) -> Iterator[Document]:
    """Documents in their one spelling that pass the filters; everything else is counted."""
    for document in documents:
        before = len(document.text.encode())
        text, changes = normalise(document.text)
        after = len(text.encode())
        counts["normalise"].keep(before, after)
        for change in changes:
            counts["normalise"].changed[change] += 1
        document = Document(text, document.source, document.kind)
        verdict = (
            judge(document, min_chars=config.min_chars, quality=config.quality)
            if document.kind in config.kinds
            else Drop(f"kind {document.kind}")
        )
        if isinstance(verdict, Drop):
            counts["filter"].drop(verdict.reason, document.source, after)
        else:
            counts["filter"].keep(after, after)
            yield document
