"""Typed access to a JSON object from a stranger's folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sparing.base.errors import ArtefactError


@dataclass(frozen=True, slots=True)
class Fields:
    """Typed access to a JSON object; null counts as absent.

    What was asked for is remembered, so that a field which nobody understood can be refused.
    """

    tree: Mapping[str, Any]
    name: str
    read: set[str] = field(default_factory=set, compare=False)
    """Keys that were asked for."""

    def get(self, key: str) -> Any:
        """The value as it is, or None."""
        self.read.add(key)
        return self.tree.get(key)

    def integer(self, key: str, default: int | None = None) -> int:
        value = self.get(key)
        if value is None and default is not None:
            return default
        if type(value) is not int:
            raise ArtefactError(f"{self.name}: {key}: expected an integer, got {value!s:.80}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.get(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ArtefactError(f"{self.name}: {key}: expected a number, got {value!s:.80}")
        return float(value)

    def maybe(self, key: str) -> float | None:
        return None if self.get(key) is None else self.number(key)

    def boolean(self, key: str, *, default: bool = False) -> bool:
        value = self.get(key)
        if value is None:
            return default
        if type(value) is not bool:
            raise ArtefactError(f"{self.name}: {key}: expected true or false, got {value!s:.80}")
        return value

    def token(self, key: str) -> int | None:
        return None if self.get(key) is None else self.integer(key)

    def tokens(self, key: str) -> tuple[int, ...]:
        value = self.get(key)
        values = value if isinstance(value, list) else [] if value is None else [value]
        if any(type(i) is not int for i in values) or len(values) > 64:
            raise ArtefactError(f"{self.name}: {key}: expected token ids, got {value!s:.80}")
        return tuple(dict.fromkeys(values))

    def numbers(self, key: str, most: int) -> tuple[float, ...]:
        """A list of up to `most` numbers."""
        value = self.get(key)
        good = isinstance(value, list) and 0 < len(value) <= most
        if not good or any(isinstance(x, bool) or not isinstance(x, int | float) for x in value):
            raise ArtefactError(
                f"{self.name}: {key}: expected a list of 1 to {most} numbers, got {value!s:.80}"
            )
        return tuple(float(x) for x in value)

    def integers(self, key: str, most: int) -> tuple[int, ...] | None:
        """A list of up to `most` integers, or None."""
        value = self.get(key)
        if value is None:
            return None
        if (
            not isinstance(value, list)
            or len(value) > most
            or any(type(x) is not int for x in value)
        ):
            raise ArtefactError(
                f"{self.name}: {key}: expected a list of up to {most} integers, got {value!s:.80}"
            )
        return tuple(value)
