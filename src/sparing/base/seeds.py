"""Named, independent random streams from one seed.

A stream is found by its name, never by how many numbers were drawn before, so a stage can be
stopped and resumed anywhere.  Source: Salmon et al. 2011, "Parallel random numbers: as easy as
1, 2, 3" (Philox, as numpy implements it), keyed by SHA-256 of the names.
"""

import hashlib

import numpy as np


def _digest(seed: int, names: tuple[object, ...]) -> bytes:
    parts = [str(part).encode() for part in (seed, *names)]
    framed = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    return hashlib.sha256(framed).digest()


def derive(seed: int, *names: object) -> int:
    """A 63-bit seed for another library, a pure function of the seed and the names."""
    return int.from_bytes(_digest(seed, names)[:8], "little") >> 1


def stream(seed: int, *names: object) -> np.random.Generator:
    """The generator of this name; equal arguments give equal numbers on every machine."""
    return np.random.Generator(np.random.Philox(key=_key(seed, names)))


def _key(seed: int, names: tuple[object, ...]) -> int:
    return int.from_bytes(_digest(seed, names)[:16], "little")
