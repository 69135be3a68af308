"""The roof by hand."""

import pytest

from sparing.bench import roof
from sparing.bench.cells import Cell
from sparing.bench.roof import Work
from sparing.models.config import DecoderConfig

LIMITS = {
    "read_bytes_per_s": 10.0,
    "fp32_flops": 100.0,
    "bf16_flops": None,
    "int8_ops": 200.0,
    "int4_ops": 400.0,
}
WORK = Work(block_macs=90, head_macs=10)


def test_work_of_a_model() -> None:
    config = DecoderConfig(
        vocab=11, width=8, layers=2, heads=2, kv_heads=1, head_width=4, hidden=16, context=32
    )
    per_block = 8 * (8 + 2 * 4) + 8 * 8 + 3 * 8 * 16
    assert Work.of(config) == Work(block_macs=2 * per_block, head_macs=88)


def test_few_rows_are_bound_by_bytes_and_many_by_operations() -> None:
    one, many = Cell(kind="decode"), Cell(kind="decode", streams=16)
    assert roof.seconds(one, WORK, moved=30, width="int8", limits=LIMITS) == 3.0
    assert roof.seconds(many, WORK, moved=30, width="int8", limits=LIMITS) == 2 * 16 * 100 / 200
    assert roof.seconds(many, WORK, moved=30, width="int4", limits=LIMITS) == 2 * 16 * 100 / 400


def test_a_head_of_another_width_has_a_peak_of_its_own() -> None:
    cell = Cell(kind="decode", streams=16)
    took = roof.seconds(cell, WORK, moved=1, width="int4", head="int8", limits=LIMITS)
    assert took == 2 * 16 * 90 / 400 + 2 * 16 * 10 / 200


def test_a_width_without_instructions_of_its_own_is_float_work() -> None:
    many = Cell(kind="decode", streams=16)
    for width in ("bf16", "fp32"):
        assert roof.seconds(many, WORK, moved=30, width=width, limits=LIMITS) == 32.0


def test_a_prompt_needs_the_head_once() -> None:
    cell = Cell(kind="prefill", prompt=50)
    assert WORK.operations(cell) == (2 * 50 * 90, 2 * 10)
    took = roof.seconds(cell, WORK, moved=30, width="int8", limits=LIMITS)
    assert roof.figure(cell, took) == pytest.approx(50 / (2 * 4510 / 200))
    first = Cell(kind="first_token", prompt=50)
    assert roof.figure(first, 2.0) == 2000.0
    assert roof.figure(Cell(kind="decode", streams=4), 2.0) == 2.0


def test_the_cache_counts_where_it_is_long() -> None:
    short, long = Cell(kind="decode", streams=2), Cell(kind="decode", streams=2, prompt=5000)
    assert roof.bytes_of(short, weight_bytes=7, kv_token_bytes=3) == 7
    mean = 5000 + (long.room - 5000) / 2
    assert roof.bytes_of(long, weight_bytes=7, kv_token_bytes=3) == 7 + 2 * mean * 3
