"""Byte-level BPE trained on a corpus, as a Hugging Face tokenizer folder.

Ids 0 to 3 are the control tokens, then the 256 bytes, then merges in the order learnt.  Texts
are divided before merging as in Llama 3 (words with one leading space or mark, runs of
punctuation, line ends with the space before them, indentation but its last space), with digits
one by one, which keeps arithmetic regular (Singh & Strouse 2024, arXiv:2402.14903).
Algorithm: Sennrich et al. 2016, arXiv:1508.07909, over bytes (Radford et al. 2019).
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparing.base.config import to_tree
from sparing.base.errors import ConfigError, require
from sparing.base.files import check_free, hash_of, new_artefact, open_artefact
from sparing.base.logs import logger
from sparing.base.stage import StageResult

BOS, EOS, IM_START, IM_END = "<|bos|>", "<|eos|>", "<|im_start|>", "<|im_end|>"
CONTROL = (BOS, EOS, IM_START, IM_END)
"""The control tokens, in the order of their ids."""
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHATML = (
    "{{- bos_token }}"
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|im_start|>assistant\\n' }}"
    "{%- endif %}"
)
LONGEST_TOKEN = 32
"""Characters of the longest token; rulers of dashes are not worth an id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig:
    """What to learn a vocabulary from, and how large it is."""

    corpus: Path
    """Corpus folder, or a folder or file of text."""
    vocab_size: int = 4096
    """Ids in all, control tokens and bytes included."""
    min_frequency: int = 2
    """Pairs seen less often are not merged."""
    sample_bytes: int = 16 << 20
    """Text to learn from at most, taken evenly over the corpus."""

    def __post_init__(self) -> None:
        least = len(CONTROL) + 256
        require(
            least <= self.vocab_size <= 1 << 20,
            "vocab_size",
            f"from {least} (control tokens and bytes) to {1 << 20}",
            self.vocab_size,
        )
        require(self.min_frequency >= 1, "min_frequency", "at least 1", self.min_frequency)
        require(self.sample_bytes >= 1, "sample_bytes", "at least 1", self.sample_bytes)


def train_tokenizer(
    config: TokenizerConfig, out: Path, *, resume: bool = False, overwrite: bool = False
) -> StageResult:
    """Learn a tokenizer from the corpus's training split and write its folder.

    Equal corpora and settings give equal bytes.  With `resume`, a finished folder with the same
    settings and corpus is returned as it is; a run that was stopped starts again.
    Errors: ConfigError when the corpus is empty; ArtefactError when it is not one, or `out`
    exists.
    """
    stage = {"verb": "tokenizer train", **to_tree(config)}
    parents = {"corpus": hash_of(config.corpus)}
    if resume and out.exists():
        done = open_artefact(out, kind="tokenizer")
        if done.stage == stage and done.parents == parents:
            return StageResult(artefact=out, facts=done.facts)
    check_free(out, overwrite=overwrite)
    texts = sample(config.corpus, config.sample_bytes)
    if not texts:
        raise ConfigError(f"corpus: {config.corpus} has no text within sample_bytes")
    trained = learn(texts, config.vocab_size, config.min_frequency)
    if trained.get_vocab_size() < config.vocab_size:
        logger("tokenizer").warning(
            "the corpus has merges for %d of %d ids", trained.get_vocab_size(), config.vocab_size
        )
    with new_artefact(
        out, kind="tokenizer", stage=stage, parents=parents, overwrite=overwrite
    ) as draft:
        write_folder(trained, draft.path)
        draft.facts |= _facts(trained, texts)
        facts = dict(draft.facts)
    return StageResult(artefact=out, facts=facts)


def read_texts(data: Path) -> Iterator[str]:
    """The training texts of a corpus folder, or of plain text files.

    Errors: ConfigError when there are none; MissingExtraError without pyarrow.
    """
    tables = sorted(data.glob("train-*.parquet")) if data.is_dir() else []
    if tables:
        yield from _parquet_texts(tables)
        return
    files = [data] if data.is_file() else sorted(data.rglob("*"))
    files = [path for path in files if path.is_file() and not path.name.startswith(".")]
    if not files:
        raise ConfigError(f"corpus: {data} holds neither train-*.parquet nor text files")
    for path in files:
        yield path.read_bytes().decode("utf-8", errors="replace")


def _parquet_texts(tables: list[Path]) -> Iterator[str]:
    from sparing.base.errors import ArtefactError, missing_extra

    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise missing_extra("pyarrow", "data") from None
    for path in tables:
        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=256, columns=["text"]):
                    yield from batch.column("text").to_pylist()
        except (OSError, pyarrow.ArrowInvalid) as error:
            raise ArtefactError(f"{path}: not readable as Parquet: {error}") from None


def sample(data: Path, most_bytes: int) -> list[str]:
    """Texts up to `most_bytes` in all, chosen evenly: each is taken when its share is due.

    Reads twice, so that no more than the sample is in memory.
    """
    total = sum(len(text.encode()) for text in read_texts(data))
    share = min(1.0, most_bytes / max(total, 1))
    seen = taken = 0
    chosen: list[str] = []
    for text in read_texts(data):
        size = len(text.encode())
        seen += size
        if taken + size <= seen * share:
            taken += size
            chosen.append(text)
    return chosen


def learn(texts: Iterable[str], vocab_size: int, min_frequency: int) -> Any:
    """A `tokenizers.Tokenizer` learnt from texts; equal texts give an equal tokenizer."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(CONTROL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=LONGEST_TOKEN,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, 0)]
    )
    return tokenizer


def write_folder(tokenizer: Any, folder: Path) -> None:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja."""
    (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=True) + "\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "additional_special_tokens": [IM_START, IM_END],
        "clean_up_tokenization_spaces": False,
        "chat_template": CHATML,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")
    (folder / "chat_template.jinja").write_text(CHATML)


def _facts(tokenizer: Any, texts: list[str]) -> dict[str, Any]:
    """Size, and bytes per token over the first texts that it was learnt from."""
    shown = texts[:32]
    tokens = sum(len(one.ids) for one in tokenizer.encode_batch_fast(shown))
    size = sum(len(text.encode()) for text in shown)
    return {
        "vocab_size": tokenizer.get_vocab_size(),
        "documents": len(texts),
        "bytes_per_token": round(size / max(tokens, 1), 4),
    }
