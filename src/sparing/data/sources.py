"""Where text comes from: files, folders and the standard library, as a fixed list of files."""

import os
import stat
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparing.base.errors import ConfigError
from sparing.base.files import CARD
from sparing.base.seeds import derive
from sparing.data.document import Count

STDLIB = "stdlib"
"""The source name that stands for the running interpreter's standard library."""

_EXTENSIONS = {
    "text": "txt text rst tex log srt",
    "markdown": "md markdown mdx",
    "jsonl": "jsonl ndjson",
    "code": "py pyi c h cc cpp cxx hpp hh cu rs go java kt scala js mjs ts tsx jsx rb php swift cs"
    " m lua pl r jl hs ml ex erl clj lisp sh bash zsh sql css scss html xml cmake zig nim dart"
    " proto toml yaml yml ini cfg json f90 f v vhd asm s el vim tcl",
}
FORMATS = {name: form for form, names in _EXTENSIONS.items() for name in names.split()}
"""File name ending -> text, markdown, jsonl or code."""
_NEVER = frozenset({"__pycache__", "node_modules"})
_NOT_STDLIB = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idlelib", "_bundled", "turtledemo"}
)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to read."""

    path: Path
    name: str
    """Source name, then the path inside it; the same on every machine."""
    form: str
    """text, markdown, jsonl or code."""
    packed: bool
    """Whether it is gzip."""
    disk_bytes: int
    changed_ns: int
    """Modification time, so that a resumed run notices that its source changed."""


def find(sources: Sequence[str], count: Count) -> list[SourceFile]:
    """Every readable file of the sources, in the order of their names.

    Symbolic links to folders are not followed, so loops end; hidden files and folders are not
    read, nor are artefacts of ours below a source; files of unknown kind are counted and passed
    over, unless a file was named itself.
    Errors: ConfigError for a missing source, a special file, or sources that hold nothing.
    """
    found: list[SourceFile] = []
    names: set[str] = set()
    for source in sources:
        root = Path(sysconfig.get_path("stdlib")) if source == STDLIB else Path(source)
        name = STDLIB if source == STDLIB else root.resolve().name or "root"
        name = next(n for n in (name, *(f"{name}~{i}" for i in range(2, 10000))) if n not in names)
        names.add(name)
        new = _one(root, name, count, stdlib=source == STDLIB)
        if not new:
            raise ConfigError(f"sources: {source!r} holds no readable text" + _why(count))
        found += new
    return sorted(found, key=lambda file: file.name)


def _why(count: Count) -> str:
    passed = ", ".join(f"{times} {reason}" for reason, times in sorted(count.dropped.items()))
    return f" (passed over: {passed})" if passed else " (it is empty)"


def _one(root: Path, name: str, count: Count, *, stdlib: bool) -> list[SourceFile]:
    try:
        mode = root.stat().st_mode
    except OSError as error:
        raise ConfigError(f"sources: {str(root)!r}: {error.strerror}") from None
    if stat.S_ISREG(mode):
        file = _describe(root, name, count, named=True)
        return [file] if file else []
    if not stat.S_ISDIR(mode):
        raise ConfigError(f"sources: {str(root)!r} is neither a file nor a folder")
    files = (
        _describe(path, f"{name}/{path.relative_to(root).as_posix()}", count, named=False)
        for path in _walk(root, _NEVER | _NOT_STDLIB if stdlib else _NEVER, count)
        if not stdlib or path.suffix == ".py"
    )
    return [file for file in files if file]


def _walk(root: Path, never: frozenset[str], count: Count) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        count.drop("unreadable folder", str(error.filename))

    for folder, folders, files in os.walk(root, onerror=unreadable, followlinks=False):
        if CARD in files and folder != str(root):
            count.drop("artefact of ours", os.path.basename(folder))
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if name not in never and name[0] != ".")
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):
                count.drop("linked folder", name)
        for name in sorted(files):
            if name[0] != ".":
                yield Path(folder, name)


def _describe(path: Path, name: str, count: Count, *, named: bool) -> SourceFile | None:
    try:
        name.encode()
        state = path.stat()
    except UnicodeEncodeError:
        count.drop("file name is not UTF-8", ascii(name))
        return None
    except OSError:  # a dangling link, or one that points at itself
        count.drop("unreadable", name)
        return None
    if not stat.S_ISREG(state.st_mode):
        count.drop("special file", name)
        return None
    if not state.st_size:
        count.drop("empty file", name)
        return None
    parts = path.name.lower().split(".")
    packed = parts[-1] == "gz" and len(parts) > 1
    ending = parts[-2 if packed else -1] if len(parts) > 1 + packed else ""
    form = FORMATS.get(ending, "text" if named or (packed and not ending) else None)
    if form is None:
        count.drop("unknown file ending", name)
        return None
    return SourceFile(path, name, form, packed, state.st_size, state.st_mtime_ns)


def choose(
    files: list[SourceFile], max_bytes: int | None, seed: int, count: Count
) -> tuple[list[SourceFile], float]:
    """Files to read under `max_bytes` of disk, and the share of jsonl records to keep.

    Files are taken in the order of a hash of their names until the budget is spent, so the
    choice depends on nothing else; jsonl files are all read and their records chosen by hash.
    """
    total = sum(file.disk_bytes for file in files)
    if max_bytes is None or total <= max_bytes:
        return files, 1.0
    share = max_bytes / total
    whole = [file for file in files if file.form != "jsonl"]
    left = share * sum(file.disk_bytes for file in whole)
    taken: set[str] = set()
    for file in sorted(whole, key=lambda file: derive(seed, "max_bytes", file.name)):
        if file.disk_bytes <= left or not taken:
            taken.add(file.name)
            left -= file.disk_bytes
        else:
            count.drop("over max_bytes", file.name, file.disk_bytes)
    return [file for file in files if file.form == "jsonl" or file.name in taken], share
