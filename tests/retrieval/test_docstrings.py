"""Docstrings with their names and places; hostile sources are refused, none is run."""

import ast
import inspect
import json
import json.decoder
import textwrap
from pathlib import Path

import pytest

from sparing.retrieval.docstrings import NotParsed, module_name, passages

SOURCE = '''"""The module.

More of it.
"""
import os

class Box:
    """A box."""

    def open(self, *, wide=False):
        """Open it."""
        def inner():
            """Not shown: inside a function."""

    def _hidden(self):
        """Not shown: private."""

    def __len__(self):
        """How many things."""

def bare():
    return 1

async def fetch(url: str, n=3):
    r"""Fetch \\d."""
'''


def test_names_places_and_texts():
    found = [(p.title, p.source, p.text) for p in passages(SOURCE, "in/pack/mod.py", 99)]
    assert found == [
        ("pack.mod", "in/pack/mod.py:1", "The module.\n\nMore of it."),
        ("pack.mod.Box", "in/pack/mod.py:8", "class Box\nA box."),
        ("pack.mod.Box.open", "in/pack/mod.py:11", "def open(self, *, wide=False)\nOpen it."),
        ("pack.mod.Box.__len__", "in/pack/mod.py:19", "def __len__(self)\nHow many things."),
        ("pack.mod.fetch", "in/pack/mod.py:25", "def fetch(url: str, n=3)\nFetch \\d."),
    ]


@pytest.mark.parametrize("module", [json, json.decoder, textwrap])
def test_the_text_is_what_inspect_says_of_the_imported_module(module):
    path = Path(module.__file__)
    found = list(passages(path.read_text(), f"stdlib/{path.name}", 10**6))
    assert found
    for passage in found:
        owner, body = module, passage.text
        for name in passage.title.removeprefix(module_name(f"stdlib/{path.name}")).split(".")[1:]:
            owner = getattr(owner, name)
            body = passage.text.split("\n", 1)[1]
        assert body.split() == inspect.getdoc(owner).split()


def test_long_docstrings_become_several_passages_with_their_own_lines():
    text = '"""One.\n\n' + "".join(f"word{n} of the text\n\n" for n in range(40)) + '"""\n'
    found = list(passages(text, "in/a.py", 16))
    assert len(found) > 5
    assert all(p.title == "a" for p in found)
    lines = text.split("\n")
    for passage in found[1:]:
        assert lines[int(passage.source.rpartition(":")[2]) - 1] == passage.text.split("\n")[0]


def test_module_names():
    assert module_name("stdlib/json/__init__.py") == "json"
    assert module_name("stdlib/json/decoder.py") == "json.decoder"
    assert module_name("script.py") == "script"
    assert module_name("in/__init__.py") == "__init__"


@pytest.mark.parametrize(
    "source",
    [
        "def (",
        "print 'python 2'",
        "(" * 100_000,
        "-" * 200_000 + "1",
        "x = " + "[" * 150 + "]" * 149,
        "\0",
        "a" * (5 << 20),
        "x = '\\N{NOT A NAME}'",
    ],
)
def test_what_does_not_parse_is_refused(source):
    with pytest.raises(NotParsed):
        list(passages(source, "in/a.py", 50))


def test_deep_classes_need_no_recursion():
    lines = [f"{' ' * n}class C{n}:\n{' ' * n} 'doc {n}'\n" for n in range(90)]
    assert len(list(passages("".join(lines), "in/a.py", 50))) == 90


def test_nothing_is_run(tmp_path):
    mark = tmp_path / "ran"
    list(passages(f"open({str(mark)!r}, 'w')\nclass A:\n    '''Doc.'''\n", "in/a.py", 50))
    assert not mark.exists()


def test_escaped_surrogates_become_storable():
    [passage] = passages("'''a \\ud800 b'''", "in/a.py", 50)
    assert passage.text.encode() == b"a ? b"
    assert ast.literal_eval("'\\ud800'") not in passage.text
