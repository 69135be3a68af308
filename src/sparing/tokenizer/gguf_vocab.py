"""The tokenizer inside a GGUF file, as one of the `tokenizers` library.

    gpt2     byte-level merges, with a splitting rule by name (`splits`)
    llama    SentencePiece pieces with scores; the merges follow from the scores
Source: llama.cpp's src/llama-vocab.cpp for the meaning of the pairs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, processors

from sparing.base.config import nearest
from sparing.base.errors import ArtefactError
from sparing.tokenizer.splits import SPLITS, Split

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
SPACE = "\u2581"
_NAMES = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}
_LONGEST_PIECE = 512
"""Characters of a piece that merges are sought for; longer ones are refused."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer and what a tokenizer_config.json would say of it."""

    library: tokenizers.Tokenizer
    settings: dict[str, Any]


class _Pairs:
    """Typed access to the pairs about the tokenizer."""

    def __init__(self, pairs: Mapping[str, Any], where: str) -> None:
        self._pairs, self._where = pairs, where

    def fault(self, key: str, what: str) -> ArtefactError:
        return ArtefactError(f"{self._where}: tokenizer.ggml.{key}: {what}")

    def get(self, key: str, kind: type, default: Any = None) -> Any:
        value = self._pairs.get(f"tokenizer.ggml.{key}")
        if value is None:
            return default
        if type(value) is not kind:
            raise self.fault(key, f"expected {kind.__name__}, got {str(value)[:80]!r}")
        return value

    def strings(self, key: str) -> list[str]:
        value = self.get(key, list)
        if value is None:
            raise self.fault(key, "missing")
        return value

    def numbers(self, key: str, count: int) -> np.ndarray | None:
        value = self._pairs.get(f"tokenizer.ggml.{key}")
        if value is None:
            return None
        if not isinstance(value, np.ndarray) or len(value) != count:
            raise self.fault(key, f"expected {count} numbers")
        return value

    def template(self) -> str | None:
        value = self._pairs.get("tokenizer.chat_template")
        if value is not None and not isinstance(value, str):
            raise ArtefactError(f"{self._where}: tokenizer.chat_template: expected a string")
        return value


def read_vocabulary(pairs: Mapping[str, Any], where: str) -> Vocabulary:
    """The tokenizer that `pairs` describe.

    Errors: ArtefactError naming the pair: a kind or splitting rule that is not known, lists of
            different lengths, a token given twice, merges that make no token.
    """
    tree = _Pairs(pairs, where)
    tokens = tree.strings("tokens")
    if not tokens:
        raise tree.fault("tokens", "expected at least one token")
    if len(set(tokens)) != len(tokens):
        raise tree.fault("tokens", "a token is given twice")
    kinds = tree.numbers("token_type", len(tokens))
    kinds = np.full(len(tokens), NORMAL) if kinds is None else kinds
    model, build = tree.get("model", str), {"gpt2": _byte_level, "llama": _pieces}
    if model not in build:
        known = " or ".join(build)
        raise tree.fault("model", f"expected {known}, got {str(model)[:80]!r}")
    try:
        library, begin = build[model](tree, tokens, kinds)
        _add_tokens(library, tokens, kinds)
        settings = _settings(tree, tokens, begin=begin)
        _frame(library, settings, tree)
    except (KeyboardInterrupt, SystemExit, MemoryError, ArtefactError):
        raise
    except BaseException as error:  # the library's panics are not Exceptions
        raise ArtefactError(f"{where}: tokenizer: {' '.join(str(error).split())[:200]}") from None
    return Vocabulary(library, settings)


def _byte_level(
    tree: _Pairs, tokens: Sequence[str], kinds: np.ndarray
) -> tuple[tokenizers.Tokenizer, bool]:
    split = _split(tree)
    merges: list[tuple[str, str]] = []
    for text in tree.strings("merges"):
        left, space, right = text.partition(" ")
        if not (left and space and right):
            raise tree.fault("merges", f"expected two tokens, got {text[:80]!r}")
        merges.append((left, right))
    vocab = {token: id for id, token in enumerate(tokens)}
    library = tokenizers.Tokenizer(models.BPE(vocab, merges, ignore_merges=split.whole))
    library.pre_tokenizer = split.build()
    library.decoder = decoders.ByteLevel()
    return library, split.begin


def _split(tree: _Pairs) -> Split:
    name = tree.get("pre", str)
    if name is None:
        raise tree.fault("pre", "missing; convert the model again, so that it says how text splits")
    if name not in SPLITS:
        raise tree.fault("pre", f"unknown rule {name[:80]!r}" + nearest(name[:80], SPLITS))
    return SPLITS[name]


def _pieces(
    tree: _Pairs, tokens: Sequence[str], kinds: np.ndarray
) -> tuple[tokenizers.Tokenizer, bool]:
    scores = tree.numbers("scores", len(tokens))
    if scores is None or not np.isfinite(scores).all():
        raise tree.fault("scores", "expected a finite number for each token")
    vocab = {token: id for id, token in enumerate(tokens)}
    unknown = tree.get("unknown_token_id", int, 0)
    if not 0 <= unknown < len(tokens):
        raise tree.fault("unknown_token_id", f"expected an id below {len(tokens)}, got {unknown}")
    merges = merges_by_score(tokens, scores.tolist(), kinds.tolist())
    library = tokenizers.Tokenizer(
        models.BPE(vocab, merges, unk_token=tokens[unknown], fuse_unk=True, byte_fallback=True)
    )
    prefix = tree.get("add_space_prefix", bool, True)
    steps: list[Any] = [normalizers.Prepend(SPACE)] if prefix else []
    library.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])
    ends: list[Any] = [decoders.Strip(" ", 1, 0)] if prefix else []
    library.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *ends]
    )
    return library, True


def merges_by_score(
    tokens: Sequence[str], scores: Sequence[float], kinds: Sequence[int]
) -> list[tuple[str, str]]:
    """Every way to make a piece of two others, the best-scored piece first.

    SentencePiece joins the two neighbours that make the piece of the highest score; a list of
    merges in that order does the same.  Of equal scores the earlier token wins.
    """
    usable = {token: id for id, token in enumerate(tokens) if kinds[id] in (NORMAL, USER) and token}
    found: list[tuple[float, int, str, str]] = []
    for token, id in usable.items():
        if len(token) > _LONGEST_PIECE:
            raise ArtefactError(f"token {id}: expected at most {_LONGEST_PIECE} characters")
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in usable and right in usable:
                found.append((-scores[id], id, left, right))
    found.sort(key=lambda item: (item[0], item[1], usable[item[2]], usable[item[3]]))
    return [(left, right) for _, _, left, right in found]


def _add_tokens(library: tokenizers.Tokenizer, tokens: Sequence[str], kinds: np.ndarray) -> None:
    """Control tokens, and those that are found in a text before it is split."""
    added = [
        tokenizers.AddedToken(tokens[id], special=bool(kinds[id] != USER), normalized=False)
        for id in np.flatnonzero((kinds == CONTROL) | (kinds == USER)).tolist()
        if tokens[id]
    ]
    library.add_tokens(added)
    if library.get_vocab_size(with_added_tokens=True) != len(tokens):
        raise ArtefactError("a control token has no place in the vocabulary")


def _settings(tree: _Pairs, tokens: Sequence[str], *, begin: bool) -> dict[str, Any]:
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    for name, key in _NAMES.items():
        id = tree.get(key, int)
        if id is not None:
            if not 0 <= id < len(tokens):
                raise tree.fault(key, f"expected an id below {len(tokens)}, got {id}")
            settings[name] = tokens[id]
    settings["add_bos_token"] = tree.get("add_bos_token", bool, begin)
    template = tree.template()
    return settings if template is None else settings | {"chat_template": template}


def _frame(library: tokenizers.Tokenizer, settings: Mapping[str, Any], tree: _Pairs) -> None:
    """Put the begin token before a text where the file says so."""
    bos = settings.get("bos_token")
    if settings["add_bos_token"] and bos is not None:
        library.post_processor = processors.TemplateProcessing(
            single=[f"{bos}:0", "$A:0"],
            pair=[f"{bos}:0", "$A:0", "$B:1"],
            special_tokens=[(bos, library.token_to_id(bos))],
        )
