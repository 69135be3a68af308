"""config.json of each family as its folders have it: what is read, and what is refused by name."""

from typing import Any

import pytest
from transformers import AutoConfig

from sparing.base.errors import ArtefactError
from sparing.models.config import Experts
from sparing.models.hf_config import parse_config


def tree(kind: str, architecture: str, **fields: Any) -> dict[str, Any]:
    """A small config.json with what transformers 4 writes into any."""
    common: dict[str, Any] = {
        "architectures": [architecture], "model_type": kind, "torch_dtype": "bfloat16",
        "transformers_version": "4.40.0", "use_cache": True, "initializer_range": 0.02,
        "bos_token_id": 1, "eos_token_id": 2, "vocab_size": 300,
    }  # fmt: skip
    if kind != "gpt2":
        common |= {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
                   "intermediate_size": 96, "max_position_embeddings": 512}  # fmt: skip
    return common | fields


LONG = {
    "type": "longrope",
    "short_factor": [1.0] * 8,
    "long_factor": [2.0] * 8,
}
# As the folders of transformers 4 have them, but for the sizes.
FOLDERS: dict[str, dict[str, Any]] = {
    "mistral": tree(
        "mistral", "MistralForCausalLM", num_key_value_heads=2, hidden_act="silu",
        rms_norm_eps=1e-5, rope_theta=10000.0, sliding_window=128, tie_word_embeddings=False,
    ),
    "mixtral": tree(
        "mixtral", "MixtralForCausalLM", num_key_value_heads=2, hidden_act="silu",
        rms_norm_eps=1e-5, rope_theta=1e6, sliding_window=None, num_experts_per_tok=2,
        num_local_experts=8, output_router_logits=False, router_aux_loss_coef=0.02,
        attention_dropout=0.0, tie_word_embeddings=False,
    ),
    "gemma": tree(
        "gemma", "GemmaForCausalLM", num_key_value_heads=1, head_dim=16, hidden_act="gelu",
        hidden_activation=None, rms_norm_eps=1e-6, rope_theta=10000.0, rope_scaling=None,
        attention_bias=False, attention_dropout=0.0, pad_token_id=0,
    ),
    "gemma2": tree(
        "gemma2", "Gemma2ForCausalLM", num_key_value_heads=2, head_dim=16,
        hidden_act="gelu_pytorch_tanh", hidden_activation="gelu_pytorch_tanh", rms_norm_eps=1e-6,
        rope_theta=10000.0, attn_logit_softcapping=50.0, final_logit_softcapping=30.0,
        query_pre_attn_scalar=16, sliding_window=128, cache_implementation="hybrid",
        attention_bias=False, attention_dropout=0.0, pad_token_id=0,
    ),
    "gemma3": tree(
        "gemma3_text", "Gemma3ForCausalLM", num_key_value_heads=1, head_dim=16,
        hidden_activation="gelu_pytorch_tanh", rms_norm_eps=1e-6, rope_theta=1000000,
        rope_local_base_freq=10000, rope_scaling=None, attn_logit_softcapping=None,
        final_logit_softcapping=None, query_pre_attn_scalar=16, sliding_window=128,
        sliding_window_pattern=2, cache_implementation="hybrid", attention_bias=False,
        attention_dropout=0.0, pad_token_id=0, eos_token_id=[1, 106],
    ),
    "phi3": tree(
        "phi3", "Phi3ForCausalLM", num_key_value_heads=4, hidden_act="silu", rms_norm_eps=1e-5,
        rope_theta=10000.0, rope_scaling=None, original_max_position_embeddings=512,
        sliding_window=511, resid_pdrop=0.0, embd_pdrop=0.0, attention_dropout=0.0,
        attention_bias=False, pad_token_id=0, tie_word_embeddings=False,
    ),
    "phi3-long": tree(
        "phi3", "Phi3ForCausalLM", num_key_value_heads=4, hidden_act="silu", rms_norm_eps=1e-5,
        rope_theta=10000.0, rope_scaling=LONG, original_max_position_embeddings=128,
        sliding_window=1024, resid_pdrop=0.0, embd_pdrop=0.0, pad_token_id=0,
        tie_word_embeddings=False,
    ),
    "gpt2": tree(
        "gpt2", "GPT2LMHeadModel", activation_function="gelu_new", attn_pdrop=0.1,
        embd_pdrop=0.1, layer_norm_epsilon=1e-5, n_ctx=128, n_embd=64, n_head=4, n_layer=4,
        n_positions=128, resid_pdrop=0.1, summary_activation=None, summary_first_dropout=0.1,
        summary_proj_to_labels=True, summary_type="cls_index", summary_use_proj=True,
        task_specific_params={"text-generation": {"do_sample": True, "max_length": 50}},
    ),
    "pythia": tree(
        "gpt_neox", "GPTNeoXForCausalLM", hidden_act="gelu", layer_norm_eps=1e-5,
        rotary_emb_base=10000, rotary_pct=0.25, tie_word_embeddings=False,
        use_parallel_residual=True,
    ),
    "starcoder2": tree(
        "starcoder2", "Starcoder2ForCausalLM", num_key_value_heads=2,
        hidden_act="gelu_pytorch_tanh", norm_epsilon=1e-5, rope_theta=999999.4420358813,
        sliding_window=128, use_bias=True, attention_dropout=0.1, embedding_dropout=0.1,
        residual_dropout=0.1, mlp_type="default", norm_type="layer_norm",
        activation_function="gelu",
        layer_norm_epsilon=1e-5, scale_attn_weights=True, attention_softmax_in_fp32=True,
    ),
    "olmo2": tree(
        "olmo2", "Olmo2ForCausalLM", num_key_value_heads=4, hidden_act="silu", rms_norm_eps=1e-6,
        rope_theta=500000, rope_scaling=None, attention_bias=False, attention_dropout=0.0,
        pad_token_id=0, tie_word_embeddings=False,
    ),
    "qwen2-moe": tree(
        "qwen2_moe", "Qwen2MoeForCausalLM", num_key_value_heads=4, hidden_act="silu",
        rms_norm_eps=1e-6, rope_theta=1e6, decoder_sparse_step=1, max_window_layers=2,
        moe_intermediate_size=32, norm_topk_prob=False, num_experts=6, num_experts_per_tok=4,
        output_router_logits=False, router_aux_loss_coef=0.001,
        shared_expert_intermediate_size=40, sliding_window=128, use_sliding_window=False,
        tie_word_embeddings=False, attention_dropout=0.0,
    ),
    "qwen3-moe": tree(
        "qwen3_moe", "Qwen3MoeForCausalLM", num_key_value_heads=2, head_dim=16, hidden_act="silu",
        rms_norm_eps=1e-6, rope_theta=1e6, rope_scaling=None, attention_bias=False,
        decoder_sparse_step=1, max_window_layers=4, mlp_only_layers=[], moe_intermediate_size=32,
        norm_topk_prob=True, num_experts=6, num_experts_per_tok=2, output_router_logits=False,
        router_aux_loss_coef=0.001, sliding_window=None, use_sliding_window=False,
        tie_word_embeddings=False,
    ),
    "smollm3": tree(
        "smollm3", "SmolLM3ForCausalLM", num_key_value_heads=2, hidden_act="silu",
        rms_norm_eps=1e-6, rope_theta=5000000.0, rope_scaling=None, attention_bias=False,
        mlp_bias=False, no_rope_layer_interval=4, no_rope_layers=[1, 1, 1, 0],
        layer_types=["full_attention"] * 4, sliding_window=None, use_sliding_window=False,
        max_window_layers=28, pretraining_tp=2, pad_token_id=0,
    ),
    "granite": tree(
        "granite", "GraniteForCausalLM", num_key_value_heads=2, hidden_act="silu",
        rms_norm_eps=1e-5, rope_theta=10000, rope_scaling=None, attention_bias=False,
        mlp_bias=False, attention_multiplier=0.015625, embedding_multiplier=12.0,
        logits_scaling=8.0, residual_multiplier=0.22, attention_dropout=0.1, pad_token_id=0,
        tie_word_embeddings=True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDERS)
def test_old_folders_mean_what_transformers_reads(name: str) -> None:
    """Reading transformers' own reading of the folder gives the same traits."""
    ours = parse_config(FOLDERS[name]).config
    fields = {key: value for key, value in FOLDERS[name].items() if key != "architectures"}
    theirs = AutoConfig.for_model(**fields).to_dict()
    for key in ("mlp_type", "norm_type", "pretraining_tp"):  # carried along unread
        theirs.pop(key, None)
    assert parse_config(theirs).config == ours


def test_an_older_name_of_longrope() -> None:
    old = FOLDERS["phi3-long"] | {"rope_scaling": LONG | {"type": "su"}}
    assert parse_config(old).config == parse_config(FOLDERS["phi3-long"]).config


def test_some_traits_by_hand() -> None:
    read = {name: parse_config(fields).config for name, fields in FOLDERS.items()}
    assert read["mistral"].windows == (128,) * 4
    assert read["mixtral"].experts == Experts(count=8, per_token=2, hidden=96)
    assert read["gemma"].activation == "gelu_tanh"
    assert (read["gemma"].embedding_scale, read["gemma"].tied) == (8.0, True)
    assert read["gemma2"].windows == (128, 0, 128, 0)
    assert (read["gemma2"].attention_softcap, read["gemma2"].logit_softcap) == (50.0, 30.0)
    assert (read["gemma2"].query_scale, read["gemma2"].norm_place) == (0.25, "both")
    assert read["gemma3"].windows == (128, 0, 128, 0)
    assert (read["gemma3"].rope_theta, read["gemma3"].window_rope_theta) == (1e6, 1e4)
    assert read["gemma3"].eos == (1, 106)
    assert read["phi3"].short_context is None
    assert read["phi3-long"].short_context == 128
    assert read["phi3-long"].rope_scaling.factor == 4.0
    assert (read["gpt2"].positions, read["gpt2"].gated, read["gpt2"].norm) == (
        "learned", False, "layer",
    )  # fmt: skip
    assert read["gpt2"].hidden == 256
    assert (read["pythia"].rotary_width, read["pythia"].parallel) == (4, True)
    assert read["starcoder2"].activation == "gelu_tanh"
    assert (read["olmo2"].norm_place, read["olmo2"].qk_norm) == ("post", "full")
    assert read["qwen2-moe"].experts == Experts(
        count=6, per_token=4, hidden=32, normalised=False, shared_hidden=40
    )
    assert read["qwen3-moe"].experts == Experts(count=6, per_token=2, hidden=32)
    assert read["smollm3"].unrotated_layers == (3,)
    assert read["granite"].logit_scale == 0.125


@pytest.mark.parametrize(
    ("name", "changes", "named"),
    [
        ("mistral", {"sliding_window": -1}, "sliding_window"),
        ("mistral", {"sliding_window": "128"}, "sliding_window"),
        ("mistral", {"sliding_windw": 64}, "did you mean 'sliding_window'"),
        ("mixtral", {"num_experts_per_tok": 9}, "experts.per_token"),
        ("mixtral", {"num_local_experts": 10**9}, "experts.count"),
        ("gemma", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ("gemma", {"hidden_activation": "tanh"}, "activation"),
        ("gemma2", {"attn_logit_softcapping": -5.0}, "attention_softcap"),
        ("gemma2", {"query_pre_attn_scalar": 0}, "query_pre_attn_scalar"),
        ("gemma2", {"layer_types": ["full_attention"]}, "layer_types"),
        ("gemma2", {"layer_types": ["chunked_attention"] * 4}, "layer_types"),
        ("gemma3", {"sliding_window_pattern": 0}, "sliding_window_pattern"),
        ("gemma3", {"rope_parameters": {"rope_type": "default"}}, "rope_parameters"),
        ("gemma3", {"rope_parameters": {"full_attention": {}, "other": {}}}, "other"),
        ("phi3-long", {"rope_scaling": LONG | {"long_factor": [1.0] * 7}}, "long_factors"),
        ("phi3-long", {"rope_scaling": LONG | {"short_factor": [0.0] * 8}}, "short_factors"),
        ("phi3-long", {"rope_scaling": LONG | {"long_mscale": 1.2}}, "long_mscale"),
        ("phi3-long", {"rope_scaling": LONG | {"short_factor": "x"}}, "short_factor"),
        ("phi3", {"partial_rotary_factor": 0.0}, "partial_rotary_factor"),
        ("phi3", {"partial_rotary_factor": 0.2}, "rotary_width"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention"),
        ("gpt2", {"n_embd": None}, "n_embd"),
        ("pythia", {"rotary_pct": 1.5}, "rotary_pct"),
        ("pythia", {"num_key_value_heads": 2}, "num_key_value_heads"),
        ("starcoder2", {"norm_type": "rms_norm"}, "norm_type"),
        ("starcoder2", {"mlp_type": "gated"}, "mlp_type"),
        ("olmo2", {"clip_qkv": 8.0}, "clip_qkv"),
        ("qwen2-moe", {"mlp_only_layers": ["1"]}, "mlp_only_layers"),
        ("qwen2-moe", {"decoder_sparse_step": 0}, "decoder_sparse_step"),
        ("qwen3-moe", {"moe_intermediate_size": None}, "moe_intermediate_size"),
        ("smollm3", {"no_rope_layers": [1, 0]}, "no_rope_layers"),
        ("smollm3", {"no_rope_layers": [1, 0, 2, 1]}, "no_rope_layers"),
        ("granite", {"logits_scaling": 0.0}, "logit_scale"),
        ("granite", {"residual_multiplier": -1.0}, "residual_scale"),
        ("olmo2", {"architectures": ["Olmo2Model"]}, "architectures"),
        ("olmo2", {"num_hidden_layers": 10**9}, "layers"),
        ("smollm3", {"num_hidden_layers": 10**9}, "no_rope_layers"),
        ("qwen2-moe", {"num_hidden_layers": 10**9}, "layers"),
    ],
)
def test_refused_by_name(name: str, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ArtefactError, match=named):
        parse_config(FOLDERS[name] | changes)
