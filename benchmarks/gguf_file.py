"""A model folder of ours as a BF16 GGUF file without a vocabulary, through the `gguf` package.

For speed alone: prompts are token ids.
"""

from pathlib import Path

import numpy as np

from sparing.kernels.formats import to_bfloat16
from sparing.models.folder import ModelFolder
from sparing.models.weights import as_float32

OUTER = {"embed": "token_embd", "final_norm": "output_norm", "head": "output"}
INNER = {
    "attention_norm": "attn_norm",
    "attention.query": "attn_q",
    "attention.key": "attn_k",
    "attention.value": "attn_v",
    "attention.output": "attn_output",
    "attention.q_norm": "attn_q_norm",
    "attention.k_norm": "attn_k_norm",
    "mlp_norm": "ffn_norm",
    "mlp.gate": "ffn_gate",
    "mlp.up": "ffn_up",
    "mlp.down": "ffn_down",
}


def tensor_name(name: str) -> str:
    """GGUF's name of a tensor of ours."""
    if not name.startswith("layers."):
        part, _, leaf = name.rpartition(".")
        return f"{OUTER[part]}.{leaf}"
    _, layer, rest = name.split(".", 2)
    part, _, leaf = rest.rpartition(".")
    return f"blk.{layer}.{INNER[part]}.{leaf}"


def interleaved(weight_ZD: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head in pairs, as the `llama` architecture of GGUF turns them.

    Ours has the first numbers of all pairs of a head, then the second ones.
    """
    halves = weight_ZD.reshape(heads, 2, -1, *weight_ZD.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(weight_ZD.shape)


def write_gguf(model: ModelFolder, path: Path) -> None:
    """Write the file.  Errors: ValueError for a family that is not a plain rotary decoder."""
    import gguf

    arch = model.family
    if arch not in ("llama", "qwen2", "qwen3"):
        raise ValueError(f"{arch}: no GGUF layout for it here")
    config = model.config
    writer = gguf.GGUFWriter(str(path), arch)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.hidden)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_rope_dimension_count(config.head_width)
    writer.add_key_length(config.head_width)
    writer.add_value_length(config.head_width)
    writer.add_vocab_size(config.vocab)
    writer.add_tokenizer_model("no_vocab")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    for name, weight in model.weights.items():
        plain = as_float32(weight)
        for part, heads in (("query", config.heads), ("key", config.kv_heads)):
            if arch == "llama" and f"attention.{part}." in name:
                plain = interleaved(plain, heads)
        if plain.ndim == 1:
            writer.add_tensor(tensor_name(name), plain)
        else:
            raw = to_bfloat16(plain).view(np.uint8)
            writer.add_tensor(tensor_name(name), raw, raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
