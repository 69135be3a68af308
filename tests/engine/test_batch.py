"""A plan as arrays, by hand."""

import numpy as np

from sparing.engine.batch import Layout
from sparing.engine.request import Request, Sampling
from sparing.engine.scheduler import Sequence, Work


def sequence(ids: list[int], blocks: list[int], done: int = 0) -> Sequence:
    made = Sequence(
        Request(id="a", prompt_ids=tuple(ids), sampling=Sampling(), max_tokens=4, seed=0)
    )
    made.blocks, made.done = blocks, done
    return made


def test_prefill_chunk_and_decode_in_one():
    layout = Layout(max_num_seqs=3, max_num_batched_tokens=8, context=16, block_tokens=4)
    decode = sequence([5, 6, 7, 8, 9], [3, 1], done=4)
    chunk = sequence([10, 11, 12, 13], [0], done=1)
    for _ in range(2):  # the second time over the rests of the first
        batch = layout.fill([Work(decode, 4, 1), Work(chunk, 1, 2)])
        assert batch.ids_N.tolist() == [9, 11, 12]
        assert batch.positions_N.tolist() == [4, 1, 2]
        assert batch.starts_R1.tolist() == [0, 1, 3]
        assert batch.blocks_RP.tolist() == [[3, 1], [0, -1]]
        assert batch.logit_rows_L.tolist() == [0]
        whole = layout.fill([Work(chunk, 0, 4)])
        assert whole.logit_rows_L.tolist() == [3]
        assert whole.blocks_RP.tolist() == [[0]]
        for array in (whole.ids_N, whole.blocks_RP, whole.starts_R1):
            assert array.dtype == np.int32
            assert array.flags.c_contiguous
