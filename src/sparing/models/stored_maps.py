"""How one published tensor lies in files: as plain numbers, or as the parts of a quantised map.

`find` names the parts, `check` compares their types and shapes from the headers alone, `read`
makes the record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sparing.base.errors import ArtefactError
from sparing.kernels.formats import BFloat16, Float32, Weight
from sparing.models.gguf_tensors import GgufTensors
from sparing.models.gptq import extents, read_awq, read_gptq
from sparing.models.names import Part
from sparing.models.quantised import fitting_bits, read_record, read_wide
from sparing.models.scheme import Scheme
from sparing.models.tensor_file import TensorFile

Files = Mapping[str, TensorFile] | Mapping[str, GgufTensors]
_PLAIN, _WORDS = ("F32", "BF16", "F16"), ("I32",)
# layout -> part -> types that it may have; those in _OPTIONAL may be absent
_PARTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "packed": {
        "weight_packed": _WORDS,
        "weight_scale": _PLAIN,
        "weight_shape": ("I64", "I32"),
        "weight_zero_point": _WORDS,
    },
    "int8": {"weight": ("I8",), "weight_scale": _PLAIN, "weight_zero_point": ("I8",)},
    "gptq": {"qweight": _WORDS, "scales": _PLAIN, "qzeros": _WORDS, "g_idx": _WORDS},
    "awq": {"qweight": _WORDS, "scales": _PLAIN, "qzeros": _WORDS},
}
_OPTIONAL = {"weight_zero_point", "g_idx"}


@dataclass(frozen=True, slots=True)
class Source:
    """Where one of our tensors comes from."""

    part: Part
    scheme: Scheme | None = None
    """How it is quantised; None for plain numbers (and blocks, in a GGUF file)."""
    names: Mapping[str, str] | None = None
    """Part of a quantised map to the stored tensor's name."""

    @property
    def stored(self) -> tuple[str, ...]:
        """Every stored tensor that belongs to it."""
        return (self.part.published,) if self.names is None else tuple(self.names.values())


def find(part: Part, files: Files, schemes: Sequence[Scheme]) -> Source | None:
    """The stored tensors of a published one; None when they are not all there."""
    if part.published in files and not _is_wide(part.published, files, schemes):
        return Source(part)
    if not schemes or len(part.shape) != 2 or part.transposed:  # codes group inputs, not outputs
        return None
    module = part.published.removesuffix(".weight")
    parts = _PARTS[_layout(schemes[0])]
    names = {each: f"{module}.{each}" for each in parts if f"{module}.{each}" in files}
    if parts.keys() - names.keys() - _OPTIONAL:
        return None
    return Source(part, schemes[0], names)


def _is_wide(name: str, files: Files, schemes: Sequence[Scheme]) -> bool:
    """Whether plain int8 codes bear the name of the map itself."""
    wide = any(scheme.layout == "int8" for scheme in schemes)
    return wide and files[name].stored[name].dtype == "I8"


def _layout(scheme: Scheme) -> str:
    return "gptq" if scheme.layout == "gptq_v2" else scheme.layout


def check(source: Source, files: Files, schemes: Sequence[Scheme], where: str) -> None:
    """Errors: ArtefactError for a type or shape that does not fit the published tensor."""
    published, shape = source.part.published, source.part.shape
    where = f"{where}: {published}"
    if source.names is None or source.scheme is None:
        holder = files[published]
        stored = holder.stored[published]
        if stored.shape != shape:
            raise ArtefactError(f"{where}: expected shape {shape}, got {stored.shape}")
        if isinstance(holder, TensorFile) and stored.dtype not in _PLAIN:
            raise ArtefactError(f"{where}: expected F32, BF16 or F16, got {stored.dtype}")
        return
    layout = _layout(source.scheme)
    found = {part: files[name].stored[name] for part, name in source.names.items()}
    for part, stored in found.items():
        types = _PARTS[layout][part]
        if stored.dtype not in types:
            raise ArtefactError(
                f"{where}: {part}: expected {' or '.join(types)}, got {stored.dtype}"
            )
    shapes = {part: stored.shape for part, stored in found.items()}
    if layout == "int8":
        _check_wide(shapes, schemes, shape, where)
        return
    if layout != "packed":
        _check_extents(shapes, source.scheme, shape, where)
        return
    stated = _array(files, source.names["weight_shape"])
    if stated.shape != (2,) or tuple(map(int, stated)) != shape:
        raise ArtefactError(f"{where}_shape: expected {list(shape)}, got {stated.tolist()!s:.80}")
    zero = shapes.get("weight_zero_point")
    fitting_bits(shapes["weight_packed"], shapes["weight_scale"], shape, schemes, where, zero)


def _check_wide(
    shapes: Mapping[str, tuple[int, ...]],
    schemes: Sequence[Scheme],
    shape: tuple[int, ...],
    where: str,
) -> None:
    scale, zero = shapes["weight_scale"], shapes.get("weight_zero_point")
    groups = scale[-1] if len(scale) == 2 else 0
    fits = any(
        (shape[1] // (scheme.group or shape[1])) == groups and (zero is None) == scheme.symmetric
        for scheme in schemes
    )
    good = fits and groups > 0 and shape[1] % groups == 0 and scale == (shape[0], groups)
    if not good or shapes["weight"] != shape or zero not in (None, scale):
        raise ArtefactError(f"{where}: shapes {dict(shapes)} fit no scheme of the folder")


def _check_extents(
    shapes: Mapping[str, tuple[int, ...]], scheme: Scheme, shape: tuple[int, ...], where: str
) -> None:
    try:
        wanted = extents(scheme, shape)
    except ArtefactError as error:
        raise ArtefactError(f"{where}: {error}") from None
    for part, got in shapes.items():
        if got != wanted[part]:
            raise ArtefactError(f"{where}: {part}: expected shape {wanted[part]}, got {got}")


def read(source: Source, files: Files, schemes: Sequence[Scheme]) -> Weight:
    """The published tensor.  Errors: ArtefactError for scales that are NaN or infinite."""
    published = source.part.published
    if source.names is None or source.scheme is None:
        return dense(files[published], published)
    module = published.removesuffix(".weight")
    names = source.names
    if source.scheme.layout == "packed":
        zero = names.get("weight_zero_point")
        return read_record(
            _array(files, names["weight_packed"]),
            _finite(dense(files[names["weight_scale"]], names["weight_scale"]).dequantise(), names),
            source.part.shape,
            schemes,
            module,
            None if zero is None else _array(files, zero),
        )
    arrays = {part: _array(files, name) for part, name in names.items()}
    if source.scheme.layout == "int8":
        scale_ZJ = dense(files[names["weight_scale"]], names["weight_scale"]).dequantise()
        return read_wide(
            arrays["weight"], _finite(scale_ZJ, names), arrays.get("weight_zero_point")
        )
    arrays["scales"] = dense(files[names["scales"]], names["scales"]).dequantise()
    if source.scheme.layout == "awq":
        return read_awq(arrays, module)
    return read_gptq(arrays, source.scheme, module)


def _finite(scale_ZJ: np.ndarray, names: Mapping[str, str]) -> np.ndarray:
    if not np.isfinite(scale_ZJ).all():
        raise ArtefactError(f"{names['weight_scale']}: holds NaN or infinite values")
    return scale_ZJ


def _array(files: Files, name: str) -> np.ndarray:
    file = files[name]
    if not isinstance(file, TensorFile):
        raise ArtefactError(f"{file.path}: {name}: no part of a quantised map in a GGUF file")
    return file.array(name)


def dense(file: TensorFile | GgufTensors, name: str) -> Weight:
    """A stored tensor as it is: plain numbers, or the blocks of a GGUF file."""
    if not isinstance(file, TensorFile):
        return file.record(name)
    array, dtype = file.array(name), file.stored[name].dtype
    if dtype == "BF16":
        return BFloat16(array)
    return Float32(array if dtype == "F32" else array.astype(np.float32))
