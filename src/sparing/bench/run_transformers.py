"""transformers on torch's processor kernels, eager, one forward call a step."""

from collections.abc import Mapping
from typing import Any

import torch
import transformers

from sparing.bench.runner import Runner

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def make(request: Mapping[str, Any]) -> Runner:
    """A model folder in the dtype that the options name."""
    torch.set_num_threads(int(request["threads"]))
    dtype = DTYPES[request["options"].get("dtype", "bf16")]
    model = transformers.AutoModelForCausalLM.from_pretrained(str(request["model"]), dtype=dtype)
    return _Transformers(model.eval())


class _Transformers:
    version = f"{transformers.__version__} + torch {torch.__version__}"

    def __init__(self, model: Any) -> None:
        self._model = model
        self._cache: Any = None
        self._next: torch.Tensor | None = None

    @torch.inference_mode()
    def _forward(self, ids_BT: torch.Tensor) -> None:
        out = self._model(
            input_ids=ids_BT, past_key_values=self._cache, use_cache=True, logits_to_keep=1
        )
        self._cache = out.past_key_values
        self._next = out.logits[:, -1].argmax(-1, keepdim=True)

    def prompt(self, ids: list[int]) -> None:
        self.open([ids], len(ids) + 1)
        self.close()

    def open(self, prompts: list[list[int]], room: int) -> None:
        self._cache = transformers.DynamicCache(config=self._model.config)
        self._forward(torch.tensor(prompts))

    def step(self) -> int:
        assert self._next is not None
        self._forward(self._next)
        return len(self._next)

    def close(self) -> None:
        self._cache = self._next = None
