"""An encoder and its decoder in C++ as an executor: source first, then target, in one sequence."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sparing.base.errors import require
from sparing.engine.executor import Batch
from sparing.engine.native_tower import relative_record, stack_traits
from sparing.kernels.encoders import NativeSeq2Seq
from sparing.kernels.formats import Weight
from sparing.kernels.native import Activations, processors
from sparing.models.encoder_config import Seq2SeqConfig
from sparing.models.encoder_folder import EncoderFolder, open_encoder


class Seq2SeqExecutor:
    """A T5 folder on this machine's processor, with its paged cache.

    A sequence is the ids of its source, then `start`, then the answer.  What has to be known of
    it is in each batch: how many of its positions are the source.
    """

    def __init__(
        self,
        model: Path | str | EncoderFolder,
        *,
        kv_tokens: int,
        block_tokens: int = 16,
        threads: int | None = None,
        kv_dtype: str = "auto",
        activations: Activations = "int8",
    ) -> None:
        """Set aside `kv_tokens` positions, of sources and of targets; auto keeps float32.

        Errors: ConfigError for a setting out of range, ArtefactError for a damaged folder.
        """
        require(kv_tokens > 0, "kv_tokens", "a positive number", kv_tokens)
        require(1 <= block_tokens <= 4096, "block_tokens", "1 to 4096", block_tokens)
        names = ("auto", "fp32", "bf16", "int8", "int4")
        require(kv_dtype in names, "kv_dtype", f"one of {', '.join(names)}", kv_dtype)
        require(threads is None or 1 <= threads <= 1024, "threads", "1 to 1024", threads)
        folder = model if isinstance(model, EncoderFolder) else open_encoder(Path(model))
        require(isinstance(folder.config, Seq2SeqConfig), "model", "an encoder-decoder",
                folder.kind)  # fmt: skip
        assert isinstance(folder.config, Seq2SeqConfig)
        config = folder.config
        weights = Records(config, folder.weights)
        self.config = config
        self.vocab, self.context, self.start = config.vocab, config.context, config.start
        self.block_tokens = block_tokens
        self.blocks = -(-kv_tokens // block_tokens)
        self.kv_dtype = "fp32" if kv_dtype == "auto" else kv_dtype
        self._model = NativeSeq2Seq(
            seq2seq_traits(config), weights, threads=threads or processors(),
            activations=activations,
        )  # fmt: skip
        self.weight_bytes = self._model.weight_bytes
        self._model.make_cache(self.blocks, block_tokens, self.kv_dtype)

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
        assert batch.sources_R is not None
        self._model.forward(
            batch.ids_N,
            batch.positions_N,
            batch.starts_R1,
            batch.blocks_RP,
            batch.sources_R,
            batch.logit_rows_L,
            out_LV,
        )
        return out_LV


def seq2seq_traits(config: Seq2SeqConfig) -> dict[str, Any]:
    """The pair as the C++ `Seq2SeqShape`."""
    return {
        "encoder": stack_traits(config.encoder),
        "decoder": stack_traits(config.decoder),
        "vocab": config.vocab,
        "context": config.context,
        "tied": config.tied,
        "logit_scale": config.decoder.width**-0.5 if config.scaled else 1.0,
    }


class Records(Mapping[str, Weight]):
    """The weights as the library wants them: biases by distance, not by bucket."""

    def __init__(self, config: Seq2SeqConfig, weights: Mapping[str, Weight]) -> None:
        self._weights = weights
        self._stacks = {"encoder.relative": config.encoder, "decoder.relative": config.decoder}

    def __iter__(self) -> Iterator[str]:
        for name in self._weights:
            module = name.removesuffix(".weight")
            yield module if module in self._stacks else name

    def __len__(self) -> int:
        return len(self._weights)

    def __getitem__(self, name: str) -> Weight:
        if name in self._stacks:
            return relative_record(self._weights[f"{name}.weight"], self._stacks[name])
        return self._weights[name]
