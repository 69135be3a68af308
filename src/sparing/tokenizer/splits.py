"""How published byte-level vocabularies split a text before their merges, by their GGUF names.

A rule is a list of steps: patterns whose matches stand alone, single digits, GPT-2's own pattern.
`split_name` recognises a rule in a tokenizer.json.
Source: the tokenizer.json of the models named; names from llama.cpp's convert_hf_to_gguf_update.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import tokenizers
from tokenizers import pre_tokenizers

_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_ENDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"


@dataclass(frozen=True, slots=True)
class Split:
    """One rule."""

    patterns: tuple[str, ...] = ()
    digits: bool = False
    """Whether each digit then stands alone."""
    gpt2: bool = False
    """Whether GPT-2's pattern is applied next."""
    last: tuple[str, ...] = ()
    """Patterns applied at the end, to bytes as they are spelled then."""
    whole: bool = False
    """Whether a piece that is in the vocabulary is taken without merges."""
    begin: bool = False
    """Whether the begin token goes before a text when the file does not say."""

    def build(self) -> pre_tokenizers.PreTokenizer:
        steps: list[pre_tokenizers.PreTokenizer] = [
            pre_tokenizers.Split(tokenizers.Regex(pattern), behavior="isolated")
            for pattern in self.patterns
        ]
        if self.digits:
            steps.append(pre_tokenizers.Digits(individual_digits=True))
        steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=self.gpt2))
        steps += [
            pre_tokenizers.Split(tokenizers.Regex(pattern), behavior="isolated")
            for pattern in self.last
        ]
        return pre_tokenizers.Sequence(steps)


_GPT2 = Split(gpt2=True)
_DIGITS = Split(digits=True, gpt2=True)
_QWEN2 = Split((_LETTERS + r"\p{N}" + _REST,))
_LLAMA3 = Split((_LETTERS + r"\p{N}{1,3}" + _REST,), whole=True, begin=True)
_FOUR = Split(
    (
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_ENDS}"
        rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_ENDS}"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    )
)
_TEKKEN = Split(
    (
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
        r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    whole=True,
    begin=True,
)
_DEEPSEEK_CODER = Split(
    ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"),
    digits=True,
)
_FALCON = Split((r"[\p{P}\$\+<=>\^~\|`]+",), gpt2=True, last=("[0-9][0-9][0-9]",))

SPLITS: Mapping[str, Split] = {
    "gpt-2": _GPT2,
    "qwen2": _QWEN2,
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "smaug-bpe": Split(_LLAMA3.patterns),
    "dbrx": Split(_LLAMA3.patterns),
    "gpt-4o": _FOUR,
    "llama4": _FOUR,
    "tekken": _TEKKEN,
    "phi-2": _GPT2,
    "mpt": _GPT2,
    "olmo": _GPT2,
    "jais": _GPT2,
    "starcoder": _DIGITS,
    "refact": _DIGITS,
    "command-r": _DIGITS,
    "smollm": _DIGITS,
    "codeshell": _DIGITS,
    "exaone": _DIGITS,
    "minerva-7b": _DIGITS,
    "stablelm2": _QWEN2,
    "deepseek-r1-qwen": _QWEN2,
    "megrez": _QWEN2,
    "deepseek-coder": _DEEPSEEK_CODER,
    "falcon": _FALCON,
}


def split_name(library: tokenizers.Tokenizer) -> str | None:
    """The name of the rule that `library` splits by; None when it is none of `SPLITS`."""
    tree = json.loads(library.to_str())
    wanted = _steps(tree.get("pre_tokenizer"))
    whole = bool(tree["model"].get("ignore_merges"))
    for name, split in SPLITS.items():
        built = tokenizers.Tokenizer(tokenizers.models.BPE())
        built.pre_tokenizer = split.build()
        same = _steps(json.loads(built.to_str())["pre_tokenizer"]) == wanted
        if same and split.whole == whole:
            return name
    return None


def _steps(tree: dict | None) -> list[tuple[object, ...]]:
    """What a pre-tokenizer does, without what has no effect on ids."""
    if tree is None:
        return []
    if tree["type"] == "Sequence":
        return [step for each in tree["pretokenizers"] for step in _steps(each)]
    if tree["type"] == "ByteLevel":
        return [("ByteLevel", tree["add_prefix_space"], tree.get("use_regex", True))]
    if tree["type"] == "Split":
        return [("Split", str(tree["pattern"]), tree["behavior"], tree["invert"])]
    return [(tree["type"], json.dumps(tree, sort_keys=True))]
