"""The one atomic-commit library: an artefact is whole and checksummed, or absent.

    temporary folder beside the target -> write -> checksums -> fsync -> rename -> fsync parent

A failed fsync is fatal for that artefact: the temporary folder is removed, the target untouched.
"""

import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparing.base.errors import ArtefactError
from sparing.base.limits import LIMITS

CARD = "sparing.json"
VERSION = 1


@dataclass(slots=True)
class Draft:
    """An artefact being written: put its files under `path`."""

    path: Path
    quality: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """A finished artefact and its card."""

    path: Path
    kind: str
    content_hash: str
    stage: dict[str, Any]
    parents: dict[str, str]
    quality: dict[str, Any]
    facts: dict[str, Any]
    cost: dict[str, Any]
    files: dict[str, dict[str, Any]]


_CARD_FIELDS = [name for name in Artefact.__dataclass_fields__ if name != "path"]


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_regular(path: Path) -> int:
    """A descriptor of a file that is neither a folder, a pipe nor a device.

    Errors: ArtefactError when there is no such file or it cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ArtefactError(f"{path}: not readable: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ArtefactError(f"{path}: not a regular file")
    return handle


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, content: bytes | str) -> None:
    """Replace one file whole: temporary file beside it, fsync, rename, fsync the folder."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _fsync(path.parent)


def read_json(path: Path, *, most: int = LIMITS.json_bytes) -> Any:
    """A JSON file.  Errors: ArtefactError when absent, over `most` bytes, or not JSON."""
    try:
        if path.stat().st_size > most:
            raise ArtefactError(f"{path}: larger than the limit of {most} bytes for a JSON file")
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ArtefactError(f"{path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ArtefactError(f"{path}: not readable as JSON: {error}") from None


@contextmanager
def lock(out: Path) -> Iterator[None]:
    """Hold the right to write `out`; the kernel lets go when the process dies.

    Errors: ArtefactError naming the process that holds it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    path = out.parent / f".{out.name}.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(handle, 64).decode(errors="replace").strip() or "unknown"
            raise ArtefactError(f"{out}: being written by process {owner}; wait for it") from None
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        yield
        with suppress(OSError):
            path.unlink()
    finally:
        os.close(handle)


def work_dir(out: Path) -> Path:
    """The folder, beside `out`, where a resumable stage keeps its finished parts."""
    path = out.parent / f".{out.name}.work"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def working(out: Path) -> Iterator[Path]:
    """Hold and yield the work folder of `out`; a clean exit removes it, any other keeps it.

    Entered and left at once, it clears what a kill after the last rename left behind.
    Errors: as `lock`.
    """
    with lock(out.with_name(f"{out.name}.parts")):
        path = work_dir(out)
        yield path
        shutil.rmtree(path)


@contextmanager
def new_artefact(
    out: Path,
    *,
    kind: str,
    stage: Mapping[str, Any],
    parents: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Iterator[Draft]:
    """Yield a draft folder that becomes `out` on a clean exit and vanishes on any other.

    `stage` is the resolved configuration; `parents` are content hashes by name.
    Errors: ArtefactError when `out` exists and `overwrite` is not asked for.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    _collect(out)
    check_free(out, overwrite=overwrite)
    temporary = out.parent / f".{out.name}.{os.getpid()}.partial"
    temporary.mkdir()
    draft = Draft(temporary)
    try:
        yield draft
        _write_card(draft, kind, stage, parents or {})
        _publish(temporary, out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def check_free(out: Path, *, overwrite: bool) -> None:
    """Refuse early what `new_artefact` would refuse at the end."""
    if not out.exists():
        return
    if not overwrite:
        raise ArtefactError(f"{out}: exists already; choose another --out or pass --overwrite")
    if not (out / CARD).is_file():
        raise ArtefactError(f"{out}: not an artefact of ours ({CARD} is missing); not overwritten")


def _collect(out: Path) -> None:
    """Remove what killed writers of `out` left behind."""
    for left in out.parent.glob(f".{out.name}.*.partial"):
        owner = left.name.removesuffix(".partial").rpartition(".")[2]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(left, ignore_errors=True)
    old = out.parent / f".{out.name}.old"
    if old.exists():
        if out.exists():
            shutil.rmtree(old)
        else:
            old.rename(out)  # killed between the two renames of an overwrite


def _files(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        str(path.relative_to(folder)): {"sha256": sha256_file(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / CARD
    }


def _content_hash(files: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [f"{name}\0{entry['sha256']}\n" for name, entry in sorted(files.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _write_card(
    draft: Draft, kind: str, stage: Mapping[str, Any], parents: Mapping[str, str]
) -> None:
    files = _files(draft.path)
    card = {
        "kind": kind,
        "version": VERSION,
        "content_hash": _content_hash(files),
        "parents": dict(parents),
        "stage": dict(stage),
        "quality": draft.quality,
        "facts": draft.facts,
        "cost": {},
        "files": files,
    }
    (draft.path / CARD).write_text(json.dumps(card, indent=1, sort_keys=True) + "\n")


def _publish(temporary: Path, out: Path) -> None:
    for path in sorted(temporary.rglob("*")):
        _fsync(path)
    _fsync(temporary)
    old = out.parent / f".{out.name}.old"
    if out.exists():
        out.rename(old)
    temporary.rename(out)
    _fsync(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def open_artefact(path: Path, *, kind: str | None = None, verify: bool = False) -> Artefact:
    """The card of a finished artefact; with `verify`, after reading every byte.

    Errors: ArtefactError when it is absent, damaged, of a newer version or another kind.
    """
    if not path.is_dir():
        raise ArtefactError(f"{path}: no such folder")
    card = read_json(path / CARD)
    if not isinstance(card, dict) or card.get("version") != VERSION:
        raise ArtefactError(f"{path / CARD}: expected version {VERSION} of the card")
    try:
        artefact = Artefact(
            path=path,
            **{name: card[name] for name in Artefact.__dataclass_fields__ if name != "path"},
        )
    except KeyError as error:
        raise ArtefactError(f"{path / CARD}: {error} is missing") from None
    if kind is not None and artefact.kind != kind:
        raise ArtefactError(f"{path}: expected a {kind}, found a {artefact.kind}")
    if verify:
        verify_artefact(path)
    return artefact


def verify_artefact(path: Path) -> None:
    """Compare every file with the card.  Errors: ArtefactError naming the first difference."""
    stated = open_artefact(path)
    found = _files(path)
    for name in sorted(stated.files.keys() | found.keys()):
        if name not in found:
            raise ArtefactError(f"{path / name}: missing; make the artefact again")
        if name not in stated.files:
            raise ArtefactError(f"{path / name}: not part of the artefact; remove it")
        if found[name] != stated.files[name]:
            raise ArtefactError(f"{path / name}: damaged (checksum differs); make it again")
    if _content_hash(found) != stated.content_hash:
        raise ArtefactError(f"{path / CARD}: the content hash does not fit the files")


def annotate(path: Path, **entries: Any) -> None:
    """Set `quality`, `facts` or `cost` of a finished artefact; its content hash stays."""
    card = read_json(path / CARD)
    unknown = entries.keys() - {"quality", "facts", "cost"}
    if unknown:
        raise ArtefactError(f"{sorted(unknown)}: only quality, facts and cost may be annotated")
    card.update(entries)
    write_atomic(path / CARD, json.dumps(card, indent=1, sort_keys=True) + "\n")


def hash_of(path: Path) -> str:
    """Content hash of an artefact, a plain folder or a file."""
    if (path / CARD).is_file():
        return str(open_artefact(path).content_hash)
    if path.is_dir():
        return _content_hash(_files(path))
    if path.is_file():
        return sha256_file(path)
    raise ArtefactError(f"{path}: no such file or folder")
