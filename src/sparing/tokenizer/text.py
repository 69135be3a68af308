"""Text to token ids and back, over the `tokenizers` library."""

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from sparing.base.errors import ArtefactError, RequestError
from sparing.base.gguf import GgufFile
from sparing.base.limits import LIMITS
from sparing.tokenizer.controls import mark
from sparing.tokenizer.gguf_vocab import read_vocabulary
from sparing.tokenizer.template import ChatTemplate

_SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token")


class Tokenizer:
    """The tokenizer of a model folder.

    Text never turns into control tokens by itself: `<|im_end|>` typed by a user is encoded as
    the characters it is made of, unless the caller says `special=True`.
    """

    def __init__(self, library: tokenizers.Tokenizer, settings: dict[str, Any]) -> None:
        self._library = library
        self._controls: dict[str, int] = {}
        self._special_ids: set[int] = set()
        self._added_ids: set[int] = set()
        for id, token in library.get_added_tokens_decoder().items():
            self._controls[token.content] = id
            self._added_ids.add(id)
            if token.special:
                self._special_ids.add(id)
        self._settings = settings
        self.vocab = library.get_vocab_size(with_added_tokens=True)
        """Tokens known to the tokenizer; a model may have more rows."""
        self.special_tokens = {
            name: text for name in _SPECIAL_NAMES if (text := _token_text(settings.get(name)))
        }
        """Names as chat templates know them (`bos_token`, ...) and their texts."""
        self.bos = self._id_of("bos_token")
        self.eos = self._id_of("eos_token")

    @classmethod
    def load(cls, folder: Path | str) -> "Tokenizer":
        """The tokenizer of a Hugging Face folder (`tokenizer.json`, its settings) or a GGUF file.

        Errors: ArtefactError when a file is missing, too large or not understood.
        """
        folder = Path(folder)
        if folder.is_file():
            vocabulary = read_vocabulary(GgufFile.open(folder).pairs, str(folder))
            return cls(vocabulary.library, vocabulary.settings)
        text = _read(folder / "tokenizer.json", LIMITS.json_bytes)
        try:
            library = tokenizers.Tokenizer.from_str(text)
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except BaseException as error:  # the library's panics are not Exceptions
            raise ArtefactError(f"{folder / 'tokenizer.json'}: {_short(error)}") from None
        library.no_padding()
        library.no_truncation()
        settings = _settings(folder / "tokenizer_config.json")
        template = folder / "chat_template.jinja"
        if template.exists():
            settings["chat_template"] = _read(template, 4 * LIMITS.template_chars)
        return cls(library, settings)

    @property
    def library(self) -> tokenizers.Tokenizer:
        """The tokenizer underneath; not to be changed."""
        return self._library

    @cached_property
    def template(self) -> ChatTemplate | None:
        """The chat template; None when the model has none.

        Errors: ArtefactError when the template uses what templates may not use.
        """
        source = _default_template(self._settings.get("chat_template"))
        return None if source is None else ChatTemplate(source)

    @cached_property
    def _plain(self) -> tokenizers.Tokenizer:
        """The same tokenizer, blind to every added token in the text; it shares the vocabulary."""
        library = tokenizers.Tokenizer(self._library.model)
        library.normalizer = self._library.normalizer
        library.pre_tokenizer = self._library.pre_tokenizer
        return library

    @cached_property
    def _frame(self) -> tuple[list[int], list[int]]:
        """What goes before and after a text: the post-processor's own, or bos by the settings."""
        framed = self._library.encode("a", add_special_tokens=True).ids
        bare = self._library.encode("a", add_special_tokens=False).ids
        before: list[int] = []
        after: list[int] = []
        for at in range(len(framed) - len(bare) + 1):
            if bare and framed[at : at + len(bare)] == bare:
                before, after = framed[:at], framed[at + len(bare) :]
                break
        if not before and self.bos is not None and self._settings.get("add_bos_token") is True:
            before = [self.bos]
        return before, after

    def encode(
        self, text: str, *, special: bool = False, begin: bool = False, end: bool = False
    ) -> list[int]:
        """The ids of a text; `special` reads control tokens in it.

        `begin` puts before it what the model expects before a text, `end` what comes after one.
        Errors: RequestError when the text is too long or is not valid Unicode.
        """
        _check_text(text)
        library = self._library if special else self._plain
        ids = library.encode(text, add_special_tokens=False).ids
        before, after = self._frame
        return [*(before if begin else ()), *ids, *(after if end else ())]

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """The text of token ids; bytes that are not UTF-8 become U+FFFD."""
        return self._library.decode(ids, skip_special_tokens=skip_special)

    def encode_chat(
        self,
        messages: Sequence[dict[str, Any]],
        *,
        tools: Sequence[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        variables: dict[str, Any] | None = None,
    ) -> list[int]:
        """The ids of a conversation through the chat template.

        Control tokens come from the template only; those in the messages or tools are text.

        Errors: RequestError when the model has no template or the template refuses.
        """
        if self.template is None:
            raise RequestError(
                "this model has no chat template; use plain completion", code="no_chat_template"
            )
        names = self._control_names
        marked = mark({"messages": messages, "tools": tools, "extra": variables or {}}, names)
        text = self.template.render(
            marked.tree["messages"],
            tools=marked.tree["tools"],
            add_generation_prompt=add_generation_prompt,
            variables={**self.special_tokens, **marked.tree["extra"]},
        )
        ids: list[int] = []
        for piece, plain in marked.split(text):
            ids += self.encode(piece, special=not plain)
        return ids

    @cached_property
    def _control_names(self) -> tuple[str, ...]:
        """Special tokens, and other added tokens that the template itself writes."""
        source = self.template.source if self.template else ""
        return tuple(
            name for name, id in self._controls.items()
            if name and (id in self._special_ids or name in source)
        )  # fmt: skip

    def id_of(self, token: str) -> int | None:
        """The id of a token by its exact text; None when there is none."""
        return self._library.token_to_id(token)

    def is_special(self, id: int) -> bool:
        """Whether `decode` leaves this token out."""
        return id in self._special_ids

    def is_added(self, id: int) -> bool:
        """Whether the token is found in a text before the vocabulary's own rules apply."""
        return id in self._added_ids

    def token(self, id: int) -> str | None:
        """The token's own spelling in the vocabulary, as the library stores it."""
        return self._library.id_to_token(id)

    @cached_property
    def byte_level(self) -> bool:
        """Whether a token is a run of bytes and decoding joins them (GPT-2's scheme)."""
        return isinstance(self._library.decoder, tokenizers.decoders.ByteLevel)

    def token_bytes(self, id: int) -> bytes:
        """What the token adds to a text, as bytes; empty for an unknown id."""
        token = self.token(id)
        if token is None:
            return b""
        if not self.byte_level:
            if (value := byte_fallback(token)) is not None:
                return bytes([value])
            return token.replace("\u2581", " ").encode()
        try:
            return bytes(_BYTE_OF[character] for character in token)
        except KeyError:  # an added token, spelled as it reads
            return token.encode()

    def text_of(self, ids: Iterable[int]) -> str:
        """Each token's bytes joined, special tokens included; for showing single tokens."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def _id_of(self, name: str) -> int | None:
        text = self.special_tokens.get(name)
        return None if text is None else self.id_of(text)


def byte_fallback(token: str) -> int | None:
    """The byte of a SentencePiece token like `<0x0A>`; None for any other."""
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        try:
            return int(token[3:5], 16)
        except ValueError:
            return None
    return None


def _byte_alphabet() -> dict[str, int]:
    """The character that stands for each byte in byte-level vocabularies.

    Printable Latin-1 stands for itself; the other bytes take U+0100 on, in order.
    Source: Radford et al. 2019 (GPT-2), its encoder.
    """
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in set(own)]
    table = {chr(byte): byte for byte in own}
    table.update({chr(256 + order): byte for order, byte in enumerate(rest)})
    return table


_BYTE_OF = _byte_alphabet()


def _check_text(text: str) -> None:
    if len(text) > LIMITS.prompt_chars:
        raise RequestError(
            f"prompt: expected at most {LIMITS.prompt_chars} characters, got {len(text)}",
            param="prompt",
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(
            f"prompt: not valid Unicode (lone surrogate at character {error.start})",
            param="prompt",
        ) from None


def _read(path: Path, most: int) -> str:
    try:
        found = path.stat().st_size
        if found > most:
            raise ArtefactError(f"{path}: expected at most {most} bytes, got {found}")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ArtefactError(f"{path}: not found; expected a Hugging Face folder") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ArtefactError(f"{path}: {_short(error)}") from None


def _settings(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        tree = json.loads(_read(path, LIMITS.json_bytes))
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"{path}: {_short(error)}") from None
    if not isinstance(tree, dict):
        raise ArtefactError(f"{path}: expected an object, got {type(tree).__name__}")
    return tree


def _token_text(value: object) -> str | None:
    """`"<s>"` or `{"content": "<s>", ...}`, as Hugging Face writes either."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None


def _default_template(value: object) -> str | None:
    """The template, or the one named "default" of a list of named ones."""
    if isinstance(value, list):
        named = {each.get("name"): each.get("template") for each in value if isinstance(each, dict)}
        value = named.get("default")
    return value if isinstance(value, str) else None


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
