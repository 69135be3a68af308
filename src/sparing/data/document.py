"""A document, the verdict on it, and the count of what happened to it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KINDS = ("text", "code", "markdown")
"""What a document may be; records of jsonl files are text."""
SAMPLES = 3
"""Refusals kept as examples per reason."""


@dataclass(frozen=True, slots=True)
class Document:
    """One piece of text and where it came from."""

    text: str
    source: str
    """Path inside its source, with `#n` for a piece of a long file, `:n` for line n of a jsonl."""
    kind: str
    """One of KINDS."""
    title: str = ""
    """Title of a jsonl record, where it has one; search uses it, training does not."""
    key: str = ""
    """Identity (`_id` or `id`) of a jsonl record, where it has one."""


@dataclass(frozen=True, slots=True)
class Keep:
    """The document stays."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The document goes, and why: a short, countable reason."""

    reason: str


Verdict = Keep | Drop
KEEP = Keep()


@dataclass(slots=True)
class Count:
    """What one step did: documents and bytes in and out, refusals by reason, samples of them."""

    step: str
    documents_in: int = 0
    documents_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    """Repairs that kept the document, and drops of less than a document (lines, records)."""
    samples: dict[str, list[str]] = field(default_factory=dict)

    def keep(self, bytes_in: int, bytes_out: int) -> None:
        """One document went through."""
        self.documents_in += 1
        self.documents_out += 1
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out

    def drop(self, reason: str, source: str, bytes_in: int = 0) -> None:
        """One document was refused."""
        self.documents_in += 1
        self.bytes_in += bytes_in
        self.dropped[reason] += 1
        self.sample(reason, source)

    def sample(self, reason: str, source: str) -> None:
        """Remember an example of `reason`, up to SAMPLES."""
        kept = self.samples.setdefault(reason, [])
        if len(kept) < SAMPLES:
            kept.append(source)

    def note(self, reason: str, source: str, times: int = 1) -> None:
        """Something was repaired or passed over inside a document or file."""
        self.changed[reason] += times
        self.sample(reason, source)

    def add(self, other: "Count") -> None:
        """Take in the count of the same step over another part of the corpus."""
        self.documents_in += other.documents_in
        self.documents_out += other.documents_out
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.dropped.update(other.dropped)
        self.changed.update(other.changed)
        for reason, sources in other.samples.items():
            for source in sources:
                self.sample(reason, source)

    def tree(self) -> dict[str, Any]:
        """As plain values, in a fixed order."""
        return {
            "step": self.step,
            "in": self.documents_in,
            "out": self.documents_out,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "dropped": dict(sorted(self.dropped.items())),
            "changed": dict(sorted(self.changed.items())),
            "samples": dict(sorted(self.samples.items())),
        }

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> "Count":
        """The inverse of `tree`."""
        return cls(
            step=tree["step"],
            documents_in=tree["in"],
            documents_out=tree["out"],
            bytes_in=tree["bytes_in"],
            bytes_out=tree["bytes_out"],
            dropped=Counter(tree["dropped"]),
            changed=Counter(tree["changed"]),
            samples={reason: list(names) for reason, names in tree["samples"].items()},
        )
