"""Documents packed into rows of equal length: the training stream as a pure function.

    epoch e = every document once, in an order drawn from (seed, e); epochs follow each other
    row r   = tokens [r T, (r + 1) T) of that stream
    batch s = rows s B to (s + 1) B of the rows, after those that begin in one epoch were shuffled

Rows are shuffled because neighbours are mostly of one document, and a batch of one document is a
poor sample of the corpus. Nothing is padded and nothing is dropped. Where a row ends inside a
document, the rest goes on in the next row as a new piece: its positions start at 0 again and it
does not see what lies in the row before. Only a document's bos is never a target, so each other
token is one exactly once per epoch, across the end of a row too. `Packing.facts` counts the pieces.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sparing.base.errors import ArtefactError, require
from sparing.base.seeds import stream
from sparing.data.shards import Shards

IGNORED = -100
"""The label of a place whose next token is not to be predicted."""


@dataclass(frozen=True, slots=True)
class Rows:
    """One batch; all arrays are int64 of the same shape."""

    ids_BT: np.ndarray
    """Token ids."""
    documents_BT: np.ndarray
    """Which document of its row each token belongs to, counted from 0."""
    positions_BT: np.ndarray
    """Place of each token in its piece, counted from 0."""
    labels_BT: np.ndarray
    """The next token of the same document, or `IGNORED`."""

    @property
    def targets(self) -> int:
        """Tokens to be predicted."""
        return int(np.count_nonzero(self.labels_BT != IGNORED))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What the seed drew for one epoch."""

    documents: np.ndarray
    """Numbers of the documents, in the order of the stream."""
    ends: np.ndarray
    """Where each of them ends, in tokens from the epoch's beginning."""
    rows: np.ndarray
    """Rows that begin in this epoch, in the order in which batches take them."""


class Packing:
    """Batches of a split by number; the only state is a cache of the epochs' orders.

    `tokens` bounds the corpus: whole documents, drawn by the seed, until there are so many
    (0 takes all).

    Errors: ArtefactError when the split has no documents or does not begin with bos.
    """

    def __init__(
        self,
        shards: Shards,
        *,
        seed: int,
        context: int,
        batch: int,
        tokens: int = 0,
        split: str = "train",
    ) -> None:
        require(context >= 2, "context", "at least 2 tokens", context)
        require(batch >= 1, "batch", "at least 1 row", batch)
        self.seed, self.context, self.batch_rows, self.split = seed, context, batch, split
        self._bos = shards.bos
        self._views = [view for view in shards.views(split) if len(view)]
        if not self._views:
            raise ArtefactError(f"{shards.path}: the {split} split is empty; give it more text")
        tables = [_table(view, number, self._bos) for number, view in enumerate(self._views)]
        self._view_of, self._start_of, self._length_of = np.concatenate(tables, axis=1)
        if int(self._length_of.sum()) != sum(map(len, self._views)):
            raise ArtefactError(f"{shards.path}: a {split} shard does not begin with bos")
        self._choose(tokens)
        self._orders: dict[int, _Order] = {}

    def _choose(self, tokens: int) -> None:
        """Keep the documents that `tokens` allows, in the shards' order."""
        self._numbers = np.arange(len(self._length_of))
        if 0 < tokens < self._length_of.sum():
            order = stream(self.seed, "packing", self.split, "choice").permutation(self._numbers)
            enough = int(np.searchsorted(np.cumsum(self._length_of[order]), tokens)) + 1
            self._numbers = np.sort(order[:enough])

    @property
    def epoch_tokens(self) -> int:
        """Tokens of one epoch."""
        return int(self._length_of[self._numbers].sum())

    @property
    def documents(self) -> int:
        """Documents of one epoch."""
        return len(self._numbers)

    def batch(self, step: int) -> Rows:
        """The batch of this step, counted from 0: a pure function of (shards, seed, step)."""
        require(step >= 0, "step", "0 or more", step)
        rows = self._rows(step)
        T = self.context
        ids_BT = np.stack([self._tokens(row * T, T + 1) for row in rows])
        return rows_of(ids_BT[:, :-1], ids_BT[:, 1:], self._bos)

    def facts(self) -> dict[str, int]:
        """What packing does to the documents of an epoch."""
        longer = int(np.count_nonzero(self._length_of[self._numbers] > self.context))
        return {
            "documents": self.documents,
            "documents_left_out": len(self._length_of) - self.documents,
            "tokens": self.epoch_tokens,
            "longer_than_context": longer,
            "pieces": self._pieces(),
        }

    def seen(self, steps: int) -> Iterator[np.ndarray]:
        """The distinct text that `steps` batches hold, cut at documents and where rows are missing.

        A piece that is a document's beginning begins with bos. From one epoch on these are whole
        documents, each once.
        """
        T = self.context
        rows = min(steps * self.batch_rows, self._first_row(1))
        held = np.zeros(self.epoch_tokens + T + 2, dtype=bool)
        for row in self._epoch(0).rows[:rows].tolist():
            held[row * T : (row + 1) * T + 1] = True
        order = self._epoch(0)
        for number, end in zip(order.documents.tolist(), order.ends.tolist(), strict=True):
            document = self._document(number)
            here = held[end - len(document) : end]
            edges = np.flatnonzero(np.diff(here, prepend=False, append=False))
            for start, stop in edges.reshape(-1, 2).tolist():
                if stop - start > 1:  # a lone token follows nothing
                    yield document[start:stop]

    def documents_of(self, step: int) -> list[int]:
        """Numbers, in the shards' order, of the documents that a batch draws from."""
        numbers: list[int] = []
        for row in self._rows(step):
            first, last = row * self.context, (row + 1) * self.context - 1
            while first <= last:
                epoch, offset = divmod(first, self.epoch_tokens)
                order = self._epoch(epoch)
                place = int(np.searchsorted(order.ends, offset, side="right"))
                numbers.append(int(order.documents[place]))
                first = epoch * self.epoch_tokens + int(order.ends[place])
        return list(dict.fromkeys(numbers))

    def _rows(self, step: int) -> list[int]:
        """The stream's rows that make up a batch."""
        found = []
        for index in range(step * self.batch_rows, (step + 1) * self.batch_rows):
            epoch = index * self.context // self.epoch_tokens
            found.append(int(self._epoch(epoch).rows[index - self._first_row(epoch)]))
        return found

    def _first_row(self, epoch: int) -> int:
        """The first row that begins in an epoch."""
        return -(-epoch * self.epoch_tokens // self.context)

    def _pieces(self) -> int:
        """Pieces of the first epoch: its documents, and one more per row end inside one."""
        ends = self._epoch(0).ends
        row_ends = np.arange(self.context, self.epoch_tokens, self.context)
        return self.documents + len(row_ends) - int(np.isin(row_ends, ends).sum())

    def _epoch(self, epoch: int) -> "_Order":
        """The orders of an epoch; the last two asked for are kept."""
        if epoch not in self._orders:
            draw = stream(self.seed, "packing", self.split, epoch)
            documents = draw.permutation(self._numbers)
            rows = np.arange(self._first_row(epoch), self._first_row(epoch + 1))
            order = _Order(
                documents=documents,
                ends=np.cumsum(self._length_of[documents]),
                rows=draw.permutation(rows),
            )
            for old in list(self._orders)[:-1]:
                del self._orders[old]
            self._orders[epoch] = order
        return self._orders[epoch]

    def _document(self, number: int) -> np.ndarray:
        start, length = int(self._start_of[number]), int(self._length_of[number])
        return self._views[int(self._view_of[number])][start : start + length]

    def _tokens(self, first: int, count: int) -> np.ndarray:
        """`count` tokens of the endless stream from place `first`."""
        out_N = np.empty(count, dtype=np.int64)
        done = 0
        while done < count:
            epoch, offset = divmod(first + done, self.epoch_tokens)
            order = self._epoch(epoch)
            place = int(np.searchsorted(order.ends, offset, side="right"))
            while done < count and place < len(order.documents):
                document = self._document(int(order.documents[place]))
                rest = document[len(document) - (int(order.ends[place]) - offset) :][: count - done]
                out_N[done : done + len(rest)] = rest
                done, offset, place = done + len(rest), offset + len(rest), place + 1
        return out_N


def rows_of(ids_BT: np.ndarray, next_BT: np.ndarray, bos: int) -> Rows:
    """Pieces, positions and labels of rows whose following tokens are `next_BT`."""
    starts_BT = ids_BT == bos
    documents_BT = np.cumsum(starts_BT, axis=1) - starts_BT[:, :1]
    place_T = np.arange(ids_BT.shape[1], dtype=np.int64)
    begun_BT = np.maximum.accumulate(np.where(starts_BT, place_T, 0), axis=1)
    labels_BT = np.where(next_BT == bos, IGNORED, next_BT)
    return Rows(ids_BT, documents_BT.astype(np.int64), place_T - begun_BT, labels_BT)


def _table(view: np.ndarray, number: int, bos: int) -> np.ndarray:
    """[3, documents]: the shard, the start and the length of each document of one shard."""
    starts = np.flatnonzero(view == bos)
    lengths = np.diff(np.append(starts, len(view)))
    return np.stack([np.full(len(starts), number), starts, lengths]).astype(np.int64)
