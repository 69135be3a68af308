"""A plan laid out as arrays."""

import numpy as np

from sparing.engine.executor import Batch
from sparing.engine.scheduler import Work


class Layout:
    """Buffers for the largest step, filled again for each one."""

    def __init__(
        self, *, max_num_seqs: int, max_num_batched_tokens: int, context: int, block_tokens: int
    ) -> None:
        table = -(-context // block_tokens)
        self._ids = np.zeros(max_num_batched_tokens, np.int32)
        self._positions = np.zeros(max_num_batched_tokens, np.int32)
        self._starts = np.zeros(max_num_seqs + 1, np.int32)
        self._blocks = np.zeros(max_num_seqs * table, np.int32)
        self._logit_rows = np.zeros(max_num_seqs, np.int32)
        self._lengths = np.zeros(max_num_seqs, np.int32)
        self._sources = np.zeros(max_num_seqs, np.int32)

    def fill(self, plan: list[Work]) -> Batch:
        """The plan as a batch; its arrays are views that the next call overwrites."""
        R = len(plan)
        P = max(len(work.sequence.blocks) for work in plan)
        blocks_RP = self._blocks[: R * P].reshape(R, P)
        blocks_RP.fill(-1)
        N = draws = 0
        for row, work in enumerate(plan):
            end, sequence = N + work.count, work.sequence
            self._ids[N:end] = sequence.ids[work.start : work.start + work.count]
            self._positions[N:end] = range(work.start, work.start + work.count)
            blocks_RP[row, : len(sequence.blocks)] = sequence.blocks
            self._sources[row] = sequence.request.source_tokens
            if work.draws:
                self._logit_rows[draws] = end - 1
                draws += 1
            self._starts[row + 1] = N = end
            self._lengths[row] = len(sequence.ids)
        return Batch(
            ids_N=self._ids[:N],
            positions_N=self._positions[:N],
            starts_R1=self._starts[: R + 1],
            blocks_RP=blocks_RP,
            logit_rows_L=self._logit_rows[:draws],
            lengths_R=self._lengths[:R],
            sources_R=self._sources[:R],
        )
