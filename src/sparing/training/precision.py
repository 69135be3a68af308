"""Which arithmetic a run uses, and why."""

from dataclasses import dataclass
from pathlib import Path

import torch

from sparing.base.errors import ConfigError

CPU_BF16 = ("avx512_bf16", "amx_bf16")
"""Flags of /proc/cpuinfo under which bf16 products run in hardware; elsewhere they are emulated."""


@dataclass(frozen=True, slots=True)
class Precision:
    """The resolved choice."""

    device: torch.device
    """Where to compute."""
    bf16: bool
    """Whether matrix products take bf16 inputs; weights and their optimiser stay float32."""
    reason: str
    """One clause for the log."""

    def autocast(self) -> torch.autocast:
        """The context in which forward passes run."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)


def resolve(precision: str, device: str, *, flags: frozenset[str] | None = None) -> Precision:
    """Turn 'auto' into a choice with its reason.

    `flags` are the CPU's feature flags; None reads this machine's.
    Errors: ConfigError for a GPU that is not there.
    """
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise ConfigError("device: expected a machine with a CUDA GPU, found none; use device=cpu")
    where = torch.device("cuda" if has_gpu and device != "cpu" else "cpu")
    if precision != "auto":
        return Precision(where, precision == "bf16", "as asked")
    if where.type == "cuda":
        fits = torch.cuda.is_bf16_supported(including_emulation=False)
        return Precision(where, fits, "the GPU has bf16" if fits else "the GPU has no bf16")
    found = (cpu_flags() if flags is None else flags) & frozenset(CPU_BF16)
    if found:
        return Precision(where, True, f"the CPU has {', '.join(sorted(found))}")
    return Precision(where, False, f"the CPU has none of {', '.join(CPU_BF16)}")


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Feature flags of the first core; empty where the system does not tell."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(flags.partition(":")[2].split())
