"""compressed-tensors folders against the compressed-tensors package and transformers."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from compressed_tensors.compressors.naive_quantized import IntQuantizationCompressor
from compressed_tensors.compressors.pack_quantized import (
    PackedQuantizationCompressor,
    pack_to_int32,
    unpack_from_int32,
)
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from safetensors.numpy import load_file, save_file
from tests.models.families import ids, outside_model, save
from transformers import AutoModelForCausalLM

from sparing.base.errors import ArtefactError, ConfigError
from sparing.kernels.formats import Int3, Int4, Int8, from_bfloat16, pack_int4, to_bfloat16
from sparing.models.folder import ModelFolder, dense_weights, open_model, write_model
from sparing.models.quantised import (
    Record,
    Scheme,
    pack_rows,
    read_record,
    read_schemes,
    stored_tensors,
)
from sparing.models.streams import to_stream

GROUP = {
    "targets": ["Linear"],
    "weights": {"num_bits": 4, "type": "int", "symmetric": True, "group_size": 32},
}


def tree(**changes: object) -> dict[str, object]:
    whole = {"quant_method": "compressed-tensors", "format": "pack-quantized"}
    return whole | {"config_groups": {"group_0": GROUP}} | changes


def quantise(values_ZD: np.ndarray, bits: int, group: int) -> Record:
    """Round to nearest, with scales that bfloat16 can hold."""
    most = 2 ** (bits - 1) - 1
    grouped = values_ZD.reshape(len(values_ZD), -1, group)
    scale_ZJ = from_bfloat16(to_bfloat16(np.abs(grouped).max(-1) / most))
    code = np.clip(np.rint(grouped / scale_ZJ[..., None]), -most - 1, most).astype(np.int8)
    code_ZD = code.reshape(values_ZD.shape)
    return Int8(code_ZD, scale_ZJ) if bits == 8 else Int4(pack_int4(code_ZD), scale_ZJ)


def write_quantised(opened: ModelFolder, folder: Path, bits, dtype="float32", head=False) -> None:
    """Every block map in groups of 20, 46 or 32 columns, whichever divides its width."""
    dense = dense_weights(opened)
    names = [name for name, array in dense.items() if array.ndim == 2 and "layers" in name]
    names += ["head.weight"] if head else []
    records = {
        name: quantise(dense[name], bits(name), {60: 20, 92: 46, 64: 32}[dense[name].shape[1]])
        for name in names
    }
    rest = {name: array for name, array in dense.items() if name not in records}
    write_model(folder, opened.config, rest, dtype=dtype, quantised=records)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("columns", [8, 10, 36, 64])
def test_words_are_those_of_compressed_tensors(bits: int, columns: int) -> None:
    rng = np.random.default_rng(0)
    code_ZD = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (5, columns)).astype(np.int8)
    scale_ZJ = np.ones((5, 1), np.float32)
    record = Int8(code_ZD, scale_ZJ) if bits == 8 else Int4(pack_int4(code_ZD), scale_ZJ)
    theirs = pack_to_int32(torch.from_numpy(code_ZD), bits)
    assert np.array_equal(pack_rows(record), theirs.numpy())
    assert np.array_equal(unpack_from_int32(theirs, bits, code_ZD.shape).numpy(), code_ZD)
    again = read_record(theirs.numpy(), scale_ZJ, code_ZD.shape, [Scheme(bits, None)], "weight")
    assert type(again) is type(record)
    assert np.array_equal(again.dequantise(), code_ZD.astype(np.float32))


@pytest.mark.parametrize(
    ("case", "bits", "dtype", "head"),
    [
        ("llama", lambda name: 4, "float32", False),
        ("qwen2-tied", lambda name: 8, "float32", False),
        ("qwen3", lambda name: 8 if ".down." in name or ".0." in name else 4, "float32", True),
        ("llama-biased", lambda name: 4, "bfloat16", False),
    ],
)
def test_transformers_loads_what_we_write(case, bits, dtype, head, tmp_path: Path) -> None:
    opened = open_model(save(outside_model(case), tmp_path / "dense"))
    write_quantised(opened, tmp_path / "packed", bits, dtype, head)
    packed = open_model(tmp_path / "packed")
    write_model(tmp_path / "unpacked", packed.config, dense_weights(packed), dtype=dtype)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "packed")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "unpacked")
    with torch.no_grad():
        logits, expected = model(ids()).logits, plain(ids()).logits
    # equal to the bit: also in bfloat16, code * scale is rounded once
    assert torch.equal(logits, expected)
    assert {scheme.bits for scheme in packed.quantization} <= {4, 8}
    assert type(packed.weights["layers.0.mlp.up.weight"]) in (Int4, Int8)


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    opened = open_model(save(outside_model("llama"), tmp_path / "dense"))
    name = "layers.1.mlp.gate.weight"
    dense = dense_weights(opened)
    for bits in (4, 8):
        record = quantise(dense[name], bits, 60)
        rest = {other: array for other, array in dense.items() if other != name}
        folder = tmp_path / f"int{bits}"
        write_model(folder, opened.config, rest, dtype="bfloat16", quantised={name: record})
        read = open_model(folder).weights[name]
        assert np.array_equal(read.dequantise(), record.dequantise())
        assert read.nbytes == record.nbytes


def test_scales_keep_their_value_in_a_bfloat16_folder(tmp_path: Path) -> None:
    opened = open_model(save(outside_model("llama"), tmp_path / "dense"))
    dense, name = dense_weights(opened), "layers.0.attention.key.weight"
    record = quantise(dense.pop(name), 8, 60)
    odd = Int8(record.code_ZD, record.scale_ZJ * np.float32(1.0001))
    write_model(tmp_path / "m", opened.config, dense, dtype="bfloat16", quantised={name: odd})
    assert np.array_equal(open_model(tmp_path / "m").weights[name].scale_ZJ, odd.scale_ZJ)


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("rows", [5, 32])
def test_zero_points_are_those_of_compressed_tensors(bits: int, rows: int) -> None:
    rng = np.random.default_rng(0)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1)
    code_ZD = rng.integers(low, high, (rows, 32)).astype(np.int8)
    zero_ZJ = rng.integers(low, high, (rows, 4)).astype(np.int8)
    scale_ZJ = from_bfloat16(to_bfloat16(rng.uniform(0.01, 0.1, (rows, 4))))
    words = pack_to_int32(torch.from_numpy(code_ZD), bits).numpy()
    zero = pack_to_int32(torch.from_numpy(zero_ZJ), bits, packed_dim=0).numpy()
    schemes = [Scheme(bits, 8, symmetric=False)]
    record = read_record(words, scale_ZJ, (rows, 32), schemes, "w", zero)
    shifted = code_ZD.reshape(rows, 4, 8).astype(np.float64) - zero_ZJ[..., None]
    wanted = (shifted * scale_ZJ[..., None]).reshape(rows, 32)
    assert np.array_equal(record.dequantise(), wanted.astype(np.float32))
    stored = dict(stored_tensors("m", record, half=False))
    assert np.array_equal(stored["m.weight_packed"].array, words)
    assert np.array_equal(stored["m.weight_zero_point"].array, zero)
    for wrong in (None, zero[:, :2]):
        with pytest.raises(ArtefactError, match="fit not exactly one"):
            read_record(words, scale_ZJ, (rows, 32), schemes, "w", wrong)


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_compressed_tensors_reads_our_zero_points(bits: int) -> None:
    """transformers 5.23 itself expects zero points unpacked and cannot load such folders."""
    rng = np.random.default_rng(0)
    zero_ZJ = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (24, 2)).astype(np.float32)
    scale_ZJ = from_bfloat16(to_bfloat16(rng.uniform(0.01, 0.1, (24, 2))))
    code, parts = (
        rng.integers(0, 2**bits, (24, 64)).astype(np.uint8),
        (scale_ZJ, -zero_ZJ * scale_ZJ),
    )
    record: Record = Int8((code ^ np.uint8(0x80)).view(np.int8), *parts)
    if bits < 8:
        record = (Int4 if bits == 4 else Int3)(to_stream(code, bits), *parts)
    stored = stored_tensors("m", record, half=False)
    tensors = {name.removeprefix("m."): torch.from_numpy(t.array) for name, t in stored}
    args = QuantizationArgs(num_bits=bits, symmetric=False, strategy="group", group_size=32)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    weight = PackedQuantizationCompressor.decompress(tensors, scheme)["weight"]
    assert np.array_equal(weight.numpy(), record.dequantise())


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("group", [None, 20])
def test_plain_int8_maps(symmetric: bool, group: int | None, tmp_path: Path) -> None:
    """`int-quantized`: codes under the map's own name; inputs rounded as they come are ours too."""
    folder = save(outside_model("llama"), tmp_path / "m")
    tensors, module = load_file(folder / "model.safetensors"), "model.layers.0.mlp.up_proj"
    rng = np.random.default_rng(0)
    J = 1 if group is None else 3
    parts = {
        "weight": rng.integers(-128, 128, (92, 60)).astype(np.int8),
        "weight_scale": rng.uniform(0.01, 0.1, (92, J)).astype(np.float16),
    }
    if not symmetric:
        parts["weight_zero_point"] = rng.integers(-128, 128, (92, J)).astype(np.int8)
    weights = {"num_bits": 8, "type": "int", "symmetric": symmetric, "group_size": group}
    inputs = {"num_bits": 8, "type": "int", "dynamic": True, "strategy": "token"}
    groups = {"g": {"targets": ["Linear"], "weights": weights, "input_activations": inputs}}
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = tree(format="int-quantized", config_groups=groups)
    (folder / "config.json").write_text(json.dumps(config))

    def stored(**changes: np.ndarray) -> Path:
        found = {f"{module}.{part}": array for part, array in (parts | changes).items()}
        save_file(tensors | found, folder / "model.safetensors")
        return folder

    args = QuantizationArgs(
        num_bits=8, symmetric=symmetric, strategy="group" if group else "channel", group_size=group
    )
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    given = {name: torch.from_numpy(array) for name, array in parts.items()}
    given["weight_scale"] = given["weight_scale"].float()
    wanted = IntQuantizationCompressor.decompress(given, scheme)["weight"].numpy()
    record = open_model(stored()).weights["layers.0.mlp.up.weight"]
    assert type(record) is Int8
    assert np.abs(record.dequantise() - wanted).max() < 1e-6
    for wrong in ({"weight_scale": parts["weight_scale"][:5]}, {"weight": parts["weight"][:, :40]}):
        with pytest.raises(ArtefactError, match="fit no scheme"):
            open_model(stored(**wrong))
    groups["g"]["input_activations"] = inputs | {"dynamic": False}
    with pytest.raises(ArtefactError, match="input_activations: not supported"):
        read_schemes(tree(format="int-quantized", config_groups=groups))


def test_offsets_that_are_no_zero_points_are_not_written() -> None:
    code, scale_ZJ = np.zeros((2, 8), np.int8), np.ones((2, 1), np.float32)
    for offset in (0.5, 400.0):
        record = Int8(code, scale_ZJ, np.full((2, 1), offset, np.float32))
        with pytest.raises(ConfigError, match="offset_ZJ: expected multiples"):
            stored_tensors("m", record, half=False)


def test_the_embedding_is_not_quantised(tmp_path: Path) -> None:
    opened = open_model(save(outside_model("qwen2-tied"), tmp_path / "dense"))
    dense = dense_weights(opened)
    record = quantise(dense.pop("embed.weight"), 8, 60)
    with pytest.raises(ConfigError, match="dense embedding"):
        write_model(tmp_path / "m", opened.config, dense, quantised={"embed.weight": record})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"quant_method": "bitsandbytes"}, "quant_method"),
        ({"format": "marlin-24"}, "format"),
        ({"kv_cache_scheme": {"num_bits": 8}}, "kv_cache_scheme"),
        ({"sparsity_config": {"format": "sparse-24"}}, "sparsity_config"),
        ({"transform_config": {"a": 1}}, "transform_config"),
        ({"quantization_status": "frozen"}, "quantization_status"),
        ({"config_groups": {}}, "config_groups"),
        ({"config_groups": {"g": GROUP | {"input_activations": {"num_bits": 8}}}}, "input_act"),
        ({"config_groups": {"g": GROUP | {"format": "naive-quantized"}}}, "format"),
        *(
            ({"config_groups": {"g": GROUP | {"weights": GROUP["weights"] | change}}}, named)
            for change, named in [
                ({"symmetric": None}, "symmetric"),
                ({"num_bits": 5}, "num_bits"),
                ({"num_bits": True}, "num_bits"),
                ({"type": "float"}, "type"),
                ({"actorder": "group"}, "actorder"),
                ({"strategy": "block"}, "strategy"),
                ({"group_size": 0}, "group_size"),
                ({"group_size": "32"}, "group_size"),
                ({"dynamic": True}, "dynamic"),
            ]
        ),
    ],
)
def test_other_schemes_are_refused_by_name(changes: dict[str, object], named: str) -> None:
    assert read_schemes(tree()) == (Scheme(4, 32),)
    with pytest.raises(ArtefactError, match=named):
        read_schemes(tree(**changes))


def test_words_that_fit_no_scheme_are_refused() -> None:
    words, scale = np.zeros((6, 8), np.int32), np.ones((6, 2), np.float32)
    assert read_record(words, scale, (6, 64), [Scheme(4, 32)], "w").shape == (6, 64)
    for schemes, shape in (([Scheme(4, 16)], (6, 64)), ([Scheme(8, 32)], (6, 64)), ([], (6, 64))):
        with pytest.raises(ArtefactError, match="fit not exactly one"):
            read_record(words, scale, shape, schemes, "w")
    with pytest.raises(ArtefactError, match="fit not exactly one"):
        read_record(words[:5], scale, (6, 64), [Scheme(4, 32)], "w")


def test_a_packed_weight_of_another_shape_is_named(tmp_path: Path) -> None:
    opened = open_model(save(outside_model("llama"), tmp_path / "dense"))
    dense, name = dense_weights(opened), "layers.0.attention.key.weight"
    record = quantise(dense.pop(name), 8, 20)
    write_model(tmp_path / "m", opened.config, dense, quantised={name: record})
    module = "model.layers.0.self_attn.k_proj"
    tensors = load_file(tmp_path / "m" / "model.safetensors")
    for part, array in {
        "weight_shape": np.array([20, 64]),
        "weight_packed": np.zeros((20, 16), np.int32),
        "weight_scale": np.ones((20, 2), np.float32),
    }.items():
        changed = tensors | {f"{module}.{part}": array}
        save_file(changed, tmp_path / "m" / "model.safetensors")
        with pytest.raises(ArtefactError, match=re.escape(f"{module}.weight")):
            open_model(tmp_path / "m")
    del tensors[f"{module}.weight_scale"]
    save_file(tensors, tmp_path / "m" / "model.safetensors")
    with pytest.raises(ArtefactError, match="missing " + re.escape(f"{module}.weight")):
        open_model(tmp_path / "m")
