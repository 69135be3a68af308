"""Bytes of images to numbers, against transformers' image processor."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers.image_transforms import normalize, rescale

from sparing.base.errors import ArtefactError, RequestError
from sparing.models.encoder_config import ImageShape
from sparing.models.pixels import FILE, read_pixels

SHAPE = ImageShape(height=4, width=6, patch_height=2, patch_width=2)
MEAN, DEVIATION = [0.48, 0.45, 0.4], [0.26, 0.27, 0.21]
IMAGE = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)


def said(folder: Path, **tree: Any) -> Path:
    (folder / FILE).write_text(json.dumps(tree))
    return folder


def test_as_the_processor_does(tmp_path: Path) -> None:
    pixels = read_pixels(said(tmp_path, image_mean=MEAN, image_std=DEVIATION), SHAPE)
    wanted = normalize(rescale(IMAGE, 1 / 255), MEAN, DEVIATION).transpose(2, 0, 1)
    np.testing.assert_allclose(pixels.read(IMAGE)[0], wanted, rtol=1e-5, atol=1e-6)
    both = pixels.read(np.stack([IMAGE, IMAGE[::-1]]))
    assert both.shape == (2, 3, 4, 6)
    assert both.dtype == np.float32
    assert not np.array_equal(both[0], both[1])


def test_switches(tmp_path: Path) -> None:
    plain = read_pixels(tmp_path, SHAPE).read(IMAGE)
    np.testing.assert_allclose(plain[0, 2, 3, 5], IMAGE[3, 5, 2] / 255, rtol=1e-6)
    raw = read_pixels(said(tmp_path, do_rescale=False, do_normalize=False, image_mean=MEAN), SHAPE)
    assert np.array_equal(raw.read(IMAGE)[0, 1], IMAGE[:, :, 1].astype(np.float32))
    half = read_pixels(said(tmp_path, rescale_factor=0.5, image_std=[2, 2, 2]), SHAPE)
    assert np.array_equal(half.read(IMAGE)[0, 1], IMAGE[:, :, 1] * np.float32(0.25))


@pytest.mark.parametrize(
    "tree",
    [
        {"image_mean": [0.5, 0.5]},
        {"image_mean": "0.5"},
        {"image_std": [0.5, 0.5, 0]},
        {"image_std": [1, 1, True]},
        {"rescale_factor": 0},
        {"rescale_factor": "1/255"},
    ],
)
def test_rules_without_sense_are_refused(tree: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=next(iter(tree))):
        read_pixels(said(tmp_path, **tree), SHAPE)


@pytest.mark.parametrize(
    "image", [IMAGE[:3], IMAGE[..., :1], IMAGE.astype(np.float64), IMAGE[None, None]]
)
def test_other_images_are_refused(image: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="resize them first"):
        read_pixels(tmp_path, SHAPE).read(image)
