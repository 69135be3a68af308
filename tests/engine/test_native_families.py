"""Every family's forward pass against transformers: float32, int8 and int4, text, and bits."""

import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.models.families import ALL, ODD, ids, outside_model, save
from transformers import AutoModelForCausalLM

from sparing.engine.blocks import BlockPool
from sparing.engine.executor import Batch
from sparing.engine.loop import Engine
from sparing.engine.native_executor import NativeExecutor
from sparing.engine.request import Request, Sampling
from sparing.engine.scheduler import Scheduler
from sparing.kernels import native
from sparing.kernels.formats import Float32, Int4, Int8, Weight, pack_int4
from sparing.models.folder import ModelFolder, dense_weights, open_model, write_model

VOCAB = ODD["vocab_size"]
# One case for each way in which a layer can differ from a llama's.
TRAITS = (
    "gemma2", "gemma3", "phi3-longrope", "gpt2", "gpt-neox", "olmo2", "qwen2-moe", "smollm3",
    "granite",
)  # fmt: skip


@pytest.fixture(params=native.library().isas())
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Every variant that runs here, as `SPARING_ISA` would force it."""
    monkeypatch.setenv("SPARING_ISA", request.param)
    native.chosen.cache_clear()
    yield request.param
    native.chosen.cache_clear()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("families")

    @cache
    def folder(name: str) -> tuple[Any, Path]:
        torch.set_num_threads(1)
        model = outside_model(name)
        return model, save(model, root / name)

    return folder


def theirs(model: Any, ids_T: list[int]) -> np.ndarray:
    with torch.no_grad():
        return model(torch.tensor(ids_T)[None]).logits[0].numpy()


def assert_close(got: np.ndarray, want: np.ndarray) -> None:
    """1e-4 of the largest logit, the bound of the whole project."""
    assert np.abs(got - want).max() < 1e-4 * np.abs(want).max()


@pytest.mark.parametrize("name", ALL)
def test_logits_are_those_of_transformers(name: str, isa: str, folders: Any) -> None:
    """Of a text longer than every window and original context, and of a short one."""
    model, path = folders(name)
    executor = NativeExecutor(path, kv_tokens=96, block_tokens=7)
    for count in (90, 19):
        text = ids(count)[0].tolist()
        assert_close(executor.logits(text), theirs(model, text))


def engine_of(path: Path) -> Engine:
    executor = NativeExecutor(path, kv_tokens=192, block_tokens=4)
    scheduler = Scheduler(
        BlockPool(executor.blocks, 4),
        max_num_seqs=3,
        max_num_batched_tokens=8,
        short_context=executor.config.short_context,
    )
    return Engine(scheduler, executor, context=96)


@pytest.mark.parametrize("name", ALL)
def test_greedy_text_is_that_of_transformers(name: str, folders: Any) -> None:
    """Three requests at once through the engine, longer than windows and original contexts.

    What transformers thinks likeliest after the whole text so far is what we drew next.
    """
    model, path = folders(name)
    engine = engine_of(path)
    sampling = Sampling(temperature=0.0)
    prompts = [ids(count, seed=count)[0].tolist() for count in (3, 12, 30)]
    sequences = [
        engine.add(
            Request(id=str(i), prompt_ids=tuple(p), sampling=sampling, max_tokens=18, seed=0)
        )
        for i, p in enumerate(prompts)
    ]
    left = set(sequences)
    while left:
        for outcome in engine.step():
            assert outcome.error is None
            if len(outcome.sequence.output_ids) == 18:
                engine.remove(outcome.sequence)
                left.discard(outcome.sequence)
    for sequence, prompt in zip(sequences, prompts, strict=True):
        text = sequence.ids
        for end in range(len(prompt), len(text)):
            assert int(theirs(model, text[:end])[-1].argmax()) == text[end]


def quantised(weight: Weight, kind: str, seed: int) -> Weight:
    """A matrix in two groups a row, with offsets where the seed is odd; vectors as they are."""
    if len(weight.shape) != 2:
        return weight
    values = weight.dequantise()
    Z, D = values.shape
    most = 127 if kind == "int8" else 7
    grouped = values.reshape(Z, 2, D // 2)
    offset_ZJ = None
    if seed % 2:
        offset_ZJ = (grouped.max(-1) + grouped.min(-1)) / 2
        grouped = grouped - offset_ZJ[..., None]
    scale_ZJ = np.maximum(np.abs(grouped).max(-1) / most, 1e-6).astype(np.float32)
    codes = np.rint(grouped / scale_ZJ[..., None]).astype(np.int8).reshape(Z, D)
    if kind == "int8":
        return Int8(codes, scale_ZJ, offset_ZJ)
    return Int4(pack_int4(codes), scale_ZJ, offset_ZJ)


def quantised_folder(path: Path, kind: str) -> ModelFolder:
    """The folder with every matrix quantised, in memory."""
    opened = open_model(path)
    weights = {
        name: quantised(weight, kind, seed)
        for seed, (name, weight) in enumerate(opened.weights.items())
    }
    return ModelFolder(opened.path, opened.config, opened.family, weights, ())


@pytest.mark.parametrize("kind", ["int8", "int4"])
@pytest.mark.parametrize("name", ALL)
def test_quantised_weights(name: str, kind: str, folders: Any, tmp_path: Path) -> None:
    """Exact activations: transformers with the dequantised weights; and int8 ones stay near."""
    folder = quantised_folder(folders(name)[1], kind)
    write_model(
        tmp_path / "plain", folder.config, dense_weights(folder),
        family=folder.family, template=open_model(folders(name)[1]).template,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "plain").eval()
    text = ids(60)[0].tolist()
    want = theirs(model, text)
    exact = NativeExecutor(folder, kv_tokens=64, activations="exact").logits(text)
    assert_close(exact, want)
    rounded = NativeExecutor(folder, kv_tokens=64, activations="int8").logits(text)
    assert np.isfinite(rounded).all()
    if folder.config.experts is None:  # a rounded router may choose another expert
        assert np.sqrt(np.mean((rounded - want) ** 2)) < 0.1 * np.sqrt(np.mean(want**2))


@pytest.mark.parametrize("activations", ["exact", "int8"])
@pytest.mark.parametrize("name", TRAITS)
def test_company_splits_and_threads_change_no_bit(
    name: str, activations: str, isa: str, folders: Any
) -> None:
    folder = quantised_folder(folders(name)[1], "int8")
    if activations == "exact":
        folder = open_model(folders(name)[1])
    whole = NativeExecutor(
        folder, kv_tokens=96, block_tokens=96, threads=1, activations=activations
    )
    shared = NativeExecutor(
        folder, kv_tokens=400, block_tokens=5, threads=3, activations=activations
    )
    dice = random.Random(name)
    texts = [ids(count, seed=count)[0].tolist() for count in (1, 13, 40, 70)]
    free = list(range(shared.blocks))
    dice.shuffle(free)
    tables = [[free.pop() for _ in range(-(-len(text) // 5))] for text in texts]
    done, found = [0] * len(texts), [[] for _ in texts]
    while waiting := [i for i, text in enumerate(texts) if done[i] < len(text)]:
        some = [i for i in waiting if dice.random() < 0.7] or waiting[:1]
        counts = [min(dice.choice([1, 2, 9, 30]), len(texts[i]) - done[i]) for i in some]
        out_LV = shared.forward(batch_of(texts, tables, done, some, counts))
        for i, rows_TV in zip(some, np.split(out_LV, np.cumsum(counts)[:-1]), strict=True):
            found[i].append(rows_TV)
            done[i] += len(rows_TV)
    for text, parts in zip(texts, found, strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), whole.logits(text))


def batch_of(
    texts: list[list[int]],
    tables: list[list[int]],
    done: list[int],
    some: list[int],
    counts: list[int],
) -> Batch:
    """The next `counts` tokens of `some` of the texts, logits of every row."""
    blocks_RP = np.full((len(some), max(len(tables[i]) for i in some)), -1, np.int32)
    new, positions = [], []
    for row, (i, count) in enumerate(zip(some, counts, strict=True)):
        blocks_RP[row, : len(tables[i])] = tables[i]
        new += texts[i][done[i] : done[i] + count]
        positions += range(done[i], done[i] + count)
    return Batch(
        ids_N=np.array(new, np.int32),
        positions_N=np.array(positions, np.int32),
        starts_R1=np.concatenate(([0], np.cumsum(counts))).astype(np.int32),
        blocks_RP=blocks_RP,
        logit_rows_L=np.arange(len(new), dtype=np.int32),
        lengths_R=np.array([len(texts[i]) for i in some], np.int32),
    )


def test_a_short_length_of_a_row_is_refused(folders: Any) -> None:
    executor = NativeExecutor(folders("phi3-longrope")[1], kv_tokens=96)
    texts = [list(range(5))]
    batch = batch_of(texts, [[0]], [0], [0], [5])
    with pytest.raises(Exception, match="lengths_R"):
        executor.forward(
            Batch(
                batch.ids_N, batch.positions_N, batch.starts_R1, batch.blocks_RP,
                batch.logit_rows_L, np.array([4], np.int32),
            )
        )  # fmt: skip


def test_float_records_of_another_shape_are_refused(folders: Any) -> None:
    opened = open_model(folders("qwen2-moe")[1])
    name = "layers.0.mlp.experts.3.down.weight"
    weights = dict(opened.weights) | {name: Float32(np.zeros((60, 45), np.float32))}
    folder = ModelFolder(opened.path, opened.config, opened.family, weights, ())
    with pytest.raises(Exception, match=r"experts\.3\.down\.weight: expected shape"):
        NativeExecutor(folder, kv_tokens=16)
