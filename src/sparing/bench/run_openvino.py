"""OpenVINO GenAI: its continuous batching pipeline, a step at a time."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import openvino  # pyrefly: ignore - a peer's own
import openvino_genai  # pyrefly: ignore - a peer's own

from sparing.bench.runner import Runner

STEP_TOKENS = 2048


def make(request: Mapping[str, Any]) -> Runner:
    """A folder of OpenVINO's representation; options are properties of the processor plug-in."""
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.cache_size = int(request["options"].get("cache_GiB", 1))
    scheduler.max_num_seqs = int(request["streams"])
    scheduler.max_num_batched_tokens = max(STEP_TOKENS, int(request["room"]))
    scheduler.enable_prefix_caching = False
    scheduler.dynamic_split_fuse = False
    properties = {"INFERENCE_NUM_THREADS": int(request["threads"])}
    properties |= {k: v for k, v in request["options"].items() if k.isupper()}
    pipeline = openvino_genai.ContinuousBatchingPipeline(
        str(request["model"]), scheduler, "CPU", properties
    )
    return _OpenVino(pipeline)


def _rule(tokens: int) -> Any:
    rule = openvino_genai.GenerationConfig()
    rule.max_new_tokens = rule.min_new_tokens = tokens
    rule.ignore_eos, rule.do_sample, rule.apply_chat_template = True, False, False
    return rule


class _OpenVino:
    version = openvino_genai.__version__

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self._handles: list[Any] = []
        self._count = 0

    def _add(self, ids: list[int], tokens: int) -> None:
        tensor = openvino.Tensor(np.array([ids], dtype=np.int64))
        self._handles.append(self._pipeline.add_request(self._count, tensor, _rule(tokens)))
        self._count += 1

    def _took(self, handle: Any) -> int:
        came = 0
        while handle.can_read():
            came += sum(len(each.generated_ids) for each in handle.read().values())
        return came

    def prompt(self, ids: list[int]) -> None:
        self.open([ids], len(ids) + 1)
        self._handles = []

    def open(self, prompts: list[list[int]], room: int) -> None:
        for ids in prompts:
            self._add(ids, room - len(ids))
        came = [0] * len(prompts)
        while min(came) < 1:
            self._pipeline.step()
            for index, handle in enumerate(self._handles):
                came[index] += self._took(handle)

    def step(self) -> int:
        self._pipeline.step()
        return sum(self._took(handle) for handle in self._handles)

    def close(self) -> None:
        for handle in self._handles:
            handle.cancel() if hasattr(handle, "cancel") else handle.drop()
        while self._handles and self._pipeline.has_non_finished_requests():
            self._pipeline.step()
        self._handles = []
