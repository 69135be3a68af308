"""Tiny folders of every kind that evaluation and compression read."""

import hashlib
import json
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from sparing.data.shards import write_shard
from sparing.models.config import DecoderConfig
from sparing.models.folder import write_model
from sparing.models.names import shapes

SPECIAL = ["<|bos|>", "<|eos|>", "<|im_start|>", "<|im_end|>"]
VOCAB = 320

TEXTS = [
    f"def add_{number}(left, right):\n    return left + right * {number}  # \u00e9\u00e8 \u4f60\n"
    * (1 + number % 5)
    for number in range(60)
]


def write_tokenizer(folder: Path) -> None:
    """A byte-level BPE of `VOCAB` tokens with our four special tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    library = tokenizers.Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library.train_from_iterator(TEXTS, trainer)
    library.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|bos|>",
        "eos_token": "<|eos|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def write_toy_model(
    folder: Path, *, tied: bool = True, dtype: str = "float32", **traits
) -> DecoderConfig:
    """A random decoder whose outputs are far from uniform, with its tokenizer."""
    sizes = {
        "vocab": VOCAB,
        "width": 64,
        "layers": 2,
        "heads": 4,
        "kv_heads": 2,
        "head_width": 16,
        "hidden": 96,
        "context": 128,
    }
    config = DecoderConfig(**(sizes | {"tied": tied, "bos": 0, "eos": (1,)} | traits))
    generator = np.random.default_rng(7)
    tensors = {}
    for name, shape in shapes(config).items():
        if name.endswith("norm.weight"):
            tensors[name] = np.ones(shape, dtype=np.float32)
        else:
            spread = 0.2 if name.startswith(("embed", "head")) else shape[-1] ** -0.5
            tensors[name] = (generator.standard_t(5, size=shape) * spread).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    write_model(folder, config, tensors, dtype=dtype)
    write_tokenizer(folder)
    return config


def write_toy_shards(folder: Path, *, heldout: int = 25) -> None:
    """Shards of `TEXTS`, the last `heldout` documents held out."""
    write_tokenizer(folder / "tokenizer")
    library = tokenizers.Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
    splits = {}
    for split, texts in (("train", TEXTS[:-heldout]), ("heldout", TEXTS[-heldout:])):
        ids = [[0, *library.encode(text).ids, 1] for text in texts]
        tokens_N = np.concatenate([np.array(each, dtype=np.uint16) for each in ids])
        digest = write_shard(folder / f"{split}-00000.bin", tokens_N)
        splits[split] = {
            "tokens": len(tokens_N),
            "documents": len(ids),
            "bytes": sum(len(text.encode()) for text in texts),
            "shards": [{"file": f"{split}-00000.bin", "tokens": len(tokens_N), "sha256": digest}],
        }
    bytes_of_tokenizer = (folder / "tokenizer" / "tokenizer.json").read_bytes()
    manifest = {
        "tokenizer_hash": hashlib.sha256(bytes_of_tokenizer).hexdigest(),
        "vocab_size": VOCAB,
        "bos": 0,
        "eos": 1,
        "splits": splits,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
