"""Encoders of texts and images in C++: ids or images in, one row of features for each out."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from sparing.base.errors import RequestError, require
from sparing.kernels.encoders import NativeTower
from sparing.kernels.formats import Float32, Weight
from sparing.kernels.native import Activations, processors
from sparing.models.encoder_config import EncoderConfig, StackConfig
from sparing.models.relative import by_distance

ROWS = 4096
"""Rows that one call computes; a longer text or image is a call of its own."""


class Tower:
    """One tower with its weights; threads may share it."""

    def __init__(
        self,
        config: EncoderConfig,
        weights: Mapping[str, Weight],
        *,
        threads: int | None = None,
        activations: Activations = "int8",
    ) -> None:
        """Errors: ConfigError for a setting out of range, ShapeError for weights of no use."""
        require(threads is None or 1 <= threads <= 1024, "threads", "1 to 1024", threads)
        self.config = config
        self._native = NativeTower(
            tower_traits(config), weights, threads=threads or processors(), activations=activations
        )

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights as the folder holds them."""
        return self._native.weight_bytes

    @property
    def threads(self) -> int:
        """Threads that share a call."""
        return self._native.threads

    def texts(
        self, texts: Sequence[Sequence[int]], *, normalised: bool | None = None
    ) -> np.ndarray:
        """Features of texts, given as token ids.

        Shapes: B texts -> float32 [B, features].
        Numerics: a text's numbers do not depend on its company, bit for bit.
        Errors: RequestError for an empty or too long text; ShapeError for an id that is none.
        """
        self._check_lengths(texts)
        out_BE = np.empty((len(texts), self.config.features), np.float32)
        for part in _calls([len(text) for text in texts]):
            rows_ND, starts_R1 = self.rows([texts[index] for index in part])
            out_BE[part] = self._pooled(rows_ND, starts_R1, [texts[index] for index in part])
        return self._scaled(out_BE, normalised)

    def rows(self, texts: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        """The last rows of all texts, one after another, and where each begins and ends.

        Shapes: R texts of N tokens -> float32 rows_ND, int32 starts_R1.
        """
        self._check_lengths(texts)
        starts_R1 = np.cumsum([0, *map(len, texts)]).astype(np.int32)
        ids_N = np.concatenate([np.asarray(text, np.int32) for text in texts])
        rows_ND = np.empty((len(ids_N), self.config.stack.width), np.float32)
        self._native.encode_text(ids_N, starts_R1, rows_ND)
        return rows_ND, starts_R1

    def images(self, images_BCHW: np.ndarray, *, normalised: bool | None = None) -> np.ndarray:
        """Features of images, given as the numbers that the model was trained on.

        Shapes: float32 [B, channels, height, width] -> float32 [B, features].
        Errors: RequestError for another shape.
        """
        self._check_images(images_BCHW)
        out_BE = np.empty((len(images_BCHW), self.config.features), np.float32)
        at_once = max(1, ROWS // self.config.context)
        for begin in range(0, len(images_BCHW), at_once):
            rows_BND = self.image_rows(images_BCHW[begin : begin + at_once])
            B, N, D = rows_BND.shape
            starts_R1 = np.arange(B + 1, dtype=np.int32) * np.int32(N)
            pooled = self._pooled(rows_BND.reshape(B * N, D), starts_R1, None)
            out_BE[begin : begin + at_once] = pooled
        return self._scaled(out_BE, normalised)

    def image_rows(self, images_BCHW: np.ndarray) -> np.ndarray:
        """The last rows of images.

        Shapes: float32 [B, channels, height, width] -> float32 [B, rows of an image, width].
        """
        self._check_images(images_BCHW)
        patches_BPU = self._patches(images_BCHW)
        shape = (len(patches_BPU), self.config.context, self.config.stack.width)
        rows_BND = np.empty(shape, np.float32)
        self._native.encode_images(patches_BPU, rows_BND)
        return rows_BND

    def _check_lengths(self, texts: Sequence[Sequence[int]]) -> None:
        if not texts:
            raise RequestError("texts: expected at least one")
        most = self.config.context
        for number, text in enumerate(texts):
            if not 1 <= len(text) <= most:
                raise RequestError(f"texts[{number}]: expected 1 to {most} tokens, got {len(text)}")

    def _check_images(self, images_BCHW: np.ndarray) -> None:
        image = self.config.image
        if image is None:
            raise RequestError("images: this model reads texts")
        wanted = (image.channels, image.height, image.width)
        if images_BCHW.ndim != 4 or images_BCHW.shape[1:] != wanted or not len(images_BCHW):
            raise RequestError(
                f"images: expected [B, {wanted[0]}, {wanted[1]}, {wanted[2]}], "
                f"got {list(images_BCHW.shape)}"
            )

    def _patches(self, images_BCHW: np.ndarray) -> np.ndarray:
        image = self.config.image
        assert image is not None
        down, across = image.height // image.patch_height, image.width // image.patch_width
        seen = images_BCHW[:, :, : down * image.patch_height, : across * image.patch_width]
        cut = seen.reshape(
            len(seen), image.channels, down, image.patch_height, across, image.patch_width
        )
        patches = cut.transpose(0, 2, 4, 1, 3, 5).reshape(len(seen), down * across, image.numbers)
        return np.ascontiguousarray(patches, dtype=np.float32)

    def _pooled(
        self, rows_ND: np.ndarray, starts_R1: np.ndarray, texts: Sequence[Sequence[int]] | None
    ) -> np.ndarray:
        """One row for each sequence, past the head."""
        pooled_RD = np.empty((len(starts_R1) - 1, rows_ND.shape[1]), np.float32)
        if self.config.pooling == "probe":
            self._native.probe(rows_ND, starts_R1, pooled_RD)
        else:
            for row, (begin, end) in enumerate(pairwise(starts_R1)):
                text = None if texts is None else texts[row]
                pooled_RD[row] = self._pool(rows_ND[begin:end], text)
        head = self.config.head
        if head.width is None and not head.norm:
            return pooled_RD
        out_RE = np.empty((len(pooled_RD), self.config.features), np.float32)
        self._native.head(pooled_RD, out_RE)
        return out_RE

    def _pool(self, rows_TD: np.ndarray, text: Sequence[int] | None) -> np.ndarray:
        kind = self.config.pooling
        if kind == "mean":
            return rows_TD.sum(axis=0, dtype=np.float32) / np.float32(len(rows_TD))
        if kind == "max":
            return rows_TD.max(axis=0)
        if kind == "end":
            assert text is not None
            return rows_TD[_end(text, self.config.end)]
        return rows_TD[0 if kind == "first" else -1]

    def _scaled(self, out_BE: np.ndarray, normalised: bool | None) -> np.ndarray:
        if not (self.config.normalised if normalised is None else normalised):
            return out_BE
        lengths_B = [np.sqrt(np.square(row, dtype=np.float64).sum()) for row in out_BE]
        return out_BE / np.maximum(lengths_B, 1e-12).astype(np.float32)[:, None]


def _end(text: Sequence[int], end: int | None) -> int:
    """Where the first end token stands; without one named, where the largest id does."""
    wanted = max(text) if end is None else end
    if wanted not in text:
        raise RequestError(f"texts: expected the end token {wanted} in every text")
    return list(text).index(wanted)


def _calls(lengths: Sequence[int]) -> list[list[int]]:
    """Texts in calls of at most `ROWS` rows, alike lengths together."""
    calls: list[list[int]] = []
    filled = ROWS
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if filled + lengths[index] > ROWS:
            calls.append([])
            filled = 0
        calls[-1].append(index)
        filled += lengths[index]
    return calls


def stack_traits(config: StackConfig) -> dict[str, Any]:
    """Blocks as the C++ `StackShape`."""
    names = ("width", "layers", "heads", "head_width", "hidden", "post", "norm_eps", "qkv_bias",
             "output_bias", "mlp_bias", "gated", "activation", "causal", "final_norm")  # fmt: skip
    traits = {name: getattr(config, name) for name in names}
    scale = config.query_scale
    traits["query_scale"] = config.head_width**-0.5 if scale is None else scale
    traits["rms"] = config.norm == "rms"
    traits["span"] = 0 if config.relative is None else config.relative.farthest
    return traits


def tower_traits(config: EncoderConfig) -> dict[str, Any]:
    """A tower as the C++ `EncoderShape`."""
    return {
        "stack": stack_traits(config.stack),
        "vocab": config.vocab or 0,
        "patch": 0 if config.image is None else config.image.numbers,
        "positions": config.context + config.position_offset,
        "position_offset": config.position_offset,
        "types": config.types,
        "patch_bias": config.patch_bias,
        "first_row": config.first_row,
        "embed_norm": config.embed_norm,
        "probe": config.pooling == "probe",
        "head_norm": config.head.norm,
        "head_width": config.head.width or 0,
        "head_bias": config.head.bias,
        "head_tanh": config.head.tanh,
    }


def relative_record(bias: Weight, stack: StackConfig) -> Float32:
    """T5's table of biases by bucket as the library wants it, by distance."""
    return Float32(by_distance(bias.dequantise(), stack).reshape(-1))
