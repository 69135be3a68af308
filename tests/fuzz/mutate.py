"""Changes to an input that keep enough of its form to get past the first check."""

import json
import random
from typing import Any

NUMBERS = (
    0, 1, 2, 3, 7, 8, 16, 31, 32, 64, 127, 128, 255, 256, 4096, 65535, 65536, 1 << 20,
    (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1,
    -1, -2, -(1 << 31),
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    *NUMBERS, None, True, False, 0.0, -0.0, 0.5, 1e-300, 1e308, 1e6, "", "x" * 300, "\u0000",
    "\ud7ff", [], {}, [[]], [1, 2], [0], {"type": "linear"}, [1 << 62, 1 << 62], "linear", "yarn",
    "F32", "BF16", "I64", "U8", "F8_E4M3", "silu", "gelu", "full_attention", "sliding_attention",
)  # fmt: skip


def changed(target: str, data: bytes, draw: random.Random) -> bytes:
    """`data` with one to four changes, as suits the target's format."""
    if target == "safetensors":
        return _safetensors(data, draw)
    if target == "header":
        return data[:2] + _json(data[2:], draw)
    if target in ("config", "quantised"):
        return _json(data, draw)
    return _bytes(data, draw)


def _bytes(data: bytes, draw: random.Random) -> bytes:
    changed_data = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(changed_data) + 1)
        kind = draw.randrange(5)
        if kind == 0 and changed_data:
            changed_data[at - 1] ^= 1 << draw.randrange(8)
        elif kind == 1:
            width = draw.choice((1, 2, 4, 8))
            number = draw.choice(NUMBERS) % (1 << 8 * width)
            changed_data[at : at + width] = number.to_bytes(width, "little")
        elif kind == 2:
            del changed_data[at : at + draw.choice((1, 2, 4, 8, 64))]
        elif kind == 3:
            changed_data[at:at] = changed_data[: draw.choice((1, 4, 8, 32))]
        else:
            del changed_data[at:]
    return bytes(changed_data)


def _json(text: bytes, draw: random.Random) -> bytes:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return _bytes(text, draw)
    if draw.randrange(8) == 0:
        return _bytes(text, draw)
    for _ in range(draw.randint(1, 4)):
        tree = _edited(tree, draw)
    return json.dumps(tree).encode("utf-8", "surrogatepass")


def _edited(tree: Any, draw: random.Random) -> Any:
    """The tree with one value, somewhere, replaced, dropped, doubled or moved a little."""
    if not isinstance(tree, dict | list) or not tree or draw.randrange(6) == 0:
        return _other(tree, draw)
    if isinstance(tree, list):
        at = draw.randrange(len(tree))
        new = [_edited(tree[at], draw)]
        return tree[:at] + draw.choice((new, new, new, [], new * 2)) + tree[at + 1 :]
    key = draw.choice(sorted(tree))
    rest = {name: value for name, value in tree.items() if name != key}
    kind = draw.randrange(8)
    if kind == 0:
        return rest
    if kind == 1:
        return tree | {key + draw.choice(("_", "x", "\u0130")): tree[key]}
    if kind == 2:
        return tree | {key: tree[draw.choice(sorted(tree))]}
    return tree | {key: _edited(tree[key], draw)}


def _other(value: Any, draw: random.Random) -> Any:
    if type(value) is int and draw.randrange(2):
        return value + draw.choice((-8, -1, 1, 8, value, value * 31))
    return draw.choice(VALUES)


def _safetensors(data: bytes, draw: random.Random) -> bytes:
    stated = int.from_bytes(data[:8], "little")
    if len(data) < 8 or stated > len(data) - 8 or draw.randrange(4) == 0:
        return _bytes(data, draw)
    text = _json(data[8 : 8 + stated], draw)
    return len(text).to_bytes(8, "little") + text + data[8 + stated :]
