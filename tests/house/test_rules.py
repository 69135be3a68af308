"""Rules of the house that would drift if they were only prose."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
ROOT = REPO / "src" / "sparing"
FILES = sorted(ROOT.rglob("*.py"))
ROOMS = sorted(path.parent for path in ROOT.glob("*/__init__.py") if path.parent.name != "cli")
LONGEST_FILE, LONGEST_FUNCTION = 400, 60
FORBIDDEN_IMPORTS = {"pickle", "cPickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_TEXT = ("torch.load(", "allow_pickle=True", "yaml.load(", "shell=True")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_first_page_names_every_file(room: Path) -> None:
    page = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""
    assert page, f"{room.name}/__init__.py: a first page is missing"
    for path in sorted(room.glob("*.py")):
        if path.stem != "__init__":
            assert re.search(rf"\b{path.stem}\b", page), f"{room.name}: {path.stem} is not named"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_lengths(path: Path) -> None:
    text = path.read_text()
    assert text.isascii(), f"{named(path)}: ASCII only"
    assert text.count("\n") <= LONGEST_FILE, f"{named(path)}: over {LONGEST_FILE} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{named(path)}: {node.name} has {length} lines"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_no_code_from_data(path: Path) -> None:
    text = path.read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & FORBIDDEN_IMPORTS
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in FORBIDDEN_IMPORTS
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in FORBIDDEN_CALLS, f"{named(path)}: calls {node.func.id}"
    for word in FORBIDDEN_TEXT:
        assert word not in text, f"{named(path)}: {word}"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_print_only_on_the_command_line(path: Path) -> None:
    if path.parent.name == "cli":
        return
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    for call in calls:
        assert not (isinstance(call.func, ast.Name) and call.func.id == "print"), named(path)


SERVING = """
import sys
import sparing, sparing.api, sparing.engine.assemble, sparing.server.app, sparing.retrieval.index
import sparing.cli.main, sparing.cli.generate, sparing.cli.serve, sparing.cli.chat
heavy = sorted({"torch", "transformers", "pyarrow", "matplotlib"} & set(sys.modules))
assert not heavy, heavy
"""


def test_serving_never_imports_torch() -> None:
    done = subprocess.run([sys.executable, "-c", SERVING], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_generate_imports_little() -> None:
    code = (
        "import sys, sparing.cli.main, sparing.cli.generate, sparing.engine.assemble\n"
        "heavy = {'torch', 'fastapi', 'pydantic', 'jinja2', 'transformers', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_environment_variables_are_the_documented_ones() -> None:
    known = {"SPARING_HOME", "SPARING_ISA", "SPARING_LOG", "SPARING_API_KEY"}
    for path in FILES:
        found = set(re.findall(r"SPARING_[A-Z_]+", path.read_text()))
        assert found <= known, f"{named(path)}: {found - known}"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"])
def test_papers_are_there(name: str) -> None:
    assert (REPO / name).stat().st_size > 200


def test_links_of_the_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (REPO / "README.md").read_text()):
        assert target.startswith("http") or (REPO / target).exists(), target
