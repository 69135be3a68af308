"""A tokenizer as the pairs of a GGUF file, checked by reading them back."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparing.base.errors import ArtefactError
from sparing.tokenizer.gguf_vocab import (
    BYTE,
    CONTROL,
    NORMAL,
    SPACE,
    UNKNOWN,
    UNUSED,
    USER,
    read_vocabulary,
)
from sparing.tokenizer.splits import split_name
from sparing.tokenizer.text import Tokenizer, byte_fallback

_PROBES = (
    "The quick brown fox jumps over 13 lazy dogs.",
    "  def f(x):\n\treturn x**2  # it's\r\n\n\nWe'll see, I'm 3.14159 \u00b1 0.5",
    "na\u00efve caf\u00e9 \u041f\u0440\u0438\u0432\u0435\u0442 \u4f60\u597d\uff0c\u4e16\u754c "
    "\u0645\u0631\u062d\u0628\u0627 \U0001f600\U0001f680 e\u0301",
    "", " ", "a", "\n", "AbCdEf_gh-IJ/kl HTTPServer's",
)  # fmt: skip
_KEYS = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}


def vocabulary_pairs(tokenizer: Tokenizer, rows: int) -> dict[str, Any]:
    """The pairs of a tokenizer for a model with `rows` rows in its embedding.

    Errors: ArtefactError when the format has no name for how this tokenizer works, and when what
            it would say encodes a text differently.
    """
    tree = json.loads(tokenizer.library.to_str())
    tokens = [tokenizer.token(id) for id in range(tokenizer.vocab)]
    if tokenizer.vocab > rows or None in tokens:
        raise ArtefactError(
            f"tokenizer: {tokenizer.vocab} tokens without gaps are wanted for {rows} rows"
        )
    names = [token for token in tokens if token is not None]
    kinds = [_kind(tokenizer, id, token) for id, token in enumerate(names)]
    model = tree["model"]
    if model["type"] != "BPE":
        raise ArtefactError(f"tokenizer: no GGUF form is written of a {model['type']} vocabulary")
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
    if tokenizer.byte_level:
        pairs = _byte_level(tokenizer, tree, merges)
    else:
        pairs = _pieces(tokenizer, merges, names, kinds)
    spare = range(len(names), rows)
    pairs["tokens"] = names + [f"[PAD{id}]" for id in spare]
    pairs["token_type"] = kinds + [UNUSED] * len(spare)
    if "scores" in pairs:
        pairs["scores"] += [-1e6] * len(spare)
    for name, key in _KEYS.items():
        id = tokenizer.id_of(tokenizer.special_tokens.get(name, ""))
        if id is not None:
            pairs[key] = id
    begin = tokenizer.encode("", begin=True)
    if begin not in ([], [tokenizer.bos]):
        raise ArtefactError(f"tokenizer: puts tokens {begin} before a text, not only bos")
    pairs["add_bos_token"] = bool(begin)
    found = {f"tokenizer.ggml.{key}": value for key, value in pairs.items()}
    if tokenizer.template is not None:
        found["tokenizer.chat_template"] = tokenizer.template.source
    _check(tokenizer, found)
    return found


def _kind(tokenizer: Tokenizer, id: int, token: str) -> int:
    if tokenizer.special_tokens.get("unk_token") == token:
        return UNKNOWN
    if tokenizer.is_special(id):
        return CONTROL
    if tokenizer.is_added(id):
        return USER
    if not tokenizer.byte_level and byte_fallback(token) is not None:
        return BYTE
    return NORMAL


def _byte_level(
    tokenizer: Tokenizer, tree: dict[str, Any], merges: Sequence[tuple[str, ...]]
) -> dict[str, Any]:
    normalizer = tree.get("normalizer")
    if normalizer not in (None, {"type": "NFC"}):  # llama.cpp has none and leaves out NFC too
        raise ArtefactError(f"tokenizer: no GGUF form has the normalizer {normalizer!s:.80}")
    name = split_name(tokenizer.library)
    if name is None:
        raise ArtefactError("tokenizer: GGUF has no name for the rule by which it splits a text")
    return {"model": "gpt2", "pre": name, "merges": [" ".join(merge) for merge in merges]}


def _pieces(
    tokenizer: Tokenizer,
    merges: Sequence[tuple[str, ...]],
    tokens: Sequence[str],
    kinds: Sequence[int],
) -> dict[str, Any]:
    if BYTE not in kinds:
        raise ArtefactError("tokenizer: neither byte-level nor with pieces for single bytes")
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        ranks.setdefault("".join(merge), rank)
    last = len(merges) + 1.0
    scores = [
        -float(ranks.get(token, last)) if kind == NORMAL else 0.0
        for token, kind in zip(tokens, kinds, strict=True)
    ]
    first = tokenizer.encode("a")
    prefixed = bool(first) and (tokenizer.token(first[0]) or "").startswith(SPACE)
    return {"model": "llama", "pre": "default", "scores": scores, "add_space_prefix": prefixed}


def _check(tokenizer: Tokenizer, pairs: dict[str, Any]) -> None:
    """Errors: ArtefactError when the pairs, read as any reader does, encode differently."""
    arrays = ("tokenizer.ggml.token_type", "tokenizer.ggml.scores")
    read = {key: np.array(value) if key in arrays else value for key, value in pairs.items()}
    vocabulary = read_vocabulary(read, "export")
    again = Tokenizer(vocabulary.library, vocabulary.settings)
    for text in _PROBES:
        plain = text if tokenizer.library.normalizer is None else text.replace("e\u0301", "")
        if again.encode(plain) != tokenizer.encode(plain):
            raise ArtefactError(f"tokenizer: its GGUF form encodes {plain[:40]!r} differently")
