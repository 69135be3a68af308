"""Settings: frozen dataclasses from defaults, one TOML file and dotted overrides."""

import dataclasses
import tomllib
import types
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from sparing.base.errors import ConfigError

C = TypeVar("C")
_WORDS = {"true": True, "yes": True, "on": True, "1": True}
_WORDS |= {"false": False, "no": False, "off": False, "0": False}


def nearest(word: str, known: Any) -> str:
    """The tail of an error message that names the nearest known word, or nothing."""
    near = get_close_matches(word, [str(name) for name in known], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a tree.  Errors: ConfigError when absent, not UTF-8 or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None


def override(tree: dict[str, Any], overrides: Mapping[str, str]) -> dict[str, Any]:
    """Put `a.b.c=text` into the tree, in place; the values stay text until a class parses them."""
    for dotted, text in overrides.items():
        *parents, leaf = dotted.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ConfigError(f"{dotted}: {parent} is a value, not a section")
        node[leaf] = text
    return tree


def load(cls: type[C], path: Path | None, overrides: Mapping[str, str]) -> C:
    """Build `cls` from its defaults, then a TOML file, then `key=value` overrides.

    Errors: ConfigError for an unknown key (the nearest is named) or a value that does not parse.
    """
    return build(cls, override(read_toml(path) if path else {}, overrides))


def build(cls: type[C], tree: Mapping[str, Any], prefix: str = "") -> C:
    """A `cls` from a tree of plain values.  Errors: as `load`; a missing field is named."""
    hints = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in tree.keys() - fields.keys():
        raise ConfigError(f"{prefix}{key}: no such setting{nearest(str(key), fields)}")
    for name, field in fields.items():
        has_default = (
            field.default is not dataclasses.MISSING
            or field.default_factory is not dataclasses.MISSING
        )
        if name not in tree and not has_default:
            raise ConfigError(f"{prefix}{name}: required, but not given")
    return cls(**{key: parse(hints[key], value, prefix + key) for key, value in tree.items()})


def parse(kind: Any, value: Any, name: str) -> Any:
    """`value` (from TOML, or text from the command line) as `kind`.  Errors: ConfigError."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _optional(arguments, value, name)
    if origin is Literal:
        if value in arguments:
            return value
        raise ConfigError(
            f"{name}: expected one of {', '.join(map(str, arguments))}, got {value!r}"
            + nearest(str(value), arguments)
        )
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)):
            raise ConfigError(f"{name}: expected a list, got {value!r}")
        return tuple(parse(arguments[0], item, f"{name}[{i}]") for i, item in enumerate(items))
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if isinstance(value, kind):
            return value
        if isinstance(value, Mapping):
            return build(kind, value, prefix=name + ".")
        raise ConfigError(f"{name}: expected a section, got {value!r}")
    return _scalar(kind, value, name)


def _optional(arguments: tuple[Any, ...], value: Any, name: str) -> Any:
    kinds = [kind for kind in arguments if kind is not type(None)]
    if value is None or (value == "none" and len(kinds) < len(arguments)):
        return None
    for kind in kinds[:-1]:
        try:
            return parse(kind, value, name)
        except ConfigError:
            continue
    return parse(kinds[-1], value, name)


def _scalar(kind: Any, value: Any, name: str) -> Any:
    if kind is Path and isinstance(value, (str, Path)):
        return Path(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is Any or type(value) is kind:
        return value
    if isinstance(value, str):
        try:
            if kind is bool:
                return _WORDS[value.lower()]
            if kind in (int, float):
                return kind(value.replace("_", ""))
        except (KeyError, ValueError):
            pass
    raise ConfigError(f"{name}: expected {getattr(kind, '__name__', kind)}, got {value!r}")


def to_tree(settings: Any) -> dict[str, Any]:
    """The plain tree that `build` turns back into an equal object; None fields are left out."""
    return {
        field.name: _plain(value)
        for field in dataclasses.fields(settings)
        if (value := getattr(settings, field.name)) is not None
    }


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_tree(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value
