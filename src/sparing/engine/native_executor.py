"""The C++ forward pass as an executor."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from sparing.base.errors import CapacityError, require
from sparing.engine.chooser import Choice, Chooser
from sparing.engine.executor import Batch
from sparing.engine.native_traits import native_traits
from sparing.engine.request import MOST_LOGPROBS
from sparing.engine.sampling import TokenLogprobs
from sparing.kernels.attention import KV_DTYPES, KvDtype, kv_token_bytes
from sparing.kernels.draw import DrawArrays
from sparing.kernels.formats import Packed, Weight
from sparing.kernels.native import Activations, NativeModel, processors
from sparing.models.folder import ModelFolder, open_model
from sparing.models.weights import Weights

SCORING_ROWS = 256  # rows of one forward call of `logits`
_MOST_HELD_BYTES = 64 << 20  # of a model file in memory while its weights are packed


class NativeExecutor:
    """A model folder on this machine's processor, with its paged cache.

    The cache is filled by whoever calls `forward`; `logits` uses its first blocks and is not for
    use beside requests.
    """

    def __init__(
        self,
        model: Path | str | ModelFolder,
        *,
        kv_tokens: int,
        block_tokens: int = 16,
        threads: int | None = None,
        kv_dtype: KvDtype | Literal["auto"] = "auto",
        activations: Activations = "int8",
        packed: Mapping[str, Packed] | None = None,
    ) -> None:
        """Set aside `kv_tokens` positions (rounded up to whole blocks); auto keeps float32.

        Rows are rounded to int8 for products with quantised weights unless `activations` is exact.
        Matrices in `packed` stand for the folder's own.

        Errors: ConfigError for a setting out of range, ArtefactError for a damaged folder.
        """
        require(kv_tokens > 0, "kv_tokens", "a positive number", kv_tokens)
        require(1 <= block_tokens <= 4096, "block_tokens", "1 to 4096", block_tokens)
        require(threads is None or 1 <= threads <= 1024, "threads", "1 to 1024", threads)
        names = ("auto", *KV_DTYPES)
        require(kv_dtype in names, "kv_dtype", f"one of {', '.join(names)}", kv_dtype)
        folder = model if isinstance(model, ModelFolder) else open_model(Path(model))
        config = folder.config
        weights = _Handed(folder.weights, packed or {})
        self.config = config
        self.vocab, self.context = config.vocab, config.context
        self.block_tokens = block_tokens
        self.blocks = -(-kv_tokens // block_tokens)
        self.kv_dtype = "fp32" if kv_dtype == "auto" else kv_dtype
        self.kv_bytes = (self.blocks * block_tokens) * kv_token_bytes(
            self.kv_dtype,
            layers=config.layers,
            kv_heads=config.kv_heads,
            head_width=config.head_width,
        )
        require(activations in ("int8", "exact"), "activations", "int8 or exact", activations)
        self._model = NativeModel(
            native_traits(config),
            weights,
            threads=threads or processors(),
            activations=activations,
        )
        self.weight_bytes = weights.nbytes
        self._model.make_cache(self.blocks, block_tokens, self.kv_dtype)
        self._logits_LV = np.empty((0, self.vocab), np.float32)
        self._draws = DrawArrays(0, MOST_LOGPROBS)

    @property
    def threads(self) -> int:
        """Threads that share a forward call."""
        return self._model.threads

    @property
    def isa(self) -> str:
        """Instruction set of the operations."""
        return self._model.isa

    def forward(self, batch: Batch) -> np.ndarray:
        """As `Executor.forward`.  Errors: ShapeError naming the array that asks for too much."""
        out_LV = np.empty((len(batch.logit_rows_L), self.vocab), np.float32)
        self._model.forward(
            batch.ids_N,
            batch.positions_N,
            batch.starts_R1,
            batch.blocks_RP,
            batch.logit_rows_L,
            out_LV,
            batch.lengths_R,
        )
        return out_LV

    def step(self, batch: Batch, choosers: Sequence[Chooser]) -> list[Choice | Exception]:
        """A forward pass and the choices from it in one call, as `chooser.Compute`.

        Errors: as `forward`.
        """
        L = len(batch.logit_rows_L)
        if len(self._logits_LV) < L:
            self._logits_LV = np.empty((L, self.vocab), np.float32)
            self._draws = DrawArrays(L, MOST_LOGPROBS)
        draws = self._draws
        for chooser, row_C in zip(choosers, draws.rules_LC[:L], strict=True):
            chooser.fill(row_C)
        if any(chooser.rule.penalised for chooser in choosers):
            draws.see([chooser.seen() for chooser in choosers])
        else:
            draws.see_nothing()
        self._model.step(
            batch.ids_N, batch.positions_N, batch.starts_R1, batch.blocks_RP, batch.logit_rows_L,
            self._logits_LV[:L], draws.of(L), batch.lengths_R,
        )  # fmt: skip
        ids = draws.ids_L[:L].tolist()
        return [
            _choice(chooser, ids[row], row, draws, self.vocab)
            for row, chooser in enumerate(choosers)
        ]

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        """Logits after each of `ids`, as one sequence from position 0, in the first blocks.

        Shapes: T ids -> float32 logits_TV.
        Errors: CapacityError when the context or the cache is too short.
        """
        ids_T = np.asarray(ids, np.int32)
        most = min(self.context, self.blocks * self.block_tokens)
        if not 1 <= len(ids_T) <= most:
            raise CapacityError(f"ids: expected 1 to {most} tokens, got {len(ids_T)}")
        blocks_1P = np.arange(-(-len(ids_T) // self.block_tokens), dtype=np.int32)[None]
        parts = [
            self.forward(_chunk(ids_T, begin, blocks_1P))
            for begin in range(0, len(ids_T), SCORING_ROWS)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _choice(
    chooser: Chooser, id: int, row: int, draws: DrawArrays, vocab: int
) -> Choice | Exception:
    """What the arrays say of one row."""
    if id < 0:
        return FloatingPointError("the model's largest logit is not a finite number")
    chooser.note(id)
    if chooser.rule.logprobs is None:
        return Choice(id)
    count = min(chooser.rule.logprobs, vocab)
    top_ids = draws.top_ids_LK[row, :count].tolist()
    top_logprobs = draws.top_logprobs_LK[row, :count].tolist()
    top = tuple(zip(top_ids, top_logprobs, strict=True))
    return Choice(id, TokenLogprobs(id, float(draws.logprobs_L[row]), top))


def _chunk(ids_T: np.ndarray, begin: int, blocks_1P: np.ndarray) -> Batch:
    ids_N = ids_T[begin : begin + SCORING_ROWS]
    rows_N = np.arange(len(ids_N), dtype=np.int32)
    return Batch(
        ids_N=ids_N,
        positions_N=rows_N + np.int32(begin),
        starts_R1=np.array([0, len(ids_N)], np.int32),
        blocks_RP=blocks_1P,
        logit_rows_L=rows_N,
        lengths_R=np.array([len(ids_T)], np.int32),
    )


class _Handed(Mapping[str, Weight | Packed]):
    """A folder's weights made one by one as they are asked for, and how many bytes those were.

    The files stay mapped, but while a model packs their weights little of them stays in memory.
    """

    def __init__(self, own: Mapping[str, Weight], packed: Mapping[str, Packed]) -> None:
        self._own, self._packed = own, packed
        self.nbytes = 0
        self._held_bytes = 0  # of files in memory since they were last let go

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)

    def __getitem__(self, name: str) -> Weight | Packed:
        weight = self._packed[name] if name in self._packed else self._own[name]
        self.nbytes += weight.nbytes
        self._held_bytes += weight.nbytes
        if self._held_bytes > _MOST_HELD_BYTES and isinstance(self._own, Weights):
            self._own.let_go()
            self._held_bytes = weight.nbytes
        return weight
