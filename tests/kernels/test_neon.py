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


MARCH = {"packed_dotprod": "armv8.2-a+dotprod", "packed_i8mm": "armv8.2-a+dotprod+i8mm"}


def compiled(sources: list[Path], *options: str | Path) -> None:
    command = [COMPILER, *FLAGS, f"-I{NATIVE / 'include'}", f"-I{NATIVE / 'src'}"]
    done = subprocess.run([*command, *options, *sources], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def run(program: Path) -> None:
    done = subprocess.run([*EMULATOR, program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def flags_of(source: Path) -> list[str]:
    march = MARCH.get(source.stem)
    return [f"-march={march}"] if march else []


@needs_tools
def test_variants_agree_with_the_reference(tmp_path: Path) -> None:
    sources = [NATIVE / "src" / operation / "reference.cpp" for operation in OPERATIONS]
    sources.append(NATIVE / "src" / "attention" / "kv_layout.cpp")
    program = tmp_path / "driver"
    compiled([HERE / "variants_driver.cpp", *sources], "-static", "-o", program)
    run(program)


@needs_tools
def test_packed_products_agree_with_the_reference(tmp_path: Path) -> None:
    linear, program = NATIVE / "src" / "linear", tmp_path / "driver"
    objects = []
    for name in ("packed_neon", "packed_dotprod", "packed_i8mm"):
        objects.append(tmp_path / f"{name}.o")
        source = linear / f"{name}.cpp"
        compiled([source], "-c", *flags_of(source), "-o", objects[-1])
    plain = [HERE / "packed_driver.cpp", linear / "packed_reference.cpp", linear / "pack.cpp"]
    compiled([*plain, *objects], "-static", "-o", program)
    run(program)


@pytest.mark.slow
@needs_tools
def test_the_whole_library_compiles(tmp_path: Path) -> None:
    """Every file that an Arm build takes, and what they call is there."""
    sources = [path for path in (NATIVE / "src").rglob("*.cpp") if "avx" not in path.name]
    objects = [tmp_path / f"{path.parent.name}_{path.stem}.o" for path in sources]
    for source, made in zip(sources, objects, strict=True):
        compiled([source], "-c", "-O0", *flags_of(source), "-o", made)
    main = tmp_path / "main.cpp"
    main.write_text(
        '#include "isa.h"\nint main() { return sparing::best_isa() == sparing::Isa::i8mm ? 0 : 1; }'
    )
    archive = tmp_path / "libcore.a"
    ar = COMPILER.replace("g++", "ar")
    subprocess.run([ar, "rc", archive, *objects], check=True)
    whole = ("-Wl,--whole-archive", archive, "-Wl,--no-whole-archive", "-static", "-pthread")
    compiled([], main, *whole, "-o", tmp_path / "main")
    if not ON_ARM:
        run(tmp_path / "main")
