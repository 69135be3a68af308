"""Typed access to a JSON object from a stranger's folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sparing.base.errors import ArtefactError


@dataclass(frozen=True, slots=True)
class Fields:
    """Typed access to a JSON object; null counts as absent."""

    tree: Mapping[str, Any]
    name: str

    def integer(self, key: str, default: int | None = None) -> int:
        value = self.tree.get(key)
        if value is None and default is not None:
            return default
        if type(value) is not int:
            raise ArtefactError(f"{self.name}: {key}: expected an integer, got {value!s:.80}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.tree.get(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ArtefactError(f"{self.name}: {key}: expected a number, got {value!s:.80}")
        return float(value)

    def maybe(self, key: str) -> float | None:
        return None if self.tree.get(key) is None else self.number(key)

    def boolean(self, key: str, *, default: bool = False) -> bool:
        value = self.tree.get(key)
        if value is None:
            return default
        if type(value) is not bool:
            raise ArtefactError(f"{self.name}: {key}: expected true or false, got {value!s:.80}")
        return value

    def token(self, key: str) -> int | None:
        return None if self.tree.get(key) is None else self.integer(key)

    def tokens(self, key: str) -> tuple[int, ...]:
        value = self.tree.get(key)
        values = value if isinstance(value, list) else [] if value is None else [value]
        if any(type(i) is not int for i in values) or len(values) > 64:
            raise ArtefactError(f"{self.name}: {key}: expected token ids, got {value!s:.80}")
        return tuple(dict.fromkeys(values))
