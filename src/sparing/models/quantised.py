"""compressed-tensors `pack-quantized` weights: int4 and int8, grouped, symmetric.

A quantised map M is stored as M.weight_packed (int32 words of value + 2^(bits - 1), low bits
first, each row padded to whole words), M.weight_scale [Z, J] and M.weight_shape [2].
Source: the compressed-tensors package, compressors/pack_quantized.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparing.base.errors import ArtefactError, ConfigError, require
from sparing.kernels.formats import Int4, Int8, from_bfloat16, to_bfloat16
from sparing.models.tensor_file import Tensor

Record = Int4 | Int8
METHOD, FORMAT = "compressed-tensors", "pack-quantized"
_TOP = {
    "quant_method",
    "format",
    "quantization_status",
    "config_groups",
    "ignore",
    "global_compression_ratio",
    "version",
}
_GROUP = {"targets", "weights", "format"}
_WEIGHTS = {
    "num_bits",
    "type",
    "symmetric",
    "strategy",
    "group_size",
    "dynamic",
    "observer",
    "observer_kwargs",
    "scale_dtype",
    "zp_dtype",
}


@dataclass(frozen=True, slots=True)
class Scheme:
    """How some of a folder's maps are quantised."""

    bits: int
    """4 or 8."""

    group: int | None
    """Columns that share a scale; None for a whole row."""


def read_schemes(tree: Any) -> tuple[Scheme, ...]:
    """The schemes in a config's `quantization_config`.

    Errors: ArtefactError naming what is not supported: another method or format, zero points,
            activation order, quantised activations, anything not known.
    """
    name = "quantization_config"
    _expect(isinstance(tree, dict), name, "an object", tree)
    _expect(tree.get("quant_method") == METHOD, f"{name}.quant_method", METHOD, tree)
    _expect(tree.get("format") in (FORMAT, None), f"{name}.format", FORMAT, tree.get("format"))
    status = tree.get("quantization_status")
    _expect(status in ("compressed", None), f"{name}.quantization_status", "compressed", status)
    _refuse_unknown(tree, _TOP, name)
    groups = tree.get("config_groups")
    good = isinstance(groups, dict) and 0 < len(groups) <= 64
    _expect(good, f"{name}.config_groups", "an object of 1 to 64 groups", groups)
    schemes = [_scheme(group, f"{name}.config_groups.{key}") for key, group in groups.items()]
    return tuple(dict.fromkeys(schemes))


def _scheme(group: Any, name: str) -> Scheme:
    _expect(isinstance(group, dict), name, "an object", group)
    _refuse_unknown(group, _GROUP, name)
    _expect(group.get("format") in (FORMAT, None), f"{name}.format", FORMAT, group.get("format"))
    weights = group.get("weights")
    _expect(isinstance(weights, dict), f"{name}.weights", "an object", weights)
    _refuse_unknown(weights, _WEIGHTS, f"{name}.weights")
    wanted = {"type": ("int",), "symmetric": (True,), "dynamic": (False, None), "num_bits": (4, 8)}
    for key, values in wanted.items():
        got = weights.get(key)
        expected = " or ".join(map(str, values))
        good = any(got is value or (got == value and type(got) is type(value)) for value in values)
        _expect(good, f"{name}.weights.{key}", expected, got)
    size, strategy = weights.get("group_size"), weights.get("strategy")
    if strategy == "channel" or (strategy is None and size is None):
        return Scheme(weights["num_bits"], None)
    _expect(strategy in ("group", None), f"{name}.weights.strategy", "group or channel", strategy)
    good = type(size) is int and 0 < size <= 1 << 20
    _expect(good, f"{name}.weights.group_size", "a positive integer", size)
    return Scheme(weights["num_bits"], size)


def _refuse_unknown(tree: Mapping[str, Any], known: set[str], name: str) -> None:
    for key, value in tree.items():
        if key not in known and value not in (None, False, {}, []):
            if key == "sparsity_config" and value == {"format": "dense"}:
                continue
            raise ArtefactError(f"{name}.{key}: not supported: {str(value)[:80]!r}")


def _expect(ok: bool, name: str, expected: str, got: object) -> None:
    if not ok:
        raise ArtefactError(f"{name}: expected {expected}, got {str(got)[:80]!r}")


def fitting_bits(
    packed: tuple[int, ...],
    scale: tuple[int, ...],
    shape: tuple[int, ...],
    schemes: Sequence[Scheme],
    name: str,
) -> int:
    """How many bits a code of a weight of `shape` has, from the shapes of its words and scales.

    Errors: ArtefactError unless exactly one number of bits among the folder's `schemes` fits.
    """
    rows, columns = shape
    groups = scale[-1] if len(scale) == 2 else 0
    fitting = {
        scheme.bits
        for scheme in schemes
        if packed == (rows, math.ceil(columns * scheme.bits / 32))
        and scale == (rows, groups)
        and groups > 0
        and columns % groups == 0
        and (scheme.group or columns) == columns // groups
    }
    if len(fitting) != 1 or (columns % 2 and 4 in fitting):
        known = ", ".join(f"int{s.bits} in groups of {s.group or 'a row'}" for s in schemes)
        raise ArtefactError(
            f"{name}: {packed} words and {scale} scales for a weight of shape {shape} "
            f"fit not exactly one of: {known}"
        )
    return fitting.pop()


def read_record(
    packed_ZW: np.ndarray,
    scale_ZJ: np.ndarray,
    shape: tuple[int, ...],
    schemes: Sequence[Scheme],
    name: str,
) -> Record:
    """The weight in our layout; int4 stays a view of the file where rows fill whole words.

    Errors: as `fitting_bits`.
    """
    bits = fitting_bits(packed_ZW.shape, scale_ZJ.shape, shape, schemes, name)
    bytes_ZD, columns = packed_ZW.view(np.uint8), shape[1]
    if bits == 4:
        return Int4(np.ascontiguousarray(bytes_ZD[:, : columns // 2]), scale_ZJ)
    code_ZD = (bytes_ZD[:, :columns] ^ np.uint8(0x80)).view(np.int8)
    return Int8(np.ascontiguousarray(code_ZD), scale_ZJ)


def pack_rows(record: Record) -> np.ndarray:
    """The int32 words [Z, W] of a quantised weight; the padding is zero bits.

    Errors: ConfigError for a record that is not a matrix.
    """
    require(len(record.shape) == 2, "quantised weight", "a matrix", record.shape)
    if isinstance(record, Int4):
        bytes_ZB = record.packed
    else:
        bytes_ZB = record.code_ZD.view(np.uint8) ^ np.uint8(0x80)
    spare = -bytes_ZB.shape[1] % 4
    if spare:
        bytes_ZB = np.pad(bytes_ZB, ((0, 0), (0, spare)))
    return np.ascontiguousarray(bytes_ZB).view("<i4")


def stored_tensors(module: str, record: Record, *, half: bool) -> list[tuple[str, Tensor]]:
    """The three tensors of map `module`; scales in bfloat16 when `half` and nothing is lost."""
    scale_ZJ = np.ascontiguousarray(record.scale_ZJ, dtype=np.float32)
    bits_ZJ = to_bfloat16(scale_ZJ)
    exact = half and np.array_equal(from_bfloat16(bits_ZJ), scale_ZJ)
    scale = Tensor("BF16", bits_ZJ) if exact else Tensor("F32", scale_ZJ)
    return [
        (f"{module}.weight_packed", Tensor("I32", pack_rows(record))),
        (f"{module}.weight_scale", scale),
        (f"{module}.weight_shape", Tensor("I64", np.array(record.shape, dtype=np.int64))),
    ]


def scheme_of(record: Record) -> Scheme:
    """How one weight is quantised.  Errors: ConfigError unless its groups divide the columns."""
    (_, columns), groups = record.shape, record.scale_ZJ.shape[-1]
    require(groups > 0 and columns % groups == 0, "scale_ZJ", f"J dividing {columns}", groups)
    return Scheme(4 if isinstance(record, Int4) else 8, columns // groups)


def describe(records: Mapping[str, Record], linears: Iterable[str]) -> dict[str, Any]:
    """The `quantization_config` of a folder.

    `records` maps published module names to quantised weights, `linears` names every linear map
    of the model; maps without a record are listed under `ignore`.
    """
    targets: dict[Scheme, list[str]] = {}
    for module, record in records.items():
        targets.setdefault(scheme_of(record), []).append(module)
    if not targets:
        raise ConfigError("quantised: expected at least one quantised weight, got none")
    whole = len(targets) == 1 and all(module in set(linears) for module in records)
    groups = {
        f"group_{index}": {
            "targets": ["Linear"] if whole else modules,
            "weights": {
                "num_bits": scheme.bits,
                "type": "int",
                "symmetric": True,
                "strategy": "group",
                "group_size": scheme.group,
                "dynamic": False,
            },
            "input_activations": None,
            "output_activations": None,
        }
        for index, (scheme, modules) in enumerate(targets.items())
    }
    return {
        "quant_method": METHOD,
        "format": FORMAT,
        "quantization_status": "compressed",
        "config_groups": groups,
        "ignore": [module for module in linears if module not in records],
    }
