"""Whatever the memory pressure, every request gets the answer it would get alone."""

import random

import numpy as np
import pytest

from engine.toy import ToyExecutor, alone
from sparing.base.errors import RequestError
from sparing.engine.blocks import BlockPool
from sparing.engine.loop import Engine
from sparing.engine.request import Request, Sampling, admit
from sparing.engine.sampling import Luck, draw
from sparing.engine.scheduler import Scheduler, Sequence

VOCAB = 31
RULE = Sampling(temperature=0.9, top_p=0.9)


def request(number: int, prompt: list[int], max_tokens: int, rule: Sampling = RULE) -> Request:
    return Request(
        id=str(number), prompt_ids=tuple(prompt), sampling=rule, max_tokens=max_tokens, seed=number
    )


def expected(request: Request) -> list[int]:
    luck, prompt = Luck(request.seed), list(request.prompt_ids)

    def choose(logits_V: np.ndarray, ids: list[int]) -> int:
        return draw(logits_V, request.sampling, luck, prompt, ids[len(prompt) :])

    return alone(prompt, request.max_tokens, VOCAB, choose)


def make(blocks: int, block_tokens: int, seqs: int, tokens: int) -> Engine:
    toy = ToyExecutor(vocab=VOCAB, blocks=blocks, block_tokens=block_tokens)
    scheduler = Scheduler(
        BlockPool(blocks, block_tokens), max_num_seqs=seqs, max_num_batched_tokens=tokens
    )
    return Engine(scheduler, toy, context=64)


def run(engine: Engine, requests: list[Request], most_steps: int = 5000) -> dict[str, list[int]]:
    sequences = [engine.add(each) for each in requests]
    left = set(sequences)
    for _ in range(most_steps):
        for outcome in engine.step():
            assert outcome.error is None
            sequence = outcome.sequence
            if len(sequence.output_ids) == sequence.request.max_tokens:
                engine.remove(sequence)
                left.discard(sequence)
        engine.scheduler.check_invariants()
        if not left:
            break
    assert not left, "the engine does not get on"
    return {sequence.request.id: sequence.output_ids for sequence in sequences}


@pytest.mark.parametrize("seed", range(60))
def test_pressure_never_changes_the_answer(seed):
    dice = random.Random(seed)
    block_tokens = dice.choice([1, 2, 4])
    seqs = dice.randint(1, 5)
    engine = make(
        blocks=-(-20 // block_tokens) + dice.randint(0, 6),
        block_tokens=block_tokens,
        seqs=seqs,
        tokens=dice.randint(seqs, 12),
    )
    requests = [
        request(number, [dice.randrange(VOCAB) for _ in range(dice.randint(1, 10))],
                dice.randint(1, 10))
        for number in range(9)
    ]  # fmt: skip
    answers = run(engine, requests)
    for each in requests:
        assert answers[each.id] == expected(each)
    assert engine.scheduler.pool.free == engine.scheduler.pool.blocks, "blocks leaked"


def test_pressure_is_real():
    """The sizes above do push requests out, and a big pool gives the same tokens."""
    requests = [request(number, [number + 1] * 6, 12) for number in range(8)]
    small, big = make(9, 2, 4, 8), make(400, 2, 8, 64)
    assert run(small, requests) == run(big, requests)
    assert small.scheduler.preemptions > 5
    assert big.scheduler.preemptions == 0


def test_a_hundred_preemptions():
    """48 answers of up to 31 tokens in a cache for two of them."""
    requests = [request(number, [number % VOCAB] * (1 + number % 7), 24) for number in range(48)]
    engine = make(32, 2, 24, 32)
    answers = run(engine, requests)
    assert engine.scheduler.preemptions >= 100
    for each in requests:
        assert answers[each.id] == expected(each)
    assert engine.scheduler.pool.free == 32


def test_step_limits_hold():
    engine = make(64, 4, 3, 7)
    for number in range(6):
        engine.add(request(number, [1] * 13, 4))
    for _ in range(8):
        plan = engine.scheduler.plan()
        assert sum(work.count for work in plan) <= 7
        assert len(plan) <= 3
        engine.scheduler.commit(plan)
        for work in plan:
            if work.sequence.left == 0:
                work.sequence.ids.append(1)


def test_a_long_prompt_does_not_stop_the_others():
    engine = make(64, 4, 4, 8)
    chatty = engine.add(request(0, [1], 30))
    engine.step()
    engine.add(request(1, [2] * 40, 2))
    before = len(chatty.output_ids)
    for _ in range(4):
        engine.step()
    assert len(chatty.output_ids) == before + 4


def test_the_youngest_gives_way_and_goes_first_again():
    scheduler = Scheduler(BlockPool(4, 2), max_num_seqs=3, max_num_batched_tokens=8)
    old, young = Sequence(request(0, [1] * 3, 4)), Sequence(request(1, [2] * 3, 4))
    last = Sequence(request(2, [3], 1))
    for sequence in (old, young, last):
        scheduler.add(sequence)
    scheduler.commit(scheduler.plan())
    assert scheduler.running == [old, young]
    for _ in range(2):
        for sequence in scheduler.running:
            sequence.ids.append(5)
        scheduler.commit(scheduler.plan())
    assert scheduler.running == [old]
    assert list(scheduler.waiting) == [young, last]
    assert young.ids == [2, 2, 2, 5, 5]
    assert young.done == 0
    assert scheduler.preemptions == 1


def test_what_can_never_fit_is_refused_with_the_numbers():
    scheduler = Scheduler(BlockPool(4, 4), max_num_seqs=2, max_num_batched_tokens=8)
    scheduler.check(request(0, [1] * 8, 8))
    with pytest.raises(RequestError, match=r"17 tokens .*need 5 KV blocks of 4; the cache has 4"):
        scheduler.add(Sequence(request(0, [1] * 8, 9)))
    with pytest.raises(
        RequestError, match=r"context is 16.*12 and max_tokens asks for 5: 17"
    ) as at:
        admit("a", (1,) * 12, Sampling(max_tokens=5), context=16, vocab=VOCAB, seed=0)
    assert at.value.code == "context_length_exceeded"
    assert admit("a", (1,) * 12, Sampling(), context=16, vocab=VOCAB, seed=0).max_tokens == 4


def test_removing_at_any_moment_frees_everything():
    dice = random.Random(5)
    for _ in range(50):
        engine = make(12, 2, 3, 6)
        sequences = [engine.add(request(n, [n + 1] * dice.randint(1, 9), 8)) for n in range(6)]
        for _ in range(dice.randint(0, 9)):
            engine.step()
        dice.shuffle(sequences)
        for sequence in sequences:
            engine.remove(sequence)
            engine.remove(sequence)
            engine.scheduler.check_invariants()
        assert engine.scheduler.pool.free == 12
