"""Small tokenizers made on the spot: a byte-level BPE as ours, and a Llama-2-like one."""

import json
from functools import cache
from pathlib import Path

import tokenizers
from tokenizers import (
    AddedToken,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

SPECIAL = ["<|bos|>", "<|eos|>", "<|im_start|>", "<|im_end|>"]
TEXTS = [
    "the quick brown fox jumps over the lazy dog and the other dog sleeps",
    "def add(a, b):\n    return a + b  # the sum of the two numbers\n",
    "Zw\u00f6lf Boxk\u00e4mpfer jagen Viktor quer \u00fcber den gro\u00dfen Sylter Deich",
    "\u4f60\u597d\uff0c\u4e16\u754c \u0645\u0631\u062d\u0628\u0627 \U0001f600\U0001f680",
    "na\u00efve caf\u00e9",
    "the end of the story is not the end of the world, said the fox to the dog",
]
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@cache
def byte_level_json() -> str:
    library = tokenizers.Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library.train_from_iterator(TEXTS * 4, trainer)
    return library.to_str()


@cache
def llama_like_json() -> str:
    """Metaspace pieces with byte fallback, decoded as Llama 2's."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [
        "\u2581",
        *"abcdefghijklmnopqrstuvwxyz",
        "\u2581a",
        "\u2581b",
        "ab",
        "\u2581ab",
        "\u00e9",
    ]
    vocab = {piece: id for id, piece in enumerate(pieces)}
    merges = [("\u2581", "a"), ("\u2581", "b"), ("a", "b"), ("\u2581a", "b")]
    model = models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    library = tokenizers.Tokenizer(model)
    library.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    library.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    library.add_special_tokens([AddedToken(name, special=True) for name in pieces[:3]])
    library.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", vocab["<s>"])]
    )
    return library.to_str()


def write(folder: Path, text: str, *, template: str | None = CHATML, **settings: object) -> Path:
    """A tokenizer folder that our reader and transformers both load."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(text)
    tree = {"tokenizer_class": "PreTrainedTokenizerFast", **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(tree))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return folder


def write_byte_level(folder: Path, *, template: str | None = CHATML, **settings: object) -> Path:
    settings = {"bos_token": "<|bos|>", "eos_token": "<|eos|>", "add_bos_token": True} | settings
    return write(folder, byte_level_json(), template=template, **settings)
