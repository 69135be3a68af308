"""Which tokens are scored: whole documents with the UTF-8 bytes of text they stand for."""

import hashlib
import json
import platform
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparing.base.errors import ArtefactError, ConfigError
from sparing.base.files import hash_of, sha256_file
from sparing.base.limits import LIMITS
from sparing.base.seeds import stream
from sparing.data.shards import Shards
from sparing.tokenizer.text import Tokenizer

MOST_TEXTS_BYTES = 64 << 20
"""Largest .jsonl file read for an evaluation; at 3 bytes a token this is 20 million tokens."""


@dataclass(frozen=True, slots=True)
class Document:
    """Tokens of one text; the first is context only, every later one is scored."""

    ids_N: np.ndarray
    text_bytes: int
    """UTF-8 bytes of the text that the scored tokens stand for"""


@dataclass(frozen=True, slots=True)
class Sample:
    """The documents of one evaluation, and what was left out."""

    documents: tuple[Document, ...]
    source: str
    """where they came from, for the reader of a result"""
    source_hash: str
    left_out: int
    """documents of the source that the token limit left out"""
    cut: int
    """documents whose end the token limit cut off: 0 or 1"""

    @property
    def scored_tokens(self) -> int:
        """Tokens that are predicted: all but each document's first."""
        return sum(len(document.ids_N) - 1 for document in self.documents)

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of the scored text."""
        return sum(document.text_bytes for document in self.documents)

    def facts(self) -> dict[str, object]:
        """What a result file states about the text it was measured on."""
        return {
            "source": self.source,
            "source_hash": self.source_hash,
            "documents": len(self.documents),
            "documents_left_out": self.left_out,
            "documents_cut": self.cut,
            "tokens": self.scored_tokens,
            "bytes": self.text_bytes,
        }


def sample(path: Path, model: Path, *, tokens: int | None, seed: int = 0) -> Sample:
    """The documents at `path` as tokens of `model`: a shards folder, or a text or .jsonl file.

    A shards folder gives its held-out split, a .jsonl file one document per line, any other file
    is one document. `tokens` bounds the scored tokens; which documents are taken depends on the
    source and `seed` only.

    Errors:
        ArtefactError: nothing there, not text, no text, or shards of another tokenizer.
    """
    if path.is_dir():
        return from_shards(path, model, tokens=tokens, seed=seed)
    if not path.is_file():
        raise ArtefactError(f"{path}: no such file or folder; name a text file or a shards folder")
    texts = read_texts(path)
    tokenizer = Tokenizer.load(model)
    taken = _take(
        len(texts), lambda number: _encode(texts[number], tokenizer), tokens, seed, tokenizer
    )
    return _sample(taken, len(texts), path.name, sha256_file(path))


def from_shards(
    folder: Path, model: Path, *, tokens: int | None, seed: int, split: str = "heldout"
) -> Sample:
    """Documents of one split of a shards folder, each with its start and end token.

    Errors:
        ArtefactError: shards of another tokenizer than the model's, or an empty split.
    """
    shards = Shards.open(folder)
    check_tokenizer(folder, model)
    tokenizer = Tokenizer.load(folder / "tokenizer")
    documents = list(shards.documents(split))

    def document(number: int) -> Document:
        ids_N = documents[number].astype(np.int32)
        return Document(ids_N, token_bytes(ids_N[1:], tokenizer))

    taken = _take(len(documents), document, tokens, seed, tokenizer)
    return _sample(taken, len(documents), f"{folder.name} {split}", hash_of(folder))


def standard_library(model: Path, *, tokens: int, seed: int) -> Sample:
    """Source files of this machine's Python standard library: text that is always there."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    tokenizer = Tokenizer.load(model)

    def document(number: int) -> Document:
        return _encode(files[number].read_text(encoding="utf-8"), tokenizer)

    taken = _take(len(files), document, tokens, seed, tokenizer)
    version = platform.python_version()
    source = f"the standard library of Python {version} on this machine"
    return _sample(taken, len(files), source, None)


def check_tokenizer(shards: Path, model: Path) -> None:
    """Errors: ArtefactError when the model has another tokenizer than the shards were made with."""
    ours, theirs = shards / "tokenizer" / "tokenizer.json", model / "tokenizer.json"
    if model.is_file():
        theirs, vocabularies = model, [_tokens(ours.parent), _tokens(model)]
        differ = vocabularies[0] != vocabularies[1]
    else:
        differ = theirs.exists() and sha256_file(ours) != sha256_file(theirs)
    if differ:
        raise ArtefactError(
            f"{shards}: made with another tokenizer than the model's ({theirs}); "
            "tokenise the corpus with the model's own"
        )


def _tokens(model: Path) -> list[str | None]:
    """The spelling of every token, in the order of ids."""
    tokenizer = Tokenizer.load(model)
    return [tokenizer.token(id) for id in range(tokenizer.vocab)]


def token_bytes(ids_N: np.ndarray, tokenizer: Tokenizer) -> int:
    """UTF-8 bytes of the text that ids stand for; special tokens stand for none."""
    found, count = np.unique(ids_N, return_counts=True)
    sizes = [
        0 if tokenizer.is_special(id) else len(tokenizer.token_bytes(id)) for id in found.tolist()
    ]
    return int(np.dot(np.array(sizes, dtype=np.int64), count))


def read_texts(path: Path) -> list[str]:
    """The texts of a file.  Errors: ArtefactError or ConfigError: not text, or too long."""
    lines = path.suffix == ".jsonl"
    most, size = MOST_TEXTS_BYTES if lines else LIMITS.prompt_chars, path.stat().st_size
    if size > most:
        raise ConfigError(
            f"{path}: {size} bytes, an evaluation reads {most}; give a part of it, "
            "a .jsonl file of shorter texts, or shards"
        )
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArtefactError(f"{path}: not UTF-8 text at byte {error.start}") from None
    return list(_jsonl(path, text)) if lines else [text]


def _jsonl(path: Path, text: str) -> Iterator[str]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ArtefactError(f"{path}: line {number} is not JSON: {error}") from None
        if not isinstance(value, dict) or not isinstance(value.get("text"), str):
            raise ArtefactError(f'{path}: line {number}: expected an object with a "text" string')
        yield value["text"]


def _encode(text: str, tokenizer: Tokenizer) -> Document:
    """A text after the start token where the tokenizer has one; its end is not predicted.

    Without a start token the first token is context, and its bytes do not count.
    """
    start = [] if tokenizer.bos is None else [tokenizer.bos]
    ids_N = np.array([*start, *tokenizer.encode(text)], dtype=np.int32)
    skipped = 0 if start else token_bytes(ids_N[:1], tokenizer)
    return Document(ids_N, len(text.encode()) - skipped)


def _take(
    count: int,
    document: Callable[[int], Document],
    tokens: int | None,
    seed: int,
    tokenizer: Tokenizer,
) -> tuple[list[Document], int, int]:
    """Documents in seeded order until `tokens` are scored, the last one cut to fit.

    Returns: the documents, how many were looked at, and how many were cut (0 or 1).
    """
    order: Sequence[int] = range(count)
    if tokens is not None:
        order = stream(seed, "evaluation").permutation(count).tolist()
    taken: list[Document] = []
    left = tokens
    for looked, number in enumerate(order, start=1):
        found = document(number)
        scored = len(found.ids_N) - 1
        if scored < 1:
            continue
        if left is not None and scored >= left:
            cut = scored > left
            ids_N = found.ids_N[: left + 1]
            last = Document(ids_N, token_bytes(ids_N[1:], tokenizer)) if cut else found
            return [*taken, last], looked, int(cut)
        taken.append(found)
        left = None if left is None else left - scored
    return taken, count, 0


def _sample(
    taken: tuple[list[Document], int, int], count: int, source: str, source_hash: str | None
) -> Sample:
    """The sample; a source without a hash of its own gets that of the tokens taken from it."""
    documents, looked, cut = taken
    if not documents or not sum(document.text_bytes for document in documents):
        raise ArtefactError(f"{source}: no text to evaluate on")
    if source_hash is None:
        ids_N = np.concatenate([document.ids_N for document in documents])
        source_hash = hashlib.sha256(ids_N.astype("<i4").tobytes()).hexdigest()
    return Sample(tuple(documents), source, source_hash, count - looked, cut)
