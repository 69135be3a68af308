"""Files of packed weights: what is written comes back, and nothing that lies is believed."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparing.base.errors import ArtefactError, ShapeError
from sparing.kernels import native
from sparing.kernels.formats import Float32, Int4, Packed
from sparing.models.packed_file import MAGIC, parse_packed, read_packed, write_packed

SHAPES = {"a": (20, 64), "b": (3, 5)}
LAYOUT, SOURCE = native.packed_layout(), "0" * 64


def matrices() -> dict[str, Packed]:
    draw = np.random.default_rng(0)
    codes = draw.integers(0, 256, (20, 32), dtype=np.uint8)
    a = Int4(codes, draw.normal(size=(20, 2)).astype(np.float32))
    b = Float32(draw.normal(size=(3, 5)).astype(np.float32))
    packed = {"a": native.pack(a), "b": native.pack(b)}
    return {name: matrix for name, matrix in packed.items() if matrix is not None}


def written() -> bytes:
    file = io.BytesIO()
    write_packed(file, LAYOUT, SOURCE, matrices().items())
    return file.getvalue()


def changed(change: "Change") -> bytes:
    """The file with its table passed through `change`."""
    data = written()
    count = int.from_bytes(data[-24:-16], "little")
    tree = json.loads(data[-24 - count : -24])
    change(tree)
    table = json.dumps(tree).encode()
    return data[: -24 - count] + table + len(table).to_bytes(8, "little") + MAGIC


def test_what_is_written_comes_back_mapped(tmp_path: Path) -> None:
    path = tmp_path / "weights.packed"
    path.write_bytes(written())
    found = read_packed(path, LAYOUT, SOURCE, SHAPES)
    assert found.keys() == SHAPES.keys()
    for name, matrix in matrices().items():
        assert found[name].form == matrix.form
        assert np.array_equal(found[name].data, matrix.data)
        assert not found[name].data.flags.writeable
        assert found[name].data.ctypes.data % 64 == 0


@pytest.mark.parametrize("keep", [0, 10, 16, 40, 4000, 5000, -1])
def test_a_file_cut_short_is_refused(keep: int) -> None:
    with pytest.raises(ArtefactError, match=r"cut short|no packed|room"):
        parse_packed(written()[:keep], "file", LAYOUT, SOURCE, SHAPES)


Change = Callable[[dict[str, Any]], Any]


def entry(index: int, value: object) -> Change:
    def change(tree: dict[str, Any]) -> None:
        tree["tensors"]["a"][index] = value

    return change


LIES: dict[str, Change] = {
    "rows": entry(1, 21),
    "huge": entry(1, 1 << 40),
    "columns": entry(2, 128),
    "group": entry(3, 48),
    "zero": entry(3, 0),
    "word": entry(1, "20"),
    "start": entry(6, 8192),
    "negative": entry(6, -4096),
    "stop": entry(7, 1 << 62),
    "empty": entry(7, 4096),
    "layout": lambda tree: tree.update(layout="other-1"),
    "source": lambda tree: tree.update(source="1" * 64),
    "extra": lambda tree: tree.update(more=1),
    "list": lambda tree: tree.update(tensors=[]),
    "unknown": lambda tree: tree["tensors"].update(c=tree["tensors"].pop("b")),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_are_refused(lie: str) -> None:
    with pytest.raises(ArtefactError):
        parse_packed(changed(LIES[lie]), "file", LAYOUT, SOURCE, SHAPES)


def test_the_library_refuses_bytes_that_do_not_fit_the_extents() -> None:
    data = written()
    short = parse_packed(changed(entry(7, 4096 + 64)), "file", LAYOUT, SOURCE, SHAPES)
    whole = parse_packed(data, "file", LAYOUT, SOURCE, SHAPES)
    native.Map(whole["a"])
    with pytest.raises(ShapeError, match="as many bytes"):
        native.Map(short["a"])
