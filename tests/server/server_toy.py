"""A toy model behind the real engine: it remembers only what it wrote in its cache blocks."""

import contextlib
import json
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import uvicorn
from tokenizers import decoders, models, pre_tokenizers

from sparing.engine.blocks import BlockPool
from sparing.engine.config import EngineConfig
from sparing.engine.executor import Batch
from sparing.engine.llm import LLM
from sparing.engine.loop import Engine
from sparing.engine.scheduler import Scheduler
from sparing.engine.service import Service
from sparing.measure.energy import Reading
from sparing.server.app import create_app
from sparing.server.run import listen, serve, url_of
from sparing.server.settings import ServerSettings
from sparing.server.wire import BoundedProtocol
from sparing.tokenizer.text import Tokenizer

SPECIALS = ("<|bos|>", "<|eos|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONTEXT = 512


def write_tokenizer(folder: Path, *, template: bool = True) -> Path:
    """A byte-level tokenizer without merges: one token per byte."""
    folder.mkdir(parents=True, exist_ok=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [*SPECIALS, *alphabet]
    library = tokenizers.Tokenizer(models.BPE({name: id for id, name in enumerate(names)}, []))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    library.add_special_tokens(list(SPECIALS))
    library.save(str(folder / "tokenizer.json"))
    settings = {"bos_token": SPECIALS[0], "eos_token": SPECIALS[1]}
    if template:
        settings["chat_template"] = TEMPLATE
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


class ToyExecutor:
    """The next byte is a hash of all earlier ones, read back from the blocks."""

    block_tokens = 16

    def __init__(
        self, tokenizer: Tokenizer, *, blocks: int = 512, pause: float = 0.0, ends: bool = True
    ) -> None:
        self.vocab, self.blocks, self.context = tokenizer.vocab, blocks, CONTEXT
        self.pause, self.ends = pause, ends
        self._letters = np.array([tokenizer.encode(letter)[0] for letter in "abcdefgh ijkl."])
        self._cache = np.full((blocks, self.block_tokens), -1, np.int64)

    def forward(self, batch: Batch) -> np.ndarray:
        if self.pause:
            time.sleep(self.pause)
        wanted = set(batch.logit_rows_L.tolist())
        rows = []
        for row, (begin, end) in enumerate(
            zip(batch.starts_R1[:-1], batch.starts_R1[1:], strict=True)
        ):
            table = batch.blocks_RP[row]
            for at in range(begin, end):
                position = batch.positions_N[at]
                block = table[position // self.block_tokens]
                self._cache[block, position % self.block_tokens] = batch.ids_N[at]
                if at in wanted:
                    rows.append(self._logits(table, position + 1))
        return np.stack(rows) if rows else np.zeros((0, self.vocab), np.float32)

    def _logits(self, table: np.ndarray, length: int) -> np.ndarray:
        ids = self._cache[table[table >= 0]].reshape(-1)[:length]
        assert (ids >= 0).all()
        code = 7
        for id in ids.tolist():
            code = (code * 31 + id) % 10007
        logits_V = np.full(self.vocab, -30.0, np.float32)
        shift = np.roll(np.linspace(0, 4, len(self._letters)), code)
        logits_V[self._letters] = shift
        if self.ends and code % 97 == 0:
            logits_V[1] = 50.0  # the end
        return logits_V


@contextlib.contextmanager
def toy_llm(
    folder: Path,
    *,
    template: bool = True,
    make: Callable[..., Any] = ToyExecutor,
    max_num_seqs: int = 4,
    **options: Any,
) -> Iterator[LLM]:
    """A toy model served by the real engine, blocks checked after every step."""
    tokenizer = Tokenizer.load(write_tokenizer(folder, template=template))
    executor = make(tokenizer, **options)
    pool = BlockPool(executor.blocks, executor.block_tokens)
    scheduler = Scheduler(pool, max_num_seqs=max_num_seqs, max_num_batched_tokens=64)
    engine = Engine(scheduler, executor, context=CONTEXT)
    ends = (1, 3)
    service = Service(engine, tokenizer, context=CONTEXT, eos=ends, max_waiting=64, check=True)
    try:
        yield LLM(service, tokenizer, executor, model_name="toy", config=EngineConfig())
    finally:
        service.close()


class FixedMeter:
    """One joule for each time it is asked."""

    def mark(self) -> float:
        return 0.0

    def since(self, mark: float) -> Reading:
        return Reading(joules=1.0, label="measured", method="a fixed joule", idle="none")


@dataclass(frozen=True)
class Hit:
    document: int
    score: float
    text: str
    source: str
    title: str


class ToyIndex:
    """Finds the same two passages whatever is asked, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def search(self, query: str, k: int) -> list[Hit]:
        self.asked.append((query, k))
        hits = [
            Hit(0, 3.5, "Return the mean of data.", "statistics.py:312", "statistics.mean"),
            Hit(1, 1.25, "Return the median of data.", "statistics.py:401", "statistics.median"),
        ]
        return hits[:k]


@contextlib.contextmanager
def live(llm: Any, **options: Any) -> Iterator[str]:
    """A server on a free port in a thread; yields its address."""
    settings = options.pop("settings", ServerSettings())
    with running(create_app(llm, settings, **options)) as url:
        yield url


@contextlib.contextmanager
def running(app: Any) -> Iterator[str]:
    door = socket.socket()
    door.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, log_level="critical", lifespan="off", ws="none", http=BoundedProtocol
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


def until(claim: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until a claim holds."""
    end = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.01)


def main(pause: str, drain_seconds: str) -> None:
    """A toy server as a process of its own, for signals."""
    settings = ServerSettings(port=0)
    with (
        tempfile.TemporaryDirectory() as folder,
        toy_llm(Path(folder), pause=float(pause)) as llm,
        listen(settings) as door,
    ):
        serve(
            create_app(llm, settings),
            door,
            drain_seconds=float(drain_seconds),
            on_ready=lambda: print(f"ready at {url_of(door)}", flush=True),
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
