"""Fuzz the native products: `python -m tests.fuzz.native_build linear|packed [libFuzzer options]`.

The operations are built with clang's fuzzer under its address and undefined-behaviour sanitizers;
without clang, `replay` builds a program that runs a target over files.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NATIVE = HERE.parents[1] / "native"
TARGETS = ("linear", "packed")
AVX2 = ("-mavx2", "-mfma", "-mf16c")
AVX512 = (*AVX2, *(f"-mavx512{part}" for part in ("f", "bw", "vl", "dq", "vnni", "bf16")))
FLAGS = (
    "-std=c++17", "-O2", "-g1", "-ffp-contract=off", "-DSPARING_X86", f"-I{NATIVE / 'include'}",
    f"-I{HERE / 'native'}", "-fno-sanitize-recover=all",
)  # fmt: skip


def build(target: str, folder: Path, compiler: str, sanitize: str, last: tuple[str, ...]) -> Path:
    """Compile the linear room and one target; returns the program."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = [
        NATIVE / "src" / "isa" / "isa.cpp",
        *sorted((NATIVE / "src" / "linear").glob("*.cpp")),
    ]
    objects = []
    for source in sources:
        if any(arm in source.stem for arm in ("neon", "dotprod", "i8mm")):
            continue
        wide = AVX512 if "avx512" in source.stem else AVX2 if "avx2" in source.stem else ()
        objects.append(folder / f"{source.stem}.o")
        command = [compiler, *FLAGS, f"-fsanitize={sanitize}", *wide, "-c", source]
        subprocess.run([*command, "-o", objects[-1]], check=True)
    program = folder / target
    command = [compiler, *FLAGS, *last, HERE / "native" / f"{target}.cpp", *objects]
    subprocess.run([*command, "-o", program], check=True)
    return program


def replay(target: str, folder: Path) -> Path:
    """A program of g++ that runs a target over the files on its command line."""
    both = "-fsanitize=address,undefined"
    last = (both, str(HERE / "native" / "replay.cpp"))
    return build(target, folder, "g++", "address,undefined", last)


def main() -> None:
    """Build and run the target that the command line names."""
    target = sys.argv[1]
    kept = Path("build/fuzz") / f"native-{target}"
    kept.mkdir(parents=True, exist_ok=True)
    program = build(
        target, Path("build/fuzz/objects"), "clang++", "address,undefined,fuzzer-no-link",
        ("-fsanitize=address,undefined,fuzzer",),
    )  # fmt: skip
    seeds = HERE / "seeds" / f"native-{target}"
    subprocess.run([program, "-max_len=2048", *sys.argv[2:], kept, seeds], check=True)


if __name__ == "__main__":
    main()
