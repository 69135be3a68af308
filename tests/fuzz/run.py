"""Fuzz one reader under atheris: `python -m tests.fuzz.run TARGET [libFuzzer options]`.

New inputs that reach new code are kept in build/fuzz/TARGET; an input that breaks a target is
written to crash-* and belongs among the seeds, with the fix.
"""

import random
import resource
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["sparing"]):
    from tests.fuzz.targets import TARGETS  # what is imported in here is watched
from tests.fuzz.mutate import changed

SEEDS = Path(__file__).parent / "seeds"
MEMORY = 4 << 30  # bytes; a reader that believes a lying length runs into it


def main() -> None:
    """Run the target that the command line names, over its seeds and what was found before."""
    name = sys.argv[1]
    kept = Path("build/fuzz") / name
    kept.mkdir(parents=True, exist_ok=True)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        draw = random.Random(seed)
        if draw.randrange(2):
            return atheris.Mutate(data, most)
        return changed(name, data, draw)[:most]

    folders = [str(kept), str(SEEDS / name)]
    options = [sys.argv[0], "-max_len=16384", "-timeout=10", *sys.argv[2:], *folders]
    atheris.Setup(options, TARGETS[name], custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
