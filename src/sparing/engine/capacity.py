"""How many tokens the KV cache may hold on this machine, now."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from sparing.base.errors import CapacityError, require
from sparing.engine.config import EngineConfig


@dataclass(frozen=True, slots=True)
class Fitted:
    """A configuration without open ends, and how it came about."""

    config: EngineConfig
    """`max_model_len` and `kv_cache_tokens` are numbers here."""
    reason: str


def fit(
    config: EngineConfig, *, context: int, kv_token_bytes: int, free_bytes: int | None
) -> Fitted:
    """Resolve the cache's size against the model's context and the free memory.

    Automatic: room for `max_num_seqs` answers of full length, but at most `kv_cache_share` of
    the free memory; a context that does not fit in that is shortened.

    Errors: CapacityError, with the numbers, when what was asked for by name does not fit.
    """
    block = config.block_tokens
    asked = config.max_model_len
    require(asked is None or asked <= context, "max_model_len",
            f"at most the model's context of {context}", asked)  # fmt: skip
    length = context if asked is None else asked
    wanted = config.max_num_seqs * _up(length, block)
    if config.kv_cache_tokens is not None:
        tokens, why = _up(config.kv_cache_tokens, block), "as asked"
        if free_bytes is not None and tokens * kv_token_bytes > free_bytes:
            raise CapacityError(
                f"kv_cache_tokens: {tokens} tokens take {tokens * kv_token_bytes} bytes; "
                f"{free_bytes} are free"
            )
    else:
        tokens, why = wanted, f"{config.max_num_seqs} answers of {length} tokens"
        if free_bytes is not None:
            most = int(free_bytes * config.kv_cache_share) // kv_token_bytes // block * block
            if most < tokens:
                tokens = most
                why = f"{config.kv_cache_share:.0%} of {free_bytes >> 20} MiB free memory"
    if tokens < length:
        if asked is not None or tokens < block:
            raise CapacityError(
                f"max_model_len: {length} tokens do not fit in a KV cache of {tokens} "
                f"({why}, {kv_token_bytes} bytes a token)"
            )
        length, why = tokens, f"{why}; the context is cut from {length} to {tokens}"
    resolved = replace(config, max_model_len=length, kv_cache_tokens=tokens)
    return Fitted(resolved, f"KV cache of {tokens} tokens, {tokens * kv_token_bytes} bytes: {why}")


def free_memory_bytes(
    meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Memory this process may still take; None where the system does not say.

    The smaller of the machine's (`MemAvailable`) and the control group's.
    """
    found = [value for value in (_available(meminfo), _group_left(cgroup)) if value is not None]
    if found:
        return max(min(found), 0)
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def _available(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def _group_left(cgroup: Path) -> int | None:
    """Limit less use of a version 2 control group; page cache that can go counts as free."""
    try:
        limit = int((cgroup / "memory.max").read_text())  # "max" is no number: no limit
        used = int((cgroup / "memory.current").read_text())
        pairs = (line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        cached = next((int(value) for name, value in pairs if name == "inactive_file"), 0)
        return limit - used + cached
    except (OSError, ValueError):
        return None


def _up(tokens: int, block: int) -> int:
    return -(-tokens // block) * block
