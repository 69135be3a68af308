"""Encoders and encoder-decoders of the compiled library: as `native`, for the other two kinds."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sparing.kernels.formats import Weight
from sparing.kernels.native import Activations, chosen, fill, library, named_errors


class NativeTower:
    """An encoder of texts or images in C++; one call at a time.

    Weights are not copied unless they are unaligned.  Not for use in a process forked after it
    was made.
    """

    def __init__(
        self,
        traits: Mapping[str, Any],
        weights: Mapping[str, Weight],
        *,
        threads: int,
        activations: Activations = "int8",
    ) -> None:
        """`traits` are the fields of the C++ `EncoderShape`.

        Errors: ShapeError naming a trait, or a weight that is missing, unknown or misshapen.
        """
        self.isa = chosen().isa
        with named_errors():
            self._model = library().Encoder(dict(traits), self.isa, threads, activations)
            self.weight_bytes = fill(self._model, weights)

    @property
    def threads(self) -> int:
        """Threads that share a call, the caller's among them."""
        return self._model.threads

    def encode_text(self, ids_N: np.ndarray, starts_R1: np.ndarray, out_ND: np.ndarray) -> None:
        """Rows of R texts, one after another; text r is ids starts[r] .. starts[r + 1].

        Errors: ShapeError for an id or a text beyond the model's tables.  Nothing is computed then.
        """
        with named_errors():
            self._model.encode_text(ids_N, starts_R1, out_ND)

    def encode_images(self, patches_BPU: np.ndarray, out_BND: np.ndarray) -> None:
        """Rows of B images, given as P patches of U numbers each."""
        with named_errors():
            self._model.encode_images(patches_BPU, out_BND)

    def probe(self, rows_ND: np.ndarray, starts_R1: np.ndarray, out_RD: np.ndarray) -> None:
        """Each sequence of rows as one, by attention from the model's learned query."""
        with named_errors():
            self._model.probe(rows_ND, starts_R1, out_RD)

    def head(self, pooled_BD: np.ndarray, out_BE: np.ndarray) -> None:
        """What the model's head makes of pooled rows."""
        with named_errors():
            self._model.head(pooled_BD, out_BE)


class NativeSeq2Seq:
    """An encoder with its decoder, paged cache and threads in C++; one call at a time."""

    def __init__(
        self,
        traits: Mapping[str, Any],
        weights: Mapping[str, Weight],
        *,
        threads: int,
        activations: Activations = "int8",
    ) -> None:
        """`traits` are the fields of the C++ `Seq2SeqShape`.

        Errors: as `NativeTower`.
        """
        self.isa = chosen().isa
        with named_errors():
            self._model = library().Seq2Seq(dict(traits), self.isa, threads, activations)
            self.weight_bytes = fill(self._model, weights)

    @property
    def threads(self) -> int:
        """Threads that share a call, the caller's among them."""
        return self._model.threads

    def make_cache(self, blocks: int, block_tokens: int, kv_dtype: str) -> None:
        """Set aside zeroed keys and values, of sources and of targets.

        Errors: CapacityError when the machine cannot, ShapeError for extents without sense.
        """
        with named_errors():
            self._model.make_cache(blocks, block_tokens, kv_dtype)

    def forward(
        self,
        ids_N: np.ndarray,
        positions_N: np.ndarray,
        starts_R1: np.ndarray,
        blocks_RP: np.ndarray,
        sources_R: np.ndarray,
        logit_rows_L: np.ndarray,
        out_LV: np.ndarray,
    ) -> None:
        """As `NativeModel.forward`; the first `sources_R` positions of a sequence are its source.

        A source is encoded by the call that brings its last token.
        Errors: as there, and for logits of a source.
        """
        with named_errors():
            self._model.forward(
                ids_N, positions_N, starts_R1, blocks_RP, sources_R, logit_rows_L, out_LV
            )
