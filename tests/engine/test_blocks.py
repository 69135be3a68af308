"""Every block is free or has one owner, whatever is taken and given back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparing.engine.blocks import BlockPool


@given(st.lists(st.integers(0, 6), max_size=40), st.randoms(use_true_random=False))
def test_random_takes_and_returns(counts, dice):
    pool, owners = BlockPool(12, 4), []
    for count in counts:
        if count <= pool.free and dice.random() < 0.6:
            owners.append(pool.take(count))
        elif owners:
            pool.give_back(owners.pop(dice.randrange(len(owners))))
        pool.check_invariants(owners)
        assert pool.free + sum(map(len, owners)) == 12
    for blocks in owners:
        pool.give_back(blocks)
    pool.check_invariants([])
    assert pool.free == 12


def test_faults_are_seen():
    pool = BlockPool(4, 16)
    mine = pool.take(2)
    with pytest.raises(AssertionError, match="leaked"):
        pool.check_invariants([])
    with pytest.raises(AssertionError, match="two owners"):
        pool.check_invariants([mine, mine])
    pool.give_back(mine)
    with pytest.raises(AssertionError, match="not taken"):
        pool.give_back(mine)
    with pytest.raises(AssertionError, match="free blocks"):
        pool.take(5)


@pytest.mark.parametrize(("tokens", "blocks"), [(0, 0), (1, 1), (16, 1), (17, 2), (32, 2)])
def test_blocks_for(tokens, blocks):
    assert BlockPool(4, 16).blocks_for(tokens) == blocks
