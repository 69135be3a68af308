"""A small corpus of shards with its own tokenizer, and a decoder small enough for a test."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from sparing.data.shards import Shards, write_shard
from sparing.models.config import DecoderConfig
from sparing.models.folder import write_config

SPECIAL = ["<|bos|>", "<|eos|>", "<|im_start|>", "<|im_end|>"]
WORDS = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "mu",
]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def texts(seed: int, count: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(3, 60))) + "\n" for _ in range(count)]


def make_shards(folder: Path, *, heldout: int = 6, documents: int = 40) -> Path:
    """A shards folder as the data room writes it, of made-up text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=288, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    splits = {"train": texts(0, documents), "heldout": texts(1, heldout)}
    tokenizer.train_from_iterator(splits["train"], trainer)
    (folder / "tokenizer").mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer" / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
    settings |= {"bos_token": SPECIAL[0], "eos_token": SPECIAL[1]}
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(settings))
    stated = {}
    for name, documents_of in splits.items():
        ids = [np.array([0, *tokenizer.encode(text).ids, 1]) for text in documents_of]
        tokens = np.concatenate([*ids, np.zeros(0)]).astype(np.uint16)
        sha256 = write_shard(folder / f"{name}-00000.bin", tokens)
        entry = {"file": f"{name}-00000.bin", "tokens": len(tokens), "sha256": sha256}
        stated[name] = {
            "tokens": len(tokens),
            "documents": len(ids),
            "bytes": sum(len(text.encode()) for text in documents_of),
            "shards": [entry] if len(tokens) else [],
        }
    manifest = {"tokenizer_hash": "", "vocab_size": tokenizer.get_vocab_size(), "bos": 0, "eos": 1}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"splits": stated}))
    return folder


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("corpus") / "shards")


@pytest.fixture(scope="session")
def decoder(shards: Path) -> DecoderConfig:
    """The traits of a very small decoder over the shards' vocabulary."""
    return DecoderConfig(
        vocab=Shards.open(shards).vocab_size,
        width=16,
        layers=2,
        heads=2,
        kv_heads=1,
        head_width=8,
        hidden=24,
        context=64,
        tied=True,
        bos=0,
        eos=(1,),
    )


@pytest.fixture(scope="session")
def shape(decoder: DecoderConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose config.json says that decoder."""
    folder = tmp_path_factory.mktemp("shape")
    write_config(folder, decoder)
    return folder
