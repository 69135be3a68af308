"""A sequence's logits have the same bits alone and in any company, split and number of threads."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparing.engine.executor import Batch
from sparing.engine.native_executor import NativeExecutor
from sparing.kernels import native
from sparing.kernels.formats import BFloat16, Float32, Int4, Int8, pack_int4, to_bfloat16
from sparing.models.config import DecoderConfig
from sparing.models.folder import ModelFolder
from sparing.models.names import shapes

KINDS = ("fp32", "bf16", "int8", "int4")
CONFIG = DecoderConfig(
    vocab=53, width=48, layers=2, heads=6, kv_heads=2, head_width=12, hidden=64, context=128,
    qk_norm="head", tied=True,
)  # fmt: skip


@cache
def folder(kind: str) -> ModelFolder:
    rng = np.random.default_rng(0)
    weights: dict[str, Float32 | BFloat16 | Int8 | Int4] = {}
    for name, shape in shapes(CONFIG).items():
        numbers = (rng.standard_normal(shape) * 0.3).astype(np.float32)
        codes = rng.integers(-8, 8, shape).astype(np.int8)
        scale_ZJ = rng.uniform(0.01, 0.1, (shape[0], 2)).astype(np.float32)
        if len(shape) == 1 or kind == "fp32":
            weights[name] = Float32(numbers)
        elif kind == "bf16":
            weights[name] = BFloat16(to_bfloat16(numbers))
        elif kind == "int8":
            weights[name] = Int8(codes * np.int8(15), scale_ZJ)
        else:
            weights[name] = Int4(pack_int4(codes), scale_ZJ)
    return ModelFolder(Path("."), CONFIG, "llama", weights, ())


@cache
def alone(kind: str, isa: str, kv_dtype: str) -> NativeExecutor:
    """One thread, one block that holds everything."""
    return NativeExecutor(
        folder(kind), kv_tokens=128, block_tokens=128, threads=1, kv_dtype=kv_dtype
    )


@cache
def shared(kind: str, isa: str, kv_dtype: str, block_tokens: int, threads: int) -> NativeExecutor:
    return NativeExecutor(
        folder(kind), kv_tokens=600, block_tokens=block_tokens, threads=threads, kv_dtype=kv_dtype
    )  # fmt: skip


@pytest.fixture(params=native.library().isas())
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("SPARING_ISA", request.param)
    native.chosen.cache_clear()
    yield request.param
    native.chosen.cache_clear()


@dataclass(slots=True)
class Sequence:
    """What is left to compute of one sequence, and what came out."""

    ids: list[int]
    blocks: list[int]
    done: int = 0
    logits: list[np.ndarray] = field(default_factory=list)


def step(executor: NativeExecutor, parts: list[tuple[Sequence, int]]) -> None:
    """One forward call of some next tokens of each sequence; logits of every row, last first."""
    ids, positions, starts = [], [], [0]
    for sequence, count in parts:
        ids += sequence.ids[sequence.done : sequence.done + count]
        positions += range(sequence.done, sequence.done + count)
        starts.append(len(ids))
    columns = max(len(sequence.blocks) for sequence, _ in parts)
    blocks_RP = np.full((len(parts), columns), -1, np.int32)
    for r, (sequence, _) in enumerate(parts):
        blocks_RP[r, : len(sequence.blocks)] = sequence.blocks
    rows_L = np.arange(len(ids), dtype=np.int32)[::-1].copy()
    out_LV = executor.forward(
        Batch(
            np.array(ids, np.int32),
            np.array(positions, np.int32),
            np.array(starts, np.int32),
            blocks_RP,
            rows_L,
        )
    )[::-1]
    for r, (sequence, count) in enumerate(parts):
        sequence.logits.append(out_LV[starts[r] : starts[r + 1]])
        sequence.done += count


@pytest.mark.parametrize("kind", KINDS)
def test_company_splits_blocks_and_threads_change_no_bit(kind: str, isa: str) -> None:
    @settings(max_examples=12, deadline=None, derandomize=True)
    @given(
        lengths=st.lists(st.integers(1, 70), min_size=1, max_size=5),
        seed=st.integers(0, 2**32 - 1),
        most=st.sampled_from([1, 2, 5, 16, 70]),
        block_tokens=st.sampled_from([1, 3, 16]),
        threads=st.sampled_from([1, 2, 3]),
        kv_dtype=st.sampled_from(["fp32", "bf16", "int8", "int4"]),
    )
    def check(
        lengths: list[int], seed: int, most: int, block_tokens: int, threads: int, kv_dtype: str
    ) -> None:
        rng = np.random.default_rng(seed)
        executor = shared(kind, isa, kv_dtype, block_tokens, threads)
        free = rng.permutation(executor.blocks).tolist()
        sequences = [
            Sequence(
                rng.integers(0, CONFIG.vocab, length).tolist(),
                [free.pop() for _ in range(-(-length // block_tokens))],
            )
            for length in lengths
        ]
        while waiting := [s for s in sequences if s.done < len(s.ids)]:
            some = [s for s in waiting if rng.random() < 0.7] or waiting[:1]
            parts = [(s, int(rng.integers(1, most + 1))) for s in some]
            step(executor, [(s, min(n, len(s.ids) - s.done)) for s, n in parts])
        for sequence in sequences:
            want = alone(kind, isa, kv_dtype).logits(sequence.ids)
            np.testing.assert_array_equal(np.concatenate(sequence.logits), want)

    check()


def test_many_calls_from_many_threads_do_not_mix(isa: str) -> None:
    """Calls take turns inside; each writes only its own blocks."""
    from concurrent.futures import ThreadPoolExecutor

    executor = shared("fp32", isa, "fp32", 16, 2)
    texts = [[(7 * i + j) % CONFIG.vocab for j in range(20)] for i in range(8)]

    def run(i: int) -> np.ndarray:
        sequence = Sequence(texts[i], [2 * i, 2 * i + 1])
        for _ in range(20):
            step(executor, [(sequence, 1)])
        return np.concatenate(sequence.logits)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, range(8)))
    for text, got in zip(texts, results, strict=True):
        np.testing.assert_array_equal(got, alone("fp32", isa, "fp32").logits(text))
