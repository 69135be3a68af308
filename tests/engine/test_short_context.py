"""A model that computes long sequences in another way from their first token on (longrope).

The toy writes beside each token in which way it was computed, and answers from what it wrote.
"""

import random

import numpy as np
import pytest
from tests.engine.toy import ToyExecutor, logits_after

from sparing.engine.blocks import BlockPool
from sparing.engine.executor import Batch
from sparing.engine.loop import Engine
from sparing.engine.request import Request, Sampling
from sparing.engine.scheduler import Scheduler

VOCAB, SHORT = 31, 12
LONG_WAY = 1000


class TwoWays(ToyExecutor):
    """Tokens of sequences longer than SHORT count as other tokens."""

    def forward(self, batch: Batch) -> np.ndarray:
        assert batch.lengths_R is not None
        rows_N = np.repeat(np.arange(len(batch.lengths_R)), np.diff(batch.starts_R1))
        shift_N = LONG_WAY * (batch.lengths_R[rows_N] > SHORT)
        ids_N = (batch.ids_N + shift_N).astype(np.int32)
        return super().forward(
            Batch(ids_N, batch.positions_N, batch.starts_R1, batch.blocks_RP, batch.logit_rows_L)
        )


def alone(prompt: tuple[int, ...], count: int) -> list[int]:
    ids = list(prompt)
    for _ in range(count):
        shift = LONG_WAY if len(ids) > SHORT else 0
        ids.append(int(logits_after([id + shift for id in ids], VOCAB).argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("seed", range(30))
def test_answers_are_those_of_a_lone_whole_pass(seed: int) -> None:
    dice = random.Random(seed)
    block_tokens, seqs = dice.choice([1, 2, 4]), dice.randint(1, 4)
    blocks = -(-26 // block_tokens) + dice.randint(0, 12)
    scheduler = Scheduler(
        BlockPool(blocks, block_tokens),
        max_num_seqs=seqs,
        max_num_batched_tokens=dice.randint(seqs, 10),
        short_context=SHORT,
    )
    toy = TwoWays(vocab=VOCAB, blocks=blocks, block_tokens=block_tokens)
    engine = Engine(scheduler, toy, context=64)
    greedy = Sampling(temperature=0.0)
    requests = [
        Request(
            id=str(number),
            prompt_ids=tuple(dice.randrange(VOCAB) for _ in range(dice.randint(1, 15))),
            sampling=greedy,
            max_tokens=dice.randint(1, 10),
            seed=0,
        )
        for number in range(7)
    ]
    sequences = [engine.add(each) for each in requests]
    left = set(sequences)
    for _ in range(2000):
        for outcome in engine.step():
            assert outcome.error is None
            if len(outcome.sequence.output_ids) == outcome.sequence.request.max_tokens:
                engine.remove(outcome.sequence)
                left.discard(outcome.sequence)
        scheduler.check_invariants()
        if not left:
            break
    for sequence in sequences:
        request = sequence.request
        assert sequence.output_ids == alone(request.prompt_ids, request.max_tokens)
    assert scheduler.pool.free == blocks
