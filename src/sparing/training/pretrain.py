"""The stage: token shards in, a Hugging Face model folder out, stoppable at any instant."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sparing.base import files
from sparing.base.config import to_tree
from sparing.base.errors import ArtefactError, require
from sparing.base.logs import logger
from sparing.base.stage import StageResult
from sparing.data.packing import Packing
from sparing.data.shards import Shards
from sparing.models.config import DecoderConfig
from sparing.models.cost import parameters, training_flops
from sparing.models.folder import copy_tokenizer, read_config, write_model
from sparing.models.presets import preset
from sparing.networks.decoder import Decoder
from sparing.training import checkpoint
from sparing.training.config import PretrainConfig
from sparing.training.heldout import bits_per_byte, heldout
from sparing.training.interrupt import Interrupt
from sparing.training.journal import NAME, Journal
from sparing.training.loop import Callbacks, Parts, train
from sparing.training.optim import Optimiser, gradients
from sparing.training.precision import Precision, resolve

FREE = ("data", "model", "threads", "precision", "device", "keep_checkpoints", "checkpoint_every")
"""Settings that a run may go on without, or that `_identity` states in resolved form."""


def pretrain(
    config: PretrainConfig, out: Path, *, resume: bool = False, overwrite: bool = False
) -> StageResult:
    """Train a decoder from nothing on token shards and write it to `out`.

    Until then the run lives in `.NAME.work` beside `out`. With `resume` it goes on from the newest
    undamaged checkpoint there and comes to the same bytes as a run that was never stopped.

    Errors:
        ConfigError: a setting that does not fit the data, the preset or the stopped run.
        ArtefactError: damaged data; `out` exists; or a stopped run is there and neither `resume`
            nor `overwrite` is asked for.
        Stopped, Diverged: as `loop.train`.
    """
    shards = Shards.open(config.data)
    decoder = shape_of(config, shards)
    parents = {"data": files.hash_of(config.data)}
    done = _finished(config, out, parents) if resume else None
    if done is not None:
        with files.working(out):  # a kill after the last rename leaves the checkpoints behind
            return done
    files.check_free(out, overwrite=overwrite)
    precision = resolve(config.precision, config.device)
    with files.working(out) as work, _threads(config.threads) as threads:
        identity = _identity(config, decoder, precision, parents, threads)
        start = _start(work, identity, resume=resume, overwrite=overwrite)
        parts = _parts(config, decoder, shards, precision, work, start)
        logger("training").info("%s: %s", "bf16" if precision.bf16 else "fp32", precision.reason)
        logger("training").info("packing: %s", parts.packing.facts())
        _run(parts, shards, work, identity, done=start.step if start else 0)
        return _write(parts, shards, out, parents, overwrite=overwrite)


def shape_of(config: PretrainConfig, shards: Shards) -> DecoderConfig:
    """The decoder's traits, checked against the shards.

    Errors: ConfigError for an unknown preset (the nearest is named), another vocabulary, or rows
    longer than the model's context; ArtefactError for shards without their tokenizer.
    """
    tokenizer = shards.path / "tokenizer" / "tokenizer.json"
    if not tokenizer.is_file():
        raise ArtefactError(
            f"{tokenizer}: no such file; make the shards again with their tokenizer"
        )
    if Path(config.model).exists():
        decoder = read_config(Path(config.model))
    else:
        ends = _ends(tokenizer, shards.eos)
        decoder = preset(config.model, shards.vocab_size, bos=shards.bos, eos=ends)
    require(
        decoder.vocab == shards.vocab_size,
        "model",
        f"a vocabulary of {shards.vocab_size}, as the shards'",
        decoder.vocab,
    )
    require(
        config.context <= decoder.context,
        "context",
        f"at most the model's {decoder.context}",
        config.context,
    )
    return decoder


def _ends(tokenizer: Path, eos: int) -> tuple[int, ...]:
    """End of document, and end of a chat turn where the tokenizer has one."""
    tree = files.read_json(tokenizer)
    added = tree.get("added_tokens", []) if isinstance(tree, dict) else []
    turns = [int(token["id"]) for token in added if token.get("content") == "<|im_end|>"]
    return (eos, *turns[:1])


@contextmanager
def _threads(asked: int) -> Iterator[int]:
    """Set torch's CPU threads, and put back what was; 0 takes every core we may run on."""
    before = torch.get_num_threads()
    threads = asked or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    try:
        yield threads
    finally:
        torch.set_num_threads(before)


def _identity(
    config: PretrainConfig,
    decoder: DecoderConfig,
    precision: Precision,
    parents: Mapping[str, str],
    threads: int,
) -> dict[str, Any]:
    """All that the bits of a run depend on; a checkpoint of another identity is refused."""
    tree = {name: value for name, value in to_tree(config).items() if name not in FREE}
    return tree | {
        "data": parents["data"],
        "model": to_tree(decoder),
        "threads": threads,
        "precision": "bf16" if precision.bf16 else "fp32",
        "device": precision.device.type,
        "torch": str(torch.__version__),
    }


def _start(
    work: Path, identity: Mapping[str, Any], *, resume: bool, overwrite: bool
) -> checkpoint.Checkpoint | None:
    """Where to begin: a checkpoint, or None for step 0."""
    if resume:
        found = checkpoint.latest(work, run=identity)
        if found is not None:
            logger("training").info("going on after step %d", found.step)
        return found
    stopped = checkpoint.listed(work)
    if stopped and not overwrite:
        raise ArtefactError(
            f"{work}: a stopped run is there, at step {stopped[0][0]}; pass --resume to go on with "
            "it, or --overwrite to start again"
        )
    for _, path in stopped:
        shutil.rmtree(path)
    return None


def _parts(
    config: PretrainConfig,
    decoder: DecoderConfig,
    shards: Shards,
    precision: Precision,
    work: Path,
    start: checkpoint.Checkpoint | None,
) -> Parts:
    model = Decoder(decoder).initialise(config.seed).to(precision.device)
    views = model.views()
    optimiser = Optimiser(
        views,
        gradients(model.parameters(), views),
        matrices=_matrices(views) if config.optimiser == "muon" else (),
        embedding=None if decoder.tied else "embed.weight",
        betas=(config.beta1, config.beta2),
        momentum=config.momentum,
    )
    if start is not None:
        model.load(start.weights)
        optimiser.load(start.optimiser)
    packing = Packing(
        shards,
        seed=config.seed,
        context=config.context,
        batch=config.batch,
        tokens=config.train_tokens,
    )
    return Parts(
        config=config,
        model=model,
        optimiser=optimiser,
        packing=packing,
        precision=precision,
        journal=Journal(work / NAME, start.journal if start else None),
        flops_per_token=training_flops(decoder, context=config.context),
    )


def _matrices(views: Mapping[str, torch.Tensor]) -> list[str]:
    """The maps of the blocks: every matrix but the embedding and the head."""
    return [name for name, view in views.items() if view.ndim == 2 and name.startswith("layers.")]


def _run(
    parts: Parts, shards: Shards, work: Path, identity: Mapping[str, Any], *, done: int
) -> None:
    """Train with checkpoints in `work`, held-out figures and a hand on the signals."""
    config = parts.config
    held = heldout(shards, context=config.context, tokens=config.heldout_tokens)

    def save(step: int) -> Path:
        state = checkpoint.Checkpoint(
            step=step,
            weights=parts.model.views(),
            optimiser=parts.optimiser.state(),
            journal=parts.journal.state(),
        )
        return checkpoint.save(work, state, run=identity, keep=config.keep_checkpoints)

    def measure() -> float | None:
        if held is None:
            return None
        with parts.precision.autocast():
            return bits_per_byte(
                parts.model,
                held,
                rows=config.micro_batch or config.batch,
                head_rows=config.head_rows,
            )

    with Interrupt() as interrupt:
        callbacks = Callbacks(checkpoint=save, heldout=measure, asked=lambda: interrupt.name)
        train(parts, callbacks, done=done)


def _write(
    parts: Parts, shards: Shards, out: Path, parents: Mapping[str, str], *, overwrite: bool
) -> StageResult:
    config, decoder, packing = parts.config, parts.model.config, parts.packing
    tokens = config.steps * config.batch * config.context
    last = parts.journal.lines[-1]
    quality = {"loss": last["loss"]}
    if "heldout_bpb" in last:
        quality["heldout_bits_per_byte"] = last["heldout_bpb"]
    facts = {
        "parameters": parameters(decoder),
        "tokens": tokens,
        "flops": parts.flops_per_token * tokens,
        "epochs": tokens / packing.epoch_tokens,
        "packing": packing.facts(),
        "precision": "bf16" if parts.precision.bf16 else "fp32",
        "precision_reason": parts.precision.reason,
    }
    with files.new_artefact(
        out, kind="model", stage=to_tree(config), parents=parents, overwrite=overwrite
    ) as draft:
        write_model(draft.path, decoder, parts.model.tensors())
        copy_tokenizer(shards.path / "tokenizer", draft.path)
        (draft.path / NAME).write_text(parts.journal.text())
        draft.quality.update(quality)
        draft.facts.update(facts | {"timing": parts.journal.timing()})
    return StageResult(
        artefact=out, tokens=tokens, flops=facts["flops"], quality=quality, facts=facts
    )


def _finished(config: PretrainConfig, out: Path, parents: Mapping[str, str]) -> StageResult | None:
    """The result of this very run, when it is there already."""
    if not (out / files.CARD).is_file():
        return None
    card = files.open_artefact(out)
    if card.kind != "model" or card.stage != to_tree(config) or card.parents != parents:
        return None
    facts = {name: value for name, value in card.facts.items() if name != "timing"}
    return StageResult(
        artefact=out,
        tokens=int(facts["tokens"]),
        flops=float(facts["flops"]),
        quality=card.quality,
        facts=facts,
    )
