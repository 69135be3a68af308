"""llama.cpp through llama-cpp-python's low-level functions: one decode call a step, and argmax."""

import ctypes
from collections.abc import Mapping
from typing import Any

import llama_cpp  # pyrefly: ignore - a peer's own
import numpy as np

from sparing.bench.runner import Runner

STEP_TOKENS = 2048
"""Most tokens handed over in one call; the library divides it further itself."""


@llama_cpp.llama_log_callback
def _quiet(level: int, text: bytes, data: ctypes.c_void_p) -> None:
    return None


def make(request: Mapping[str, Any]) -> Runner:
    """A GGUF file with room for all sequences in one cache."""
    llama_cpp.llama_log_set(_quiet, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    path = str(request["model"]).encode()
    model = llama_cpp.llama_model_load_from_file(path, llama_cpp.llama_model_default_params())
    if not model:
        raise RuntimeError(f"{request['model']}: cannot be loaded")
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = int(request["kv_tokens"])
    params.n_batch = STEP_TOKENS
    params.n_seq_max = int(request["streams"])
    params.n_threads = params.n_threads_batch = int(request["threads"])
    params.kv_unified = True
    context = llama_cpp.llama_init_from_model(model, params)
    if not context:
        raise RuntimeError(f"{request['model']}: no context of {params.n_ctx} tokens")
    vocabulary = llama_cpp.llama_model_get_vocab(model)
    if not vocabulary:
        raise RuntimeError(f"{request['model']}: has no vocabulary")
    vocab = llama_cpp.llama_vocab_n_tokens(vocabulary)
    return _LlamaCpp(context, vocab)


class _LlamaCpp:
    version = llama_cpp.__version__

    def __init__(self, context: Any, vocab: int) -> None:
        self._context, self._vocab = context, vocab
        self._memory = llama_cpp.llama_get_memory(context)
        self._batch = llama_cpp.llama_batch_init(STEP_TOKENS, 0, 1)
        self._next: list[int] = []
        self._lengths: list[int] = []

    def _run(self, items: list[tuple[int, int, int, bool]]) -> None:
        """Decode (token, position, sequence, whether its logits are wanted)."""
        batch = self._batch
        for index, (token, position, sequence, wanted) in enumerate(items):
            batch.token[index], batch.pos[index] = token, position
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, sequence
            batch.logits[index] = wanted
        batch.n_tokens = len(items)
        status = llama_cpp.llama_decode(self._context, batch)
        if status:
            raise RuntimeError(f"llama_decode: {status}")

    def _likeliest(self, index: int) -> int:
        logits = llama_cpp.llama_get_logits_ith(self._context, index)
        return int(np.ctypeslib.as_array(logits, shape=(self._vocab,)).argmax())

    def _read(self, ids: list[int], sequence: int) -> int:
        last = len(ids) - 1
        for begin in range(0, len(ids), STEP_TOKENS):
            part = ids[begin : begin + STEP_TOKENS]
            self._run([(id, begin + i, sequence, begin + i == last) for i, id in enumerate(part)])
        return self._likeliest((len(ids) - 1) % STEP_TOKENS)

    def prompt(self, ids: list[int]) -> None:
        self.open([ids], len(ids) + 1)

    def open(self, prompts: list[list[int]], room: int) -> None:
        self.close()
        self._next = [self._read(ids, sequence) for sequence, ids in enumerate(prompts)]
        self._lengths = [len(ids) for ids in prompts]

    def step(self) -> int:
        rows = zip(self._next, self._lengths, strict=True)
        self._run([(id, at, sequence, True) for sequence, (id, at) in enumerate(rows)])
        self._next = [self._likeliest(index) for index in range(len(self._next))]
        self._lengths = [length + 1 for length in self._lengths]
        return len(self._next)

    def close(self) -> None:
        if self._memory:
            llama_cpp.llama_memory_clear(self._memory, True)
        self._next, self._lengths = [], []
