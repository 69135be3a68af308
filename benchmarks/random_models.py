"""Checkpoints of published shapes with random weights: speed does not depend on what is learnt.

    .venv/bin/python benchmarks/random_models.py DIR [NAME ...]

Normal numbers of deviation 0.02 in bfloat16, and a byte-level tokenizer that covers little of the
vocabulary: prompts are drawn from it, logits are not looked at.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from sparing.kernels.formats import BFloat16, Float32, to_bfloat16
from sparing.models.config import DecoderConfig
from sparing.models.folder import write_model
from sparing.models.names import Family, shapes

SHAPES: dict[str, tuple[Family, DecoderConfig]] = {
    # Qwen/Qwen2.5-0.5B, config.json
    "qwen2.5-0.5b": (
        "qwen2",
        DecoderConfig(
            vocab=151936,
            width=896,
            layers=24,
            heads=14,
            kv_heads=2,
            head_width=64,
            hidden=4864,
            context=32768,
            norm_eps=1e-6,
            rope_theta=1e6,
            qkv_bias=True,
            tied=True,
            bos=0,
            eos=(0,),
        ),
    ),
    # meta-llama/Llama-3.2-1B, config.json, without the stretching of its frequencies
    "llama3.2-1b": (
        "llama",
        DecoderConfig(
            vocab=128256,
            width=2048,
            layers=16,
            heads=32,
            kv_heads=8,
            head_width=64,
            hidden=8192,
            context=131072,
            norm_eps=1e-5,
            rope_theta=5e5,
            tied=True,
            bos=0,
            eos=(0,),
        ),
    ),
}
DEVIATION = 0.02


def write(name: str, folder: Path) -> Path:
    """The checkpoint of a shape at `folder`; nothing is done when it is there."""
    if (folder / "model.safetensors").exists():
        return folder
    family, config = SHAPES[name]
    draft = folder.with_name(f".{folder.name}.part")
    draft.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(1)
    tensors = {}
    for key, shape in shapes(config).items():
        if len(shape) == 1:
            fill = 1.0 if "norm" in key else 0.0
            tensors[key] = Float32(np.full(shape, fill, np.float32))
        else:
            plain_ZD = draw.standard_normal(shape, dtype=np.float32)
            tensors[key] = BFloat16(to_bfloat16(plain_ZD * np.float32(DEVIATION)))
    write_model(draft, config, tensors, dtype="bfloat16", family=family)
    write_tokenizer(draft)
    draft.rename(folder)
    return folder


def write_tokenizer(folder: Path) -> None:
    """A byte-level BPE of a thousand tokens, learnt from this repository's own sources."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    sources = sorted(Path(__file__).parent.glob("*.py"))
    tokenizer.train_from_iterator((path.read_text() for path in sources), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|end|>",
        "pad_token": "<|end|>",
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", choices=[*SHAPES, []], default=list(SHAPES))
    options = parser.parse_args()
    for name in options.names:
        print(write(name, options.folder / name))


if __name__ == "__main__":
    main()
