"""Packed products of AVX-512 VNNI and BF16 on any x86 processor, as `test_avx512` does it."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NATIVE = HERE.parents[1] / "native"
SIMDE = Path("/usr/include/simde/x86/avx512.h")
MISSING = {
    "g++": shutil.which("g++") is None,
    "x86-64": platform.machine() not in ("x86_64", "AMD64"),
    "the headers of SIMDe (apt-get install libsimde-dev)": not SIMDE.exists(),
}
LACKING = [name for name, absent in MISSING.items() if absent]


@pytest.mark.skipif(bool(LACKING), reason=f"needs {', '.join(LACKING)}")
def test_packed_products_agree_with_the_reference(tmp_path: Path) -> None:
    sources = [NATIVE / "src" / "linear" / name for name in ("packed_reference.cpp", "pack.cpp")]
    flags = ["-std=c++17", "-O1", "-ffp-contract=off", "-DSPARING_SIMDE"]
    folders = [f"-I{NATIVE / 'include'}", f"-I{NATIVE / 'src'}", f"-I{HERE}"]
    driver, program = HERE / "packed_driver.cpp", tmp_path / "driver"
    built = subprocess.run(
        ["g++", *flags, *folders, driver, *sources, "-o", program], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
