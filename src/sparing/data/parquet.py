"""Documents in Parquet: written in row groups of bounded size, read back in batches.

The bytes written are a pure function of the rows, so that equal corpora have equal checksums.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from sparing.base.errors import ArtefactError, missing_extra

COLUMNS = ("text", "source", "kind", "hash")
GROUP_BYTES, GROUP_ROWS = 8 << 20, 4096
"""A row group ends at this much text or this many rows."""
FILE_BYTES = 512 << 20
"""A file ends at this much text."""


def _arrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise missing_extra("pyarrow", "data") from None
    return pyarrow


class Writer:
    """Rows to one Parquet file; columns are strings, or bytes where named so."""

    def __init__(self, path: Path, columns: Sequence[str], binary: Sequence[str] = ()) -> None:
        arrow = _arrow()
        self._columns = tuple(columns)
        types = {name: arrow.binary() if name in binary else arrow.string() for name in columns}
        self._schema = arrow.schema([arrow.field(name, types[name], False) for name in columns])
        self._file = arrow.parquet.ParquetWriter(
            path, self._schema, compression="zstd", compression_level=3, use_dictionary=["kind"]
        )
        self._rows: list[tuple[Any, ...]] = []
        self._held = 0

    def add(self, *row: Any) -> None:
        """One row, in the order of the columns; the first column decides the group's bytes."""
        self._rows.append(row)
        self._held += len(row[0])
        if self._held >= GROUP_BYTES or len(self._rows) >= GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        arrow = _arrow()
        columns = [
            arrow.array(list(values), field.type)
            for values, field in zip(zip(*self._rows, strict=True), self._schema, strict=True)
        ]
        self._file.write_table(arrow.Table.from_arrays(columns, schema=self._schema))
        self._rows, self._held = [], 0

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is None:
            self._flush()
        self._file.close()


class SplitWriter:
    """Documents of one split to `NAME-00000.parquet`, `NAME-00001.parquet`, ..."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._writer: Writer | None = None
        self._file_bytes = 0
        self.files: list[str] = []
        self.documents = self.text_bytes = 0

    def add(self, text: str, source: str, kind: str, digest: str) -> None:
        """One document."""
        if self._writer is None or self._file_bytes >= FILE_BYTES:
            self.close()
            self.files.append(f"{self._name}-{len(self.files):05}.parquet")
            self._writer, self._file_bytes = Writer(self._folder / self.files[-1], COLUMNS), 0
        self._writer.add(text, source, kind, digest)
        size = len(text.encode())
        self._file_bytes += size
        self.text_bytes += size
        self.documents += 1

    def close(self) -> None:
        """Finish the file at hand."""
        if self._writer is not None:
            self._writer.__exit__(None, None, None)
            self._writer = None

    def tree(self) -> dict[str, Any]:
        """The split's entry in the manifest."""
        return {"documents": self.documents, "bytes": self.text_bytes, "files": self.files}


def rows(path: Path, columns: Sequence[str], *, batch: int = 256) -> Iterator[tuple[Any, ...]]:
    """The rows of one file, `batch` at a time in memory.

    Errors: ArtefactError when the file is not Parquet or lacks a column.
    """
    arrow = _arrow()
    try:
        with arrow.parquet.ParquetFile(path) as file:
            missing = set(columns) - set(file.schema_arrow.names)
            if missing:
                raise ArtefactError(f"{path}: no column {', '.join(sorted(missing))}")
            for group in file.iter_batches(batch_size=batch, columns=list(columns)):
                group.validate(full=True)
                lists = [group.column(name).to_pylist() for name in columns]
                yield from zip(*lists, strict=True)
    except (OSError, arrow.ArrowInvalid) as error:
        raise ArtefactError(f"{path}: not readable as Parquet: {error}") from None


def corpus_files(folder: Path, split: str) -> list[Path]:
    """The Parquet files of a split, in order."""
    return sorted(folder.glob(f"{split}-*.parquet"))


def documents(folder: Path, split: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The rows of a split of a corpus, file after file."""
    for path in corpus_files(folder, split):
        yield from rows(path, columns)
