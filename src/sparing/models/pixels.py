"""From images as bytes to the numbers that a model was trained on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparing.base.errors import ArtefactError, RequestError
from sparing.models.encoder_config import ImageShape
from sparing.models.folder import inside
from sparing.models.strict_json import read_object

FILE = "preprocessor_config.json"


@dataclass(frozen=True, slots=True)
class Pixels:
    """(byte * factor - mean) / deviation, channel by channel."""

    shape: ImageShape
    factor: float = 1 / 255
    mean: tuple[float, ...] = ()
    """One for each channel; empty for none taken off."""
    deviation: tuple[float, ...] = ()
    """One for each channel; empty for 1."""

    def read(self, images: np.ndarray) -> np.ndarray:
        """Images as the model takes them.

        Shapes: uint8 [B, height, width, channels] or one image without B -> float32
                [B, channels, height, width]; float32 of that shape passes.
        Errors: RequestError for another shape or type, and for NaN or infinity.
        """
        shape = self.shape
        if images.dtype == np.float32 and images.ndim == 4:
            if not np.isfinite(images).all():
                raise RequestError("images: hold NaN or infinite values")
            return images
        wanted = (shape.height, shape.width, shape.channels)
        images = images[None] if images.ndim == 3 else images
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != wanted:
            raise RequestError(
                f"images: expected uint8 [B, {wanted[0]}, {wanted[1]}, {wanted[2]}] or float32 "
                f"[B, {wanted[2]}, {wanted[0]}, {wanted[1]}], got {images.dtype} "
                f"{list(images.shape)}; resize them first"
            )
        values = images.astype(np.float32) * np.float32(self.factor)
        if self.mean:
            values = values - np.asarray(self.mean, np.float32)
        if self.deviation:
            values = values / np.asarray(self.deviation, np.float32)
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def read_pixels(path: Path, shape: ImageShape) -> Pixels:
    """The rule of folder `path`; bytes become 0 .. 1 where it has none.

    Errors: ArtefactError naming a field of preprocessor_config.json that makes no sense.
    """
    if not (path / FILE).exists():
        return Pixels(shape)
    file = inside(path, FILE)
    tree: Mapping[str, Any] = read_object(file)
    factor: Any = 1.0
    if tree.get("do_rescale", True) is not False:
        factor = tree.get("rescale_factor", 1 / 255)
    if not _is_number(factor) or not 0 < factor < 1e6:
        raise ArtefactError(
            f"{file}: rescale_factor: expected a positive number, got {factor!s:.80}"
        )
    if tree.get("do_normalize", True) is False:
        return Pixels(shape, float(factor))
    return Pixels(
        shape,
        float(factor),
        _channels(tree, "image_mean", shape, file, least=-1e6),
        _channels(tree, "image_std", shape, file, least=1e-6),
    )


def _channels(
    tree: Mapping[str, Any], key: str, shape: ImageShape, file: Path, *, least: float
) -> tuple[float, ...]:
    values = tree.get(key)
    if values is None:
        return ()
    good = isinstance(values, list) and len(values) == shape.channels
    if not good or not all(_is_number(each) and least <= each < 1e6 for each in values):
        raise ArtefactError(
            f"{file}: {key}: expected {shape.channels} numbers >= {least:g}, got {values!s:.80}"
        )
    return tuple(map(float, values))


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
