"""T5 against transformers, through the engine and below it, and in any company."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import encoder_cases as cases
import numpy as np
import pytest
import torch

from sparing.base.errors import CapacityError, RequestError, ShapeError
from sparing.engine.assemble import assemble, load
from sparing.engine.config import EngineConfig
from sparing.engine.executor import Batch
from sparing.engine.native_seq2seq import Seq2SeqExecutor
from sparing.engine.request import Sampling
from sparing.tokenizer.text import Tokenizer

TOLERANCE = 1e-5  # of the largest logit
GATED = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
MODELS: dict[str, Callable[[], Any]] = {
    "t5": cases.t5,
    "t5-gelu": lambda: cases.t5(feed_forward_proj="gelu", num_decoder_layers=1),
    "t5-gated": lambda: cases.t5(**GATED),
    "t5-own-head": lambda: cases.t5(own_head=True, **GATED),
    "t5-silu": lambda: cases.t5(feed_forward_proj="gated-silu", tie_word_embeddings=False),
    "mt5": cases.mt5,
}


class Runner:
    """Sequences with their blocks, in steps of any size."""

    def __init__(self, executor: Seq2SeqExecutor) -> None:
        self.executor = executor

    def run(self, sequences: list[tuple[list[int], int]], steps: list[list[int]]) -> list[Any]:
        """Logits of every target row; `steps` says how many tokens of each sequence to compute."""
        T = self.executor.block_tokens
        need = [-(-len(all_ids) // T) for all_ids, _ in sequences]
        order = np.random.default_rng(0).permutation(self.executor.blocks)
        tables = np.split(order[: sum(need)], np.cumsum(need)[:-1])
        done, logits = [0] * len(sequences), [[] for _ in sequences]
        for counts in steps:
            rows = [r for r, count in enumerate(counts) if count]
            self._step(sequences, tables, rows, counts, done, logits)
        return [np.concatenate(rows) for rows in logits]

    def _step(self, sequences, tables, rows, counts, done, logits) -> None:
        ids, positions, starts, wanted, owners = [], [], [0], [], []
        blocks = np.full((len(rows), max(len(tables[r]) for r in rows)), -1, np.int32)
        for row, r in enumerate(rows):
            all_ids, source = sequences[r]
            blocks[row, : len(tables[r])] = tables[r]
            for position in range(done[r], done[r] + counts[r]):
                if position >= source:
                    wanted.append(len(ids))
                    owners.append(r)
                ids.append(all_ids[position])
                positions.append(position)
            done[r] += counts[r]
            starts.append(len(ids))
        sources = [sequences[r][1] for r in rows]
        arrays = [np.array(each, np.int32) for each in (ids, positions, starts)]
        out = self.executor.forward(
            Batch(
                *arrays, blocks, np.array(wanted, np.int32), sources_R=np.array(sources, np.int32)
            )
        )
        for r, row in zip(owners, out, strict=True):
            logits[r].append(row[None].copy())


def sequence(source: int, target: int) -> tuple[list[int], int]:
    return [*cases.ids(source, seed=source), 0, *cases.ids(target - 1, seed=target + 50)], source


def theirs_of(model: Any, all_ids: list[int], source: int) -> np.ndarray:
    found = model(
        input_ids=torch.tensor([all_ids[:source]]),
        decoder_input_ids=torch.tensor([all_ids[source:]]),
    )
    return found.logits[0].numpy()


@pytest.mark.parametrize("name", MODELS)
@torch.inference_mode()
def test_logits(name: str, tmp_path: Path) -> None:
    theirs = cases.randomise(MODELS[name]())
    executor = Seq2SeqExecutor(cases.save(theirs, tmp_path), kv_tokens=400, threads=2)
    sequences = [sequence(1, 9), sequence(70, 40), sequence(23, 1)]
    found = Runner(executor).run(sequences, [[len(all_ids) for all_ids, _ in sequences]])
    for (all_ids, source), ours in zip(sequences, found, strict=True):
        wanted = theirs_of(theirs, all_ids, source)
        assert np.abs(ours - wanted).max() < TOLERANCE * np.abs(wanted).max()


@pytest.mark.parametrize(("bits", "group"), [(8, 4), (4, 2)])
@torch.inference_mode()
def test_quantised(bits: int, group: int, tmp_path: Path) -> None:
    theirs = cases.randomise(cases.t5(**GATED))
    folder = cases.quantise(theirs, tmp_path, bits=bits, group=group)
    exact = Runner(Seq2SeqExecutor(folder, kv_tokens=64, activations="exact"))
    all_ids, source = sequence(30, 12)
    ours = exact.run([(all_ids, source)], [[len(all_ids)]])[0]
    wanted = theirs_of(theirs, all_ids, source)
    assert np.abs(ours - wanted).max() < TOLERANCE * np.abs(wanted).max()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("t5")
    return cases.save(cases.randomise(cases.t5(**GATED)), folder)


def test_steps_company_and_threads_change_no_bit(small: Path) -> None:
    one = Runner(Seq2SeqExecutor(small, kv_tokens=300, block_tokens=4, threads=1))
    three = Runner(Seq2SeqExecutor(small, kv_tokens=640, block_tokens=16, threads=3))
    sequences = [sequence(19, 8), sequence(6, 11)]
    whole = [one.run([each], [[len(each[0])]])[0] for each in sequences]
    split = [[5, 0], [13, 3], [1, 3], [3, 1], [0, 2], *[[1, 1]] * 5, [0, 3]]
    assert [sum(column) for column in zip(*split, strict=True)] == [27, 17]
    for runner in (one, three):
        together = runner.run(sequences, split)
        for ours, alone in zip(together, whole, strict=True):
            assert np.array_equal(ours, alone)


def test_dtypes_of_the_cache(small: Path) -> None:
    sequences = [sequence(33, 12)]
    exact = Runner(Seq2SeqExecutor(small, kv_tokens=64)).run(sequences, [[45]])[0]
    half = Runner(Seq2SeqExecutor(small, kv_tokens=64, kv_dtype="bf16")).run(sequences, [[45]])[0]
    assert 0 < np.abs(half - exact).max() < 0.03 * np.abs(exact).max()


def batch(**changes: Any) -> Batch:
    arrays: dict[str, Any] = {
        "ids_N": [5, 6, 1, 0, 7],
        "positions_N": [0, 1, 2, 3, 4],
        "starts_R1": [0, 5],
        "blocks_RP": [[2, 1]],
        "logit_rows_L": [4],
        "sources_R": [3],
    } | changes
    return Batch(**{name: np.array(values, np.int32) for name, values in arrays.items()})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"ids_N": [5, 6, 1, 0, 101]}, "ids_N"),
        ({"ids_N": [5, 6, 1, 0, -1]}, "ids_N"),
        ({"positions_N": [0, 1, 2, 3, 5]}, "positions_N"),
        ({"positions_N": [900, 901, 2, 3, 4]}, "positions_N"),
        ({"positions_N": [-1, 0, 1, 2, 3]}, "positions_N"),
        ({"positions_N": [1020, 1021, 1022, 1023, 1024]}, "positions_N"),
        ({"starts_R1": [0, 4]}, "starts_R1"),
        ({"starts_R1": [0, 0, 5], "blocks_RP": [[0, 1], [2, 3]], "sources_R": [1, 1]}, "starts_R1"),
        ({"starts_R1": [0, 9, 5], "blocks_RP": [[0, 1], [2, 3]], "sources_R": [1, 1]}, "starts_R1"),
        ({"blocks_RP": [[2, 4]]}, "blocks_RP"),
        ({"blocks_RP": [[-1, 1]]}, "blocks_RP"),
        ({"blocks_RP": [[2]]}, "blocks_RP"),
        ({"blocks_RP": [[2, 2]], "ids_N": [1] * 8, "positions_N": list(range(8)),
          "starts_R1": [0, 8]}, "blocks_RP"),
        ({"sources_R": [0]}, "sources_R"),
        ({"sources_R": [-3]}, "sources_R"),
        ({"sources_R": [1 << 30]}, "sources_R"),
        ({"sources_R": [1, 1]}, "sources_R"),
        ({"logit_rows_L": [2]}, "logit_rows_L"),
        ({"logit_rows_L": [5]}, "logit_rows_L"),
        ({"logit_rows_L": [-1]}, "logit_rows_L"),
    ],
)  # fmt: skip
def test_a_batch_beyond_a_border_is_refused(
    changes: dict[str, Any], named: str, small: Path
) -> None:
    executor = Seq2SeqExecutor(small, kv_tokens=16, block_tokens=4)
    assert executor.forward(batch()).shape == (1, 101)
    with pytest.raises(ShapeError, match=named):
        executor.forward(batch(**changes))


@pytest.fixture(scope="module")
def words(small: Path) -> Path:
    """The same folder with a tokenizer of a hundred words, which ends a text as T5's does."""
    cases.write_words(small)
    return small


@pytest.mark.parametrize("penalty", [1.0, 1.5])
@torch.inference_mode()
def test_greedy_answers(penalty: float, words: Path) -> None:
    """Penalties count the answer and its start alone, not the source."""
    theirs = cases.hf.T5ForConditionalGeneration.from_pretrained(words)
    texts = ["w7 w70 w33", "w9", " ".join(f"w{number}" for number in range(20, 90))]
    rule = Sampling(temperature=0, max_tokens=24, repetition_penalty=penalty)
    with load(words, EngineConfig(threads=1)) as llm:
        answers = llm.generate(texts, rule)
    for text, answer in zip(texts, answers, strict=True):
        source = [int(word[1:]) for word in text.split()] + [1]
        wanted = theirs.generate(
            torch.tensor([source]), max_new_tokens=24, do_sample=False, use_cache=False,
            repetition_penalty=penalty,
        )[0, 1:].tolist()  # fmt: skip
        assert list(answer.ids) == wanted
        assert answer.text.split() == [f"w{id}" for id in wanted if id > 1]
        assert answer.usage.prompt_tokens == len(source) + 1


def test_pressure_and_company_do_not_change_a_sampled_answer(words: Path) -> None:
    tokenizer = Tokenizer.load(words)
    prompts = [[*cases.ids(count, seed=count), 1] for count in (30, 3, 17, 9, 24)]
    rules = [
        Sampling(temperature=0.9, top_k=40, seed=seed, max_tokens=20, ignore_eos=True,
                 repetition_penalty=1.3)
        for seed in range(5)
    ]  # fmt: skip

    def answers(kv_tokens: int, budget: int, together: int) -> list[tuple[int, ...]]:
        executor = Seq2SeqExecutor(words, kv_tokens=kv_tokens, block_tokens=4, threads=1)
        config = EngineConfig(
            max_num_seqs=together, max_num_batched_tokens=budget, block_tokens=4, threads=1
        )
        with assemble(
            executor, tokenizer, config, eos=(1,), check=True, start=executor.start
        ) as llm:
            found = llm.generate(prompts, rules)
            preempted = llm.service.stats().preemptions
        assert (preempted > 0) == (kv_tokens < 100)
        return [answer.ids for answer in found]

    alone = answers(400, 64, 1)
    assert answers(400, 7, 5) == alone
    assert answers(64, 16, 4) == alone


def test_an_empty_or_too_long_source_is_refused(words: Path) -> None:
    with load(words, EngineConfig(threads=1)) as llm:
        assert llm.service.context == 1024
        with pytest.raises(RequestError, match="at least one token"):
            llm.generate([[]])
        with pytest.raises(RequestError, match="context is 1024 tokens"):
            llm.generate([[5] * 1030], Sampling(max_tokens=2))
        with pytest.raises(RequestError, match="no chat template"):
            llm.chat([{"role": "user", "content": "w5"}])


@pytest.mark.parametrize(("tokens", "error"), [(1 << 44, CapacityError), (1 << 60, ShapeError)])
def test_a_cache_beyond_the_machine_is_refused(
    tokens: int, error: type[Exception], small: Path
) -> None:
    with pytest.raises(error):
        Seq2SeqExecutor(small, kv_tokens=tokens)


def test_a_cache_takes_memory_as_it_is_written(small: Path) -> None:
    """Half a gigabyte that nothing was written to is not in memory."""
    before = resident_bytes()
    executor = Seq2SeqExecutor(small, kv_tokens=1 << 17)
    executor.forward(batch())
    assert resident_bytes() - before < 64 << 20


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(("kind", "token_bytes"), [("fp32", 64), ("bf16", 32), ("int8", 20)])
def test_the_cache_is_sized_for_source_and_target(kind: Any, token_bytes: int, words: Path) -> None:
    """Three layers of five heads of 14 numbers (padded to 16), keys and values, twice."""
    config = EngineConfig(threads=1, kv_cache_dtype=kind, kv_cache_tokens=64, max_model_len=64)
    with load(words, config) as llm:
        assert f"{64 * 3 * 5 * 2 * 2 * token_bytes} bytes" in llm.reason
        assert llm.generate("w5", Sampling(temperature=0, max_tokens=2))[0].ids
