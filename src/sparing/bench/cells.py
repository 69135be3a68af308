"""What is measured: a few shapes of work that every engine can be asked for."""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sparing.base.errors import require

LEAST_TURNS = 5
"""Fewer samples have no median worth the name."""

_IDS = (10, 900)
"""Prompt tokens are drawn from here: in the vocabulary of any model, and no special ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One kind of work, done `turns` times by every contestant."""

    kind: Literal["decode", "prefill", "first_token"]
    """What is timed: steps after the prompts, or the prompt itself in tokens/s or seconds."""
    streams: int = 1
    """Sequences at once; a prompt is read alone."""
    prompt: int = 128
    """Tokens of each prompt."""
    steps: int = 15
    """Timed steps of a turn; one more goes before them, untimed."""
    turns: int = LEAST_TURNS
    """Samples of each contestant."""

    def __post_init__(self) -> None:
        require(self.turns >= LEAST_TURNS, "turns", f"at least {LEAST_TURNS}", self.turns)
        for name in ("streams", "prompt", "steps"):
            require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        alone = self.kind == "decode" or self.streams == 1
        require(alone, "streams", f"1 for {self.kind}", self.streams)

    @property
    def name(self) -> str:
        """As in `decode@8`, `decode@1+16384`, `prefill@1024`, `first_token@512`."""
        if self.kind == "decode":
            return f"decode@{self.streams}" + (f"+{self.prompt}" if self.prompt != 128 else "")
        return f"{self.kind}@{self.prompt}"

    @property
    def room(self) -> int:
        """Tokens that one sequence may come to."""
        return self.prompt + (self.turns * (self.steps + 1) if self.kind == "decode" else 0) + 1

    @property
    def unit(self) -> str:
        """Of the figures."""
        return "ms" if self.kind == "first_token" else "tokens/s"

    def figure(self, tokens: int, seconds: float) -> float:
        """A sample in `unit`, from the tokens of a turn and their time."""
        return seconds * 1e3 if self.kind == "first_token" else tokens / seconds

    def tree(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def standard(
    *,
    streams: Sequence[int] = (1, 8, 16),
    prompt: int = 128,
    prefill: int = 1024,
    first_token: int = 512,
    turns: int = LEAST_TURNS,
) -> list[Cell]:
    """The usual cells; a zero leaves a prompt's cell out.

    One stream takes longer turns than many: the steps are shorter.
    """
    cells = [
        Cell(
            kind="decode",
            streams=count,
            prompt=prompt,
            steps=15 if count == 1 else 10,
            turns=turns + (2 if count == 1 else 0),
        )
        for count in streams
    ]
    if prefill:
        cells.append(Cell(kind="prefill", prompt=prefill, turns=turns))
    if first_token:
        cells.append(Cell(kind="first_token", prompt=first_token, turns=turns))
    return cells


def prompt_ids(tokens: int, *, vocab: int, stream: int = 0) -> list[int]:
    """The prompt of one stream: the same for every engine, another for every stream."""
    low, high = _IDS if vocab > _IDS[1] else (0, vocab)
    draw = random.Random(stream)
    return [draw.randrange(low, high) for _ in range(tokens)]
