"""A model folder of random weights with a tokenizer of its own, for verbs to work on."""

from pathlib import Path

import numpy as np

from sparing.models.config import DecoderConfig
from sparing.models.folder import write_model
from sparing.models.names import shapes
from tokenizer.tiny import write_byte_level


def write_random_model(folder: Path, config: DecoderConfig) -> Path:
    """Maps drawn from seed 0, vectors of ones."""
    dice = np.random.default_rng(0)
    tensors = {
        name: (0.2 * dice.standard_normal(shape) if len(shape) == 2 else np.ones(shape)).astype(
            np.float32
        )
        for name, shape in shapes(config).items()
    }
    write_model(folder, config, tensors)
    return write_byte_level(folder)
