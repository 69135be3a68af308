"""GPTQ and AWQ folders: words packed bit by bit, and AWQ against another reader."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from compressed_tensors.compressors.pack_quantized import unpack_from_int32
from compressed_tensors.entrypoints.convert.converters.autoawq import AutoAWQConverter
from safetensors.numpy import load_file, save_file
from tests.models.families import outside_model, save

from sparing.base.errors import ArtefactError
from sparing.base.files import read_json, write_atomic
from sparing.kernels.formats import Float32, Int3, Int4, Int8
from sparing.models.folder import open_model
from sparing.models.gptq import read_awq, read_awq_scheme, read_gptq, read_gptq_scheme
from sparing.models.scheme import Scheme

RNG_SEED = 5
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 16, "desc_act": False, "sym": False}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 16, "zero_point": True, "version": "gemm"}


def pack_along_inputs(code_DZ: np.ndarray, bits: int) -> np.ndarray:
    """One bit after another, as AutoGPTQ's loop fills its words (3 bits run over their ends)."""
    D, Z = code_DZ.shape
    words = np.zeros((D * bits // 32, Z), np.uint32)
    for place in range(D * bits):
        bit = (code_DZ[place // bits] >> (place % bits)) & 1
        words[place // 32] |= bit.astype(np.uint32) << np.uint32(place % 32)
    return words.view(np.int32)


def gptq_parts(bits: int, D: int, Z: int, group: int, *, shift: int) -> tuple[dict, np.ndarray]:
    """Random parts and what they mean in float64: scale * (code - zero)."""
    rng = np.random.default_rng(RNG_SEED)
    code = rng.integers(0, 2**bits, (D, Z))
    zero = rng.integers(1, 2**bits, (D // group, Z))
    scale = rng.uniform(0.01, 0.1, (D // group, Z)).astype(np.float16)
    parts = {
        "qweight": pack_along_inputs(code, bits),
        "qzeros": pack_along_inputs((zero - shift).T, bits).T.copy(),
        "scales": scale,
    }
    of = np.arange(D) // group
    meaning = scale.astype(np.float64)[of] * (code - zero[of])
    return parts, meaning.T


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("version", ["gptq", "gptq_v2"])
def test_gptq_words(bits: int, version: str) -> None:
    parts, wanted = gptq_parts(bits, 64, 32, 16, shift=int(version == "gptq"))
    record = read_gptq(parts, Scheme(bits, 16, version), "m")
    assert type(record) is {2: Int4, 3: Int3, 4: Int4, 8: Int8}[bits]
    assert np.abs(record.dequantise() - wanted).max() < 1e-6


def test_gptq_symmetric_has_no_offsets() -> None:
    parts, _ = gptq_parts(4, 64, 32, 16, shift=1)
    parts["qzeros"] = np.full_like(parts["qzeros"], 0x77777777)
    record = read_gptq(parts, Scheme(4, 16, "gptq"), "m")
    assert isinstance(record, Int4)
    assert record.offset_ZJ is None


def test_gptq_ordered_by_activation() -> None:
    parts, _ = gptq_parts(4, 64, 32, 16, shift=1)
    trivial = read_gptq(parts | {"g_idx": np.arange(64, dtype=np.int32) // 16},
                        Scheme(4, 16, "gptq"), "m")  # fmt: skip
    assert isinstance(trivial, Int4)
    of = np.random.default_rng(0).permutation(np.arange(64) // 16).astype(np.int32)
    record = read_gptq(parts | {"g_idx": of}, Scheme(4, 16, "gptq"), "m")
    assert isinstance(record, Float32)
    code_DZ = np.stack([parts["qweight"].view(np.uint32)[d // 8] >> np.uint32(d % 8 * 4) & 15
                        for d in range(64)]).astype(np.float64)  # fmt: skip
    zeros = parts["qzeros"].view(np.uint32)
    zero_JZ = np.stack([zeros[:, z // 8] >> np.uint32(z % 8 * 4) & 15 for z in range(32)], 1) + 1.0
    wanted = parts["scales"].astype(np.float64)[of] * (code_DZ - zero_JZ[of])
    assert np.abs(record.dequantise() - wanted.T).max() < 1e-6
    with pytest.raises(ArtefactError, match="g_idx: expected groups below 4"):
        read_gptq(parts | {"g_idx": of + 1}, Scheme(4, 16, "gptq"), "m")


def awq_parts(D: int, Z: int, group: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(RNG_SEED)
    return {
        "qweight": rng.integers(-(2**31), 2**31, (D, Z // 8)).astype(np.int32),
        "qzeros": rng.integers(-(2**31), 2**31, (D // group, Z // 8)).astype(np.int32),
        "scales": rng.uniform(0.01, 0.1, (D // group, Z)).astype(np.float16),
    }


def test_awq_words_as_another_reader_takes_them() -> None:
    parts = awq_parts(48, 32, 16)
    theirs = AutoAWQConverter(group_size=16, ignore=()).process(
        {f"m.{name}": torch.from_numpy(array) for name, array in parts.items()}
    )
    shape = torch.Size(theirs["m.weight_shape"].tolist())
    code = unpack_from_int32(theirs["m.weight_packed"], 4, shape).double()
    scale = theirs["m.weight_scale"].double()
    zero = unpack_from_int32(theirs["m.weight_zero_point"], 4, scale.shape, packed_dim=0).double()
    wanted = (code - zero.repeat_interleave(16, 1)) * scale.repeat_interleave(16, 1)
    record = read_awq(parts, "m")
    assert isinstance(record, Int4)
    assert np.abs(record.dequantise() - wanted.numpy()).max() < 1e-6


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_a_folder(method: str, tmp_path: Path) -> None:
    """One map of a folder replaced; a missing part, a wrong shape and NaN are named."""
    model = outside_model("llama-wide-head")
    folder = save(model, tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.0.mlp.gate_proj"
    Z, D = 96, 64
    parts = awq_parts(D, Z, 16) if method == "awq" else gptq_parts(4, D, Z, 16, shift=1)[0]
    tree = read_json(folder / "config.json") | {
        "hidden_size": D, "intermediate_size": Z, "quantization_config": AWQ if method == "awq"
        else GPTQ,
    }  # fmt: skip
    tensors = widened(tensors, D, Z)
    del tensors[f"{name}.weight"]
    write_atomic(folder / "config.json", json.dumps(tree))

    def stored(**changes: np.ndarray) -> None:
        found = {f"{name}.{part}": array for part, array in (parts | changes).items()}
        save_file(tensors | found, folder / "model.safetensors")

    stored()
    opened = open_model(folder, check_finite=True)
    assert isinstance(opened.weights["layers.0.mlp.gate.weight"], Int4)
    assert opened.quantization == (Scheme(4, 16, method),)
    stored(scales=np.full_like(parts["scales"], np.nan))
    with pytest.raises(ArtefactError, match="NaN"):
        open_model(folder).weights["layers.0.mlp.gate.weight"]
    stored(qzeros=parts["qzeros"][:1])
    with pytest.raises(ArtefactError, match="qzeros: expected shape"):
        open_model(folder)
    stored(qweight=parts["qweight"].astype(np.int64))
    with pytest.raises(ArtefactError, match="qweight: expected I32"):
        open_model(folder)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ArtefactError, match=r"missing model\.layers\.0\.mlp\.gate_proj"):
        open_model(folder)


def widened(tensors: dict[str, np.ndarray], D: int, Z: int) -> dict[str, np.ndarray]:
    """The tensors of the odd model with 60 -> D and 92 -> Z features."""
    sizes = {60: D, 92: Z}
    return {
        name: np.zeros([sizes.get(size, size) for size in array.shape], np.float32)
        for name, array in tensors.items()
    }


@pytest.mark.parametrize(
    ("reader", "changes", "reason"),
    [
        (read_gptq_scheme, {"bits": 5}, "bits: expected 2, 3, 4 or 8"),
        (read_gptq_scheme, {"bits": True}, "bits: expected"),
        (read_gptq_scheme, {"group_size": 0}, "group_size: expected"),
        (read_gptq_scheme, {"checkpoint_format": "marlin"}, "checkpoint_format: expected gptq"),
        (read_gptq_scheme, {"pack_dtype": "int8"}, "pack_dtype: expected int32"),
        (read_gptq_scheme, {"dynamic": {"-:x": {}}}, "dynamic: not supported"),
        (read_awq_scheme, {"version": "gemv"}, "version: expected gemm"),
        (read_awq_scheme, {"bits": 8}, "bits: expected 4"),
        (read_awq_scheme, {"zero_point": False}, "zero_point: expected true"),
        (read_awq_scheme, {"surprise": 1}, "surprise: not supported"),
    ],
)
def test_refused_by_name(reader: Any, changes: dict[str, Any], reason: str) -> None:
    plain = GPTQ if reader is read_gptq_scheme else AWQ
    assert reader(plain).group == 16
    assert reader(plain | {"group_size": -1}).group is None
    with pytest.raises(ArtefactError, match=reason):
        reader(plain | changes)
