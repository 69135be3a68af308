"""onnxruntime-genai: its generator, one token of every sequence a call."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime_genai  # pyrefly: ignore - a peer's own

from sparing.bench.runner import Runner


def make(request: Mapping[str, Any]) -> Runner:
    """A folder of its own builder, on the processor."""
    config = onnxruntime_genai.Config(str(request["model"]))
    config.clear_providers()
    session = {"intra_op_num_threads": int(request["threads"])}
    config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
    return _Onnx(onnxruntime_genai.Model(config))


class _Onnx:
    version = onnxruntime_genai.__version__

    def __init__(self, model: Any) -> None:
        self._model = model
        self._generator: Any = None
        self._streams = 0

    def prompt(self, ids: list[int]) -> None:
        self.open([ids], len(ids) + 1)
        self.close()

    def open(self, prompts: list[list[int]], room: int) -> None:
        params = onnxruntime_genai.GeneratorParams(self._model)
        # an equal least length keeps the end token from ending a sequence
        params.set_search_options(
            max_length=room, min_length=room, do_sample=False, batch_size=len(prompts)
        )
        self._generator = onnxruntime_genai.Generator(self._model, params)
        self._streams = len(prompts)
        self._generator.append_tokens(np.array(prompts, dtype=np.int32))
        self._generator.generate_next_token()

    def step(self) -> int:
        if self._generator.is_done():
            raise RuntimeError("the sequences ended before their time")
        self._generator.generate_next_token()
        return self._streams

    def close(self) -> None:
        self._generator = None
