"""Published tensors as ours and back: rows cut and joined, maps turned, norms shifted by one."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from sparing.base.errors import ConfigError
from sparing.kernels.formats import BFloat16, Float32, Weight
from sparing.models.names import Part, Rows


def ours(weight: Weight, part: Part) -> Weight:
    """Our tensor from the published one; a view where the rows are whole and in order."""
    if part.transposed:
        weight = _turned(weight)
    if part.rows is not None:
        weight = _cut(weight, part.rows)
    if part.plus_one:
        return Float32(weight.dequantise() + np.float32(1.0))
    return weight


def theirs(pieces: Sequence[tuple[Part, Weight]]) -> Weight:
    """The published tensor from our pieces of it, all of them.

    Errors: ConfigError when they are of several formats, or quantised where outputs are columns.
    """
    ordered = sorted(pieces, key=lambda piece: piece[0].rows.begin if piece[0].rows else 0)
    part, weight = ordered[0]
    if part.rows is not None:
        weight = _join([weight for _, weight in ordered], part)
    if part.transposed:
        if not isinstance(weight, Float32 | BFloat16):
            raise ConfigError(
                f"{part.published}: stands as [inputs, outputs], which has no quantised form"
            )
        weight = _turned(weight)
    if part.plus_one:
        return Float32(weight.dequantise() - np.float32(1.0))
    return weight


def _turned(weight: Weight) -> Weight:
    if isinstance(weight, BFloat16):
        return BFloat16(np.ascontiguousarray(weight.bits_ZD.T))
    return Float32(np.ascontiguousarray(weight.dequantise().T))


def _cut(weight: Weight, rows: Rows) -> Weight:
    """The rows of any record, field by field: each field's first dimension is the rows."""
    arrays = {item.name: getattr(weight, item.name) for item in fields(weight)}
    cut: dict[str, Any] = {
        name: None if array is None else _some(array, rows) for name, array in arrays.items()
    }
    return replace(weight, **cut)


def _some(array: np.ndarray, rows: Rows) -> np.ndarray:
    runs = array.reshape(-1, rows.period, *array.shape[1:])[:, rows.begin : rows.end]
    return np.ascontiguousarray(runs.reshape(-1, *array.shape[1:]))


def _join(weights: Sequence[Weight], part: Part) -> Weight:
    """Runs of rows of each record in turn, field by field."""
    kind, rows = type(weights[0]), part.rows
    assert rows is not None
    names = [item.name for item in fields(kind)]
    given = [[getattr(weight, name) is None for name in names] for weight in weights]
    if any(type(weight) is not kind for weight in weights) or any(g != given[0] for g in given):
        raise ConfigError(f"{part.published}: expected all parts of it in one format")
    total = part.shape[-1] if part.transposed else part.shape[0]
    runs = total // rows.period
    joined: dict[str, Any] = {}
    for name in names:
        arrays = [getattr(weight, name) for weight in weights]
        if arrays[0] is None:
            joined[name] = None
            continue
        if len({array.shape[1:] for array in arrays}) > 1:
            raise ConfigError(f"{part.published}: expected all parts of it in groups of one length")
        split = [array.reshape(runs, -1, *array.shape[1:]) for array in arrays]
        joined[name] = np.concatenate(split, axis=1).reshape(total, *arrays[0].shape[1:])
    return replace(weights[0], **joined)
