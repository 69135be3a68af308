"""Folders of encoders and encoder-decoders: config to traits, every tensor accounted for.

Shapes and names are checked from the headers alone, before any weight is touched.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparing.base.errors import ArtefactError
from sparing.kernels.formats import BFloat16, Float32, Weight
from sparing.models.encoder_config import EncoderConfig, Seq2SeqConfig, TowersConfig
from sparing.models.encoder_names import (
    Place,
    Places,
    is_unused,
    seq2seq_places,
    spellings,
    text_places,
    towers_places,
    vit_places,
)
from sparing.models.folder import inside, tensor_files
from sparing.models.hf_encoder import KINDS, AnyConfig, read_traits
from sparing.models.quantised import Scheme, fitting_bits, read_record, read_schemes
from sparing.models.strict_json import read_object
from sparing.models.tensor_file import TensorFile

_MOST_NAMED = 5
_DENSE = ("F32", "BF16", "F16")
_PACKED = {"packed": ("I32",), "scale": _DENSE, "shape": ("I64", "I32")}


@dataclass(frozen=True, slots=True)
class EncoderFolder:
    """An opened model: its traits and, mapped from disk, its weights."""

    path: Path
    kind: str
    """`model_type` of its config."""
    config: AnyConfig
    weights: "EncoderWeights"
    """Our tensor names to weight records; those of a tower begin with `text.` or `image.`."""


def model_kind(path: Path) -> str | None:
    """The `model_type` of the folder when it is one that this module reads.

    Errors: ArtefactError when config.json is not strict JSON.
    """
    if not (path / "config.json").is_file():
        return None
    kind = read_object(inside(path, "config.json")).get("model_type")
    return kind if isinstance(kind, str) and kind in KINDS else None


def open_encoder(path: Path) -> EncoderFolder:
    """Open folder `path` and check that its tensors are exactly those of its config.

    Errors: ArtefactError naming the file, field or tensor.
    """
    path = Path(path)
    name = str(path / "config.json")
    tree = _config(path)
    kind = tree.get("model_type")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ArtefactError(
            f"{name}: model_type: expected one of {', '.join(KINDS)}, got {str(kind)[:80]!r}"
        )
    table, _ = KINDS[kind]
    files = tensor_files(path)
    stored = spellings(files, table)
    config = read_traits(tree, stored, name)
    quantisation = tree.get("quantization_config")
    try:
        schemes = read_schemes(quantisation) if quantisation is not None else ()
    except ArtefactError as error:
        raise ArtefactError(f"{name}: {error}") from None
    places = _places(config, table)
    weights = _collect(files, places, stored, table, schemes, str(path))
    return EncoderFolder(path, kind, config, weights)


def _config(path: Path) -> dict[str, object]:
    """config.json, with the end tokens of generation_config.json where it has any."""
    if not path.is_dir():
        raise ArtefactError(f"{path}: no such model folder")
    tree = read_object(inside(path, "config.json"))
    if not (path / "generation_config.json").exists():
        return tree
    said = read_object(inside(path, "generation_config.json"))
    keys = ("eos_token_id", "decoder_start_token_id")
    return tree | {key: said[key] for key in keys if said.get(key) is not None}


def _places(config: AnyConfig, table: str) -> Places:
    if isinstance(config, Seq2SeqConfig):
        return seq2seq_places(config)
    if isinstance(config, TowersConfig):
        return towers_places(config)
    assert isinstance(config, EncoderConfig)
    return vit_places(config) if table == "vit" else text_places(config)


class EncoderWeights(Mapping[str, Weight]):
    """Our tensor names to weight records; a record is made anew at each access."""

    def __init__(
        self,
        files: Mapping[str, TensorFile],
        places: Mapping[str, Place],
        stored: Mapping[str, str],
        schemes: Sequence[Scheme],
    ) -> None:
        self._files, self._places, self._stored = files, places, stored
        self._schemes = schemes

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, name: str) -> Weight:
        place = self._places[name]
        stored = self._stored[place.name]
        if stored in self._files:
            return _reshaped(_dense(self._files[stored], stored), place)
        packed, scale = f"{stored}_packed", f"{stored}_scale"
        return read_record(
            self._files[packed].array(packed),
            _dense(self._files[scale], scale).dequantise(),
            place.shape,
            self._schemes,
            stored,
        )

    def check_finite(self) -> None:
        """Read every weight.  Errors: ArtefactError naming the first with a NaN or infinity."""
        for name, weight in self.items():
            values = getattr(weight, "scale_ZJ", None)
            if not np.isfinite(weight.dequantise() if values is None else values).all():
                raise ArtefactError(f"{name}: holds NaN or infinite values")


def _collect(
    files: Mapping[str, TensorFile],
    places: Places,
    stored: Mapping[str, str],
    table: str,
    schemes: Sequence[Scheme],
    where: str,
) -> EncoderWeights:
    """Errors: ArtefactError naming tensors that are missing, left over or not as they should be."""
    left = {theirs for name, theirs in stored.items() if not is_unused(name, table)}
    missing = sorted({place.name for place in places.values() if place.name not in stored})
    if missing:
        raise ArtefactError(f"{where}: missing {_listed(missing)}")
    left -= {stored[place.name] for place in places.values()}
    left -= _copies(files, stored, table, where)
    if left:
        raise ArtefactError(f"{where}: the config does not call for {_listed(sorted(left))}")
    for place in places.values():
        _check(place, stored[place.name], files, schemes, where)
    return EncoderWeights(files, places, stored, schemes)


def _copies(
    files: Mapping[str, TensorFile], stored: Mapping[str, str], table: str, where: str
) -> set[str]:
    """T5's embedding under its other names; each must be the same."""
    if table != "t5":
        return set()
    found = {f"{side}.embed_tokens.weight" for side in ("encoder", "decoder")} & stored.keys()
    for name in found:
        one, two = files.get(name), files.get("shared.weight")
        if one is None or two is None:
            raise ArtefactError(f"{where}: {name}: expected a copy of shared.weight, unquantised")
        if one.array(name).tobytes() != two.array("shared.weight").tobytes():
            raise ArtefactError(f"{where}: {name}: differs from shared.weight")
    return found


def _check(
    place: Place,
    name: str,
    files: Mapping[str, TensorFile],
    schemes: Sequence[Scheme],
    where: str,
) -> None:
    if name in files:
        entry = files[name].stored[name]
        if entry.shape != place.stored:
            raise ArtefactError(
                f"{where}: {name}: expected shape {place.stored}, got {entry.shape}"
            )
        if entry.dtype not in _DENSE:
            raise ArtefactError(f"{where}: {name}: expected F32, BF16 or F16, got {entry.dtype}")
        return
    if not schemes or len(place.stored) != 2 or place.rows is not None:
        raise ArtefactError(f"{where}: {name}: expected a tensor that is not quantised")
    for part, dtypes in _PACKED.items():
        file = files.get(f"{name}_{part}")
        if file is None:
            raise ArtefactError(f"{where}: missing {name}_{part}")
        dtype = file.stored[f"{name}_{part}"].dtype
        if dtype not in dtypes:
            raise ArtefactError(f"{where}: {name}_{part}: expected {dtypes[0]}, got {dtype}")
    stated = files[f"{name}_shape"].array(f"{name}_shape")
    if stated.shape != (2,) or tuple(map(int, stated)) != place.shape:
        raise ArtefactError(
            f"{where}: {name}_shape: expected {list(place.shape)}, got {stated.tolist()!s:.80}"
        )
    shapes = [
        files[f"{name}_{part}"].stored[f"{name}_{part}"].shape for part in ("packed", "scale")
    ]
    fitting_bits(shapes[0], shapes[1], place.shape, schemes, f"{where}: {name}")


def _dense(file: TensorFile, name: str) -> Float32 | BFloat16:
    array, dtype = file.array(name), file.stored[name].dtype
    if dtype == "BF16":
        return BFloat16(array)
    return Float32(array if dtype == "F32" else array.astype(np.float32))


def _reshaped(weight: Float32 | BFloat16, place: Place) -> Float32 | BFloat16:
    """Our rows of the tensor, in our shape."""
    array = weight.bits_ZD if isinstance(weight, BFloat16) else weight.array_ZD
    if place.rows is not None:
        array = array[place.rows.begin : place.rows.end]
    return type(weight)(np.ascontiguousarray(array).reshape(place.shape))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name[:120] for name in names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return shown + (f" and {more} more" if more > 0 else "")
