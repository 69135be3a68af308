"""sparing chat: talk with a model in the terminal."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sparing.base.errors import ConfigError, RequestError
from sparing.cli.common import warn
from sparing.cli.generate import add_sampling, figures, sampling_of

if TYPE_CHECKING:
    from sparing.engine.handle import Handle
    from sparing.engine.llm import LLM

HELP = "Talk with a model; /new starts over, /quit or Ctrl-D ends, Ctrl-C stops an answer."
EXAMPLE = "sparing chat runs/first --temperature 0.7"

_ANSWER_TOKENS = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, what it is told first, and how to draw."""
    parser.add_argument(
        "model", type=Path, nargs="?", help="model or run folder (the newest in ./runs)"
    )
    parser.add_argument("--system", metavar="TEXT", help="what the model is told first")
    add_sampling(parser)
    parser.add_argument("--threads", type=int, metavar="N", help="compute threads (all cores)")


def run(args: argparse.Namespace) -> int:
    """Read a line, answer it, until the end of input."""
    sampling_of(args)
    model = args.model or newest_run(Path("runs"))
    from sparing.engine.assemble import load
    from sparing.engine.config import EngineConfig

    with load(model, EngineConfig(max_num_seqs=1, threads=args.threads)) as llm:
        talk = Talk(llm, args.system)
        if talk.plain:
            warn(f"{llm.model_name} has no chat template: it goes on from your text, line by line")
        while (line := _read()) is not None:
            if line == "/new":
                talk.start_over()
            elif line:
                _answer(talk, line, args)
    return 0


class Talk:
    """What was said; the oldest is forgotten when the context is full."""

    def __init__(self, llm: "LLM", system: str | None) -> None:
        self.llm, self.plain = llm, llm.tokenizer.template is None
        self._system = [{"role": "system", "content": system}] if system else []
        self._turns: list[dict[str, str]] = []

    def start_over(self) -> None:
        """Forget everything but the system's words."""
        self._turns.clear()

    def ids(self, line: str, room: int) -> list[int]:
        """Token ids of the talk with `line` as its latest turn, in at most `room`."""
        self._turns.append({"role": "user", "content": line})
        while True:
            ids = self._ids()
            if len(ids) <= room or len(self._turns) <= 1:
                return ids
            del self._turns[:2]

    def said(self, text: str) -> None:
        """The model's answer to the latest turn."""
        self._turns.append({"role": "assistant", "content": text})

    def take_back(self) -> None:
        """Forget the latest turn, which got no answer."""
        if self._turns and self._turns[-1]["role"] == "user":
            self._turns.pop()

    def _ids(self) -> list[int]:
        if not self.plain:
            return self.llm.chat_ids([*self._system, *self._turns])
        texts = [turn["content"] for turn in (*self._system, *self._turns)]
        return self.llm.prompt_ids("\n".join(texts))


def newest_run(folder: Path) -> Path:
    """The run folder whose model was written last.

    Errors: ConfigError when there is none.
    """
    found = [path for path in folder.glob("*/model/config.json") if path.is_file()]
    if not found:
        raise ConfigError(f"model: name a model folder; there is no run in ./{folder} yet")
    return max(found, key=lambda path: path.stat().st_mtime).parent.parent


def _answer(talk: Talk, line: str, args: argparse.Namespace) -> None:
    """Stream one answer; Ctrl-C keeps what came so far."""
    from dataclasses import replace

    sampling = sampling_of(args)
    context = talk.llm.service.context
    most = min(sampling.max_tokens or _ANSWER_TOKENS, max(context // 2, 1))
    sampling = replace(sampling, max_tokens=most)
    try:
        ids = talk.ids(line, context - most)
        handle = talk.llm.service.submit(ids, sampling)
    except RequestError as error:
        talk.take_back()
        warn(f"sparing chat: {error}")
        return
    talk.said(_stream(handle))
    warn(figures(handle))


def _stream(handle: "Handle") -> str:
    text = ""
    try:
        for delta in handle:
            text += delta.text
            print(delta.text, end="", flush=True)
    except KeyboardInterrupt:
        handle.cancel()
        for delta in handle:  # what came before the engine heard of it
            text += delta.text
        print(" ...", end="")
    print(flush=True)
    if handle.error is not None:
        warn(f"sparing chat: {handle.error}")
    return text


def _read() -> str | None:
    """A line from the reader; None at the end."""
    shown = sys.stdin.isatty()
    while True:
        try:
            line = input("> " if shown else "").strip()
        except EOFError:
            return None
        except KeyboardInterrupt:
            print("\n(Ctrl-D or /quit ends)", file=sys.stderr)
            continue
        return None if line in ("/quit", "/exit") else line
