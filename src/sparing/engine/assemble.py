"""The one place that wires a model folder into a running engine."""

from pathlib import Path

from sparing.base.errors import ArtefactError
from sparing.engine.assemble_encoder import load_embedder, refuse_encoder
from sparing.engine.blocks import BlockPool
from sparing.engine.capacity import fit, free_memory_bytes
from sparing.engine.chooser import Compute
from sparing.engine.config import EngineConfig
from sparing.engine.embedder import Embedder
from sparing.engine.executor import Executor
from sparing.engine.llm import LLM
from sparing.engine.loop import Engine
from sparing.engine.native_executor import NativeExecutor
from sparing.engine.native_seq2seq import Seq2SeqExecutor
from sparing.engine.packed_cache import packed_weights
from sparing.engine.scheduler import Scheduler
from sparing.engine.service import Service
from sparing.kernels import attention
from sparing.models.config import DecoderConfig
from sparing.models.encoder_config import Seq2SeqConfig
from sparing.models.encoder_folder import EncoderFolder, model_kind, open_encoder
from sparing.models.folder import open_model
from sparing.tokenizer.text import Tokenizer

__all__ = ["EngineConfig", "assemble", "find_model", "load", "load_any"]

_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<|end_of_turn|>")
"""End-of-turn tokens of published chat formats; they count where the template writes them."""


def load(path: Path | str, config: EngineConfig | None = None, *, name: str | None = None) -> LLM:
    """A running engine for a Hugging Face folder, or for the model of a run's folder.

    Errors: ArtefactError for a folder that cannot be read, ConfigError and CapacityError for
    limits that do not fit the model or the memory, ConfigError for an encoder alone.
    """
    config = config or EngineConfig()
    folder = find_model(Path(path))
    if model_kind(folder) is not None:
        return _load_pair(open_encoder(folder), config, name or Path(path).resolve().name)
    model = open_model(folder)
    tokenizer = Tokenizer.load(folder)
    fitted = fit(
        config,
        context=model.config.context,
        kv_token_bytes=kv_token_bytes(model.config, config),
        free_bytes=free_memory_bytes(),
    )
    resolved = fitted.config
    assert resolved.kv_cache_tokens is not None
    # exact products read the weights as they are stored
    kept = resolved.packed_cache == "auto" and resolved.activations == "int8"
    executor = NativeExecutor(
        model,
        kv_tokens=resolved.kv_cache_tokens,
        block_tokens=resolved.block_tokens,
        threads=resolved.threads,
        kv_dtype=resolved.kv_cache_dtype,
        activations=resolved.activations,
        packed=packed_weights(model) if kept else None,
    )
    eos = (*model.config.eos, *turn_ends(tokenizer))
    return assemble(
        executor, tokenizer, resolved,
        eos=eos, name=name or Path(path).resolve().name, reason=fitted.reason,
        compute=executor.step, short_context=model.config.short_context,
    )  # fmt: skip


def load_any(path: Path | str, config: EngineConfig | None = None) -> LLM | Embedder:
    """As `load`, and an `Embedder` for the folder of an encoder."""
    folder = find_model(Path(path))
    if model_kind(folder) is None:
        return load(path, config)
    found = open_encoder(folder)
    if isinstance(found.config, Seq2SeqConfig):
        return _load_pair(found, config or EngineConfig(), Path(path).resolve().name)
    return load_embedder(found, config or EngineConfig())


def _load_pair(model: EncoderFolder, config: EngineConfig, name: str) -> LLM:
    """A running engine for an encoder with its decoder."""
    found = model.config
    if not isinstance(found, Seq2SeqConfig):
        raise refuse_encoder(model)
    tokenizer = Tokenizer.load(model.path)
    shape = found.decoder
    fitted = fit(
        config,
        context=found.context,
        kv_token_bytes=2  # of source and target
        * attention.kv_token_bytes(
            kept_as(config), layers=shape.layers, kv_heads=shape.heads, head_width=shape.head_width
        ),
        free_bytes=free_memory_bytes(),
    )
    resolved = fitted.config
    assert resolved.kv_cache_tokens is not None
    executor = Seq2SeqExecutor(
        model,
        kv_tokens=resolved.kv_cache_tokens,
        block_tokens=resolved.block_tokens,
        threads=resolved.threads,
        kv_dtype=resolved.kv_cache_dtype,
        activations=resolved.activations,
    )
    return assemble(
        executor, tokenizer, resolved,
        eos=found.eos, name=name, reason=fitted.reason, start=found.start,
    )  # fmt: skip


def assemble(
    executor: Executor,
    tokenizer: Tokenizer,
    config: EngineConfig,
    *,
    eos: tuple[int, ...] = (),
    name: str = "model",
    reason: str = "",
    check: bool = False,
    compute: Compute | None = None,
    short_context: int | None = None,
    start: int | None = None,
) -> LLM:
    """A running engine around any executor; `check` accounts for every block in every step.

    `compute` is the executor's own way to a choice, where it has a faster one than the plain;
    `short_context` is the model's, where its rotary frequencies change with the length.
    `start` is what an answer begins after, where an encoder reads the prompt.
    """
    context = min(config.max_model_len or executor.context, executor.context)
    scheduler = Scheduler(
        BlockPool(executor.blocks, executor.block_tokens),
        max_num_seqs=config.max_num_seqs,
        max_num_batched_tokens=config.max_num_batched_tokens,
        short_context=short_context,
    )
    service = Service(
        Engine(scheduler, executor, context=context, compute=compute),
        tokenizer,
        context=context,
        eos=eos if tokenizer.eos is None else (*eos, tokenizer.eos),
        max_waiting=config.max_waiting,
        start=start,
        check=check,
    )
    return LLM(service, tokenizer, executor, model_name=name, config=config, reason=reason)


def find_model(path: Path) -> Path:
    """The model: a GGUF file or folder `path` itself, or `model` in it when it is a run's folder.

    Errors: ArtefactError when there is neither.
    """
    if path.is_file():
        return path
    for folder in (path, path / "model"):
        if (folder / "config.json").is_file():
            return folder
    state = "no config.json in it" if path.is_dir() else "no such folder or file"
    for file in sorted(path.glob("*.gguf")) if path.is_dir() else ():
        state += f"; name the file to run it: {file}"
        break
    raise ArtefactError(f"{path}: {state}; expected a Hugging Face model folder or a run's folder")


def kept_as(config: EngineConfig) -> str:
    """How the cache keeps keys and values."""
    return "fp32" if config.kv_cache_dtype == "auto" else config.kv_cache_dtype


def kv_token_bytes(model: DecoderConfig, config: EngineConfig) -> int:
    """Bytes of the keys and values of one token in all layers."""
    return attention.kv_token_bytes(
        kept_as(config), layers=model.layers, kv_heads=model.kv_heads, head_width=model.head_width
    )


def turn_ends(tokenizer: Tokenizer) -> tuple[int, ...]:
    """Tokens that end the assistant's turn in this tokenizer's chat format."""
    source = tokenizer.template.source if tokenizer.template else ""
    found = (tokenizer.id_of(token) for token in _TURN_ENDS if token in source)
    return tuple(id for id in found if id is not None)
