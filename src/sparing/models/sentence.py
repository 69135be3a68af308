"""How a sentence-transformers folder wants its texts embedded: pooling, length, prompt.

Without `modules.json` a folder says nothing: then texts are embedded as `EncoderConfig` has it.
Source: the sentence-transformers package, its folder layout.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sparing.base.errors import ArtefactError
from sparing.models.encoder_config import EncoderConfig, Pooling
from sparing.models.fields import Fields
from sparing.models.folder import inside
from sparing.models.strict_json import parse_object, read_object

_POOLINGS: Mapping[str, Pooling] = {
    "pooling_mode_cls_token": "first",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
}
_NAMED: Mapping[str, Pooling] = {"cls": "first", "mean": "mean", "max": "max", "lasttoken": "last"}
# What newer writers say of the first module, and its one value that is what we do.
_TRANSFORMER = {"transformer_task": "feature-extraction", "module_output_name": "token_embeddings"}
_LENGTHS = {"max_seq_length", "do_lower_case", "modality_config"}


@dataclass(frozen=True, slots=True)
class Sentences:
    """What the folder says of texts."""

    config: EncoderConfig
    """With the folder's pooling and scaling."""

    length: int
    """Most tokens of a text."""

    lower: bool = False
    """Whether texts are put in lower case before they are tokenised."""

    prompt: str = ""
    """What stands before every text."""


def read_sentences(path: Path, config: EncoderConfig) -> Sentences:
    """The settings of folder `path` for texts.

    Errors: ArtefactError for a module, pooling or prompt rule that is not supported, by name.
    """
    if not (path / "modules.json").exists():
        return Sentences(config, config.context)
    kinds = _modules(path)
    order = [kind for kind, _ in kinds]
    if order not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ArtefactError(
            f"{path / 'modules.json'}: expected Transformer, Pooling and perhaps Normalize, "
            f"got {', '.join(order)[:200]}"
        )
    pooling = _pooling(path / kinds[1][1], config.stack.width)
    length, lower = _lengths(path, config.context)
    changed = replace(config, pooling=pooling, normalised="Normalize" in order)
    return Sentences(changed, length, lower=lower, prompt=_prompt(path))


def _modules(path: Path) -> list[tuple[str, str]]:
    """Class and subfolder of each module."""
    file = inside(path, "modules.json")
    text = b'{"modules":' + _bytes(file) + b"}"
    modules = parse_object(text, str(file))["modules"]
    good = isinstance(modules, list) and len(modules) <= 16
    if not good or not all(isinstance(module, dict) for module in modules):
        raise ArtefactError(f"{file}: expected a list of modules")
    found = []
    for module in modules:
        kind, folder = module.get("type"), module.get("path")
        if not isinstance(kind, str) or not isinstance(folder, str):
            raise ArtefactError(f"{file}: expected the type and path of each module")
        found.append((kind.rpartition(".")[2], folder))
    if found and found[0][1] != "":
        raise ArtefactError(f"{file}: expected the model in the folder itself, got {found[0][1]!r}")
    return found


def _bytes(file: Path) -> bytes:
    with file.open("rb") as handle:
        return handle.read(1 << 16)


def _pooling(folder: Path, width: int) -> Pooling:
    name = str(folder / "config.json")
    if not folder.is_dir():
        raise ArtefactError(f"{folder}: no such folder, but modules.json names it")
    tree = read_object(inside(folder, "config.json"))
    field = Fields(tree, name)
    features = field.integer(
        "word_embedding_dimension", field.integer("embedding_dimension", width)
    )
    if features != width:
        raise ArtefactError(f"{name}: word_embedding_dimension: expected {width}, got {features}")
    if tree.get("include_prompt") is False:
        raise ArtefactError(f"{name}: include_prompt: false is not supported")
    if isinstance(mode := tree.get("pooling_mode"), str):
        chosen = [mode]
        known: Mapping[str, Pooling] = _NAMED
    else:
        chosen = [key for key, value in tree.items()
                  if key.startswith("pooling_mode_") and value is True]  # fmt: skip
        known = _POOLINGS
    if len(chosen) != 1 or chosen[0] not in known:
        raise ArtefactError(
            f"{name}: expected one of {', '.join(known)}, got {', '.join(chosen)[:200]}"
        )
    return known[chosen[0]]


def _lengths(path: Path, context: int) -> tuple[int, bool]:
    if not (path / "sentence_bert_config.json").exists():
        return context, False
    file = inside(path, "sentence_bert_config.json")
    tree = read_object(file)
    for key, value in tree.items():
        plain = value in (None, False, {}, []) or value == _TRANSFORMER.get(key)
        if key not in _LENGTHS and not plain:
            raise ArtefactError(f"{file}: {key[:80]}: not supported, got {str(value)[:80]!r}")
    field = Fields(tree, str(file))
    length = field.integer("max_seq_length", context)
    if not 1 <= length <= context:
        raise ArtefactError(f"{file}: max_seq_length: expected 1 to {context}, got {length}")
    return length, field.boolean("do_lower_case")


def _prompt(path: Path) -> str:
    if not (path / "config_sentence_transformers.json").exists():
        return ""
    file = inside(path, "config_sentence_transformers.json")
    tree: Mapping[str, Any] = read_object(file)
    name = tree.get("default_prompt_name")
    if name is None:
        return ""
    prompts = tree.get("prompts")
    prompt = prompts.get(name) if isinstance(prompts, dict) and isinstance(name, str) else None
    if not isinstance(prompt, str):
        raise ArtefactError(f"{file}: default_prompt_name: no prompt {str(name)[:80]!r}")
    return prompt
