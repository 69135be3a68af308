"""The architecture, as a test: rooms import downwards only, and no file imports in a circle."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "src" / "sparing"
FLOORS = [
    ["base"],
    ["kernels", "tokenizer", "measure"],
    ["models", "data"],
    ["networks"],
    ["training", "engine", "retrieval", "planner"],
    ["evaluation"],
    ["compression"],
    ["report", "tune", "server", "bench"],
    ["recipe"],
    ["api"],
    ["cli"],
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in ROOT.rglob("*.py")
    if path.parent != ROOT or path.stem == "api"
}
TORCH = {"networks", "training", "compression"}
TORCH_FILES = {"kernels.torch_ops", "kernels.reference", "engine.torch_executor"}
TORCH_FILES |= {"bench.run_transformers"}  # a peer, in a process of its own
OPTIONAL = {
    "torch": None,  # has rules of its own, below
    "tantivy": "retrieval",
    "matplotlib": "report",
    "tensorboard": "training",
    "rensa": "data",
    "transformers": "bench",
    "llama_cpp": "bench",
    "openvino_genai": "bench",
    "onnxruntime_genai": "bench",
}


def imports(path: Path) -> Iterator[str]:
    """Modules that this file imports anywhere, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write absolute imports"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(path: Path) -> Iterator[str]:
    yield from (
        name.removeprefix("sparing.") for name in imports(path) if name.startswith("sparing.")
    )


@pytest.mark.parametrize("module", sorted(FILES))
def test_imports_go_down(module: str) -> None:
    room = module.partition(".")[0]
    for other in {name.partition(".")[0] for name in ours(FILES[module])} - {room, "__version__"}:
        assert FLOOR[other] < FLOOR[room], f"{module} may not import {other}: not on a lower floor"


def test_no_circles() -> None:
    graph = {module: set(ours(path)) & FILES.keys() for module, path in FILES.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, naming the circle


@pytest.mark.parametrize("module", sorted(FILES))
def test_optional_packages_stay_in_their_room(module: str) -> None:
    room = module.partition(".")[0]
    for package in {name.partition(".")[0] for name in imports(FILES[module])} & OPTIONAL.keys():
        if package == "torch":
            allowed = room in TORCH or module in TORCH_FILES or module.startswith("kernels.triton")
            assert allowed, f"{module} may not import torch"
        else:
            assert room == OPTIONAL[package], f"{package} belongs to {OPTIONAL[package]}"
