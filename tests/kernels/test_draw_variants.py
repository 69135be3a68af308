"""The loops of the draw for each instruction set, on whatever processor runs the tests."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NATIVE = HERE.parents[1] / "native"
ARM = ("aarch64-linux-gnu-g++", "qemu-aarch64")
FLAGS = ("-std=c++17", "-O1", "-ffp-contract=off", "-Wno-psabi")


@pytest.mark.parametrize("variant", ["avx2", "avx512", "neon"])
@pytest.mark.parametrize("tools", [("g++",), ARM], ids=["here", "arm"])
def test_a_variant_agrees_with_the_reference(variant: str, tools: tuple, tmp_path: Path) -> None:
    lacking = [tool for tool in tools if shutil.which(tool) is None]
    if lacking:
        pytest.skip(f"needs {', '.join(lacking)}")
    names = (f'-DVARIANT_FILE="draw/{variant}.cpp"', f"-DVARIANT=draw_{variant}")
    folders = (f"-I{NATIVE / 'include'}", f"-I{NATIVE / 'src'}")
    sources = (HERE / "draw_driver.cpp", NATIVE / "src" / "draw" / "reference.cpp")
    static = ("-static",) if tools is ARM else ()
    command = [tools[0], *FLAGS, *names, *folders, *sources, *static, "-o", tmp_path / "driver"]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([*tools[1:], tmp_path / "driver"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
