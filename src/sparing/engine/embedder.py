"""A model that gives features: texts or images in, rows that can be compared out."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn

import numpy as np

from sparing.base.errors import RequestError
from sparing.engine.native_tower import Tower
from sparing.models.pixels import Pixels
from sparing.models.sentence import Sentences
from sparing.tokenizer.text import Tokenizer

Text = str | Sequence[int]


@dataclass(frozen=True, slots=True)
class TextSide:
    """A tower for texts, and how texts reach it."""

    tower: Tower
    settings: Sentences
    tokenizer: Tokenizer | None


@dataclass(frozen=True, slots=True)
class ImageSide:
    """A tower for images, and how images reach it."""

    tower: Tower
    pixels: Pixels


class Embedder:
    """An opened encoder; close it, or use it in a `with`.  Threads may share it."""

    def __init__(
        self, kind: str, *, texts: TextSide | None = None, images: ImageSide | None = None
    ) -> None:
        self.kind, self.texts, self.images = kind, texts, images

    def embed(
        self,
        texts: Text | Sequence[Text],
        *,
        prompt: str | None = None,
        normalised: bool | None = None,
        truncate: bool = False,
    ) -> np.ndarray:
        """Features of texts, or of token ids (which pass as they are).

        `prompt` goes before every text (None: as the folder says); `normalised` scales each row
        to length 1 (None: as the folder says); `truncate` cuts texts that are too long, at their
        end.

        Shapes: B texts -> float32 [B, features].
        Errors: RequestError for a model of images, and for an empty or too long text.
        """
        side = self.texts
        if side is None:
            raise RequestError(f"embed: {self.kind} reads images; use encode_images")
        ids = [self._ids(side, text, prompt, truncate) for text in _many(texts)]
        for number, text in enumerate(ids):
            if len(text) > side.settings.length:
                raise RequestError(
                    f"texts[{number}]: has {len(text)} tokens, the model takes "
                    f"{side.settings.length}; shorten it, or pass truncate=True"
                )
        return side.tower.texts(ids, normalised=normalised)

    def encode_images(self, images: np.ndarray, *, normalised: bool | None = None) -> np.ndarray:
        """Features of images of the model's own size.

        uint8 [B, height, width, channels] (or one image) is scaled as the folder says; float32
        [B, channels, height, width] passes as it is.  Resizing is the caller's.

        Shapes: B images -> float32 [B, features].
        Errors: RequestError for a model of texts, and for images of another size or type.
        """
        side = self.images
        if side is None:
            raise RequestError(f"encode_images: {self.kind} reads texts; use embed")
        return side.tower.images(side.pixels.read(np.asarray(images)), normalised=normalised)

    def generate(self, *_: object, **__: object) -> NoReturn:
        """Errors: RequestError always: an encoder writes no text."""
        raise RequestError(f"generate: {self.kind} is an encoder and writes no text; use embed")

    chat = stream = stream_chat = generate

    def _ids(self, side: TextSide, text: Text, prompt: str | None, truncate: bool) -> list[int]:
        if not isinstance(text, str):
            ids = [int(id) for id in text]
            return ids[: side.settings.length] if truncate else ids
        if side.tokenizer is None:
            raise RequestError("embed: this folder has no tokenizer.json; pass token ids")
        settings = side.settings
        text = (settings.prompt if prompt is None else prompt) + text
        text = text.lower() if settings.lower else text
        bare = side.tokenizer.encode(text)
        framed = side.tokenizer.encode(text, begin=True, end=True)
        room = settings.length - (len(framed) - len(bare))
        if truncate and len(bare) > room >= 0:
            begin = len(side.tokenizer.encode("", begin=True))
            framed = [*framed[: begin + room], *framed[begin + len(bare) :]]
        pad, length = side.tower.config.pad, side.tower.config.context
        return framed if pad is None else framed + [pad] * (length - len(framed))

    def close(self) -> None:
        """Nothing is left to stop; there for those who close every model."""

    def __enter__(self) -> "Embedder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


def _many(texts: Text | Sequence[Text]) -> Sequence[Text]:
    """One text, or the ids of one, is a list of one."""
    one = isinstance(texts, str) or (len(texts) > 0 and not isinstance(texts[0], str | Sequence))
    return [texts] if one else texts  # type: ignore[list-item, return-value]
