"""A model that answers: the face of the engine for Python, the command line and the server."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, NoReturn

from sparing.base.errors import RequestError, require
from sparing.engine.config import EngineConfig
from sparing.engine.executor import Executor
from sparing.engine.handle import Completion, Handle
from sparing.engine.request import Sampling
from sparing.engine.service import Service
from sparing.tokenizer.text import Tokenizer

Prompt = str | Sequence[int]
Messages = Sequence[Mapping[str, Any]]


class LLM:
    """A running engine with its tokenizer; close it, or use it in a `with`.

    Threads may share it.
    """

    def __init__(
        self,
        service: Service,
        tokenizer: Tokenizer,
        executor: Executor,
        *,
        model_name: str,
        config: EngineConfig,
        reason: str = "",
    ) -> None:
        self.service, self.tokenizer, self.executor = service, tokenizer, executor
        self.model_name = model_name
        self.config = config
        """The resolved configuration."""
        self.reason = reason
        """How the cache's size was found."""

    def generate(
        self, prompts: Sequence[Prompt] | str, sampling: Sampling | Sequence[Sampling] | None = None
    ) -> list[Completion]:
        """Answers to all prompts, computed together, in order.

        Errors: RequestError for a prompt that can never be answered; then none is computed.
        """
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        rules = _one_each(sampling, len(prompts))
        handles: list[Handle] = []
        try:
            for prompt, rule in zip(prompts, rules, strict=True):
                handles.append(self.stream(prompt, rule))
            return [handle.result() for handle in handles]
        except BaseException:
            for handle in handles:
                handle.cancel()
            raise

    def stream(self, prompt: Prompt, sampling: Sampling | None = None) -> Handle:
        """The answer to one prompt as it comes; a text gets the model's beginning-of-text."""
        return self.service.submit(self.prompt_ids(prompt), sampling or Sampling())

    def chat(
        self,
        messages: Messages,
        sampling: Sampling | None = None,
        *,
        tools: Messages | None = None,
    ) -> Completion:
        """The next message of a conversation."""
        return self.stream_chat(messages, sampling, tools=tools).result()

    def stream_chat(
        self,
        messages: Messages,
        sampling: Sampling | None = None,
        *,
        tools: Messages | None = None,
    ) -> Handle:
        """The next message of a conversation as it comes.

        Errors: RequestError when the model has no chat template.
        """
        ids = self.chat_ids(messages, tools=tools)
        return self.service.submit(ids, sampling or Sampling())

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt; ids pass as they are."""
        if isinstance(prompt, str):
            read_by_encoder = self.service.start is not None
            return self.tokenizer.encode(prompt, begin=True, end=read_by_encoder)
        return list(prompt)

    def chat_ids(self, messages: Messages, *, tools: Messages | None = None) -> list[int]:
        """Token ids of a conversation, ready for the assistant's next words."""
        if not messages:
            raise RequestError("messages: expected at least one", param="messages")
        plain = [dict(message) for message in messages]
        return self.tokenizer.encode_chat(
            plain, tools=None if tools is None else list(map(dict, tools))
        )

    def embed(self, *_: object, **__: object) -> NoReturn:
        """Errors: RequestError always: this model writes text."""
        raise RequestError(
            f"embed, encode_images: {self.model_name} writes text; features come from an encoder"
        )

    encode_images = embed

    def close(self, drain_s: float = 0.0) -> None:
        """Stop the engine, at the latest after `drain_s` seconds."""
        self.service.close(drain_s)

    def __enter__(self) -> "LLM":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


def _one_each(sampling: Sampling | Sequence[Sampling] | None, count: int) -> list[Sampling]:
    if sampling is None or isinstance(sampling, Sampling):
        return [sampling or Sampling()] * count
    require(len(sampling) == count, "sampling", f"one for each of {count} prompts", len(sampling))
    return list(sampling)
