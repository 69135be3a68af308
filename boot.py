#!/usr/bin/env python3
"""Set Sparing up in a private environment, then run its demo or its tests.

    python3 boot.py demo      install, compile the kernels, run recipes/quickstart.toml
    python3 boot.py test      the same with the test extra, then the tests
    python3 boot.py install   only the environment

Uses nothing but the standard library.  Needs python3 >= 3.11 with headers, pip >= 22.3 and a
C++ compiler; says what is missing and how to get it.  The second call starts at once.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "sparing-installed.json"
TORCH = "torch==2.13.0"
EXTRAS = {
    "demo": ["train", "data", "retrieval", "report"],
    "install": ["train", "data", "retrieval", "report"],
    "test": ["test", "dev"],
}
DEBIAN = "apt-get install python3-pip python3-dev g++"


def missing() -> list[str]:
    """What this machine lacks, one sentence each."""
    lacks = []
    if sys.version_info < (3, 11):  # noqa: UP036 - this file runs before pip has checked
        lacks.append(f"python 3.11 or newer (this is {sys.version.split()[0]})")
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file():
        lacks.append("Python's headers (Python.h)")
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++")):
        lacks.append("a C++ compiler")
    pip = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, text=True)
    if pip.returncode:
        lacks.append("pip")
    elif tuple(map(int, pip.stdout.split()[1].split(".")[:2])) < (22, 3):
        lacks.append(f"pip 22.3 or newer (this is {pip.stdout.split()[1]})")
    return lacks


def fingerprint() -> str:
    """Changes whenever the environment has to be made again."""
    digest = hashlib.sha256(sys.version.encode() + str(ROOT).encode())
    sources = [ROOT / "pyproject.toml", ROOT / "constraints.txt", ROOT / "CMakeLists.txt"]
    sources += sorted((ROOT / "native").rglob("*"))
    for path in sources:
        if path.is_file():
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    for path in sorted((ROOT / "src").rglob("__init__.py")):  # an editable install lists packages
        digest.update(str(path.relative_to(ROOT)).encode())
    return digest.hexdigest()


def installed(extras: list[str]) -> bool:
    try:
        stamp = json.loads(STAMP.read_text())
        return stamp["fingerprint"] == fingerprint() and set(extras) <= set(stamp["extras"])
    except (OSError, ValueError, KeyError):
        return False


def pip(*words: str, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--python", str(PYTHON), "--disable-pip-version-check"]
    return subprocess.run([*command, *words], check=True, cwd=ROOT, text=True, capture_output=quiet)


def warn_of_cuda(index: list[str]) -> None:
    """Say beforehand when pip would bring a CUDA build of torch."""
    plan = pip(
        "install",
        "--dry-run",
        "--quiet",
        "--report",
        "-",
        "-c",
        "constraints.txt",
        TORCH,
        *index,
        quiet=True,
    )
    names = [item["metadata"]["name"] for item in json.loads(plan.stdout)["install"]]
    if any(name.lower().startswith(("nvidia-", "cuda-")) for name in names):
        print(
            "boot: pip is about to bring a CUDA build of torch, several GB. For the CPU build\n"
            "boot: stop now (Ctrl-C) and pass --torch-index URL, the address of PyTorch's CPU\n"
            "boot: index (pytorch.org, 'Get Started', shows it).",
            flush=True,
        )


def install(extras: list[str], torch_index: str | None) -> None:
    print(f"boot: making {VENV.name} and installing (a few minutes, once)", flush=True)
    STAMP.unlink(missing_ok=True)
    if not PYTHON.exists():
        venv.EnvBuilder(with_pip=False, symlinks=True, clear=VENV.exists()).create(VENV)
    index = ["--index-url", torch_index] if torch_index else []
    has_torch = subprocess.run([PYTHON, "-c", "import torch"], capture_output=True).returncode == 0
    if not has_torch:
        warn_of_cuda(index)
        pip("install", "-c", "constraints.txt", TORCH, *index)
    pip("install", "-c", "constraints.txt", "--editable", f".[{','.join(extras)}]")
    STAMP.write_text(json.dumps({"fingerprint": fingerprint(), "extras": extras}))


def demo(rest: list[str]) -> int:
    sparing = str(VENV / "bin" / "sparing")
    run = [sparing, "run", "recipes/quickstart.toml", "--out", "runs/quickstart", "--resume"]
    return subprocess.call([*run, *rest], cwd=ROOT)


def test(rest: list[str]) -> int:
    workers = [] if any(word.startswith("-n") for word in rest) else ["-n", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [str(PYTHON), "-m", "pytest", "--dist", "loadscope", *workers, *rest]
    return subprocess.call(command, cwd=ROOT, env=environment)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=EXTRAS)
    parser.add_argument("--torch-index", help="package index for torch, e.g. PyTorch's CPU index")
    options, rest = parser.parse_known_args()
    lacks = missing()
    if lacks:
        print(f"boot: missing: {'; '.join(lacks)}\nboot: on Debian or Ubuntu: {DEBIAN}")
        return 1
    extras = EXTRAS[options.command]
    if not installed(extras):
        try:
            install(extras, options.torch_index)
        except subprocess.CalledProcessError as error:
            print(f"boot: the installation stopped: {' '.join(map(str, error.cmd[:8]))} ...")
            print(error.stderr or "")
            return 1
    return {"demo": demo, "test": test}.get(options.command, lambda rest: 0)(rest)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
