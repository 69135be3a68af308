"""Wires the folder of an encoder into an `Embedder`, and that of a pair into its executor."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from sparing.base.errors import ConfigError
from sparing.engine.config import EngineConfig
from sparing.engine.embedder import Embedder, ImageSide, TextSide
from sparing.engine.native_tower import Tower
from sparing.kernels.formats import Weight
from sparing.models.encoder_config import EncoderConfig, Seq2SeqConfig, TowersConfig
from sparing.models.encoder_folder import EncoderFolder
from sparing.models.pixels import read_pixels
from sparing.models.sentence import read_sentences
from sparing.tokenizer.text import Tokenizer


def load_embedder(folder: EncoderFolder, config: EngineConfig) -> Embedder:
    """The towers of an opened folder, ready for texts and images.

    Errors: ArtefactError for a damaged tokenizer or settings file.
    """
    found = folder.config
    assert not isinstance(found, Seq2SeqConfig)
    weights: Mapping[str, Weight] = folder.weights
    text_weights: Mapping[str, Weight]
    image_weights: Mapping[str, Weight]
    if isinstance(found, TowersConfig):
        texts, images = found.text, found.image
        text_weights, image_weights = Under(weights, "text."), Under(weights, "image.")
    else:
        texts, images = (found, None) if found.image is None else (None, found)
        text_weights = image_weights = weights
    return Embedder(
        folder.kind,
        texts=None if texts is None else _text_side(folder.path, texts, text_weights, config),
        images=None if images is None else _image_side(folder.path, images, image_weights, config),
    )


def refuse_encoder(folder: EncoderFolder) -> ConfigError:
    """Why a verb that writes text cannot use this folder."""
    return ConfigError(
        f"{folder.path}: {folder.kind} is an encoder and writes no text; "
        "use sparing.api.load(path).embed or .encode_images"
    )


class Under(Mapping[str, Weight]):
    """The weights of one tower, by their names within it."""

    def __init__(self, weights: Mapping[str, Weight], prefix: str) -> None:
        self._weights, self._prefix = weights, prefix

    def __iter__(self) -> Iterator[str]:
        for name in self._weights:
            if name.startswith(self._prefix):
                yield name.removeprefix(self._prefix)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, name: str) -> Weight:
        return self._weights[self._prefix + name]


def _text_side(
    path: Path, config: EncoderConfig, weights: Mapping[str, Weight], engine: EngineConfig
) -> TextSide:
    settings = read_sentences(path, config)
    tokenizer = Tokenizer.load(path) if (path / "tokenizer.json").is_file() else None
    return TextSide(_tower(settings.config, weights, engine), settings, tokenizer)


def _image_side(
    path: Path, config: EncoderConfig, weights: Mapping[str, Weight], engine: EngineConfig
) -> ImageSide:
    assert config.image is not None
    return ImageSide(_tower(config, weights, engine), read_pixels(path, config.image))


def _tower(config: EncoderConfig, weights: Mapping[str, Weight], engine: EngineConfig) -> Tower:
    return Tower(config, weights, threads=engine.threads, activations=engine.activations)
