"""Attention against torch's, in turns: whole prompts, and one token over a long cache.

    .venv/bin/python benchmarks/attention.py [--threads 2] [--repeats 9]

Shapes are of the 0.5B model (14 heads in 2 groups of 64) and of 12 heads without groups. torch
gets contiguous float32 in its own layout, ours reads shuffled blocks; "plain" makes all scores.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from common import median_spread, row, write
from sparing.kernels.attention import KV_DTYPES, PagedAttention, Rule
from sparing.measure.machine import probe

K = 64
LONG = 16384
Call = Callable[[], object]


def in_turns(calls: dict[str, Call], repeats: int) -> dict[str, dict[str, float]]:
    """Seconds of each call: median, least and most; one after the other in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            begun = time.perf_counter()
            call()
            if turn:  # the first round warms up
                seconds[name].append(time.perf_counter() - begun)
    return {name: median_spread(values) for name, values in seconds.items()}


def paged(S: int, H: int, G: int, T: int, kv_dtype: str, threads: int) -> tuple[Call, Any, int]:
    """Our call for the last T of S positions, its inputs, and the bytes it reads."""
    rng = np.random.default_rng(0)
    blocks = -(-S // 16)
    cache = PagedAttention(
        kv_dtype=kv_dtype, kv_heads=G, head_width=K, blocks=blocks, threads=threads
    )
    k, v = (rng.standard_normal((S, G, K)).astype(np.float32) for _ in range(2))
    q = rng.standard_normal((T, H, K)).astype(np.float32)
    table = rng.permutation(blocks).astype(np.int32)
    cache.write(table, 0, k, v)
    rule, positions = Rule(scale=K**-0.5), np.arange(S - T, S)
    call = lambda: cache.attend(q, rule, positions_N=positions, blocks_RP=table[None])  # noqa: E731
    return call, (q, k, v), cache.token_bytes * S


def torch_calls(arrays: Any, dtype: torch.dtype = torch.float32) -> dict[str, Call]:
    """torch's fused attention and the plain definition, on [1, heads, positions, K]."""
    q, k, v = (torch.from_numpy(x).to(dtype).transpose(0, 1)[None].contiguous() for x in arrays)
    T, S, R = q.shape[2], k.shape[2], q.shape[1] // k.shape[1]
    future = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1) if T > 1 else None

    def fused() -> object:
        with torch.inference_mode():
            return torch.nn.functional.scaled_dot_product_attention(
                q, k, v, is_causal=T > 1, enable_gqa=R > 1
            )

    def plain() -> object:
        with torch.inference_mode():
            score = q.unflatten(1, (-1, R)) @ k[:, :, None].transpose(-1, -2) * K**-0.5
            if future is not None:
                score.masked_fill_(future, -torch.inf)
            return score.softmax(-1) @ v[:, :, None]

    return {"torch": fused, "plain": plain}


def prompts(threads: int, repeats: int) -> list[dict[str, Any]]:
    figures = []
    for H, G in ((14, 2), (12, 12)):
        for S in (512, 2048):
            ours, arrays, _ = paged(S, H, G, S, "fp32", threads)
            seconds = in_turns({"ours": ours, **torch_calls(arrays)}, repeats)
            best = seconds["ours"]["median"]
            note = f"{2 * 2 * S * S / 2 * H * K / best / 1e9:.1f} GFLOP/s; {best * 1e3:.1f} ms"
            for name, goal in (("torch", 0.9), ("plain", 1.5 if S >= 2048 else 1.0)):
                ratio = seconds[name]["median"] / best
                figures.append(
                    row(f"prompt of {S}, {H} heads in {G}: times {name}", ratio, "x",
                        f">= {goal}", ratio >= goal, note)
                )  # fmt: skip
    return figures


def decodes(threads: int, repeats: int, read_bytes_per_s: float) -> list[dict[str, Any]]:
    figures = []
    for H, G in ((14, 2), (8, 8)):
        calls: dict[str, Call] = {}
        size = {}
        for kv_dtype in KV_DTYPES:
            calls[kv_dtype], arrays, size[kv_dtype] = paged(LONG, H, G, 1, kv_dtype, threads)
            if kv_dtype == "fp32":
                calls["torch"] = torch_calls(arrays)["torch"]
                calls["torch bf16"] = torch_calls(arrays, torch.bfloat16)["torch"]
        seconds = in_turns(calls, repeats)
        for kv_dtype in KV_DTYPES:
            spent = seconds[kv_dtype]["median"]
            share = size[kv_dtype] / spent / read_bytes_per_s
            peer = "torch bf16" if kv_dtype == "bf16" else "torch"
            ratio = seconds[peer]["median"] / spent
            figures.append(
                row(f"one token over {LONG}, {H} heads in {G}, {kv_dtype}: times {peer}", ratio,
                    "x", ">= 1.3", ratio >= 1.3,
                    f"{spent * 1e3:.2f} ms a layer, {size[kv_dtype] / 1e6:.1f} MB, "
                    f"{share:.0%} of read bandwidth, "
                    f"{2 * 2 * LONG * H * K / spent / 1e9:.1f} GFLOP/s")
            )  # fmt: skip
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    limit = probe(cache=False).read_bytes_per_s
    figures = prompts(options.threads, options.repeats)
    figures += decodes(options.threads, options.repeats, limit)
    print(write("attention", figures, ["torch", "numpy", "sparing"]))


if __name__ == "__main__":
    main()
