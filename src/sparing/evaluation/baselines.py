"""What counting alone reaches: n-grams trained on the tokens that a model saw."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparing.base.errors import ArtefactError
from sparing.base.files import hash_of
from sparing.data.packing import Packing
from sparing.data.shards import Shards
from sparing.evaluation import ngram
from sparing.evaluation.documents import Sample
from sparing.evaluation.origin import training_of


@dataclass(frozen=True, slots=True)
class Seen:
    """Training text for the n-grams, and what it is."""

    documents: list[np.ndarray]
    what: str


def seen_by(model: Path, data: Path) -> Seen:
    """The text that the model was trained on, from the card of the run that trained it.

    Without such a card, or with one of other data, it is the whole train split; an n-gram that
    has counted more than the model saw is only harder to beat.
    """
    shards = Shards.open(data)
    run = training_of(model)
    if run is None or run.data_hash != hash_of(data):
        return Seen(list(shards.documents("train")), "the whole train split")
    packing = Packing(
        shards, seed=run.seed, context=run.context, batch=run.batch, tokens=run.train_tokens
    )
    documents = list(packing.seen(run.steps))
    return Seen(documents, f"what {run.steps} training steps saw, each token once")


def ngram_figures(
    orders: tuple[int, ...], model: Path, data: Path, text: Sample
) -> list[dict[str, Any]]:
    """Bits per byte of each order on the sample's tokens.

    Errors:
        ArtefactError: the data is not a shards folder, so that there is nothing to count.
    """
    if not data.is_dir():
        raise ArtefactError(f"{data}: n-grams need a shards folder with a train split")
    seen, vocab = seen_by(model, data), Shards.open(data).vocab_size
    return [_figure(order, seen, text, vocab) for order in orders]


def _figure(order: int, seen: Seen, text: Sample, vocab: int) -> dict[str, Any]:
    begin = time.perf_counter()
    held = [document.ids_N for document in text.documents]
    model = ngram.fit(seen.documents, order=order, vocab=vocab, bos=int(held[0][0]))
    return {
        "order": order,
        "bits_per_byte": ngram.bits_per_byte(model, held, text.text_bytes),
        "method": "interpolated Kneser-Ney, one discount per order",
        "trained_on": seen.what,
        "train_tokens": sum(len(document) - 1 for document in seen.documents),
        "seconds": time.perf_counter() - begin,
    }
