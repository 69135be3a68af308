"""The documentation inside Python sources: docstrings with their qualified names and places.

Nothing is imported or run: the source is parsed, and a file that does not parse is counted.
"""

import ast
import inspect
import warnings
from collections.abc import Iterator
from pathlib import PurePosixPath

from sparing.retrieval.passage import Passage, cut

MOST_CHARS = 4 << 20
"""A longer source is not parsed; the parser's memory is some hundred times its input."""
_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_SIGNATURE_CHARS = 200


class NotParsed(Exception):
    """The source is too long, nests too deep, or is not Python of this interpreter."""


def module_name(name: str) -> str:
    """`stdlib/json/decoder.py` -> `json.decoder`; the source's own name is left out."""
    parts = list(PurePosixPath(name).with_suffix("").parts)
    parts = parts[1:] if len(parts) > 1 else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def passages(text: str, name: str, words: int) -> Iterator[Passage]:
    """Passages of every docstring of a module, its public classes and functions.

    Errors: NotParsed.
    """
    tree = _parse(text)
    yield from _of(tree, module_name(name), name, words)


def _parse(text: str) -> ast.Module:
    if len(text) > MOST_CHARS:
        raise NotParsed("too long")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a foreign source's escapes are not our concern
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NotParsed(type(error).__name__) from None


def _of(node: _Documented, title: str, name: str, words: int) -> Iterator[Passage]:
    """The docstring of a node, then those of the definitions in it, without recursion."""
    waiting: list[tuple[_Documented, str]] = [(node, title)]
    while waiting:
        node, title = waiting.pop()
        yield from _one(node, title, name, words)
        inner = [
            (child, f"{title}.{child.name}")
            for child in node.body
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            and not _private(child.name)
        ]
        waiting += reversed(inner)


def _private(name: str) -> bool:
    """Whether pydoc would hide the name: a leading underscore, but not `__like_this__`."""
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def _one(node: _Documented, title: str, name: str, words: int) -> Iterator[Passage]:
    first = node.body[0] if node.body else None
    if not isinstance(first, ast.Expr) or not isinstance(first.value, ast.Constant):
        return
    if not isinstance(first.value.value, str):
        return
    text = inspect.cleandoc(first.value.value)
    if not text.strip():
        return
    text = text.encode("utf-8", errors="replace").decode()  # a docstring may escape surrogates
    signature = _signature(node)
    for passage in cut(text, name, title, words, first_line=first.lineno):
        body = f"{signature}\n{passage.text}" if signature else passage.text
        yield Passage(body, passage.source, title)
        signature = ""


def _signature(node: _Documented) -> str:
    """`def name(arguments)` on one line; nothing for modules."""
    if isinstance(node, ast.Module):
        return ""
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}"
    try:
        line = f"def {node.name}({ast.unparse(node.args)})"
    except RecursionError:
        return f"def {node.name}(...)"
    return line if len(line) <= _SIGNATURE_CHARS else f"def {node.name}(...)"
