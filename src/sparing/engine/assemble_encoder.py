"""Wires the folder of an encoder into an `Embedder`, and that of a pair into its executor."""

from collections.abc import Mapping
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
    weights = folder.weights
    if isinstance(found, TowersConfig):
        texts, images = found.text, found.image
        text_weights, image_weights = _under(weights, "text."), _under(weights, "image.")
    else:
        texts, images = (found, None) if found.image is None else (None, found)
        text_weights = image_weights = dict(weights.items())
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


def _under(weights: Mapping[str, Weight], prefix: str) -> dict[str, Weight]:
    names = [name for name in weights if name.startswith(prefix)]
    return {name.removeprefix(prefix): weights[name] for name in names}


def _text_side(
    path: Path, config: EncoderConfig, weights: dict[str, Weight], engine: EngineConfig
) -> TextSide:
    settings = read_sentences(path, config)
    tokenizer = Tokenizer.load(path) if (path / "tokenizer.json").is_file() else None
    return TextSide(_tower(settings.config, weights, engine), settings, tokenizer)


def _image_side(
    path: Path, config: EncoderConfig, weights: dict[str, Weight], engine: EngineConfig
) -> ImageSide:
    assert config.image is not None
    return ImageSide(_tower(config, weights, engine), read_pixels(path, config.image))


def _tower(config: EncoderConfig, weights: dict[str, Weight], engine: EngineConfig) -> Tower:
    return Tower(config, weights, threads=engine.threads, activations=engine.activations)
