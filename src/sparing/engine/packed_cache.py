"""Packed weights kept beside a model, so that its next start only maps them.

    MODEL/..                 the model's folder (or GGUF file) is left as it is
    .MODEL.packed/           beside it
        sources.json         sizes and times of the model's files, and the hash of their content
        LAYOUT-HASH.packed   packed weights of that content for one instruction set

A file is found by the content of what it was made from: the times only spare reading it all again.
It appears whole or not at all, and is never changed; several processes may read or make it.
Whatever goes wrong with the cache, the weights are packed in memory, and the log says why.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from sparing import __version__
from sparing.base.errors import ArtefactError, SparingError
from sparing.base.files import lock, read_json, sha256_file, write_atomic
from sparing.base.logs import logger
from sparing.kernels import native
from sparing.kernels.formats import Packed
from sparing.models.folder import ModelFolder
from sparing.models.names import shapes
from sparing.models.packed_file import read_packed, write_packed

LEAST_BYTES = 64 << 20
"""Smaller models are packed in less time than a file is worth."""

_SPARE = 1.1  # free space asked for, of what the model's own files take
_SOURCES = "sources.json"
_NAMES = {"config.json", "quantize_config.json", "quant_config.json"}
_SUFFIXES = {".safetensors", ".gguf", ".json"}


def packed_weights(model: ModelFolder) -> dict[str, Packed]:
    """The model's packed matrices from its cache, made now if need be; empty where there is none.

    A matrix that is not among them is for the caller to take from the model itself.
    """
    log = logger("engine")
    files = _files(model.path)
    if sum(path.stat().st_size for path in files) < LEAST_BYTES or sys.byteorder != "little":
        return {}
    folder = model.path.resolve()
    folder = folder.with_name(f".{folder.name}.packed")
    layout = native.packed_layout()
    try:
        folder.mkdir(exist_ok=True)
        digest = _digest(files, folder)
        path = folder / f"{layout}-{digest[:32]}.packed"
        if path.exists():
            try:
                return _read(model, path, layout, digest)
            except SparingError as error:
                log.warning("%s; it is made again", error)
        _make(model, path, layout, digest)
        return _read(model, path, layout, digest)
    except (OSError, SparingError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        log.warning("packed weights are not kept in %s: %s", folder, reason or error)
        return {}


def _read(model: ModelFolder, path: Path, layout: str, digest: str) -> dict[str, Packed]:
    """The matrices of a file, mapped.  Errors: SparingError unless all is as it should be."""
    found = read_packed(path, layout, digest, shapes(model.config))
    for matrix in found.values():
        native.Map(matrix)  # refuses bytes that do not fit the extents
    return found


def _files(path: Path) -> list[Path]:
    """The files that the weights are made from."""
    if path.is_file():
        return [path]
    return sorted(
        file
        for file in path.iterdir()
        if file.suffix in _SUFFIXES and (file.suffix != ".json" or _is_config(file.name))
    )


def _is_config(name: str) -> bool:
    return name in _NAMES or name.endswith(".safetensors.index.json")


def _digest(files: list[Path], folder: Path) -> str:
    """Hash of the content of `files`, remembered with their sizes and times."""
    state = {path.name: _state(path) for path in files} | {"version": __version__}
    remembered = _remembered(folder / _SOURCES)
    if remembered is not None and remembered.get("state") == state:
        return remembered["digest"]
    lines = [f"{path.name}\0{sha256_file(path)}\n" for path in files]
    digest = hashlib.sha256("".join([__version__, "\n", *lines]).encode()).hexdigest()
    if state == {path.name: _state(path) for path in files} | {"version": __version__}:
        write_atomic(folder / _SOURCES, json.dumps({"state": state, "digest": digest}))
    return digest


def _state(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _remembered(path: Path) -> dict[str, Any] | None:
    try:
        tree = read_json(path)
    except ArtefactError:
        return None
    good = isinstance(tree, dict) and isinstance(tree.get("digest"), str)
    return tree if good and len(tree["digest"]) == 64 and tree["digest"].isalnum() else None


def _make(model: ModelFolder, path: Path, layout: str, digest: str) -> None:
    """Pack the model into `path`; files that it replaces are removed.

    Errors: OSError when the disk is full or may not be written, ArtefactError while another
            process is at it.
    """
    with lock(path):
        if path.exists() and _is_good(model, path, layout, digest):
            return  # made while we came here
        needed = int(_SPARE * sum(file.stat().st_size for file in _files(model.path)))
        free = shutil.disk_usage(path.parent).free
        if free < needed:
            raise ArtefactError(f"{needed} bytes are needed there, {free} are free")
        for left in path.parent.glob(
            "*.packed.partial"
        ):  # only the holder of the lock writes these
            left.unlink(missing_ok=True)
        temporary = path.with_name(f"{path.name}.partial")
        try:
            with temporary.open("wb") as file:
                write_packed(file, layout, digest, _packed(model))
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        for old in path.parent.glob(f"{layout}-*.packed"):
            if old != path:
                old.unlink(missing_ok=True)


def _is_good(model: ModelFolder, path: Path, layout: str, digest: str) -> bool:
    try:
        _read(model, path, layout, digest)
    except SparingError:
        return False
    return True


def _packed(model: ModelFolder) -> Iterator[tuple[str, Packed]]:
    """The matrices that products read, packed one by one."""
    tables = {"positions.weight", "" if model.config.tied else "embed.weight"}  # looked up by row
    for name, shape in shapes(model.config).items():
        if len(shape) != 2 or name in tables:
            continue
        record = native.pack(model.weights[name])
        if record is not None:
            yield name, record
