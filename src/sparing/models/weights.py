"""The tensors of a folder as weight records, every one of them accounted for.

Shapes and names are checked against the config from the headers alone, before any weight is
touched; the records are made when they are asked for, most of them as views of the mapped file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from sparing.base.errors import ArtefactError
from sparing.kernels.formats import BFloat16, Float32, Int4, Int8
from sparing.models.config import DecoderConfig
from sparing.models.names import Family, Part, Rows, is_harmless, parts, published
from sparing.models.quantised import Scheme, fitting_bits, read_record
from sparing.models.tensor_file import Stored, TensorFile

Weight = Float32 | BFloat16 | Int8 | Int4
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Source:
    """Where one of our tensors comes from."""

    part: Part
    packed: bool
    """Whether it is stored as packed words, scales and a shape."""

    @property
    def published(self) -> str:
        return self.part.published

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the published tensor."""
        return self.part.shape


class Weights(Mapping[str, Weight]):
    """Our tensor names to weight records; a record is made anew at each access."""

    def __init__(
        self,
        files: Mapping[str, TensorFile],
        sources: Mapping[str, Source],
        schemes: Sequence[Scheme],
    ) -> None:
        self._files, self._sources, self._schemes = files, sources, schemes

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, name: str) -> Weight:
        source = self._sources[name]
        return ours(self._whole(source), source.part)

    def _whole(self, source: Source) -> Weight:
        """The published tensor."""
        if not source.packed:
            return _dense(self._files[source.published], source.published)
        module = source.published.removesuffix(".weight")
        packed, scale = f"{module}.weight_packed", f"{module}.weight_scale"
        return read_record(
            self._files[packed].array(packed),
            _dense(self._files[scale], scale).dequantise(),
            source.shape,
            self._schemes,
            module,
        )

    def check_finite(self) -> None:
        """Read every weight.  Errors: ArtefactError naming the first with a NaN or infinity."""
        for name, weight in self.items():
            values = weight.scale_ZJ if isinstance(weight, Int8 | Int4) else weight.dequantise()
            if not np.isfinite(values).all():
                raise ArtefactError(f"{name}: holds NaN or infinite values")


def collect(
    files: Mapping[str, TensorFile],
    config: DecoderConfig,
    family: Family,
    schemes: Sequence[Scheme],
    where: str,
) -> Weights:
    """Match the tensors in `files` (published name to its file) with what `config` needs.

    Errors: ArtefactError naming tensors that are missing, left over or of a wrong shape or dtype.
    """
    left = {name for name in files if not is_harmless(name)}
    sources: dict[str, Source] = {}
    missing: list[str] = []
    for name, part in parts(config, family).items():
        source = _find(part, files, schemes)
        if source is None:
            missing.append(part.published)
            continue
        sources[name] = source
        left -= set(_parts(source))
    if config.tied:
        left -= _spare_head(files, family, where)
    if missing:
        raise ArtefactError(f"{where}: missing {_listed(list(dict.fromkeys(missing)))}")
    if left:
        raise ArtefactError(f"{where}: the config does not call for {_listed(sorted(left))}")
    for source in sources.values():
        _check(source, files, schemes, where)
    return Weights(files, sources, schemes)


def _parts(source: Source) -> tuple[str, ...]:
    if not source.packed:
        return (source.published,)
    return tuple(f"{source.published}_{part}" for part in ("packed", "scale", "shape"))


def _find(
    part: Part, files: Mapping[str, TensorFile], schemes: Sequence[Scheme]
) -> Source | None:
    if part.published in files:
        return Source(part, packed=False)
    source = Source(part, packed=True)
    matrix = len(part.shape) == 2 and not part.transposed  # codes group inputs, not outputs
    quantised = schemes and matrix and all(name in files for name in _parts(source))
    return source if quantised else None


def _check(
    source: Source, files: Mapping[str, TensorFile], schemes: Sequence[Scheme], where: str
) -> None:
    if not source.packed:
        stored = files[source.published].stored[source.published]
        _check_dense(stored, source, where)
        return
    packed, scale, shape = _parts(source)
    wanted = {packed: ("I32",), scale: ("F32", "BF16", "F16"), shape: ("I64", "I32")}
    for name, dtypes in wanted.items():
        dtype = files[name].stored[name].dtype
        if dtype not in dtypes:
            raise ArtefactError(f"{where}: {name}: expected {' or '.join(dtypes)}, got {dtype}")
    stated = files[shape].array(shape)
    if stated.shape != (2,) or tuple(map(int, stated)) != source.shape:
        raise ArtefactError(
            f"{where}: {shape}: expected {list(source.shape)}, got {stated.tolist()!s:.80}"
        )
    words, scales = files[packed].stored[packed].shape, files[scale].stored[scale].shape
    fitting_bits(words, scales, source.shape, schemes, f"{where}: {source.published}")


def _check_dense(stored: Stored, source: Source, where: str) -> None:
    if stored.shape != source.shape:
        raise ArtefactError(
            f"{where}: {source.published}: expected shape {source.shape}, got {stored.shape}"
        )
    if stored.dtype not in ("F32", "BF16", "F16"):
        raise ArtefactError(
            f"{where}: {source.published}: expected F32, BF16 or F16, got {stored.dtype}"
        )


def _spare_head(files: Mapping[str, TensorFile], family: Family, where: str) -> set[str]:
    """The head that some tied folders store a second time; it must be the embedding."""
    head, embed = published("head.weight", family), published("embed.weight", family)
    if head not in files or embed not in files:
        return set()
    one, two = files[head].array(head), files[embed].array(embed)
    if one.dtype != two.dtype or one.shape != two.shape or one.tobytes() != two.tobytes():
        raise ArtefactError(f"{where}: tie_word_embeddings is set, but {head} differs from {embed}")
    return {head}


def ours(weight: Weight, part: Part) -> Weight:
    """Our tensor from the published one; a view where the rows are whole and in order."""
    if part.transposed:
        weight = _turned(weight)
    if part.rows is not None:
        weight = _cut(weight, part.rows)
    if part.plus_one:
        return Float32(weight.dequantise() + np.float32(1.0))
    return weight


def _turned(weight: Weight) -> Weight:
    if isinstance(weight, BFloat16):
        return BFloat16(np.ascontiguousarray(weight.bits_ZD.T))
    return Float32(np.ascontiguousarray(weight.dequantise().T))


def _cut(weight: Weight, rows: Rows) -> Weight:
    """The rows of any record, field by field: each field's first dimension is the rows."""
    arrays = (getattr(weight, item.name) for item in fields(weight))
    return type(weight)(*(None if array is None else _some(array, rows) for array in arrays))


def _some(array: np.ndarray, rows: Rows) -> np.ndarray:
    runs = array.reshape(-1, rows.period, *array.shape[1:])[:, rows.begin : rows.end]
    return np.ascontiguousarray(runs.reshape(-1, *array.shape[1:]))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name[:120] for name in names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return shown + (f" and {more} more" if more > 0 else "")


def _dense(file: TensorFile, name: str) -> Float32 | BFloat16:
    array, dtype = file.array(name), file.stored[name].dtype
    if dtype == "BF16":
        return BFloat16(array)
    return Float32(array if dtype == "F32" else array.astype(np.float32))


def as_float32(weight: Weight | np.ndarray) -> np.ndarray:
    """The values of a record or of a plain array."""
    return np.asarray(weight, np.float32) if isinstance(weight, np.ndarray) else weight.dequantise()
