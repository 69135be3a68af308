"""The Arm variants on any processor, cross-compiled and run by an emulator."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NATIVE = HERE.parents[1] / "native"
OPERATIONS = ("linear", "attention", "activation")
ON_ARM = platform.machine() in ("aarch64", "arm64")
COMPILER = "g++" if ON_ARM else "aarch64-linux-gnu-g++"
EMULATOR = () if ON_ARM else ("qemu-aarch64", "-cpu", "max")
LACKING = [tool for tool in (COMPILER, *EMULATOR[:1]) if shutil.which(tool) is None]
FLAGS = ("-std=c++17", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-DSPARING_ARM")
PACKAGES = "apt-get install g++-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
needs_tools = pytest.mark.skipif(bool(LACKING), reason=f"needs {', '.join(LACKING)} ({PACKAGES})")


def compiled(sources: list[Path], *options: str | Path) -> None:
    command = [COMPILER, *FLAGS, f"-I{NATIVE / 'include'}", f"-I{NATIVE / 'src'}"]
    done = subprocess.run([*command, *sources, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@needs_tools
def test_variants_agree_with_the_reference(tmp_path: Path) -> None:
    sources = [NATIVE / "src" / operation / "reference.cpp" for operation in OPERATIONS]
    sources.append(NATIVE / "src" / "attention" / "kv_layout.cpp")
    program = tmp_path / "driver"
    compiled([HERE / "variants_driver.cpp", *sources], "-static", "-o", program)
    done = subprocess.run([*EMULATOR, program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
