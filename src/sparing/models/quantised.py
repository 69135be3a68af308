"""compressed-tensors `pack-quantized` weights: int3, int4, int8 in groups, zero points or none.

A quantised map M is stored as M.weight_packed (int32 words: each row a stream of codes from 0,
low bits first, padded to whole words), M.weight_scale [Z, J], M.weight_shape [2] and, where codes
are not symmetric, M.weight_zero_point (packed likewise, but along the rows).
`int-quantized` folders, which are read only, hold M.weight and M.weight_zero_point as int8.
Source: the compressed-tensors package, compressors/pack_quantized.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sparing.base.errors import ArtefactError, ConfigError, require
from sparing.kernels.formats import Int3, Int4, Int8, from_bfloat16, to_bfloat16
from sparing.models.gptq import read_awq_scheme, read_gptq_scheme
from sparing.models.scheme import Layout, Scheme, expect, refuse_unknown
from sparing.models.streams import from_stream, to_stream
from sparing.models.tensor_file import Tensor

Record = Int4 | Int8 | Int3
METHOD, FORMAT, WIDE = "compressed-tensors", "pack-quantized", "int-quantized"
FORMATS: Mapping[str, Layout] = {FORMAT: "packed", WIDE: "int8"}
BITS: Mapping[type, int] = {Int3: 3, Int4: 4, Int8: 8}
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


def read_schemes(tree: Any) -> tuple[Scheme, ...]:
    """The schemes in a config's `quantization_config`.

    Errors: ArtefactError naming what is not supported: another method or format, quantised
            activations, anything not known.
    """
    name = "quantization_config"
    expect(isinstance(tree, dict), name, "an object", tree)
    method = tree.get("quant_method")
    if method == "gptq":
        return (read_gptq_scheme(tree),)
    if method == "awq":
        return (read_awq_scheme(tree),)
    expect(method == METHOD, f"{name}.quant_method", f"{METHOD}, gptq or awq", method)
    form = tree.get("format")
    expect(form in (*FORMATS, None), f"{name}.format", " or ".join(FORMATS), form)
    status = tree.get("quantization_status")
    expect(status in ("compressed", None), f"{name}.quantization_status", "compressed", status)
    refuse_unknown(tree, _TOP, name)
    groups = tree.get("config_groups")
    good = isinstance(groups, dict) and 0 < len(groups) <= 64
    expect(good, f"{name}.config_groups", "an object of 1 to 64 groups", groups)
    schemes = [
        _scheme(group, form or FORMAT, f"{name}.config_groups.{key}")
        for key, group in groups.items()
    ]
    layouts = {scheme.layout for scheme in schemes}
    expect(len(layouts) == 1, f"{name}.config_groups", "one format for all groups", layouts)
    return tuple(dict.fromkeys(schemes))


def _scheme(group: Any, form: str, name: str) -> Scheme:
    expect(isinstance(group, dict), name, "an object", group)
    form = group.get("format") or form
    expect(form in FORMATS, f"{name}.format", " or ".join(FORMATS), form)
    layout, wide = FORMATS[form], form == WIDE
    if wide and _dynamic(group.get("input_activations")):
        group = {key: value for key, value in group.items() if key != "input_activations"}
    refuse_unknown(group, _GROUP, name)
    weights = group.get("weights")
    expect(isinstance(weights, dict), f"{name}.weights", "an object", weights)
    refuse_unknown(weights, _WEIGHTS, f"{name}.weights")
    wanted = {
        "type": ("int",),
        "symmetric": (True, False),
        "dynamic": (False, None),
        "num_bits": (8,) if wide else (3, 4, 8),
    }
    for key, values in wanted.items():
        got = weights.get(key)
        expected = " or ".join(map(str, values))
        good = any(got is value or (got == value and type(got) is type(value)) for value in values)
        expect(good, f"{name}.weights.{key}", expected, got)
    size, strategy = weights.get("group_size"), weights.get("strategy")
    if strategy == "channel" or (strategy is None and size is None):
        return Scheme(weights["num_bits"], None, layout, weights["symmetric"])
    expect(strategy in ("group", None), f"{name}.weights.strategy", "group or channel", strategy)
    good = type(size) is int and 0 < size <= 1 << 20
    expect(good, f"{name}.weights.group_size", "a positive integer", size)
    return Scheme(weights["num_bits"], size, layout, weights["symmetric"])


def _dynamic(tree: Any) -> bool:
    """Whether inputs are rounded to int8 as they come; ours are too, or are kept exact."""
    wanted = {"num_bits": 8, "type": "int", "dynamic": True}
    return isinstance(tree, dict) and all(tree.get(key) == value for key, value in wanted.items())


def fitting_bits(
    packed: tuple[int, ...],
    scale: tuple[int, ...],
    shape: tuple[int, ...],
    schemes: Sequence[Scheme],
    name: str,
    zero: tuple[int, ...] | None = None,
) -> int:
    """How many bits a code of a weight of `shape` has, from the shapes of its stored parts.

    Errors: ArtefactError unless exactly one number of bits among the folder's `schemes` fits.
    """
    rows, columns = shape
    groups = scale[-1] if len(scale) == 2 else 0
    fitting = {
        scheme.bits
        for scheme in schemes
        if packed == (rows, math.ceil(columns * scheme.bits / 32))
        and scale == (rows, groups)
        and zero == (None if scheme.symmetric else (math.ceil(rows * scheme.bits / 32), groups))
        and groups > 0
        and columns % groups == 0
        and (scheme.group or columns) == columns // groups
    }
    whole = {3: 8, 4: 2, 8: 1}
    if len(fitting) != 1 or columns % whole[min(fitting)]:
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
    zero: np.ndarray | None = None,
) -> Record:
    """The weight in our layout; int4 stays a view of the file where rows fill whole words.

    Errors: as `fitting_bits`.
    """
    zero_shape = None if zero is None else zero.shape
    bits = fitting_bits(packed_ZW.shape, scale_ZJ.shape, shape, schemes, name, zero_shape)
    offset_ZJ = None if zero is None else _offset(zero, scale_ZJ, bits)
    bytes_ZB = np.ascontiguousarray(packed_ZW).view(np.uint8)[:, : shape[1] * bits // 8]
    if bits == 8:
        return Int8((bytes_ZB ^ np.uint8(0x80)).view(np.int8), scale_ZJ, offset_ZJ)
    record = Int4 if bits == 4 else Int3
    return record(np.ascontiguousarray(bytes_ZB), scale_ZJ, offset_ZJ)


def read_wide(code_ZD: np.ndarray, scale_ZJ: np.ndarray, zero_ZJ: np.ndarray | None) -> Int8:
    """The weight of an `int-quantized` map."""
    offset_ZJ = None if zero_ZJ is None else -zero_ZJ.astype(np.float32) * scale_ZJ
    return Int8(np.ascontiguousarray(code_ZD), scale_ZJ, offset_ZJ)


def _offset(zero: np.ndarray, scale_ZJ: np.ndarray, bits: int) -> np.ndarray:
    """What zero points add: minus zero times scale, exact while a scale has 16 bits or fewer."""
    code_JZ = from_stream(np.ascontiguousarray(zero.T).view(np.uint8), bits)
    zero_ZJ = code_JZ[:, : len(scale_ZJ)].T.astype(np.float32) - np.float32(1 << (bits - 1))
    return -zero_ZJ * scale_ZJ


def _zero_points(record: Record) -> np.ndarray | None:
    """The stored zero points of a record.  Errors: ConfigError where an offset is no multiple."""
    if record.offset_ZJ is None:
        return None
    bits = BITS[type(record)]
    zero_ZJ = np.rint(-record.offset_ZJ / record.scale_ZJ)
    exact = np.array_equal(-zero_ZJ * record.scale_ZJ, record.offset_ZJ)
    code_ZJ = zero_ZJ + (1 << (bits - 1))
    good = exact and code_ZJ.min() >= 0 and code_ZJ.max() < 1 << bits
    require(bool(good), "offset_ZJ", f"multiples of the scales by codes of {bits} bits", "others")
    stream = _padded(to_stream(np.ascontiguousarray(code_ZJ.T).astype(np.uint8), bits))
    return np.ascontiguousarray(stream.view("<i4").T)


def _padded(bytes_ZB: np.ndarray) -> np.ndarray:
    """Rows of whole words."""
    spare = -bytes_ZB.shape[1] % 4
    return np.pad(bytes_ZB, ((0, 0), (0, spare))) if spare else np.ascontiguousarray(bytes_ZB)


def pack_rows(record: Record) -> np.ndarray:
    """The int32 words [Z, W] of a quantised weight; the padding is zero bits.

    Errors: ConfigError for a record that is not a matrix.
    """
    require(len(record.shape) == 2, "quantised weight", "a matrix", record.shape)
    if isinstance(record, Int8):
        return _padded(record.code_ZD.view(np.uint8) ^ np.uint8(0x80)).view("<i4")
    return _padded(record.packed).view("<i4")


def stored_tensors(module: str, record: Record, *, half: bool) -> list[tuple[str, Tensor]]:
    """The tensors of map `module`; scales in bfloat16 when `half` and nothing is lost.

    Errors: ConfigError for offsets that are no zero points.
    """
    scale_ZJ = np.ascontiguousarray(record.scale_ZJ, dtype=np.float32)
    bits_ZJ = to_bfloat16(scale_ZJ)
    exact = half and np.array_equal(from_bfloat16(bits_ZJ), scale_ZJ)
    scale = Tensor("BF16", bits_ZJ) if exact else Tensor("F32", scale_ZJ)
    found = [
        (f"{module}.weight_packed", Tensor("I32", pack_rows(record))),
        (f"{module}.weight_scale", scale),
        (f"{module}.weight_shape", Tensor("I64", np.array(record.shape, dtype=np.int64))),
    ]
    zero = _zero_points(record)
    return found if zero is None else [*found, (f"{module}.weight_zero_point", Tensor("I32", zero))]


def scheme_of(record: Record) -> Scheme:
    """How one weight is quantised.  Errors: ConfigError unless its groups divide the columns."""
    (_, columns), groups = record.shape, record.scale_ZJ.shape[-1]
    require(groups > 0 and columns % groups == 0, "scale_ZJ", f"J dividing {columns}", groups)
    symmetric = record.offset_ZJ is None
    return Scheme(BITS[type(record)], columns // groups, symmetric=symmetric)


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
                "symmetric": scheme.symmetric,
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
