"""The tensors of a folder as weight records, every one of them accounted for.

Shapes and names are checked against the config from the headers alone, before any weight is
touched; the records are made when they are asked for, most of them as views of the mapped file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sparing.base.errors import ArtefactError
from sparing.kernels.formats import BFloat16, Float32, Int4, Int8
from sparing.models.config import DecoderConfig
from sparing.models.names import Family, is_harmless, published, shapes
from sparing.models.quantised import Scheme, fitting_bits, read_record
from sparing.models.tensor_file import Stored, TensorFile

Weight = Float32 | BFloat16 | Int8 | Int4
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Source:
    """Where one of our tensors comes from."""

    published: str
    shape: tuple[int, ...]
    packed: bool
    """Whether it is stored as packed words, scales and a shape."""


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
    for ours, shape in shapes(config).items():
        name = published(ours, family)
        source = _find(name, shape, files, schemes)
        if source is None:
            missing.append(name)
            continue
        sources[ours] = source
        left -= set(_parts(source))
    if config.tied:
        left -= _spare_head(files, family, where)
    if missing:
        raise ArtefactError(f"{where}: missing {_listed(missing)}")
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
    name: str, shape: tuple[int, ...], files: Mapping[str, TensorFile], schemes: Sequence[Scheme]
) -> Source | None:
    if name in files:
        return Source(name, shape, packed=False)
    source = Source(name, shape, packed=True)
    quantised = schemes and len(shape) == 2 and all(part in files for part in _parts(source))
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
