"""What this machine is and what it can do: read from the system, and measured once.

`identify()` reads names and sizes (milliseconds); `probe()` adds bandwidth and matmul peak,
measured in a process of its own and kept in `$SPARING_HOME/machine.json` under the processor's
name and the number of cores.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sparing.base.errors import ArtefactError
from sparing.base.files import read_json, write_atomic
from sparing.base.home import home
from sparing.measure import memory
from sparing.measure.units import Label

PROBE_TIMEOUT_S = 60.0
"""The probe takes two or three seconds; on a machine this overloaded its figures mean nothing."""

# The flags that decide which kernels run; the rest of the list is noise.
FLAGS = (
    *("sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni"),
    *("avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)


Peaks = Callable[[int], Mapping[str, float | None]]
"""Threads to figures by the names in `PEAKS`; the kernels' room has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the system says about itself, without measuring."""

    model: str
    """Name of the processor."""

    cores: int
    """Cores this process may use: affinity and container quota, whichever is less."""

    machine_cores: int
    """Cores of the whole machine."""

    isa: tuple[str, ...]
    """The instruction-set flags that matter to our kernels."""

    cache_bytes: dict[str, int]
    """Size of one instance of each cache level of core 0, such as {"L1d": 32768}."""

    ram_bytes: int
    """Memory of the machine."""

    system: str
    """Operating system, architecture and Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The facts and the measured figures; a figure that could not be measured is None."""

    facts: Facts
    """What the system says."""

    read_bytes_per_s_1: float | None
    """Memory read bandwidth of one thread."""

    read_bytes_per_s: float | None
    """Memory read bandwidth of all cores together."""

    fp32_flops: float | None
    """Float32 matrix product, all cores, by numpy's BLAS."""

    int8_ops: float | None
    """Products of bytes with exact sums, all cores: two operations per multiply-add."""

    bf16_flops: float | None
    """Dot products of bfloat16, all cores; None where there is no instruction for them."""

    idle_watts: float | None
    """Draw at rest by the counters; None where nothing counts."""

    load_before: float | None
    """Load average when it was measured: well above 0, the figures are too low."""

    label: Label
    """measured, or unavailable when the probe could not run."""

    method: str
    """How."""

    def to_tree(self) -> dict[str, Any]:
        """As a plain dictionary."""
        return asdict(self)


@lru_cache(maxsize=1)
def identify() -> Facts:
    """Names and sizes."""
    info = _text(Path("/proc/cpuinfo"))
    flags = set(_field(info, "flags").split() or _field(info, "Features").split())
    return Facts(
        model=_field(info, "model name") or platform.processor() or platform.machine(),
        cores=usable_cores(),
        machine_cores=os.cpu_count() or 1,
        isa=tuple(flag for flag in FLAGS if flag in flags),
        cache_bytes=cache_bytes(),
        ram_bytes=memory.ram_bytes(),
        system=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _field(info: str, name: str) -> str:
    found = re.search(rf"^{name}\s*:\s*(.*)$", info, re.MULTILINE)
    return found.group(1).strip() if found else ""


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores by affinity, and by the container's quota where that is less."""
    affine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _text(cgroup / "cpu.max").split()
    if len(quota) != 2:
        old = cgroup / "cpu"
        quota = [_text(old / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    try:
        limit = -(-int(quota[0]) // int(quota[1]))
    except (ValueError, ZeroDivisionError):  # "max", absent
        limit = 0
    return max(1, min(affine or 1, limit) if limit > 0 else affine or 1)


def cache_bytes(root: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> dict[str, int]:
    """Cache sizes as core 0 sees them; empty where the system does not say."""
    sizes: dict[str, int] = {}
    for index in sorted(root.glob("index*")):
        level, kind = _text(index / "level").strip(), _text(index / "type").strip()
        size = re.fullmatch(r"(\d+)([KM])", _text(index / "size").strip())
        if level and size:
            letter = {"Data": "d", "Instruction": "i"}.get(kind, "")
            sizes[f"L{level}{letter}"] = int(size[1]) << (10 if size[2] == "K" else 20)
    return sizes


def probe(*, cache: bool = True, peaks: Peaks | None = None) -> Machine:
    """The machine with its measured figures; from the cache when it knows this processor.

    `peaks` measures the integer and bfloat16 figures on so many threads; without it they come
    from the cache or are None.
    """
    facts = identify()
    key = f"{facts.model} x {facts.cores}"
    path = home() / "machine.json"
    kept = _kept(path)
    found = kept.get(key) if cache else None
    figures = found or _measure(facts.cores)
    if figures is not None and peaks is not None and (found is None or _without_peaks(found)):
        figures = figures | dict(peaks(facts.cores))
    if figures is not None and figures != found:
        _keep(path, kept | {key: figures})
    return _machine(facts, figures)


def _without_peaks(figures: dict[str, Any]) -> bool:
    return all(figures[name] is None for name in PEAKS)


def idle_watts() -> float | None:
    """The draw at rest from the cache, without measuring anything now."""
    facts = identify()
    figures = _kept(home() / "machine.json").get(f"{facts.model} x {facts.cores}")
    return figures["idle_watts"] if figures else None


def _machine(facts: Facts, figures: dict[str, Any] | None) -> Machine:
    label: Label = "measured" if figures else "unavailable"
    method = (
        "float32 array read, numpy matrix product and loops of single instructions, best of repeats"
        if figures
        else "the probe could not run"
    )
    return Machine(
        facts=facts,
        **{name: (figures or {}).get(name) for name in FIGURES},
        label=label,
        method=method,
    )


PEAKS = ("int8_ops", "bf16_flops")
FIGURES = (
    *("read_bytes_per_s_1", "read_bytes_per_s", "fp32_flops"),
    *("idle_watts", "load_before", *PEAKS),
)


def _measure(cores: int) -> dict[str, Any] | None:
    source = str(Path(__file__).resolve().parents[2])
    old = os.environ.get("PYTHONPATH")
    threads = {"OMP_NUM_THREADS": str(cores), "OPENBLAS_NUM_THREADS": str(cores)}
    paths = os.pathsep.join(filter(None, (source, old)))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sparing.measure.probe", str(cores)],
            env=os.environ | threads | {"PYTHONPATH": paths},
            capture_output=True,
            timeout=PROBE_TIMEOUT_S,
            check=True,
        )
        figures = dict.fromkeys(PEAKS) | json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return figures if _valid(figures) else None


def _valid(figures: Any) -> bool:
    if not isinstance(figures, dict) or set(figures) != set(FIGURES):
        return False
    numbers = [figures[name] for name in FIGURES[:3]]
    rest = [figures[name] for name in FIGURES[3:]]
    return all(isinstance(x, float) and x > 0 for x in numbers) and all(
        x is None or isinstance(x, (int, float)) for x in rest
    )


def _kept(path: Path) -> dict[str, Any]:
    """The cache; a damaged one is measured anew, not an error."""
    try:
        kept = read_json(path)
    except ArtefactError:
        return {}
    if not isinstance(kept, dict):
        return {}
    return {key: figures for key, figures in kept.items() if _valid(figures)}


def _keep(path: Path, kept: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(kept, indent=1, sort_keys=True) + "\n")
    except OSError:
        return  # a read-only home costs a probe per run, nothing else
