"""Model folders and GGUF files, read strictly; folders written so that transformers loads them."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sparing.base.errors import ArtefactError, ConfigError, require
from sparing.base.gguf import GgufFile
from sparing.kernels.formats import BFloat16, Float32, Weight, to_bfloat16
from sparing.models.config import DecoderConfig
from sparing.models.gguf_config import describe as describe_gguf
from sparing.models.gguf_tensors import GgufTensors, gguf_parts
from sparing.models.hf_config import Parsed, check_family, family_of, parse_config, to_tree
from sparing.models.names import Family, Part, as_stored, parts, published, shapes
from sparing.models.parts import theirs
from sparing.models.quantised import Record, Scheme, describe, stored_tensors
from sparing.models.strict_json import read_object
from sparing.models.tensor_file import Tensor, TensorFile, write_tensors
from sparing.models.weights import Weights, as_float32, collect
from sparing.tokenizer.gguf_vocab import read_vocabulary

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD_BYTES = 4 << 30
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
Dtype = Literal["float32", "bfloat16"]
Dense = np.ndarray | Float32 | BFloat16


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """An opened model: its traits and, mapped from disk, its weights."""

    path: Path
    """The folder, or the GGUF file."""
    config: DecoderConfig
    family: Family
    weights: Weights
    """Our tensor names to weight records."""
    quantization: tuple[Scheme, ...]
    """Schemes of the quantised weights; empty when none is."""

    @property
    def template(self) -> dict[str, Any] | None:
        """The folder's own config.json, where the traits are not written from themselves."""
        if self.path.is_file():  # a GGUF file has none
            return None
        try:
            check_family(self.config, self.family)
        except ConfigError:
            return dict(read_object(inside(self.path, "config.json")))
        return None

    @property
    def tokenizer(self) -> Path | None:
        """Where to load the tokenizer from, when there is one."""
        if self.path.is_file():
            return self.path
        return self.path if (self.path / "tokenizer.json").is_file() else None


def read_config(path: Path) -> DecoderConfig:
    """The traits of a folder or GGUF file.  Errors: ArtefactError naming the field."""
    path = Path(path)
    if path.is_file():
        return describe_gguf(GgufFile.open(path)).config
    return _read(path).config


def open_model(path: Path, *, check_finite: bool = False) -> ModelFolder:
    """Open a folder or GGUF file and check that its tensors are exactly those of its config.

    `check_finite` reads every weight and refuses NaN and infinity.
    Errors: ArtefactError naming the file, field or tensor.
    """
    path = Path(path)
    if path.is_file():
        model = _open_gguf(path)
        if check_finite:
            model.weights.check_finite()
        return model
    parsed = _read(path)
    config, family = parsed.config, parsed.family
    files = tensor_files(path)
    _check_count(config, len(files), path)
    places = as_stored(parts(config, family), files)
    head, embed = published("head.weight", family), places["embed.weight"].published
    weights = collect(
        files,
        places,
        parsed.schemes,
        str(path),
        spare=(head, embed) if config.tied else None,
    )
    if check_finite:
        weights.check_finite()
    return ModelFolder(path, config, family, weights, parsed.schemes)


def _open_gguf(path: Path) -> ModelFolder:
    file = GgufFile.open(path)
    described = describe_gguf(file)
    config, architecture = described.config, described.architecture
    tensors = GgufTensors(file, config, architecture)
    files = dict.fromkeys(tensors.stored, tensors)
    _check_count(config, len(files), path)
    weights = collect(files, gguf_parts(config, architecture), (), str(path))
    return ModelFolder(path, config, described.family, weights, tensors.schemes())


def _check_count(config: DecoderConfig, held: int, path: Path) -> None:
    """Refuse a config of more maps than there are tensors, before their names are made."""
    experts = config.experts.count if config.experts else 1
    least = (config.layers - len(config.dense_layers)) * experts
    if least > held:
        raise ArtefactError(
            f"{path}: the config calls for at least {least} tensors, there are {held}"
        )


def _read(path: Path) -> Parsed:
    if not path.is_dir():
        raise ArtefactError(f"{path}: no such model folder")
    file = inside(path, "config.json")
    tree = read_object(file)
    generation = path / "generation_config.json"
    if generation.exists():  # what generation stops at is said there, when it is said at all
        ends = read_object(inside(path, generation.name)).get("eos_token_id")
        tree = tree if ends is None else tree | {"eos_token_id": ends}
    return parse_config(tree, str(file))


def inside(folder: Path, name: str) -> Path:
    """The file `name` of `folder`, which may be a link but only to within the folder.

    The snapshots of a hub cache may also link to the blobs of the same repository.
    Errors: ArtefactError when the name is no plain file name, or what it names lies elsewhere.
    """
    if not _NAME.fullmatch(name):
        raise ArtefactError(f"{folder}: {name[:100]!r} is not a plain file name")
    root = folder.resolve()
    file = (folder / name).resolve()
    roots = [root, root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [root]
    if file.parent not in roots:
        raise ArtefactError(f"{folder / name}: a link that leaves the folder; copy the file in")
    if not file.exists():
        raise ArtefactError(f"{folder / name}: no such file")
    if not file.is_file():
        raise ArtefactError(f"{folder / name}: not a regular file")
    return folder / name


def tensor_files(path: Path) -> dict[str, TensorFile]:
    """Published tensor name to the file that holds it."""
    single, index = (path / SINGLE).exists(), (path / INDEX).exists()
    if single and index:
        raise ArtefactError(f"{path}: has both {SINGLE} and {INDEX}; remove the stale one")
    if single:
        file = TensorFile.open(inside(path, SINGLE))
        return dict.fromkeys(file.stored, file)
    if index:
        return _shards(path)
    pickled = "; pickled weights are never loaded, convert them to safetensors"
    hint = pickled if any(path.glob("*.bin")) or any(path.glob("*.pt*")) else ""
    raise ArtefactError(f"{path}: holds neither {SINGLE} nor {INDEX}{hint}")


def _shards(path: Path) -> dict[str, TensorFile]:
    mapping = read_object(inside(path, INDEX)).get("weight_map")
    if not isinstance(mapping, dict) or not all(isinstance(f, str) for f in mapping.values()):
        raise ArtefactError(f"{path / INDEX}: weight_map: expected an object of file names")
    opened = {name: TensorFile.open(inside(path, name)) for name in set(mapping.values())}
    for name, file in mapping.items():
        if name not in opened[file].stored:
            raise ArtefactError(f"{path / INDEX}: {name[:120]} is not in {file}")
    for file, tensors in opened.items():
        for name in tensors.stored:
            if mapping.get(name) != file:
                raise ArtefactError(f"{path / file}: {name[:120]} is not in the index for it")
    return {name: opened[file] for name, file in mapping.items()}


def write_config(
    path: Path,
    config: DecoderConfig,
    *,
    dtype: Dtype = "float32",
    family: Family | None = None,
    quantization_config: Mapping[str, Any] | None = None,
    template: Mapping[str, Any] | None = None,
) -> None:
    """Write config.json and generation_config.json into folder `path`.

    `template` is a config.json that says `config` already, for families that are not written from
    traits.
    Errors: ConfigError when the family cannot hold the traits, or the template says others.
    """
    family = family or family_of(config)
    tree = to_tree(config, family, dtype=dtype) if template is None else dict(template)
    if template is not None:
        tree |= {"dtype": dtype, "torch_dtype": dtype}
        tree.pop("quantization_config", None)
        same = parse_config(tree | {"eos_token_id": list(config.eos)}).config == config
        require(same, "template", "the traits of the model", "others")
    if quantization_config is not None:
        tree["quantization_config"] = dict(quantization_config)
    _write_json(path / "config.json", tree)
    ends = None if not config.eos else config.eos[0] if len(config.eos) == 1 else list(config.eos)
    _write_json(path / "generation_config.json", {"bos_token_id": config.bos, "eos_token_id": ends})


def write_model(
    path: Path,
    config: DecoderConfig,
    tensors: Mapping[str, Dense],
    *,
    dtype: Dtype = "float32",
    family: Family | None = None,
    quantised: Mapping[str, Record] | None = None,
    shard_bytes: int = SHARD_BYTES,
    template: Mapping[str, Any] | None = None,
) -> None:
    """Write config and weights into folder `path`; use a draft of `base.files` to be atomic.

    `tensors` are dense, `quantised` stand for some of the linear maps (an untied head is one);
    together they are exactly the tensors of `config`, under our names.  Norms and biases follow
    `dtype` as the matrices do.  `template` as in `write_config`.

    Errors: ConfigError naming a tensor that is missing, left over, given twice or misshapen.
    """
    family, quantised = family or family_of(config), quantised or {}
    if template is None:
        check_family(config, family)
    _check_given(config, tensors, quantised)
    modules: dict[str, Record] = {}
    stored: list[tuple[str, Tensor]] = []
    for name, pieces in _published(config, family, tensors, quantised):
        weight = theirs(pieces)
        if isinstance(weight, Float32 | BFloat16):
            stored.append((name, _stored(weight, dtype)))
        else:
            module = name.removesuffix(".weight")
            modules[module] = weight
            stored += stored_tensors(module, weight, half=dtype == "bfloat16")
    described = describe(modules, _linears(config, family)) if modules else None
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    write_config(
        path, config,
        dtype=dtype, family=family, quantization_config=described, template=template,
    )  # fmt: skip
    _write_shards(path, stored, shard_bytes)


def _published(
    config: DecoderConfig,
    family: Family,
    tensors: Mapping[str, Dense],
    quantised: Mapping[str, Record],
) -> Iterator[tuple[str, list[tuple[Part, Weight]]]]:
    """Published names in order, and our pieces of each."""
    found: dict[str, list[str]] = {}
    places = parts(config, family)
    for name, part in places.items():
        found.setdefault(part.published, []).append(name)
    for published_name, names in found.items():
        pieces: list[tuple[Part, Weight]] = []
        for name in names:
            given = quantised[name] if name in quantised else tensors[name]
            weight = Float32(as_float32(given)) if isinstance(given, np.ndarray) else given
            pieces.append((places[name], weight))
        yield published_name, pieces


def _check_given(
    config: DecoderConfig, tensors: Mapping[str, Dense], quantised: Mapping[str, Record]
) -> None:
    wanted = shapes(config)
    twice = sorted(tensors.keys() & quantised.keys())
    require(not twice, "quantised", "no tensor that is also given dense", twice[:5])
    table = "embed.weight" in quantised
    require(not table, "quantised", "a dense embedding (transformers loads no other)", "embed")
    given = {**tensors, **quantised}
    missing, left = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    require(not missing, "tensors", "every tensor of the config", f"no {missing[:5]}")
    require(not left, "tensors", "no other tensor", left[:5])
    for name, shape in wanted.items():
        got = tuple(given[name].shape)
        require(got == shape, name, f"shape {shape}", got)


def _linears(config: DecoderConfig, family: Family) -> list[str]:
    """Published module names of the linear maps, the head among them (tied or not)."""
    outside = ("embed.weight", "positions.weight", "head.weight")
    names = [
        name for name, shape in shapes(config).items() if len(shape) == 2 and name not in outside
    ]
    modules = [published(name, family) for name in (*names, "head.weight")]
    return list(dict.fromkeys(module.removesuffix(".weight") for module in modules))


def _stored(tensor: Dense, dtype: Dtype) -> Tensor:
    if dtype == "bfloat16":
        bits = tensor.bits_ZD if isinstance(tensor, BFloat16) else to_bfloat16(as_float32(tensor))
        return Tensor("BF16", bits)
    if dtype == "float32":
        return Tensor("F32", as_float32(tensor))
    raise ConfigError(f"dtype: expected float32 or bfloat16, got {dtype!r}")


def _write_shards(path: Path, stored: list[tuple[str, Tensor]], shard_bytes: int) -> None:
    shards: list[list[tuple[str, Tensor]]] = [[]]
    filled = 0
    for name, tensor in stored:
        if shards[-1] and filled + tensor.array.nbytes > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append((name, tensor))
        filled += tensor.array.nbytes
    if len(shards) == 1:
        write_tensors(path / SINGLE, stored)
        return
    mapping: dict[str, str] = {}
    for index, shard in enumerate(shards, 1):
        file = f"model-{index:05}-of-{len(shards):05}.safetensors"
        write_tensors(path / file, shard)
        mapping |= dict.fromkeys((name for name, _ in shard), file)
    total = sum(tensor.array.nbytes for _, tensor in stored)
    _write_json(path / INDEX, {"metadata": {"total_size": total}, "weight_map": mapping})


def _write_json(path: Path, tree: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the tokenizer of a folder or GGUF file beside the model in another folder."""
    if source.is_file():
        _write_vocabulary(source, target)
        return
    for name in TOKENIZER_FILES:
        if (source / name).exists():
            shutil.copyfile(inside(source, name), target / name)


def _write_vocabulary(source: Path, target: Path) -> None:
    """The tokenizer of a GGUF file as the files of a folder."""
    vocabulary = read_vocabulary(GgufFile.open(source).pairs, str(source))
    settings = dict(vocabulary.settings)
    template = settings.pop("chat_template", None)
    (target / "tokenizer.json").write_text(vocabulary.library.to_str(), encoding="utf-8")
    _write_json(target / "tokenizer_config.json", settings)
    if template is not None:
        (target / "chat_template.jinja").write_text(template, encoding="utf-8")


def dense_weights(folder: ModelFolder) -> dict[str, np.ndarray]:
    """Every weight as float32, dequantised."""
    return {name: as_float32(weight) for name, weight in folder.weights.items()}
