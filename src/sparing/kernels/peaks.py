"""What this machine can do at most, measured with loops that compute nothing else.

The roof of real work is the larger of its bytes over the read bandwidth and its operations over
the peak of their kind. Both move with what else the machine does, so measure them beside the work.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np

from sparing.kernels import native

READ_BYTES = 256 << 20
"""Read per pass: many times the last-level cache that two cores share."""

KINDS = ("fp32", "bf16", "int8", "int4")
_LINE = 512  # the bytes that one round of the read loop takes
_FIRST_ROUNDS = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Rates of all threads together; None where the instruction set has no such loop."""

    read_bytes_per_s: float
    """Memory read bandwidth."""
    fp32_flops: float | None
    """Fused multiply-adds of float32."""
    bf16_flops: float | None
    """Dot products of bfloat16 pairs."""
    int8_ops: float | None
    """u8 x s8 with exact 32-bit sums: vpdpbusd, or on AVX2 vpmaddubsw, vpmaddwd and vpaddd."""
    int4_ops: float | None
    """As int8 where one operand has 4 bits: on AVX2 eight products are summed in 16 bits first."""

    def tree(self) -> dict[str, float | None]:
        """As plain JSON values."""
        return asdict(self)


class Probe:
    """Measures the limits again and again, each look some tens of milliseconds long.

    Holds `READ_BYTES` of memory; its threads sleep between looks.
    """

    def __init__(
        self, threads: int, *, isa: str | None = None, read_bytes: int = READ_BYTES
    ) -> None:
        self.threads, self.isa = threads, isa or native.isa()
        self._pool = ThreadPoolExecutor(threads)
        self._parts = _parts(read_bytes, threads)
        self._rounds: dict[str, int] = {}

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def limits(self, *, seconds: float = 0.04) -> Limits:
        """All of them now, each kind for about `seconds`."""
        rates = {kind: self._operations_per_s(kind, seconds) for kind in KINDS}
        return Limits(
            read_bytes_per_s=self.read_bytes_per_s(),
            fp32_flops=rates["fp32"],
            bf16_flops=rates["bf16"],
            int8_ops=rates["int8"],
            int4_ops=rates["int4"],
        )

    def read_bytes_per_s(self) -> float:
        """Bandwidth of one pass over the buffer by all threads."""
        read = native.library().read
        seconds = self._together(lambda index: read(self.isa, self._parts[index]))
        return sum(part.nbytes for part in self._parts) / seconds

    def _operations_per_s(self, kind: str, seconds: float) -> float | None:
        peak = native.library().peak
        rounds = self._rounds.get(kind, _FIRST_ROUNDS)
        while True:
            done = [0] * self.threads

            def work(index: int, rounds: int = rounds, done: list[int] = done) -> None:
                done[index] = peak(self.isa, kind, rounds)

            elapsed = self._together(work)
            if not sum(done):
                return None
            if elapsed >= seconds / 2:
                self._rounds[kind] = rounds
                return sum(done) / elapsed
            rounds *= 2

    def _together(self, work) -> float:
        """Seconds from the common start of all threads to the end of the last."""
        begun: list[float] = []
        start = threading.Barrier(self.threads, action=lambda: begun.append(time.perf_counter()))

        def run(index: int) -> float:
            start.wait()
            work(index)
            return time.perf_counter()

        running = [self._pool.submit(run, index) for index in range(self.threads)]
        return max(each.result() for each in running) - begun[0]


def _parts(read_bytes: int, threads: int) -> list[np.ndarray]:
    """One aligned stretch of a written buffer for each thread."""
    share = max(read_bytes // threads // _LINE, 1) * _LINE
    buffer = np.ones(share * threads + 64, np.uint8)
    begin = -buffer.ctypes.data % 64
    return [buffer[begin + index * share :][:share] for index in range(threads)]


def best(threads: int, *, looks: int = 7, seconds: float = 0.04) -> Limits:
    """The best of several looks: other work on the machine only slows."""
    probe = Probe(threads)
    try:
        seen = [probe.limits(seconds=seconds).tree() for _ in range(looks)]
    finally:
        probe.close()
    return Limits(**{name: _most([look[name] for look in seen]) for name in seen[0]})  # type: ignore[arg-type]


def _most(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else None
