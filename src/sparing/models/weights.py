"""The tensors of a folder as weight records, every one of them accounted for.

Shapes and names are checked against the config from the headers alone, before any weight is
touched; the records are made when they are asked for, most of them as views of the mapped file.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from sparing.base.errors import ArtefactError
from sparing.kernels.formats import BFloat16, Quantised, Weight
from sparing.models.names import Part, is_harmless
from sparing.models.parts import ours
from sparing.models.scheme import Scheme
from sparing.models.stored_maps import Files, Source, check, find, read
from sparing.models.tensor_file import TensorFile

_MOST_NAMED = 5
_PIECE = 1 << 18  # numbers looked at together: within the processor's caches


class Weights(Mapping[str, Weight]):
    """Our tensor names to weight records; a record is made anew at each access.

    Errors: ArtefactError at an access, naming a tensor that holds NaN or infinity.
    """

    def __init__(
        self,
        files: Files,
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
        weight = ours(read(source, self._files, self._schemes), source.part)
        if not _is_finite(weight):
            raise ArtefactError(f"{name}: holds NaN or infinite values")
        return weight

    @property
    def stored_bytes(self) -> int:
        """Bytes of the stored tensors; no weight is read."""
        names = {name for source in self._sources.values() for name in source.stored}
        extents = {
            (id(self._files[name]), entry.start, entry.stop)
            for name in names
            for entry in (self._files[name].stored[name],)
        }
        return sum(stop - start for _, start, stop in extents)

    def let_go(self) -> None:
        """Take no memory for the parts of files that were read so far."""
        for file in {id(file): file for file in self._files.values()}.values():
            if isinstance(file, TensorFile):
                file.let_go()

    def check_finite(self) -> None:
        """Read every weight.  Errors: ArtefactError naming the first with a NaN or infinity."""
        for name in self:
            self[name]


def _is_finite(weight: Weight) -> bool:
    """Whether no number is NaN or infinite; looked at in pieces, so that little memory is taken."""
    if isinstance(weight, Quantised):
        return all(x is None or np.isfinite(x).all() for x in (weight.scale_ZJ, weight.offset_ZJ))
    flat = (weight.bits_ZD if isinstance(weight, BFloat16) else weight.array_ZD).reshape(-1)
    for start in range(0, flat.size, _PIECE):
        piece = flat[start : start + _PIECE]
        if isinstance(weight, BFloat16):
            if (piece & np.uint16(0x7FFF)).max() >= 0x7F80:
                return False
        elif not np.isfinite([piece.max(), piece.min()]).all():  # a NaN is its own maximum
            return False
    return True


def collect(
    files: Files,
    wanted: Mapping[str, Part],
    schemes: Sequence[Scheme],
    where: str,
    *,
    spare: tuple[str, str] | None = None,
) -> Weights:
    """Match the tensors in `files` (published name to its file) with those `wanted`.

    `spare` names a tensor that may be there and must then equal a second one, byte for byte.
    Errors: ArtefactError naming tensors that are missing, left over or of a wrong shape or dtype.
    """
    left = {name for name in files if not is_harmless(name)}
    sources: dict[str, Source] = {}
    missing: list[str] = []
    for name, part in wanted.items():
        source = find(part, files, schemes)
        if source is None:
            missing.append(part.published)
            continue
        sources[name] = source
        left -= set(source.stored)
    if spare is not None:
        left -= _spare_head(files, *spare, where)
    if missing:
        raise ArtefactError(f"{where}: missing {_listed(list(dict.fromkeys(missing)))}")
    if left:
        raise ArtefactError(f"{where}: the config does not call for {_listed(sorted(left))}")
    for source in sources.values():
        check(source, files, schemes, where)
    return Weights(files, sources, schemes)


def _spare_head(files: Files, head: str, embed: str, where: str) -> set[str]:
    """The head that some tied folders store a second time; it must be the embedding."""
    if head not in files or embed not in files:
        return set()
    holders = files[head], files[embed]
    if not isinstance(holders[0], TensorFile) or not isinstance(holders[1], TensorFile):
        return set()
    one, two = holders[0].array(head), holders[1].array(embed)
    if one.dtype != two.dtype or one.shape != two.shape or one.tobytes() != two.tobytes():
        raise ArtefactError(f"{where}: tie_word_embeddings is set, but {head} differs from {embed}")
    return {head}


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name[:120] for name in names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return shown + (f" and {more} more" if more > 0 else "")


def as_float32(weight: Weight | np.ndarray) -> np.ndarray:
    """The values of a record or of a plain array."""
    return np.asarray(weight, np.float32) if isinstance(weight, np.ndarray) else weight.dequantise()
