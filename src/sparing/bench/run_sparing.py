"""Our own engine, step by step: scheduler, forward pass and draw, without text and HTTP."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sparing
from sparing.bench.runner import Runner
from sparing.engine.assemble import find_model
from sparing.engine.blocks import BlockPool
from sparing.engine.loop import Engine
from sparing.engine.native_executor import NativeExecutor
from sparing.engine.request import Request, Sampling
from sparing.engine.scheduler import Scheduler
from sparing.engine.scheduler import Sequence as Running
from sparing.models.folder import open_model

BLOCK_TOKENS = 16
STEP_TOKENS = 512
"""Most tokens of one step, as `EngineConfig` has it."""


def make(request: Mapping[str, Any]) -> Runner:
    """The engine with a model folder; options are those of `NativeExecutor`."""
    model = open_model(find_model(Path(request["model"])))
    executor = NativeExecutor(
        model,
        kv_tokens=int(request["kv_tokens"]),
        block_tokens=BLOCK_TOKENS,
        threads=int(request["threads"]),
        **request["options"],
    )
    scheduler = Scheduler(
        BlockPool(executor.blocks, executor.block_tokens),
        max_num_seqs=int(request["streams"]),
        max_num_batched_tokens=max(STEP_TOKENS, int(request["streams"])),
    )
    config = model.config
    unread = 0 if config.tied else model.weights["embed.weight"].nbytes
    facts = {
        "isa": executor.isa,
        "kv_bytes": executor.kv_bytes,
        "weight_bytes": executor.weight_bytes - unread,
        "kv_token_bytes": executor.kv_bytes // (executor.blocks * executor.block_tokens),
    }
    return _Sparing(Engine(scheduler, executor, context=executor.context), facts)


class _Sparing:
    version = sparing.__version__

    def __init__(self, engine: Engine, facts: dict[str, Any]) -> None:
        self.engine, self.facts = engine, facts
        self._open: list[Running] = []

    def prompt(self, ids: list[int]) -> None:
        self.open([ids], len(ids) + 1)
        self.close()

    def open(self, prompts: list[list[int]], room: int) -> None:
        for index, ids in enumerate(prompts):
            rule = Sampling(temperature=0.0, ignore_eos=True)
            request = Request(
                id=str(index),
                prompt_ids=tuple(ids),
                sampling=rule,
                max_tokens=room - len(ids),
                seed=0,
            )
            self._open.append(self.engine.add(request))
        while any(not sequence.output_ids for sequence in self._open):
            self.step()

    def step(self) -> int:
        outcomes = self.engine.step()
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
        return sum(outcome.id is not None for outcome in outcomes)

    def close(self) -> None:
        for sequence in self._open:
            self.engine.remove(sequence)
        self._open.clear()
