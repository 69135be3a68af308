"""An honest model for tests: its answer depends on every earlier token of its own sequence, and
it knows those tokens only from what it wrote into the blocks that it was given."""

import threading

import numpy as np

from sparing.engine.executor import Batch

EMPTY = -1


def logits_after(ids: list[int], vocab: int) -> np.ndarray:
    """The toy's next-token logits: a fixed, scattered function of all tokens and their order."""
    state = 17
    for id in ids:
        state = (state * 1103515245 + id * 40503 + 12345) % (1 << 31)
    draws = np.random.Generator(np.random.PCG64(state)).standard_normal(vocab)
    return (2.0 * draws).astype(np.float32)


class ToyExecutor:
    """Keeps one token per cache slot; a wrong block table makes it answer wrongly."""

    def __init__(
        self, *, vocab: int = 31, blocks: int = 24, block_tokens: int = 4, context: int = 64
    ) -> None:
        self.vocab, self.blocks, self.block_tokens = vocab, blocks, block_tokens
        self.context = context
        self.slots = np.full(blocks * block_tokens, EMPTY, np.int64)
        self.steps = 0
        self.gate: threading.Event | None = None
        self.fail_at: int | None = None

    def forward(self, batch: Batch) -> np.ndarray:
        self.steps += 1
        if self.gate is not None:
            self.gate.wait(10)
        if self.fail_at == self.steps:
            raise RuntimeError("the toy was told to fail")
        self._check(batch)
        logits: list[np.ndarray] = []
        wanted = set(batch.logit_rows_L.tolist())
        for row in range(len(batch.starts_R1) - 1):
            begin, end = int(batch.starts_R1[row]), int(batch.starts_R1[row + 1])
            slots = self._slots(batch.blocks_RP[row], int(batch.positions_N[end - 1]) + 1)
            for at in range(begin, end):
                self.slots[slots[batch.positions_N[at]]] = batch.ids_N[at]
            for at in range(begin, end):
                if at in wanted:
                    seen = [int(self.slots[slot]) for slot in slots[: batch.positions_N[at] + 1]]
                    logits.append(logits_after(seen, self.vocab))
        return np.stack(logits) if logits else np.zeros((0, self.vocab), np.float32)

    def _slots(self, table_P: np.ndarray, count: int) -> list[int]:
        size = self.block_tokens
        return [int(table_P[at // size]) * size + at % size for at in range(count)]

    def _check(self, batch: Batch) -> None:
        """What the protocol promises about a batch."""
        for array in (batch.ids_N, batch.positions_N, batch.starts_R1, batch.blocks_RP):
            assert array.dtype == np.int32
            assert array.flags.c_contiguous
        assert batch.starts_R1[0] == 0
        assert batch.starts_R1[-1] == len(batch.ids_N)
        assert (np.diff(batch.starts_R1) > 0).all()
        assert (np.diff(batch.logit_rows_L) > 0).all()
        used = batch.blocks_RP[batch.blocks_RP >= 0]
        assert len(set(used.tolist())) == len(used), "two rows share a block"


def alone(prompt_ids: list[int], count: int, vocab: int, choose) -> list[int]:
    """What the toy answers without any engine: `choose(logits, ids so far)` for each token."""
    ids = list(prompt_ids)
    for _ in range(count):
        ids.append(choose(logits_after(ids, vocab), ids))
    return ids[len(prompt_ids) :]
