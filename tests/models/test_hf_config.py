"""config.json: both ways of writing rope, what is refused by name, what is passed over."""

from typing import Any

import pytest
from transformers import AutoConfig, LlamaConfig

from sparing.base.errors import ArtefactError, ConfigError
from sparing.models.config import DecoderConfig, RopeScaling
from sparing.models.hf_config import family_of, parse_config, to_tree

# As folders of transformers 4 have it.
OLD: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 128000,
    "eos_token_id": [128001, 128008],
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "initializer_range": 0.02,
    "intermediate_size": 8192,
    "max_position_embeddings": 131072,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 16,
    "num_key_value_heads": 8,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "factor": 32.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "rope_theta": 500000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.45.0.dev0",
    "use_cache": True,
    "vocab_size": 128256,
}
QWEN2: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "hidden_act": "silu",
    "hidden_size": 896,
    "initializer_range": 0.02,
    "intermediate_size": 4864,
    "max_position_embeddings": 32768,
    "max_window_layers": 21,
    "model_type": "qwen2",
    "num_attention_heads": 14,
    "num_hidden_layers": 24,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.43.1",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}


def test_an_old_folder() -> None:
    parsed = parse_config(OLD)
    config = parsed.config
    assert parsed.family == "llama"
    assert (config.vocab, config.width, config.layers, config.hidden) == (128256, 2048, 16, 8192)
    assert (config.heads, config.kv_heads, config.head_width) == (32, 8, 64)
    assert config.rope_theta == 500000.0
    assert config.rope_scaling == RopeScaling(
        kind="llama3",
        factor=32.0,
        original_context=8192,
        low_freq_factor=1.0,
        high_freq_factor=4.0,
    )
    assert config.tied
    assert config.eos == (128001, 128008)


def test_an_old_qwen2_folder() -> None:
    config = parse_config(QWEN2).config
    assert config.qkv_bias
    assert not config.output_bias
    assert config.head_width == 64
    assert config.eos == (151645,)


def test_transformers_reads_the_same_from_both_ways_of_writing_rope() -> None:
    for tree in (OLD, QWEN2):
        parsed = parse_config(tree)
        written = to_tree(parsed.config, parsed.family, dtype="float32")
        theirs = AutoConfig.for_model(**written)
        assert parse_config(theirs.to_dict()).config == parsed.config
        old = {key: value for key, value in written.items() if key != "rope_parameters"}
        new = {key: value for key, value in written.items() if not key.startswith("rope_t")}
        new.pop("rope_scaling")
        assert parse_config(old).config == parse_config(new).config == parsed.config


def test_defaults_are_those_of_transformers() -> None:
    least = {"model_type": "llama", "vocab_size": 50, "hidden_size": 24, "intermediate_size": 9}
    least |= {"num_hidden_layers": 1, "num_attention_heads": 3, "max_position_embeddings": 7}
    theirs = parse_config(LlamaConfig(**least).to_dict() | {"bos_token_id": None}).config
    ours = parse_config(least | {"eos_token_id": 2}).config
    assert ours == theirs


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model_type": "bloom"}, "model_type"),
        ({"model_type": "lama"}, "did you mean 'llama'"),
        ({"model_type": None}, "model_type"),
        ({"model_type": ["llama"]}, "model_type"),
        ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "architectures"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"layer_types": ["sliding_attention"] * 16}, "layer_types"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"num_experts": 8}, "num_experts"),
        ({"pretraining_tp": 2}, "pretraining_tp"),
        ({"hidden_act": "tanh"}, "activation"),
        ({"hidden_size": "2048"}, "hidden_size"),
        ({"hidden_size": 2048.0}, "hidden_size"),
        ({"hidden_size": True}, "hidden_size"),
        ({"hidden_size": -1}, "width"),
        ({"hidden_size": 2**62}, "width"),
        ({"num_hidden_layers": 10**9}, "layers"),
        ({"num_attention_heads": 0}, "heads"),
        ({"num_attention_heads": 30}, "heads"),
        ({"head_dim": 63}, "head_width"),
        ({"vocab_size": None}, "vocab_size"),
        ({"rms_norm_eps": 0}, "norm_eps"),
        ({"rms_norm_eps": "1e-5"}, "rms_norm_eps"),
        ({"attention_bias": 1}, "attention_bias"),
        ({"eos_token_id": [1, "2"]}, "eos_token_id"),
        ({"eos_token_id": 128256}, "eos"),
        ({"bos_token_id": -1}, "bos"),
        ({"rope_theta": 0.0}, "rope_theta"),
        ({"rope_scaling": "linear"}, "rope_scaling"),
        ({"rope_scaling": {"rope_type": "longrope", "factor": 2.0}}, "short_factor"),
        ({"rope_scaling": {"rope_type": "ntk", "factor": 2.0}}, "rope_type"),
        ({"rope_scaling": {"rope_type": "linear"}}, "factor"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 0.5}}, "factor"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2, "long_factor": []}}, "long_factor"),
        ({"rope_scaling": OLD["rope_scaling"] | {"low_freq_factor": 4.0}}, "low_freq_factor"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}, "contradict"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quant_method"),
    ],
)
def test_refused_by_name(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ArtefactError, match=named):
        parse_config(OLD | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"_name_or_path": "/home/someone"},
        {"final_logit_softcapping": None},
        {"attn_logit_softcapping": False},
        {"sliding_window": 4096},
        {"layer_types": ["full_attention"] * 16},
        {"rope_scaling": OLD["rope_scaling"] | {"type": "llama3"}},
        {"auto_map": None},
    ],
)
def test_passed_over(changes: dict[str, Any]) -> None:
    assert parse_config(OLD | changes).config == parse_config(OLD).config


def test_traits_choose_the_family() -> None:
    small = {"vocab": 10, "width": 8, "layers": 1, "heads": 2, "kv_heads": 1, "head_width": 4}
    small |= {"hidden": 6, "context": 16}
    assert family_of(DecoderConfig(**small)) == "llama"
    assert family_of(DecoderConfig(**small, qkv_bias=True)) == "qwen2"
    assert family_of(DecoderConfig(**small, qk_norm="head")) == "qwen3"
    assert family_of(DecoderConfig(**small, qkv_bias=True, output_bias=True)) == "llama"
    with pytest.raises(ConfigError, match="no family"):
        family_of(DecoderConfig(**small, qk_norm="head", mlp_bias=True))
