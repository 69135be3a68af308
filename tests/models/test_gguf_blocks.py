"""Blocks of every kind against the gguf package's own arithmetic."""

import gguf
import numpy as np
import pytest

from sparing.base.errors import ArtefactError
from sparing.base.gguf import BLOCKS
from sparing.models import gguf_blocks
from sparing.models.gguf_blocks import read_blocks

# Where each kind keeps its float16 numbers.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}  # fmt: skip


def random_rows(kind: str, rows: int, blocks: int, seed: int = 0) -> np.ndarray:
    """Random bytes with sane scales."""
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 256, (rows, blocks, BLOCKS[kind][2]), dtype=np.uint8)
    for at in HALVES[kind]:
        halves = rng.normal(size=(rows, blocks)).astype("<f2")
        raw[:, :, at : at + 2] = halves.view(np.uint8).reshape(rows, blocks, 2)
    return raw.reshape(rows, -1)


@pytest.mark.parametrize("kind", HALVES)
def test_numbers_are_those_of_the_package(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_blocks, "CHUNK_WEIGHTS", 1024)  # several chunks, the last one short
    number, weights, _ = BLOCKS[kind]
    raw = random_rows(kind, 7, 3)
    record = read_blocks(raw, kind, (7, 3 * weights), "t")
    wanted = gguf.dequantize(raw, gguf.GGMLQuantizationType(number))
    assert record.shape == wanted.shape
    bound = 1e-6 * np.abs(wanted).max() if kind == "Q4_K" else 0.0  # one more rounding there
    assert np.abs(record.dequantise() - wanted).max() <= bound


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
def test_plain_numbers(kind: str) -> None:
    values = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    theirs = gguf.quantize(values, gguf.GGMLQuantizationType[kind])
    raw = np.ascontiguousarray(theirs).view(np.uint8)
    wanted = gguf.dequantize(raw, gguf.GGMLQuantizationType[kind])
    assert np.array_equal(read_blocks(raw, kind, (3, 5), "t").dequantise(), wanted)
    odd = np.frombuffer(b"\0" + raw.tobytes(), dtype=np.uint8)[1:].reshape(raw.shape)
    assert np.array_equal(read_blocks(odd, kind, (3, 5), "t").dequantise(), wanted)


@pytest.mark.parametrize("kind", HALVES)
def test_scales_that_are_no_numbers_are_refused(kind: str) -> None:
    for at in HALVES[kind]:
        raw = random_rows(kind, 2, 1)
        raw[1, at : at + 2] = (0x00, 0x7E)  # NaN
        with pytest.raises(ArtefactError, match="t: holds NaN"):
            read_blocks(raw, kind, (2, BLOCKS[kind][1]), "t")


def test_a_vector_of_blocks_is_refused() -> None:
    with pytest.raises(ArtefactError, match="plain numbers"):
        read_blocks(random_rows("Q8_0", 1, 2), "Q8_0", (64,), "t")
