"""Folders of encoders: every spelling is read, and what does not belong is refused by name."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparing.base.errors import ArtefactError, SparingError
from sparing.models.encoder_config import EncoderConfig, Seq2SeqConfig, TowersConfig
from sparing.models.encoder_folder import EncoderFolder, model_kind, open_encoder
from sparing.models.encoder_names import is_unused
from sparing.models.hf_encoder import KINDS, read_traits
from sparing.models.tensor_file import Tensor, write_tensors

BLOCKS = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
          "num_attention_heads": 2}  # fmt: skip
BERT: dict[str, Any] = BLOCKS | {
    "model_type": "bert", "vocab_size": 11, "max_position_embeddings": 9
}  # fmt: skip
VIT: dict[str, Any] = BLOCKS | {"model_type": "vit", "image_size": 4, "patch_size": 2}
T5: dict[str, Any] = {
    "model_type": "t5", "vocab_size": 11, "d_model": 8, "d_kv": 3, "d_ff": 12, "num_layers": 1,
    "num_heads": 2, "relative_attention_num_buckets": 8, "tie_word_embeddings": False,
    "feed_forward_proj": "gated-gelu", "decoder_start_token_id": 0,
}  # fmt: skip
Arrays = dict[str, np.ndarray]
_STACK = ("attention.self.query", "attention.self.key", "attention.self.value",
          "attention.output.dense")  # fmt: skip


def bert_arrays() -> Arrays:
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (11, 8),
        "embeddings.position_embeddings.weight": (9, 8),
        "embeddings.token_type_embeddings.weight": (2, 8),
    }
    at = "encoder.layer.0."
    for name in _STACK:
        shapes |= {f"{at}{name}.weight": (8, 8), f"{at}{name}.bias": (8,)}
    shapes |= {f"{at}intermediate.dense.weight": (12, 8), f"{at}intermediate.dense.bias": (12,)}
    shapes |= {f"{at}output.dense.weight": (8, 12), f"{at}output.dense.bias": (8,)}
    for name in ("embeddings", f"{at}attention.output", f"{at}output"):
        shapes |= {f"{name}.LayerNorm.weight": (8,), f"{name}.LayerNorm.bias": (8,)}
    return {name: rng.standard_normal(s).astype(np.float32) for name, s in shapes.items()}


def vit_arrays() -> Arrays:
    rng = np.random.default_rng(1)
    at = "encoder.layer.0."
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.cls_token": (1, 1, 8),
        "embeddings.position_embeddings": (1, 5, 8),
        "embeddings.patch_embeddings.projection.weight": (8, 3, 2, 2),
        "embeddings.patch_embeddings.projection.bias": (8,),
    }
    for name in ("attention.attention.query", "attention.attention.key",
                 "attention.attention.value", "attention.output.dense"):  # fmt: skip
        shapes |= {f"{at}{name}.weight": (8, 8), f"{at}{name}.bias": (8,)}
    shapes |= {f"{at}intermediate.dense.weight": (12, 8), f"{at}intermediate.dense.bias": (12,)}
    shapes |= {f"{at}output.dense.weight": (8, 12), f"{at}output.dense.bias": (8,)}
    for name in (f"{at}layernorm_before", f"{at}layernorm_after", "layernorm"):
        shapes |= {f"{name}.weight": (8,), f"{name}.bias": (8,)}
    return {name: rng.standard_normal(s).astype(np.float32) for name, s in shapes.items()}


def t5_arrays() -> Arrays:
    rng = np.random.default_rng(2)
    shapes: dict[str, tuple[int, ...]] = {"shared.weight": (11, 8), "lm_head.weight": (11, 8)}
    for side, parts in (("encoder", ("SelfAttention",)),
                        ("decoder", ("SelfAttention", "EncDecAttention"))):  # fmt: skip
        at = f"{side}.block.0.layer."
        for number, part in enumerate(parts):
            shapes |= {f"{at}{number}.{part}.{name}.weight": (6, 8) for name in "qkv"}
            shapes |= {f"{at}{number}.{part}.o.weight": (8, 6)}
            shapes |= {f"{at}{number}.layer_norm.weight": (8,)}
        dense = f"{at}{len(parts)}.DenseReluDense."
        shapes |= {f"{dense}{name}.weight": (12, 8) for name in ("wi_0", "wi_1")}
        shapes |= {f"{dense}wo.weight": (8, 12), f"{at}{len(parts)}.layer_norm.weight": (8,)}
        shapes |= {f"{at}0.SelfAttention.relative_attention_bias.weight": (8, 2)}
        shapes |= {f"{side}.final_layer_norm.weight": (8,)}
    return {name: rng.standard_normal(s).astype(np.float32) for name, s in shapes.items()}


def written(folder: Path, config: dict[str, Any], arrays: Arrays) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    tensors = [(name, Tensor("F32", array)) for name, array in arrays.items()]
    write_tensors(folder / "model.safetensors", tensors)
    return folder


def renamed(arrays: Arrays, *changes: tuple[str, str]) -> Arrays:
    found = dict(arrays)
    for pattern, replacement in changes:
        found = {re.sub(pattern, replacement, name): array for name, array in found.items()}
    return found


def numbers(folder: EncoderFolder) -> Arrays:
    return {name: weight.dequantise() for name, weight in folder.weights.items()}


def test_kinds(tmp_path: Path) -> None:
    assert model_kind(written(tmp_path, BERT, bert_arrays())) == "bert"
    assert model_kind(written(tmp_path, {"model_type": "llama"}, {})) is None
    assert model_kind(tmp_path / "nothing") is None


def test_bert_in_every_spelling(tmp_path: Path) -> None:
    arrays = bert_arrays()
    plain = numbers(open_encoder(written(tmp_path / "plain", BERT, arrays)))
    assert np.array_equal(plain["embed.weight"], arrays["embeddings.word_embeddings.weight"])
    assert np.array_equal(plain["layers.0.mlp.down.weight"],
                          arrays["encoder.layer.0.output.dense.weight"])  # fmt: skip
    old = renamed(arrays, (r"LayerNorm\.weight", "LayerNorm.gamma"),
                  (r"LayerNorm\.bias", "LayerNorm.beta"), ("^", "bert."))  # fmt: skip
    old |= {"cls.predictions.bias": np.zeros(11, np.float32),
            "bert.pooler.dense.weight": np.zeros((8, 8), np.float32)}  # fmt: skip
    folder = open_encoder(
        written(tmp_path / "old", BERT | {"architectures": ["BertForMaskedLM"]}, old)
    )
    for name, array in numbers(folder).items():
        assert np.array_equal(array, plain[name]), name


def test_vit_in_both_spellings(tmp_path: Path) -> None:
    arrays = vit_arrays()
    plain = numbers(open_encoder(written(tmp_path / "plain", VIT, arrays)))
    patch = arrays["embeddings.patch_embeddings.projection.weight"]
    assert np.array_equal(plain["patch.weight"], patch.reshape(8, 12))
    assert plain["first.weight"].shape == (8,)
    new = renamed(
        arrays, (r"encoder\.layer\.", "layers."),
        (r"attention\.attention\.(\w)\w+", r"attention.\1_proj"),
        (r"attention\.output\.dense", "attention.o_proj"), (r"intermediate\.dense", "mlp.fc1"),
        (r"\.output\.dense", ".mlp.fc2"),
    )  # fmt: skip
    folder = open_encoder(written(tmp_path / "new", VIT, new))
    for name, array in numbers(folder).items():
        assert np.array_equal(array, plain[name]), name


def test_t5_head_and_copies(tmp_path: Path) -> None:
    arrays = t5_arrays()
    config = open_encoder(written(tmp_path / "own", T5, arrays)).config
    assert isinstance(config, Seq2SeqConfig)
    assert (config.tied, config.scaled, config.eos, config.context) == (False, False, (1,), 1024)
    tied = {name: array for name, array in arrays.items() if name != "lm_head.weight"}
    config = open_encoder(written(tmp_path / "tied", T5, tied)).config
    assert isinstance(config, Seq2SeqConfig)
    assert config.tied
    copy = arrays | {"encoder.embed_tokens.weight": arrays["shared.weight"]}
    open_encoder(written(tmp_path / "copy", T5, copy))
    other = arrays | {"decoder.embed_tokens.weight": arrays["lm_head.weight"]}
    with pytest.raises(ArtefactError, match=r"embed_tokens\.weight: differs from shared\.weight"):
        open_encoder(written(tmp_path / "other", T5, other))
    (tmp_path / "own" / "generation_config.json").write_text('{"eos_token_id": [4, 5]}')
    config = open_encoder(tmp_path / "own").config
    assert isinstance(config, Seq2SeqConfig)
    assert config.eos == (4, 5)


@pytest.mark.parametrize(
    ("said", "scaled"),
    [
        ({}, True),
        ({"tie_word_embeddings": False}, False),
        ({"tie_word_embeddings": True, "scale_decoder_outputs": False}, False),
        ({"model_type": "mt5", "tie_word_embeddings": True}, False),
    ],
)
def test_scaling_of_t5(said: dict[str, Any], scaled: bool) -> None:
    tree = {key: T5[key] for key in T5 if key != "tie_word_embeddings"} | said
    found = read_traits(tree, (), "c")
    assert isinstance(found, Seq2SeqConfig)
    assert found.scaled == scaled


DOWN = "encoder.layer.0.output.dense.weight"
FAULTS: dict[str, tuple[Callable[[dict[str, Any], Arrays], Any], str]] = {
    "missing": (lambda c, a: a.pop("encoder.layer.0.output.dense.bias"), "missing encoder.layer.0"),
    "left over": (lambda c, a: a.update(extra=np.zeros(3, np.float32)), "does not call for extra"),
    "shape": (
        lambda c, a: a.update({"embeddings.word_embeddings.weight": np.zeros((10, 8), np.float32)}),
        r"expected shape \(11, 8\), got \(10, 8\)",
    ),
    "twice": (
        lambda c, a: a.update({"bert.embeddings.LayerNorm.bias": np.zeros(8, np.float32)}),
        "given twice",
    ),
    "also packed": (
        lambda c, a: a.update({f"{DOWN}_packed": np.zeros((8, 3), np.float32)}),
        "given twice",
    ),
    "more layers": (lambda c, a: c.update(num_hidden_layers=4096), "missing encoder.layer.1"),
    "wider than any": (lambda c, a: c.update(hidden_size=1 << 21), "1 to 2"),
    "heads": (lambda c, a: c.update(num_attention_heads=3), "a multiple of 3 heads"),
    "no heads": (lambda c, a: c.update(num_attention_heads=0), "a multiple of 0 heads"),
    "field": (lambda c, a: c.update(window=7), "window: not supported"),
    "positions": (lambda c, a: c.update(position_embedding_type="relative"), "expected absolute"),
    "activation": (lambda c, a: c.update(hidden_act="mish"), "hidden_act: expected one of"),
    "decoder": (lambda c, a: c.update(is_decoder=True), "is_decoder"),
    "class": (lambda c, a: c.update(architectures=["BertForTokenClassification"]), "architectures"),
    "code": (lambda c, a: c.update(auto_map={"AutoModel": "evil.Evil"}), "never run"),
    "type": (lambda c, a: c.update(vocab_size="11"), "vocab_size: expected an integer"),
    "eps": (lambda c, a: c.update(layer_norm_eps=-1.0), "norm_eps"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(fault: str, tmp_path: Path) -> None:
    config, arrays = dict(BERT), bert_arrays()
    change, reason = FAULTS[fault]
    change(config, arrays)
    with pytest.raises(ArtefactError, match=reason):
        open_encoder(written(tmp_path, config, arrays))


def test_other_faults(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="model_type: expected one of bert"):
        open_encoder(written(tmp_path / "a", {"model_type": "gpt5"}, {}))
    with pytest.raises(ArtefactError, match="no such model folder"):
        open_encoder(tmp_path / "none")
    folder = written(tmp_path / "b", BERT, bert_arrays())
    tensors = [(n, Tensor("F32", a)) for n, a in bert_arrays().items() if "word" not in n]
    tensors.append(
        ("embeddings.word_embeddings.weight", Tensor("I32", np.zeros((11, 8), np.int32)))
    )
    write_tensors(folder / "model.safetensors", tensors)
    with pytest.raises(ArtefactError, match="expected F32, BF16 or F16, got I32"):
        open_encoder(folder)
    arrays = bert_arrays()
    arrays["encoder.layer.0.output.dense.bias"][3] = np.nan
    opened = open_encoder(written(tmp_path / "c", BERT, arrays))
    with pytest.raises(ArtefactError, match=r"layers.0.mlp.down.bias: holds NaN"):
        opened.weights.check_finite()


def test_a_quantised_map_without_its_scales_is_refused(tmp_path: Path) -> None:
    arrays = bert_arrays()
    name = "encoder.layer.0.output.dense.weight"
    arrays[f"{name}_packed"] = arrays.pop(name)
    with pytest.raises(ArtefactError, match="expected a tensor that is not quantised"):
        open_encoder(written(tmp_path / "a", BERT, arrays))
    weights = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "group",
               "group_size": 4, "dynamic": False}  # fmt: skip
    said = {"quant_method": "compressed-tensors", "format": "pack-quantized",
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}  # fmt: skip
    with pytest.raises(ArtefactError, match=r"weight_packed: expected I32, got F32"):
        open_encoder(written(tmp_path / "b", BERT | {"quantization_config": said}, arrays))


values = st.recursive(
    st.one_of(st.integers(-3, 70), st.sampled_from([2**24, 2**31, 2**63, None, True, 0.5, ""])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = ["hidden_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size",
          "vocab_size", "d_model", "num_heads", "relative_attention_num_buckets", "d_kv",
          "relative_attention_max_distance", "text_config", "vision_config", "projection_dim",
          "eos_token_id", "feed_forward_proj", "layer_norm_eps", "type_vocab_size", "n_positions",
          "architectures", "pad_token_id", "max_position_embeddings", "num_channels", "hidden_act",
          "decoder_start_token_id", "quantization_config", "pooler_act"]  # fmt: skip


@settings(max_examples=400, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
@given(st.sampled_from(sorted(KINDS)), st.dictionaries(st.sampled_from(FIELDS), values, max_size=4))
def test_any_config_is_read_or_refused_by_our_own_error(kind: str, changes: Any) -> None:
    try:
        found = read_traits({"model_type": kind, "vocab_size": 50} | changes, (), "config.json")
    except SparingError as refusal:
        message = str(refusal)
    else:
        message = ""
        assert isinstance(found, EncoderConfig | TowersConfig | Seq2SeqConfig)
    assert len(message) < 1000


@pytest.mark.parametrize("family", ["bert", "vit", "towers", "image_tower", "t5"])
def test_nothing_that_is_computed_with_counts_as_unused(family: str) -> None:
    for name in ("embeddings.word_embeddings.weight", "layers.0.mlp.fc1.weight", "shared.weight",
                 "vision_model.head.probe", "lm_head.weight"):  # fmt: skip
        assert not is_unused(name, family), name
