"""GPTQ and AWQ weights: how their folders say so, and their words as our records.

    GPTQ    M.qweight [D bits / 32, Z], words along the inputs; M.qzeros [J, Z bits / 32],
            M.scales [J, Z], M.g_idx [D] (which group an input belongs to)
    AWQ     M.qweight [D, Z / 8], words along the outputs in the order 0 2 4 6 1 3 5 7;
            M.qzeros [J, Z / 8] likewise, M.scales [J, Z]

A weight is (code - zero) * scale with codes from 0.  Files of format "gptq" hold zero - 1.
Source: Frantar et al. 2022, arXiv:2210.17323, and Lin et al. 2023, arXiv:2306.00978, in the form
of the AutoGPTQ, GPTQModel and AutoAWQ packages.
"""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from sparing.base.errors import ArtefactError
from sparing.kernels.formats import Float32, Int3, Int4, Int8, Weight
from sparing.models.scheme import Scheme, expect, refuse_unknown
from sparing.models.streams import from_stream

log = logging.getLogger(__name__)

_NAME = "quantization_config"
# What says how the codes were found, or how another program should run them.
_HARMLESS = {
    "quant_method", "damp_percent", "damp_auto_increment", "static_groups", "true_sequential",
    "model_name_or_path", "model_file_base_name", "meta", "dataset", "tokenizer", "batch_size",
    "block_name_to_quantize", "module_name_preceding_first_block", "pad_token_id", "backend",
    "modules_in_block_to_quantize", "use_cuda_fp16", "use_exllama", "disable_exllama",
    "exllama_config", "max_input_length", "cache_block_outputs", "model_seqlen", "mse",
    "quantizer", "offload_to_disk", "offload_to_disk_path", "pack_impl", "method", "do_fuse",
    "fuse_max_seq_len", "modules_to_fuse", "modules_to_not_convert", "version", "q_group_size",
}  # fmt: skip
_AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)
"""Which code of a word belongs to outputs 0 to 7."""


def read_gptq_scheme(tree: Mapping[str, Any]) -> Scheme:
    """The scheme of a GPTQ folder.  Errors: ArtefactError naming what is not supported."""
    known = {"bits", "group_size", "desc_act", "sym", "checkpoint_format", "format", "pack_dtype",
             "lm_head"}  # fmt: skip
    refuse_unknown(tree, known | _HARMLESS, _NAME)
    bits, form = tree.get("bits"), tree.get("checkpoint_format") or tree.get("format") or "gptq"
    if type(bits) is not int or bits not in (2, 3, 4, 8):
        raise ArtefactError(f"{_NAME}.bits: expected 2, 3, 4 or 8, got {str(bits)[:80]!r}")
    expect(form in ("gptq", "gptq_v2"), f"{_NAME}.checkpoint_format", "gptq or gptq_v2", form)
    pack = tree.get("pack_dtype")
    expect(pack in (None, "int32"), f"{_NAME}.pack_dtype", "int32", pack)
    return Scheme(bits, _group(tree), form)


def read_awq_scheme(tree: Mapping[str, Any]) -> Scheme:
    """The scheme of an AWQ folder.  Errors: ArtefactError naming what is not supported."""
    refuse_unknown(tree, {"bits", "w_bit", "group_size", "zero_point"} | _HARMLESS, _NAME)
    bits, version = tree.get("bits", tree.get("w_bit")), tree.get("version", "gemm")
    expect(bits == 4, f"{_NAME}.bits", "4", bits)
    version = version.lower() if isinstance(version, str) else version
    expect(version == "gemm", f"{_NAME}.version", "gemm", version)
    expect(tree.get("zero_point", True) is True, f"{_NAME}.zero_point", "true", False)
    return Scheme(4, _group(tree), "awq")


def _group(tree: Mapping[str, Any]) -> int | None:
    size = tree.get("group_size", tree.get("q_group_size", 128))
    good = type(size) is int and (size == -1 or 0 < size <= 1 << 20)
    expect(good, f"{_NAME}.group_size", "a positive integer or -1", size)
    return None if size == -1 else size


def extents(scheme: Scheme, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The shape of each stored part of a map [Z, D].

    Errors: ArtefactError when a row does not divide into groups and words.
    """
    (rows, columns), bits = shape, scheme.bits
    group = scheme.group or columns
    whole = columns % group == 0 and rows * bits % 32 == 0 and columns * bits % 32 == 0
    if not whole or columns % 8:
        raise ArtefactError(f"{shape} does not divide into groups of {group} and words of 32 bits")
    found: dict[str, tuple[int, ...]] = {
        "scales": (columns // group, rows),
        "qzeros": (columns // group, rows * bits // 32),
    }
    if scheme.layout == "awq":
        return found | {"qweight": (columns, rows * bits // 32)}
    return found | {"qweight": (columns * bits // 32, rows), "g_idx": (columns,)}


def read_gptq(parts: Mapping[str, np.ndarray], scheme: Scheme, name: str) -> Weight:
    """The record of one GPTQ map from its stored parts (`g_idx` may be absent).

    Where inputs were ordered by activation, groups are not neighbours; the map is then held as
    float32, the same numbers in more memory.
    Errors: ArtefactError for scales that are NaN, or a group that is none.
    """
    bits, scale_ZJ = scheme.bits, _scale(parts["scales"], name)
    shift = 1 if scheme.layout == "gptq" else 0
    zero_ZJ = from_stream(parts["qzeros"].view(np.uint8), bits).T.astype(np.float32) + np.float32(
        shift
    )
    packed = np.ascontiguousarray(parts["qweight"].T).view(np.uint8)
    J = scale_ZJ.shape[1]
    D = packed.shape[1] * 8 // bits
    order = parts.get("g_idx")
    if order is not None and not np.array_equal(order, np.arange(D) // (D // J)):
        if order.min() < 0 or order.max() >= J:
            raise ArtefactError(f"{name}: g_idx: expected groups below {J}")
        log.warning("%s: inputs are ordered by activation: held as float32, exactly", name)
        code_ZD = from_stream(packed, bits).astype(np.float32)
        return Float32((code_ZD - zero_ZJ[:, order]) * scale_ZJ[:, order])
    return _record(packed, bits, scale_ZJ, zero_ZJ)


def read_awq(parts: Mapping[str, np.ndarray], name: str) -> Weight:
    """The record of one AWQ map.  Errors: ArtefactError for scales that are NaN."""
    scale_ZJ = _scale(parts["scales"], name)
    zero_ZJ = np.ascontiguousarray(_awq_codes(parts["qzeros"]).T).astype(np.float32)
    code_ZD = np.ascontiguousarray(_awq_codes(parts["qweight"]).T)
    packed = code_ZD[:, 0::2] | (code_ZD[:, 1::2] << np.uint8(4))
    return _record(packed, 4, scale_ZJ, zero_ZJ)


def _scale(stored_JZ: np.ndarray, name: str) -> np.ndarray:
    scale_ZJ = np.ascontiguousarray(stored_JZ.T.astype(np.float32))
    if not np.isfinite(scale_ZJ).all():
        raise ArtefactError(f"{name}.scales: holds NaN or infinite values")
    return scale_ZJ


def _awq_codes(words: np.ndarray) -> np.ndarray:
    """Codes from 0 along the outputs."""
    shift = np.array([4 * place for place in _AWQ_ORDER], dtype=np.uint32)
    codes = (words.view("<u4")[..., None] >> shift) & np.uint32(15)
    return codes.astype(np.uint8).reshape(len(words), -1)


def _record(
    packed: np.ndarray, bits: int, scale_ZJ: np.ndarray, zero_ZJ: np.ndarray
) -> Int3 | Int4 | Int8:
    """(code - zero) * scale as our code * scale + offset; without offsets where all are 0."""
    middle = {2: 0, 3: 4, 4: 8, 8: 128}[bits]
    offset_ZJ = None if (zero_ZJ == middle).all() else (middle - zero_ZJ) * scale_ZJ
    if bits == 8:
        return Int8((packed ^ np.uint8(0x80)).view(np.int8), scale_ZJ, offset_ZJ)
    if bits == 3:
        return Int3(packed, scale_ZJ, offset_ZJ)
    if bits == 2:  # codes 0 to 3 are codes of four bits too
        code = from_stream(packed, 2) + np.uint8(8)
        packed = code[:, 0::2] | (code[:, 1::2] << np.uint8(4))
    return Int4(np.ascontiguousarray(packed), scale_ZJ, offset_ZJ)
