"""The loops that measure the machine: they count what they do and read what they say."""

import itertools

import numpy as np
import pytest

from sparing.kernels import native, peaks
from sparing.kernels.peaks import KINDS, Limits, Probe

ISAS = native.library().isas()
FALLBACKS = {"reference": {"fp32"}, "avx2": {"fp32", "int8", "int4"}}


@pytest.mark.parametrize("isa", ISAS)
def test_operations_are_proportional_to_rounds(isa: str) -> None:
    peak = native.library().peak
    for kind in KINDS:
        one = peak(isa, kind, 1)
        assert peak(isa, kind, 1000) == 1000 * one
        assert peak(isa, kind, 0) == 0
        if isa in FALLBACKS:
            assert (one > 0) == (kind in FALLBACKS[isa]), (isa, kind)


@pytest.mark.parametrize("isa", ISAS)
def test_every_byte_is_read(isa: str) -> None:
    """The result is the bitwise or of what was read: a bit anywhere shows in it."""
    buffer = np.zeros(4096 + 64, np.uint8)
    data = buffer[-buffer.ctypes.data % 64 :][:4096]
    read = native.library().read
    assert read(isa, data) == 0
    for at in range(0, 4096, 61):
        data[at] = 1
        seen = read(isa, data)
        # the wider sets fold their lanes into the lowest one only in part
        if at % 64 < 8:
            assert seen != 0, at
        data[at] = 0


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: native.library().peak("reference", "fp7", 1), "fp7"),
        (lambda: native.library().peak("reference", "fp32", -1), "rounds"),
        (lambda: native.library().peak("none", "fp32", 1), "none"),
        (lambda: native.library().read("reference", np.zeros(100, np.uint8)), "512"),
    ],
)
def test_nonsense_is_refused(call, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()


def test_a_look_at_the_machine() -> None:
    probe = Probe(2, read_bytes=1 << 20)
    try:
        seen = probe.limits(seconds=0.002)
    finally:
        probe.close()
    assert 1e7 < seen.read_bytes_per_s < 1e14
    assert seen.fp32_flops is not None
    assert 1e7 < seen.fp32_flops < 1e15
    for rate in (seen.bf16_flops, seen.int8_ops, seen.int4_ops):
        assert rate is None or 1e7 < rate < 1e16


def test_rates_are_of_all_threads_from_a_common_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that says 0 at the start and 2 at the end of each thread, a pass takes two."""

    class Fake:
        def read(self, isa: str, data: np.ndarray) -> int:
            return 0

        def peak(self, isa: str, kind: str, rounds: int) -> int:
            return 0 if kind == "bf16" else 10 * rounds

    looks = itertools.count()
    monkeypatch.setattr(peaks.native, "library", Fake)
    monkeypatch.setattr(peaks.time, "perf_counter", lambda: 2.0 if next(looks) % 4 else 0.0)
    probe = Probe(3, isa="reference", read_bytes=3 << 20)
    try:
        seen = probe.limits(seconds=4.0)
    finally:
        probe.close()
    assert seen.read_bytes_per_s == (3 << 20) / 2
    assert seen.fp32_flops == 3 * 10 * peaks._FIRST_ROUNDS / 2
    assert seen.bf16_flops is None


def test_the_best_of_several_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([3.0, 9.0, 5.0])

    def limits(self: Probe, *, seconds: float) -> Limits:
        rate = next(looks)
        return Limits(
            read_bytes_per_s=rate,
            fp32_flops=rate,
            bf16_flops=None,
            int8_ops=10 - rate,
            int4_ops=rate,
        )

    monkeypatch.setattr(Probe, "limits", limits)
    best = peaks.best(1, looks=3)
    assert (best.read_bytes_per_s, best.int8_ops, best.bf16_flops) == (9.0, 7.0, None)
