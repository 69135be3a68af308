"""Files to documents in bounded memory, whatever the files hold.

Policy for bad bytes: text is UTF-8 (a byte-order mark is removed); a broken sequence becomes
U+FFFD and the document is counted as repaired, or refused when over 1 in 100 of its characters
is broken.  A line over the limit is passed over and counted.  A damaged gzip file gives
everything before the damage, and the manifest states where that was.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from sparing.base.limits import LIMITS
from sparing.base.seeds import derive
from sparing.data.document import Count, Document
from sparing.data.sources import SourceFile

BROKEN_SHARE = 0.01
"""Largest share of U+FFFD characters in a document that is repaired and kept; a choice of ours."""
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLimits:
    """Bounds and choices of the reader."""

    line_bytes: int
    document_bytes: int
    text_field: str
    share: float
    """Share of jsonl records to keep, chosen by hash."""
    seed: int
    unpack_ratio: int = LIMITS.unpack_ratio
    unpacked_bytes: int = LIMITS.unpacked_bytes


def read(file: SourceFile, limits: ReadLimits, count: Count) -> Iterator[Document]:
    """The documents of one file; what is refused is counted under its reason."""
    try:
        with file.path.open("rb") as raw:
            head = raw.read(8192)
            raw.seek(0)
            if file.packed:
                lines = _unpacked_lines(raw, file, limits, count)
            elif _is_binary(head):
                count.drop("binary", file.name, file.disk_bytes)
                return
            else:
                lines = _lines(raw, file.name, limits.line_bytes, count)
            yield from _records(lines, file, limits, count)
    except OSError as error:
        count.drop(f"unreadable: {error.strerror or 'input error'}", file.name, file.disk_bytes)


def _records(
    lines: Iterator[bytes], file: SourceFile, limits: ReadLimits, count: Count
) -> Iterator[Document]:
    if file.form == "jsonl":
        yield from _jsonl(lines, file, limits, count)
    else:
        yield from _pieces(lines, file, limits, count)


def _is_binary(head: bytes) -> bool:
    """Whether a file's beginning holds NUL, or is more than a tenth control characters."""
    control = sum(head.count(code) for code in range(32) if code not in (9, 10, 12, 13, 27))
    return b"\0" in head or control * 10 > len(head)


def _lines(stream: BinaryIO, name: str, most: int, count: Count) -> Iterator[bytes]:
    """Lines with their ends; one over `most` bytes is read away in chunks and becomes empty."""
    while line := stream.readline(most + 1):
        if len(line) <= most:
            yield line
            continue
        count.note("line over line_bytes", name)
        while line and not line.endswith(b"\n"):
            line = stream.readline(_CHUNK)
        yield b"\n"  # line numbers stay right


def _unpacked_lines(
    raw: BinaryIO, file: SourceFile, limits: ReadLimits, count: Count
) -> Iterator[bytes]:
    """Lines of a gzip file up to its end, its damage, or the bound on what it may unpack to."""
    most = min(limits.unpacked_bytes, (1 << 20) + limits.unpack_ratio * file.disk_bytes)
    with gzip.GzipFile(fileobj=raw, mode="rb") as stream:
        bounded = _Bounded(stream, most)
        try:
            if _is_binary(stream.peek(8192)[:8192]):
                count.drop("binary", file.name, file.disk_bytes)
                return
            yield from _lines(bounded, file.name, limits.line_bytes, count)  # type: ignore[arg-type]
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            kind = "truncated gzip" if isinstance(error, EOFError) else "damaged gzip"
            place = f"{file.name}: packed byte {raw.tell()}, unpacked byte {bounded.given}"
            count.note(kind, place)
        if bounded.over:
            count.note("gzip bomb: over the unpack limit", f"{file.name}: stopped at {most} bytes")


class _Bounded:
    """A stream that ends after `most` bytes and knows that it did."""

    def __init__(self, stream: gzip.GzipFile, most: int) -> None:
        self._stream, self._most = stream, most
        self.given, self.over = 0, False

    def readline(self, size: int) -> bytes:
        line = self._stream.readline(size)
        if self.given + len(line) > self._most:
            self.over = True
            return b""
        self.given += len(line)
        return line


def decode(data: bytes, source: str, count: Count) -> str | None:
    """Text of UTF-8 bytes by the policy above, or None (counted) when it is too broken."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("utf-8-sig", errors="replace")
    if text.count("\ufffd") > BROKEN_SHARE * len(text):
        count.drop("broken UTF-8", source, len(data))
        return None
    count.note("broken UTF-8 repaired", source)
    return text


def _pieces(
    lines: Iterator[bytes], file: SourceFile, limits: ReadLimits, count: Count
) -> Iterator[Document]:
    """A file as one document, or as pieces cut at line ends where it is longer than the bound."""
    held: list[bytes] = []
    held_bytes = piece = 0
    for line in lines:
        if held and held_bytes + len(line) > limits.document_bytes:
            piece += 1
            yield from _piece(b"".join(held), file, f"{file.name}#{piece}", count)
            held, held_bytes = [], 0
        held.append(line)
        held_bytes += len(line)
    if held:
        name = f"{file.name}#{piece + 1}" if piece else file.name
        yield from _piece(b"".join(held), file, name, count)


def _piece(data: bytes, file: SourceFile, name: str, count: Count) -> Iterator[Document]:
    if _is_binary(data[:8192]) or b"\0" in data:
        count.drop("binary", name, len(data))
        return
    text = decode(data, name, count)
    if text is not None:
        count.keep(len(data), len(data))
        yield Document(text, name, file.form)


def _jsonl(
    lines: Iterator[bytes], file: SourceFile, limits: ReadLimits, count: Count
) -> Iterator[Document]:
    most = int(limits.share * 2**63)
    for number, line in enumerate(lines, start=1):
        name = f"{file.name}:{number}"
        if not line.strip():
            continue
        if limits.share < 1 and derive(limits.seed, "max_bytes", name) >= most:
            count.drop("over max_bytes", name, len(line))
            continue
        cut = file.packed and not line.endswith(b"\n")  # what is left of a damaged file
        reason = "record cut off" if cut else "not JSON"
        record = _record(line, name, limits.text_field, reason, count)
        if record is not None:
            count.keep(len(line), len(record.text.encode()))
            yield record


def _record(line: bytes, name: str, field: str, reason: str, count: Count) -> Document | None:
    decoded = decode(line, name, count)
    if decoded is None:
        return None
    try:
        record = json.loads(decoded)
    except (ValueError, RecursionError):
        count.drop(reason, name, len(line))
        return None
    if not isinstance(record, dict) or not isinstance(record.get(field), str):
        count.drop(f"no text in field {field!r}", name, len(line))
        return None
    text = _storable(record[field])
    if text != record[field]:
        count.note("lone surrogate repaired", name)
    key = record.get("_id", record.get("id", ""))
    title = record.get("title", "")
    return Document(
        text,
        name,
        "text",
        title=_storable(title) if isinstance(title, str) else "",
        key=_storable(str(key)) if isinstance(key, (str, int)) else "",
    )


def _storable(text: str) -> str:
    """A lone surrogate, which JSON can hold and UTF-8 cannot, becomes a question mark."""
    return text.encode("utf-8", errors="replace").decode()
