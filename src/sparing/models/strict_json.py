"""JSON from a stranger's folder: bounded, without duplicate keys, NaN or surprises."""

import json
from pathlib import Path
from typing import Any, NoReturn

from sparing.base.errors import ArtefactError
from sparing.base.limits import LIMITS


def parse_object(text: bytes, name: str, *, depth: int = LIMITS.json_depth) -> dict[str, Any]:
    """The one object in `text`; numbers keep their exact value, keys are unique.

    Errors: ArtefactError naming `name` for anything that is not strict JSON, for a key given
            twice, for NaN or Infinity, for an integer beyond 64 bits, and for nesting over `depth`.
    """
    try:
        tree = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_int=_bounded_int,
        )
    except RecursionError:
        raise ArtefactError(f"{name}: nested deeper than {depth}") from None
    except ValueError as error:  # also bad UTF-8 and what the hooks refuse
        raise ArtefactError(f"{name}: not strict JSON: {error}") from None
    if not isinstance(tree, dict):
        raise ArtefactError(f"{name}: expected a JSON object, got {type(tree).__name__}")
    _check_depth(tree, name, depth)
    return tree


def read_object(path: Path, *, most_bytes: int = LIMITS.json_bytes) -> dict[str, Any]:
    """As `parse_object`, from a file.  Errors: also when it is absent or over `most_bytes`."""
    try:
        with path.open("rb") as file:
            text = file.read(most_bytes + 1)
    except OSError as error:
        raise ArtefactError(f"{path}: not readable: {error.strerror}") from None
    if len(text) > most_bytes:
        raise ArtefactError(f"{path}: larger than the limit of {most_bytes} bytes")
    return parse_object(text, str(path))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"key {twice[:80]!r} is given twice")
    return tree


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")


def _bounded_int(digits: str) -> int | float:
    if len(digits) > 20:
        raise ValueError("an integer has more than 20 characters")
    return -0.0 if digits == "-0" else int(digits)  # no size is written with a sign


def _check_depth(tree: Any, name: str, depth: int) -> None:
    level, deep = [tree], 0
    while level:
        deep += 1
        if deep > depth:
            raise ArtefactError(f"{name}: nested deeper than {depth}")
        parents = [node for node in level if isinstance(node, dict | list)]
        level = [
            child
            for node in parents
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
