"""The AVX-512 variants on any x86 processor, their instructions replaced by portable code."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NATIVE = HERE.parents[1] / "native"
OPERATIONS = ("linear", "attention", "activation")
MISSING = {
    "g++": shutil.which("g++") is None,
    "x86-64": platform.machine() not in ("x86_64", "AMD64"),
    "the headers of SIMDe (apt-get install libsimde-dev)": not Path(
        "/usr/include/simde/x86/avx512.h"
    ).exists(),
}
LACKING = [name for name, absent in MISSING.items() if absent]


@pytest.mark.skipif(bool(LACKING), reason=f"needs {', '.join(LACKING)}")
def test_variants_agree_with_the_reference(tmp_path: Path) -> None:
    sources = [NATIVE / "src" / operation / "reference.cpp" for operation in OPERATIONS]
    sources.append(NATIVE / "src" / "attention" / "kv_layout.cpp")
    flags = ["-std=c++17", "-ffp-contract=off", "-DSPARING_SIMDE"]
    folders = [f"-I{NATIVE / 'include'}", f"-I{NATIVE / 'src'}", f"-I{HERE}"]
    driver, program = HERE / "variants_driver.cpp", tmp_path / "driver"
    built = subprocess.run(
        ["g++", *flags, *folders, driver, *sources, "-o", program], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
