"""The stage that makes a model smaller: open, round, write, measure, and refuse what is too bad."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sparing.base.config import to_tree
from sparing.base.errors import ArtefactError, ConfigError, require
from sparing.base.files import check_free, hash_of, new_artefact
from sparing.base.logs import Progress
from sparing.base.stage import StageResult
from sparing.compression.card import CARD, QualityError, Size, card, headline
from sparing.compression.rtn import PLAIN, SEARCH, Rounded, fitting_group, round_to_nearest
from sparing.evaluation.divergence import compare
from sparing.evaluation.documents import Sample, sample, standard_library
from sparing.evaluation.origin import FACT, trained_context, training_of
from sparing.evaluation.perplexity import policy
from sparing.evaluation.speed import DecodeSpeed, decode_speeds
from sparing.kernels.formats import BFloat16, Float32, Int3, Int4, Int8, pack_int3, pack_int4
from sparing.models.folder import ModelFolder, copy_tokenizer, open_model, write_model

Codes = Int8 | Int4 | Int3
BITS = {"int8": 8, "int4": 4, "int3": 3}

MAX_KL = {"int8": 0.02, "int4": 0.2, "int3": 0.6}
"""Most mean KL in nats before a result is refused. Published int8, int4 and int3 roundings of an
8B model lose 0.001, 0.03 to 0.07 and 0.1 to 0.3 (llama.cpp's perplexity table); these leave room
for small models, which lose more."""

EMBEDDING, HEAD = "embed.weight", "head.weight"

LINEAR = ("query", "key", "value", "output", "gate", "up", "down")
"""The linear maps of a block, by the last part of their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressConfig:
    """How to make one model smaller, and on what text its card is measured."""

    model: Path
    """Model folder to compress; it is only read."""
    scheme: Literal["int8", "int4", "int3"]
    """Stored form of the linear weights."""
    method: Literal["rtn"] = "rtn"
    """rtn: round to nearest."""
    group: int = 128
    """Neighbours in a row that share a scale; halved until it divides every row."""
    search: bool = True
    """Choose each group's scale for the least squared error instead of for its largest weight."""
    head: Literal["keep", "int8", "int4"] = "keep"
    """Stored form of the output head; a rounded one is no longer tied to the embedding, which stays
    as it is."""
    data: Path | None = None
    """Text of the card: a shards folder (its held-out split), or a .txt, .md or .jsonl file; by
    default source files of this machine's Python standard library."""
    tokens: int = 8192
    """Most tokens that the card is measured on."""
    context: int | None = None
    """Tokens of one evaluation window; by default what was trained, else up to 1024."""
    max_kl: float | None = None
    """Most mean KL from the original, nats per token; by default 0.02 for int8, 0.2 for int4,
    0.6 for int3."""
    accept_quality: bool = False
    """Publish even past the limit; the card says so."""
    speed_runs: int = 5
    """Decoding runs of each model for the tokens per second."""
    threads: int | None = None
    """Threads of the measurement; by default as many as there are cores."""
    seed: int = 0
    """Seed of the choice of documents and of the bootstrap."""

    def __post_init__(self) -> None:
        require(self.group >= 2 and self.group % 2 == 0, "group", "an even number", self.group)
        require(self.tokens >= 2, "tokens", "at least 2", self.tokens)
        require(self.speed_runs >= 5, "speed_runs", "at least 5", self.speed_runs)
        good = self.max_kl is None or self.max_kl >= 0
        require(good, "max_kl", "0 or more nats", self.max_kl)

    @property
    def limit(self) -> float:
        """The limit on the mean KL that applies."""
        return MAX_KL[self.scheme] if self.max_kl is None else self.max_kl


def compress(
    config: CompressConfig, out: Path, *, resume: bool = False, overwrite: bool = False
) -> StageResult:
    """Write the model with rounded linear weights and its `quality.json`.

    The work is short and has no parts to resume; `resume` starts it again.

    Errors:
        ArtefactError: weights that are not finite, or a model that is compressed already.
        ConfigError: a group that fits no row, or a tied head that was to be rounded.
        QualityError: past the limit and not accepted; nothing is left at `out`.
    """
    if out.resolve() == config.model.resolve():
        raise ConfigError(f"out: {out} is the model itself; choose another folder")
    check_free(out, overwrite=overwrite)
    folder = open_model(config.model, check_finite=True)
    names, group = plan(folder, config)
    text = evaluation_text(config)
    parents = {"model": hash_of(config.model), "data": text.source_hash}
    facts: dict[str, object] = {"scheme": config.scheme, "group": group, "tensors": len(names)}
    facts |= {} if config.head == "keep" else {"head": config.head}
    with new_artefact(
        out, kind="model", stage=to_tree(config), parents=parents, overwrite=overwrite
    ) as draft:
        write(folder, rounded_weights(folder, names, group, config), draft.path)
        tree = measured_card(config, draft.path, text, group, len(names))
        (draft.path / CARD).write_text(json.dumps(tree, indent=1, allow_nan=False) + "\n")
        refuse_if_poor(tree)
        draft.quality.update(headline(tree))
        draft.facts.update(facts | carried(config.model))
    return StageResult(artefact=out, tokens=text.scored_tokens, quality=headline(tree), facts=facts)


def carried(model: Path) -> dict[str, object]:
    """What the new card keeps of the original's: how it was trained."""
    training = training_of(model)
    return {FACT: training.tree()} if training else {}


def plan(folder: ModelFolder, config: CompressConfig) -> tuple[dict[str, str], int]:
    """The weights to round, each with its scheme, and the one group that divides their rows."""
    if folder.quantization:
        raise ArtefactError(f"{folder.path}: is compressed already; compress the original instead")
    names: dict[str, str] = {n: config.scheme for n in folder.weights if is_linear(n)}
    if config.head != "keep":
        names[HEAD] = config.head
    lengths = {folder.weights[source(name, folder)].shape[1] for name in names}
    odd = sorted(length for length in lengths if length % 8)
    if config.scheme == "int3" and odd:
        raise ConfigError(f"scheme: int3 packs eight codes together; rows of {odd[0]} do not fit")
    return names, fitting_group(lengths, config.group)


def source(name: str, folder: ModelFolder) -> str:
    """The weight of the original that `name` is made from: a tied head is the embedding."""
    return EMBEDDING if name == HEAD and folder.config.tied else name


def is_linear(name: str) -> bool:
    """Whether a weight of ours is a linear map inside a block."""
    *_, module, kind = name.split(".")
    return name.startswith("layers.") and kind == "weight" and module in LINEAR


def rounded_weights(
    folder: ModelFolder, names: Mapping[str, str], group: int, config: CompressConfig
) -> dict[str, Codes]:
    """The weights named, rounded to their schemes."""
    rounded: dict[str, Codes] = {}
    shares = SEARCH if config.search else PLAIN
    with Progress(f"round to {config.scheme}", "tensors", len(names)) as progress:
        for number, (name, scheme) in enumerate(names.items(), start=1):
            weight_ZD = folder.weights[source(name, folder)].dequantise()
            found = round_to_nearest(weight_ZD, bits=BITS[scheme], group=group, shares=shares)
            rounded[name] = stored(found, scheme)
            progress.update(number)
    return rounded


def stored(rounded: Rounded, scheme: str) -> Codes:
    """The codes in the form that kernels and files take."""
    if scheme == "int8":
        return Int8(rounded.code_ZD, rounded.scale_ZJ)
    if scheme == "int4":
        return Int4(pack_int4(rounded.code_ZD), rounded.scale_ZJ)
    return Int3(pack_int3(rounded.code_ZD), rounded.scale_ZJ)


def write(folder: ModelFolder, rounded: Mapping[str, Codes], out: Path) -> None:
    """A folder like the original's with some weights rounded; the others keep their numbers."""
    dense = {
        name: weight
        for name, weight in folder.weights.items()
        if isinstance(weight, Float32 | BFloat16) and name not in rounded
    }
    half = all(isinstance(weight, BFloat16) for weight in dense.values())
    dtype = "bfloat16" if half else "float32"
    shape, template = folder.config, folder.template
    if HEAD in rounded and shape.tied:
        shape = replace(shape, tied=False)
        template = None if template is None else template | {"tie_word_embeddings": False}
    write_model(
        out, shape, dense,
        dtype=dtype, family=folder.family, quantised=rounded, template=template,
    )  # fmt: skip
    copy_tokenizer(folder.path, out)


def evaluation_text(config: CompressConfig) -> Sample:
    """The text that the card is measured on."""
    if config.data is None:
        return standard_library(config.model, tokens=config.tokens, seed=config.seed)
    return sample(config.data, config.model, tokens=config.tokens, seed=config.seed)


def refuse_if_poor(tree: Mapping) -> None:
    """Errors: QualityError when the card's verdict is a failure that nobody accepted."""
    verdict = tree["verdict"]
    if verdict["reasons"] and not verdict["accepted_by_caller"]:
        raise QualityError(
            f"refused: {'; '.join(verdict['reasons'])}; use int8 or a smaller --group, "
            "or publish it anyway with --accept-quality"
        )


def measured_card(
    config: CompressConfig, after: Path, text: Sample, group: int, tensors: int
) -> dict:
    """Run the original and the compressed folder on the same tokens and fill the card."""
    from sparing.engine.native_executor import NativeExecutor

    folders = [open_model(config.model), open_model(after)]
    shape = folders[0].config
    trained = trained_context(config.model)
    how = policy(shape.context, shape.vocab, context=config.context, trained=trained)
    room = max(how.context, min(64, shape.context))
    served = [NativeExecutor(each, kv_tokens=room, threads=config.threads) for each in folders]
    exact = [
        NativeExecutor(each, kv_tokens=room, threads=config.threads, activations="exact")
        for each in folders
    ]
    with Progress("quality card", "tokens", 2 * text.scored_tokens) as progress:
        pair = compare(exact[0].logits, served[1].logits, text, how, progress=progress.update)
        weights_alone = compare(
            exact[0].logits, exact[1].logits, text, how,
            progress=lambda done: progress.update(text.scored_tokens + done),
        )  # fmt: skip
    speeds = _speeds(served, text, config)
    sizes = [size_of(folder, speed) for folder, speed in zip(folders, speeds, strict=True)]
    rounding = {
        "scheme": config.scheme,
        "method": "round to nearest"
        + (", scale of least squared error per group" if config.search else ""),
        "group": group,
        "tensors": tensors,
        "head": "as in the original" if config.head == "keep" else config.head,
        "embedding_and_norms": "as in the original",
    }
    return card(
        pair,
        weights_alone,
        text,
        how,
        rounding=rounding,
        before=sizes[0],
        after=sizes[1],
        max_kl=config.limit,
        accepted=config.accept_quality,
        seed=config.seed,
    )


def _speeds(executors: list, text: Sample, config: CompressConfig) -> list[DecodeSpeed]:
    room = min(min(e.context, e.blocks * e.block_tokens) for e in executors)
    run_tokens = max(1, min(32, room // 2))
    prompt = text.documents[0].ids_N[: min(16, room - run_tokens)].tolist()
    return decode_speeds(executors, prompt, run_tokens=run_tokens, runs=config.speed_runs)


def size_of(folder: ModelFolder, speed: DecodeSpeed | None) -> Size:
    """Bytes on disk, and the weight bytes that decoding one token reads."""
    files = [folder.path] if folder.path.is_file() else folder.path.glob("*.safetensors")
    disk_bytes = sum(path.stat().st_size for path in files)
    total = sum(weight.nbytes for weight in folder.weights.values())
    table = folder.weights["embed.weight"].nbytes
    row = table // folder.config.vocab
    read = total + row if folder.config.tied else total - table + row
    return Size(disk_bytes=disk_bytes, read_bytes_per_token=read, speed=speed)
