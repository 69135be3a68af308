"""Resident memory and bytes moved.

The peak of a block is the largest of what a sampling thread saw (this process and its
descendants) and the kernel's own high-water mark, where the block moved that mark.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import psutil

from sparing.measure import clock

try:
    import resource
except ImportError:  # Windows has no getrusage
    resource = None


@dataclass(frozen=True, slots=True)
class Moved:
    """Bytes that went through read and write calls; `None` where the system does not say."""

    read_bytes: int | None
    written_bytes: int | None

    def since(self, before: Moved) -> Moved:
        """What moved between two looks."""
        return Moved(
            _less(self.read_bytes, before.read_bytes),
            _less(self.written_bytes, before.written_bytes),
        )


def _less(after: int | None, before: int | None) -> int | None:
    return None if after is None or before is None else max(0, after - before)


def resident_bytes() -> int:
    """Bytes of this process and its live descendants in memory now (shared pages twice)."""
    total = psutil.Process().memory_info().rss
    for child in clock.live_children():
        try:
            total += child.memory_info().rss
        except psutil.Error:
            continue
    return total


def own_resident_bytes() -> int:
    """Bytes of this process alone: cheap enough for every tick of a sampler."""
    return psutil.Process().memory_info().rss


def high_water_bytes() -> int | None:
    """The kernel's peak for this process since it began; `None` where there is none."""
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_of_block(sampled: int, before: int | None, after: int | None) -> int:
    """The peak of a block from samples and the high-water mark at its two ends.

    The mark never falls, so it speaks about this block only when the block raised it.
    """
    raised = after is not None and before is not None and after > before
    return max(sampled, after) if raised else sampled


def moved() -> Moved:
    """Bytes this process has read and written so far, page cache included, mapped files not."""
    try:
        counters = psutil.Process().io_counters()
    except (psutil.Error, AttributeError, OSError):
        return Moved(None, None)
    read = getattr(counters, "read_chars", counters.read_bytes)
    written = getattr(counters, "write_chars", counters.write_bytes)
    return Moved(read, written)


def ram_bytes() -> int:
    """Memory of the machine."""
    return psutil.virtual_memory().total
