"""The measuring program: read bandwidth, float32 matmul peak and idle power of this machine.

Runs in its own process (`python -m sparing.measure.probe CORES`), so that its arrays and threads do
not touch the caller, and prints one JSON object.  It takes about two seconds.

Numerics: the best of several repeats counts, since other work on the machine only slows.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from sparing.measure import energy

ARRAY_BYTES = 256 << 20
"""Read per pass; many times the last-level cache of a desktop, several of a server's share."""

MATRIX = 1536
"""Side of the square matrices: 7.2 GFLOP per product, 28 MB for the three."""

IDLE_S = 0.5
"""How long the machine is watched at rest."""


def read_bytes_per_s(
    threads: int, *, array_bytes: int = ARRAY_BYTES, budget_s: float = 0.7
) -> float:
    """Bytes per second that `threads` read while they add up a large float32 array."""
    array = np.ones(array_bytes // 4, dtype=np.float32)
    parts = np.array_split(array, threads)
    best, end = 0.0, time.perf_counter() + budget_s
    with ThreadPoolExecutor(threads) as pool:
        while True:
            begun = time.perf_counter()
            list(pool.map(np.max, parts))  # max is vectorised and reads each byte once
            best = max(best, array.nbytes / (time.perf_counter() - begun))
            if time.perf_counter() > end:
                return best


def fp32_flops(side: int = MATRIX, *, budget_s: float = 0.8) -> float:
    """Floating-point operations per second of numpy's float32 matrix product, all threads."""
    left = np.full((side, side), 0.5, dtype=np.float32)
    right = np.full((side, side), 0.25, dtype=np.float32)
    out = np.empty_like(left)
    best, end = 0.0, time.perf_counter() + budget_s
    while True:
        begun = time.perf_counter()
        np.matmul(left, right, out=out)
        best = max(best, 2.0 * side**3 / (time.perf_counter() - begun))
        if time.perf_counter() > end:
            return best


def idle_watts(root: Path = energy.POWERCAP, *, seconds: float = IDLE_S) -> float | None:
    """Watts the counters see while this process sleeps; None without counters."""
    counters, _ = energy.rapl_counters(root)
    if not counters:
        return None
    before = sum(counter.total() for counter in counters)
    begun = time.perf_counter()
    time.sleep(seconds)
    used = sum(counter.total() for counter in counters) - before
    return used / (time.perf_counter() - begun)


def main(cores: int) -> dict[str, float | None]:
    """All figures of this machine."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    resting = idle_watts()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "idle_watts": resting,
        "read_bytes_per_s_1": read_bytes_per_s(1),
        "read_bytes_per_s": read_bytes_per_s(cores),
        "fp32_flops": fp32_flops(),
        "load_before": load,
    }


if __name__ == "__main__":
    os.write(1, json.dumps(main(int(sys.argv[1]))).encode())
