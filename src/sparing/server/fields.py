"""Checks of single fields: each takes a value and its name, and returns the value or refuses."""

from collections.abc import Callable, Mapping
from typing import Any

from sparing.base.config import nearest
from sparing.base.errors import RequestError

Check = Callable[[Any, str], Any]


def wrong(name: str, expected: str, got: Any) -> RequestError:
    """The refusal of a value: the field, the rule, and what came (shortened)."""
    shown = repr(got)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return RequestError(f"{name}: expected {expected}, got {shown}", param=name)


def boolean(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise wrong(name, "true or false", value)
    return value


def integer(low: int, high: int) -> Check:
    """Whole numbers in [low, high]; true, 1.0 and "1" are refused."""

    def check(value: Any, name: str) -> int:
        if type(value) is not int or not low <= value <= high:
            raise wrong(name, f"a whole number from {low} to {high}", value)
        return value

    return check


def number(low: float, high: float, *, above: bool = False) -> Check:
    """Numbers in [low, high], or in (low, high] with `above`."""

    def check(value: Any, name: str) -> float:
        fits = type(value) in (int, float) and low <= value <= high
        if not fits or (above and value == low):
            raise wrong(name, f"a number {'above' if above else 'from'} {low} to {high}", value)
        return float(value)

    return check


def text(most_chars: int, *, empty: bool = True) -> Check:
    """Strings that are valid Unicode, up to a length."""

    def check(value: Any, name: str) -> str:
        if not isinstance(value, str):
            raise wrong(name, "a string", value)
        if len(value) > most_chars or not (value or empty):
            least = 0 if empty else 1
            raise wrong(name, f"{least} to {most_chars} characters", f"{len(value)} characters")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise wrong(name, "valid Unicode", "a lone surrogate") from None
        return value

    return check


def several(check: Check, most: int, *, least: int = 0) -> Check:
    """Lists of `least` to `most` elements that each pass."""

    def whole(value: Any, name: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise wrong(name, "a list", value)
        if not least <= len(value) <= most:
            raise wrong(name, f"{least} to {most} elements", f"{len(value)} elements")
        return tuple(check(item, f"{name}[{at}]") for at, item in enumerate(value))

    return whole


def only(*neutral: Any, why: str) -> Check:
    """Fields that we would have to ignore: accepted only where ignoring changes nothing."""

    def check(value: Any, name: str) -> None:
        if not any(type(value) is type(known) and value == known for known in neutral):
            raise RequestError(
                f"{name}: {why}; leave it out", param=name, code="unsupported_parameter"
            )

    return check


def record(table: Mapping[str, Check]) -> Check:
    """Objects with the fields of `table` and no others."""

    def check(value: Any, name: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise wrong(name, "an object", value)
        return checked(value, table, prefix=f"{name}.")

    return check


def checked(tree: Mapping[str, Any], table: Mapping[str, Check], prefix: str = "") -> dict:
    """The present fields of `tree`, each checked; null counts as absent.

    Errors:
        RequestError: an unknown field (the nearest known one is named) or a refused value.
    """
    for key in tree:
        if key not in table:
            name = prefix + key[:60]
            raise RequestError(
                f"{name}: no such field{nearest(key[:60], table)}",
                param=name,
                code="unknown_parameter",
            )
    return {
        key: table[key](value, prefix + key) for key, value in tree.items() if value is not None
    }
