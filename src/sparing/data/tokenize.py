"""The stage from corpus to token shards.

Every finished shard is kept in the work folder with the number of documents it took, so that a
killed run goes on behind it; shards are a pure function of the corpus, the tokenizer and
`shard_tokens`.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from sparing.base.config import to_tree
from sparing.base.errors import ArtefactError, ConfigError
from sparing.base.files import (
    check_free,
    hash_of,
    new_artefact,
    open_artefact,
    read_json,
    working,
    write_atomic,
)
from sparing.base.logs import Progress
from sparing.base.stage import StageResult
from sparing.data.config import TokenizeConfig
from sparing.data.parquet import documents
from sparing.data.shards import MANIFEST, SPLITS, token_type, write_shard

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
_BATCH_CHARS = 1 << 20


@dataclass(frozen=True, slots=True)
class Encoder:
    """A tokenizer file ready to encode documents: text in, ids with bos and eos out."""

    tokenizer: Any
    bos: int
    eos: int
    vocab_size: int

    @classmethod
    def open(cls, folder: Path) -> "Encoder":
        """Errors: ArtefactError when the folder lacks a file; ConfigError without bos or eos."""
        from tokenizers import Tokenizer

        settings = read_json(folder / "tokenizer_config.json")
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ArtefactError(f"{path}: no such file")
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except BaseException as error:  # the library's panics are not Exceptions
            raise ArtefactError(f"{path}: not a tokenizer: {error}") from None
        tokenizer.encode_special_tokens = True  # the name of a control token in a text is text
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return cls(
            tokenizer,
            _control(tokenizer, settings, "bos_token", folder),
            _control(tokenizer, settings, "eos_token", folder),
            tokenizer.get_vocab_size(with_added_tokens=True),
        )

    def encode(self, texts: list[str]) -> list[np.ndarray]:
        """One array `bos t1 .. tn eos` per text."""
        found = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        kind = token_type(self.vocab_size)
        return [np.array([self.bos, *one.ids, self.eos], kind) for one in found]


def _control(tokenizer: Any, settings: dict[str, Any], name: str, folder: Path) -> int:
    token = settings.get(name)
    token = token.get("content") if isinstance(token, dict) else token
    number = tokenizer.token_to_id(token) if isinstance(token, str) else None
    if number is None:
        raise ConfigError(f"tokenizer: {folder} names no {name}; shards need one at every border")
    return int(number)


def tokenize_corpus(
    config: TokenizeConfig, out: Path, *, resume: bool = False, overwrite: bool = False
) -> StageResult:
    """Write the corpus as token shards, with the tokenizer beside them.

    With `resume`, shards that a killed run finished are used, and a finished folder with the
    same parents is returned as it is.
    Errors: ArtefactError for a damaged corpus or tokenizer, or when `out` exists.
    """
    parents = {
        "corpus": open_artefact(config.corpus, kind="corpus").content_hash,
        "tokenizer": hash_of(config.tokenizer),
    }
    stage = {"verb": "data tokenize", **to_tree(config)}
    if resume and out.exists():
        done = open_artefact(out, kind="shards")
        if done.parents == parents and done.stage == stage:
            with working(out):  # a kill after the last rename leaves the parts behind
                pass
            return StageResult(artefact=out, tokens=_tokens(done.facts), facts=done.facts)
    check_free(out, overwrite=overwrite)
    open_artefact(config.corpus, kind="corpus", verify=True)
    encoder = Encoder.open(config.tokenizer)
    with working(out) as work:
        _prepare(work, {**parents, "shard_tokens": config.shard_tokens}, resume)
        splits = {name: _split(config, encoder, name, work) for name in SPLITS}
        manifest = {
            "tokenizer_hash": parents["tokenizer"],
            "vocab_size": encoder.vocab_size,
            "bos": encoder.bos,
            "eos": encoder.eos,
            "splits": splits,
        }
        with new_artefact(
            out, kind="shards", stage=stage, parents=parents, overwrite=overwrite
        ) as draft:
            _gather(config, work, splits, draft.path)
            (draft.path / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
            draft.facts |= _facts(splits)
    facts = _facts(splits)
    return StageResult(artefact=out, tokens=_tokens(facts), facts=facts)


def _prepare(work: Path, plan: dict[str, Any], resume: bool) -> None:
    path = work / "plan.json"
    if resume and path.exists():
        if read_json(path) == plan:
            return
        raise ConfigError(
            "--resume: the corpus, tokenizer or settings changed since the run was stopped; "
            "run again without --resume"
        )
    shutil.rmtree(work)
    work.mkdir()
    write_atomic(path, json.dumps(plan))


def _split(config: TokenizeConfig, encoder: Encoder, name: str, work: Path) -> dict[str, Any]:
    """Write the shards of one split that are not there yet; return its manifest entry."""
    progress_file = work / f"{name}.json"
    state: dict[str, Any] = {"tokens": 0, "documents": 0, "bytes": 0, "shards": []}
    if progress_file.exists():
        state = read_json(progress_file)
    rows = islice(documents(config.corpus, name, ("text",)), state["documents"], None)
    with Progress(f"data tokenize ({name})", "tokens") as progress:
        for held in _shardfuls(rows, encoder, config.shard_tokens):
            tokens = np.concatenate(held.arrays)
            file = f"{name}-{len(state['shards']):05}.bin"
            digest = write_shard(work / file, tokens)
            state["shards"].append({"file": file, "tokens": len(tokens), "sha256": digest})
            state["tokens"] += len(tokens)
            state["documents"] += len(held.arrays)
            state["bytes"] += held.text_bytes
            write_atomic(progress_file, json.dumps(state))
            progress.update(state["tokens"])
    return state


@dataclass(slots=True)
class _Held:
    """Encoded documents that wait to become a shard."""

    arrays: list[np.ndarray]
    tokens: int = 0
    text_bytes: int = 0


def _shardfuls(rows: Iterator[tuple[str]], encoder: Encoder, shard_tokens: int) -> Iterator[_Held]:
    """Documents in groups of at least `shard_tokens` tokens, but the last."""
    held = _Held([])
    for texts in _batches(rows):
        for text, tokens in zip(texts, encoder.encode(texts), strict=True):
            held.arrays.append(tokens)
            held.tokens += len(tokens)
            held.text_bytes += len(text.encode())
            if held.tokens >= shard_tokens:
                yield held
                held = _Held([])
    if held.arrays:
        yield held


def _batches(rows: Iterator[tuple[str]]) -> Iterator[list[str]]:
    texts: list[str] = []
    chars = 0
    for (text,) in rows:
        texts.append(text)
        chars += len(text)
        if chars >= _BATCH_CHARS:
            yield texts
            texts, chars = [], 0
    if texts:
        yield texts


def _gather(config: TokenizeConfig, work: Path, splits: dict[str, Any], folder: Path) -> None:
    for split in splits.values():
        for entry in split["shards"]:
            shutil.copyfile(work / entry["file"], folder / entry["file"])
    (folder / "tokenizer").mkdir()
    for name in TOKENIZER_FILES:
        if (config.tokenizer / name).is_file():
            shutil.copyfile(config.tokenizer / name, folder / "tokenizer" / name)


def _facts(splits: dict[str, Any]) -> dict[str, Any]:
    return {
        "tokens": {name: split["tokens"] for name, split in splits.items()},
        "documents": {name: split["documents"] for name, split in splits.items()},
        "bytes_per_token": {
            name: round(split["bytes"] / split["tokens"], 4)
            for name, split in splits.items()
            if split["tokens"]
        },
    }


def _tokens(facts: dict[str, Any]) -> int:
    return sum(facts["tokens"].values())
