"""What a corpus or a folder of shards holds, and how two of them differ."""

from itertools import islice
from pathlib import Path
from typing import Any

from sparing.base.errors import ArtefactError
from sparing.base.files import Artefact, open_artefact, read_json
from sparing.data.parquet import documents
from sparing.data.shards import MANIFEST, SPLITS, Shards

_SHOWN = 3


def inspect(folder: Path, *, verify: bool = False) -> dict[str, Any]:
    """Kind, hash, counts and first sources of a corpus or shards folder.

    With `verify`, after every checksum was compared.
    Errors: ArtefactError when the folder is another kind of artefact, or damaged.
    """
    artefact = open_artefact(folder, verify=verify)
    if artefact.kind == "corpus":
        found = _corpus(artefact)
    elif artefact.kind == "shards":
        found = _shards(artefact)
    else:
        raise ArtefactError(f"{folder}: expected a corpus or shards, found a {artefact.kind}")
    return {"kind": artefact.kind, "content_hash": artefact.content_hash, **found}


def _corpus(artefact: Artefact) -> dict[str, Any]:
    manifest = read_json(artefact.path / MANIFEST)
    first = {
        split: [
            source for (source,) in islice(documents(artefact.path, split, ("source",)), _SHOWN)
        ]
        for split in manifest["splits"]
    }
    kinds: dict[str, int] = {}
    for split in manifest["splits"]:
        for (kind,) in documents(artefact.path, split, ("kind",)):
            kinds[kind] = kinds.get(kind, 0) + 1
    return {"kinds": dict(sorted(kinds.items())), "first": first, **manifest}


def _shards(artefact: Artefact) -> dict[str, Any]:
    shards = Shards.open(artefact.path)
    splits = {
        split: {key: value for key, value in entry.items() if key != "shards"}
        | {"shards": len(entry["shards"])}
        for split, entry in shards.manifest["splits"].items()
    }
    return {
        "parents": artefact.parents,
        "vocab_size": shards.vocab_size,
        "bos": shards.bos,
        "eos": shards.eos,
        "splits": splits,
    }


def diff(left: Path, right: Path) -> dict[str, Any]:
    """How two corpora differ: settings, counts, and documents only in one, by content.

    Memory: 32 bytes per document of both.
    Errors: ArtefactError when either is not a corpus.
    """
    one, two = (open_artefact(path, kind="corpus") for path in (left, right))
    keys = one.stage.keys() | two.stage.keys()
    hashes = [_hashes(path) for path in (left, right)]
    only = [hashes[0] - hashes[1], hashes[1] - hashes[0]]
    return {
        "equal": one.content_hash == two.content_hash,
        "settings": {
            key: [one.stage.get(key), two.stage.get(key)]
            for key in sorted(keys)
            if one.stage.get(key) != two.stage.get(key)
        },
        "documents": [len(found) for found in hashes],
        "shared": len(hashes[0] & hashes[1]),
        "only_left": _named(left, only[0]),
        "only_right": _named(right, only[1]),
    }


def _hashes(folder: Path) -> set[bytes]:
    return {
        bytes.fromhex(digest)
        for split in SPLITS
        for (digest,) in documents(folder, split, ("hash",))
    }


def _named(folder: Path, only: set[bytes]) -> dict[str, Any]:
    """How many, and the first few sources of them."""
    sources = (
        source
        for split in SPLITS
        for source, digest in documents(folder, split, ("source", "hash"))
        if bytes.fromhex(digest) in only
    )
    return {"documents": len(only), "first": list(islice(sources, _SHOWN))}
