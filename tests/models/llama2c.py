"""llama2.c's files as a Hugging Face folder: the legacy checkpoint and its vocabulary.

A checkpoint is seven int32 (width, hidden, layers, heads, key-value heads, vocabulary, context)
and float32 tensors, each over all layers; its rotations pair neighbouring features.
Source: github.com/karpathy/llama2.c, run.c and export.py (legacy_export).
"""

import struct
from pathlib import Path

import numpy as np

from sparing.models.config import DecoderConfig
from sparing.models.folder import write_model
from sparing.tokenizer.gguf_vocab import read_vocabulary

BOS, EOS = 1, 2


def write_folder(checkpoint: Path, vocabulary: Path, folder: Path) -> DecoderConfig:
    """The model and its tokenizer, from `checkpoint` and `vocabulary`, in `folder`."""
    config, tensors = read_checkpoint(checkpoint)
    write_model(folder, config, tensors, family="llama")
    write_tokenizer(vocabulary, folder, config.vocab)
    return config


def read_checkpoint(path: Path) -> tuple[DecoderConfig, dict[str, np.ndarray]]:
    data = path.read_bytes()
    D, M, layers, H, G, V, T = struct.unpack("<7i", data[:28])
    numbers = np.frombuffer(data, "<f4", offset=28)
    K, at = D // H, 0

    def take(*shape: int) -> np.ndarray:
        nonlocal at
        count = int(np.prod(shape))
        at += count
        return numbers[at - count : at].reshape(shape)

    tensors = {"embed.weight": take(abs(V), D)}
    stacked = [
        ("attention_norm", (D,)),
        ("attention.query", (D, D)),
        ("attention.key", (G * K, D)),
        ("attention.value", (G * K, D)),
        ("attention.output", (D, D)),
        ("mlp_norm", (D,)),
        ("mlp.gate", (M, D)),
        ("mlp.down", (D, M)),
        ("mlp.up", (M, D)),
    ]
    for name, shape in stacked:
        for layer, tensor in enumerate(take(layers, *shape)):
            if name in ("attention.query", "attention.key"):
                tensor = halves(tensor, K)
            tensors[f"layers.{layer}.{name}.weight"] = tensor
    tensors["final_norm.weight"] = take(D)
    take(2, T, K // 2)  # cosines and sines, which follow from the sizes
    if V < 0:
        tensors["head.weight"] = take(abs(V), D)
    assert at == len(numbers)
    config = DecoderConfig(
        vocab=abs(V), width=D, layers=layers, heads=H, kv_heads=G, head_width=K, hidden=M,
        context=T, norm_eps=1e-5, tied=V > 0, bos=BOS, eos=(EOS,),
    )  # fmt: skip
    return config, tensors


def halves(weight_ZD: np.ndarray, K: int) -> np.ndarray:
    """Rows in the order of pairs (k, k + K / 2) instead of (2 k, 2 k + 1)."""
    Z, D = weight_ZD.shape
    pairs = weight_ZD.reshape(Z // K, K // 2, 2, D)
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(Z, D))


def write_tokenizer(vocabulary: Path, folder: Path, count: int) -> None:
    """A vocabulary of SentencePiece's kind: pieces with scores, unknown bytes spelled out."""
    data, at = vocabulary.read_bytes(), 4
    tokens, scores = [], []
    for _ in range(count):
        score, length = struct.unpack_from("<fi", data, at)
        at += 8 + length
        scores.append(score)
        tokens.append(data[at - length : at].decode("utf-8").replace(" ", "\u2581"))
    tokens[:3] = ["<unk>", "<s>", "</s>"]
    kinds = np.array([2, 3, 3] + [6] * 256 + [1] * (count - 259))
    pairs = {
        "model": "llama", "tokens": tokens, "scores": np.array(scores), "token_type": kinds,
        "bos_token_id": BOS, "eos_token_id": EOS, "unknown_token_id": 0, "add_bos_token": True,
    }  # fmt: skip
    named = {f"tokenizer.ggml.{key}": value for key, value in pairs.items()}
    read_vocabulary(named, str(vocabulary)).library.save(str(folder / "tokenizer.json"))
