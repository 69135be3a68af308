"""Token shards on disk: a 64-byte header with version, width, count and checksum, then tokens.

    8s magic "SPARSHRD" | u32 version | u32 bytes per token | u64 tokens | 8 zero bytes
    | 32s sha256 of the payload | little-endian unsigned tokens

Each document is stored as `bos t1 .. tn eos`.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparing.base.errors import ArtefactError
from sparing.base.files import read_json

MAGIC = b"SPARSHRD"
VERSION = 1
HEADER = struct.Struct("<8sIIQ8s32s")
MANIFEST = "manifest.json"
SPLITS = ("train", "heldout")
_TYPES = {2: np.dtype("<u2"), 4: np.dtype("<u4")}


def token_type(vocab_size: int) -> np.dtype:
    """The narrowest stored type that holds every id of the vocabulary."""
    return _TYPES[2 if vocab_size <= 1 << 16 else 4]


def write_shard(path: Path, tokens_N: np.ndarray) -> str:
    """Write one shard and return the hex SHA-256 of its payload.

    Shapes: tokens_N is uint16 or uint32.
    Errors: ArtefactError for another dtype or number of dimensions.
    """
    width = tokens_N.dtype.itemsize
    if tokens_N.ndim != 1 or tokens_N.dtype.kind != "u" or width not in _TYPES:
        raise ArtefactError(f"{path}: expected flat uint16 or uint32 tokens, got {tokens_N.dtype}")
    payload = np.ascontiguousarray(tokens_N, dtype=_TYPES[width])
    digest = hashlib.sha256(payload.data)
    header = HEADER.pack(MAGIC, VERSION, width, len(payload), bytes(8), digest.digest())
    with path.open("wb") as file:
        file.write(header)
        file.write(payload.data)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard: memory-mapped tokens and the checksum its header states."""

    path: Path
    tokens: np.ndarray
    sha256: str

    @classmethod
    def open(cls, path: Path, *, verify: bool = False) -> "Shard":
        """Map a shard; with `verify`, compare the checksum with every byte.

        Errors: ArtefactError when it is absent, foreign, of another length than stated, or
        (with `verify`) damaged.
        """
        try:
            with path.open("rb") as file:
                head = file.read(HEADER.size)
                file.seek(0, 2)
                found_bytes = file.tell()
        except OSError as error:
            raise ArtefactError(f"{path}: {error.strerror}") from None
        if len(head) < HEADER.size or not head.startswith(MAGIC):
            raise ArtefactError(f"{path}: not a token shard")
        _, version, width, count, reserved, digest = HEADER.unpack(head)
        if version != VERSION or width not in _TYPES or any(reserved):
            raise ArtefactError(f"{path}: unknown version {version} or token width {width}")
        if found_bytes != HEADER.size + width * count:
            expected = HEADER.size + width * count
            raise ArtefactError(f"{path}: expected {expected} bytes, found {found_bytes}")
        if count:
            tokens = np.memmap(path, _TYPES[width], mode="r", offset=HEADER.size, shape=(count,))
        else:
            tokens = np.zeros(0, _TYPES[width])
        if verify and hashlib.sha256(tokens.data).digest() != digest:
            raise ArtefactError(f"{path}: damaged (checksum differs); tokenise the corpus again")
        return cls(path, tokens, digest.hex())


def split_documents(tokens_N: np.ndarray, bos: int) -> Iterator[np.ndarray]:
    """Views of the documents in a stream where each begins with `bos`."""
    starts = np.flatnonzero(tokens_N == bos)
    ends = np.append(starts, len(tokens_N))[1:]
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        yield tokens_N[start:end]


@dataclass(frozen=True, slots=True)
class Shards:
    """A folder of shards with its manifest."""

    path: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: Path, *, verify: bool = False) -> "Shards":
        """Read the manifest and check every shard's header against it.

        Errors: ArtefactError when the folder is not a shards artefact or a shard disagrees.
        """
        manifest = read_json(folder / MANIFEST)
        needed = {"tokenizer_hash", "vocab_size", "bos", "eos", "splits"}
        if not isinstance(manifest, dict) or not needed <= manifest.keys():
            raise ArtefactError(f"{folder}: not a folder of token shards")
        shards = cls(folder, manifest)
        for name in shards.splits:
            for entry in shards.entries(name):
                shards._check(entry, verify=verify)
        return shards

    def _check(self, entry: dict[str, Any], *, verify: bool) -> None:
        name = str(entry["file"])
        if Path(name).name != name:
            raise ArtefactError(f"{self.path}: shard name {name!r} leaves the folder")
        shard = Shard.open(self.path / name, verify=verify)
        if len(shard.tokens) != entry["tokens"] or shard.sha256 != entry["sha256"]:
            raise ArtefactError(f"{shard.path}: differs from the manifest; tokenise again")

    @property
    def vocab_size(self) -> int:
        """Number of ids of the tokenizer that made the shards."""
        return int(self.manifest["vocab_size"])

    @property
    def bos(self) -> int:
        """Id that begins every document."""
        return int(self.manifest["bos"])

    @property
    def eos(self) -> int:
        """Id that ends every document."""
        return int(self.manifest["eos"])

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return tuple(self.manifest["splits"])

    def entries(self, split: str) -> list[dict[str, Any]]:
        """The manifest's shards of a split.  Errors: ArtefactError for an unknown split."""
        if split not in self.manifest["splits"]:
            raise ArtefactError(f"{self.path}: no split {split!r}; has {', '.join(self.splits)}")
        return list(self.manifest["splits"][split]["shards"])

    def tokens(self, split: str) -> int:
        """Number of tokens of a split."""
        return sum(entry["tokens"] for entry in self.entries(split))

    def text_bytes(self, split: str) -> int:
        """UTF-8 bytes of the text that a split was made from."""
        self.entries(split)
        return int(self.manifest["splits"][split]["bytes"])

    def views(self, split: str) -> list[np.ndarray]:
        """One memory-mapped array per shard of a split."""
        return [Shard.open(self.path / entry["file"]).tokens for entry in self.entries(split)]

    def split(self, split: str) -> np.ndarray:
        """A split as one flat array: mapped when it is one shard, copied when it is several."""
        views = self.views(split)
        if len(views) == 1:
            return views[0]
        return np.concatenate([*views, np.zeros(0, token_type(self.vocab_size))])

    def documents(self, split: str) -> Iterator[np.ndarray]:
        """Every document of a split, each with its bos and eos."""
        for view in self.views(split):
            yield from split_documents(view, self.bos)
