"""Wall and processor seconds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import psutil

Clock = Callable[[], float]
"""Seconds from a fixed but unknown start; a test passes its own."""

wall: Clock = time.perf_counter
"""Monotonic seconds."""

unix: Clock = time.time
"""Seconds since 1970, for people."""


def live_children() -> list[psutil.Process]:
    """Descendants that run now; empty where the system does not say."""
    try:
        return psutil.Process().children(recursive=True)
    except psutil.Error:
        return []


def cpu_seconds() -> float:
    """User and system seconds of this process, its finished children and its live descendants.

    A child that ends in between moves from the live sum to the finished one, so differences of
    this function count it once (when it is waited for, as subprocess and multiprocessing do).
    """
    own = os.times()
    total = own.user + own.system + own.children_user + own.children_system
    for child in live_children():
        try:
            used = child.cpu_times()
        except psutil.Error:
            continue
        total += used.user + used.system + used.children_user + used.children_system
    return total
