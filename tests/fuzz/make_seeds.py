"""Write the first seeds of every reader: `python -m tests.fuzz.make_seeds`."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from sparing.base import gguf_writer
from sparing.base.gguf import BLOCKS
from sparing.kernels import native
from sparing.kernels.formats import Float32, Int4
from sparing.models.packed_file import write_packed
from sparing.models.tensor_file import Tensor, write_tensors

SEEDS = Path(__file__).parent / "seeds"
BASE = {
    "vocab_size": 101,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 96,
    "bos_token_id": 1,
    "eos_token_id": [2, 3],
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
}
ROPES: dict[str, dict[str, Any]] = {
    "llama3": {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 24,
    },
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 24},
    "linear": {"rope_type": "linear", "factor": 2.0},
    "dynamic": {"rope_type": "dynamic", "factor": 2.0},
}


def scheme(bits: int, group: int) -> dict[str, Any]:
    """A quantization_config as compressed-tensors writes it."""
    weights = {"num_bits": bits, "type": "int", "symmetric": True, "strategy": "group"}
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "config_groups": {
            "group_0": {"targets": ["Linear"], "weights": weights | {"group_size": group}}
        },
        "ignore": ["lm_head"],
    }


def configs() -> None:
    trees = {kind: BASE | {"model_type": kind} for kind in ("llama", "qwen2", "qwen3")}
    for kind, rope in ROPES.items():
        trees[f"rope-{kind}"] = BASE | {"model_type": "llama", "rope_scaling": rope}
    trees["quantised"] = BASE | {"model_type": "llama", "quantization_config": scheme(4, 32)}
    for name, tree in trees.items():
        _put("config", f"{name}.json", json.dumps(tree).encode())
    for bits, group, words in ((4, 32, 8), (8, 64, 16)):
        tree = {"config": scheme(bits, group), "shape": [3, 64], "packed": [3, words]}
        tree["scale"] = [3, 64 // group]
        _put("quantised", f"int{bits}.json", json.dumps(tree).encode())


def tensor_files() -> None:
    draw = np.random.default_rng(0)
    tensors = [
        ("a", Tensor("F32", draw.normal(size=(2, 3)).astype(np.float32))),
        ("b", Tensor("BF16", np.arange(5, dtype=np.uint16))),
        ("c", Tensor("I64", np.array([3, 64], dtype=np.int64))),
        ("d", Tensor("U8", np.zeros((0, 4), dtype=np.uint8))),
    ]
    folder = SEEDS / "safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / "four.safetensors", tensors)
    write_tensors(folder / "none.safetensors", [])
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        stated = int.from_bytes(data[:8], "little")
        follows = len(data) - 8 - stated
        _put("header", path.stem, follows.to_bytes(2, "little") + data[8 : 8 + stated])


def gguf_files() -> None:
    draw = np.random.default_rng(0)
    folder = SEEDS / "gguf"
    folder.mkdir(parents=True, exist_ok=True)
    for kind, (_, weights, block_bytes) in BLOCKS.items():
        rows = draw.integers(0, 60, (2, block_bytes), dtype=np.uint8)  # no NaN among the scales
        stored = gguf_writer.Stored(kind, (2, weights), [rows])
        pairs = {"general.architecture": "llama", "llama.block_count": 2, "n": [1, 2, 3]}
        gguf_writer.write(folder / f"{kind}.gguf", pairs, {"token_embd.weight": stored})
    every = {"a": True, "b": -3, "c": 0.5, "d": "text", "e": ["x", ""], "f": [True, False]}
    gguf_writer.write(folder / "values.gguf", every | {"g": [0.5], "h": 1 << 40}, {})


def vocabularies() -> None:
    folder = SEEDS / "vocabulary"
    folder.mkdir(parents=True, exist_ok=True)
    key = "tokenizer.ggml."
    pieces = [*(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", "H", "e", "l", "o", "He"]
    llama = {
        key + "model": "llama",
        key + "tokens": ["<unk>", "<s>", "</s>", *pieces],
        key + "scores": [0.0] * 259 + [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0],
        key + "token_type": [2, 3, 3] + [6] * 256 + [1] * 6,
        key + "bos_token_id": 1,
        key + "eos_token_id": 2,
        key + "unknown_token_id": 0,
    }
    letters = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 324))]
    merged = ["He", "ll", "<|end|>"]
    gpt2 = {
        key + "model": "gpt2",
        key + "pre": "qwen2",
        key + "tokens": [*letters, *merged],
        key + "token_type": [1] * (len(letters) + 2) + [3],
        key + "merges": ["H e", "l l"],
        key + "eos_token_id": len(letters) + 2,
    }
    gguf_writer.write(folder / "llama.gguf", llama, {})
    gguf_writer.write(folder / "gpt2.gguf", gpt2, {})


def packed() -> None:
    draw = np.random.default_rng(0)
    codes = draw.integers(0, 256, (20, 32), dtype=np.uint8)
    weights = {
        "a": Int4(codes, np.full((20, 2), 0.5, np.float32)),
        "b": Float32(draw.normal(size=(3, 5)).astype(np.float32)),
    }
    made = [(name, native.pack(weight)) for name, weight in weights.items()]
    file = io.BytesIO()
    matrices = [(name, matrix) for name, matrix in made if matrix is not None]
    write_packed(file, native.packed_layout(), "0" * 64, matrices)
    _put("packed", f"{native.packed_layout()}.packed", file.getvalue())


def _put(target: str, name: str, data: bytes) -> None:
    (SEEDS / target).mkdir(parents=True, exist_ok=True)
    (SEEDS / target / name).write_bytes(data)


if __name__ == "__main__":
    configs()
    tensor_files()
    gguf_files()
    vocabularies()
    packed()
