"""The compiled library: weight records in, errors with names out, no arithmetic of its own."""

import importlib
import os
from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Any, Literal

import numpy as np

from sparing.base.errors import CapacityError, ShapeError, SparingError
from sparing.kernels.choose import Choice, choose, wanted
from sparing.kernels.formats import BFloat16, Float32, Int3, Int4, Int8, Packed, Weight

Activations = Literal["int8", "exact"]


@cache
def library() -> ModuleType:
    """The extension module.  Errors: SparingError when it was not built."""
    try:
        return importlib.import_module("sparing.kernels._native")
    except ImportError as error:
        raise SparingError(
            f"the native library cannot be loaded ({error}); run `pip install .` in the source tree"
        ) from error


@cache
def chosen() -> Choice:
    """The instruction set of this process, from `SPARING_ISA` or the processor."""
    return choose(library().isas(), wanted())


def isa() -> str:
    """Name of the instruction set that models of this process use."""
    return chosen().isa


def processors() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Map:
    """One weight as a model holds it, with threads of its own: for tests and measurements."""

    def __init__(
        self,
        weight: Weight | Packed,
        *,
        isa: str | None = None,
        activations: Activations = "int8",
        threads: int = 1,
    ) -> None:
        """Errors: ShapeError for a record that the library does not take."""
        self.shape = weight.shape
        with named_errors():
            self._map = library().Map(isa or chosen().isa, activations, threads, *_parts(weight))

    def multiply(self, x_ND: np.ndarray, y_NZ: np.ndarray, *, add: bool = False) -> None:
        """y = x W^T, or added to y."""
        with named_errors():
            self._map.multiply(x_ND, y_NZ, add)

    def decode(self, row: int) -> np.ndarray:
        """One row of the weight in float32."""
        row_D = np.empty(self.shape[1], np.float32)
        with named_errors():
            self._map.decode(row, row_D)
        return row_D


def linear(
    weight: Weight | Packed,
    x_ND: np.ndarray,
    *,
    isa: str | None = None,
    activations: Activations = "exact",
) -> np.ndarray:
    """As `reference.linear` without a bias, for a weight record; one thread."""
    y_NZ = np.empty((len(x_ND), weight.shape[0]), np.float32)
    Map(weight, isa=isa, activations=activations).multiply(x_ND, y_NZ)
    return y_NZ


def packed_layout(isa: str | None = None) -> str:
    """Name and version of how packed weights lie for an instruction set; part of a cache's key."""
    with named_errors():
        return library().packed_layout(isa or chosen().isa)


def pack(weight: Weight, isa: str | None = None) -> Packed | None:
    """The record as int8 activations want it; None for vectors and for groups not packed.

    A model packs what it is given by itself. Packing ahead is for keeping the result in a file.
    """
    if len(weight.shape) == 1:
        return None
    isa = isa or chosen().isa
    with named_errors():
        form, count = library().packed_form(isa, *_parts(weight))
        if count == 0:
            return None
        data = np.empty(count, np.uint8)
        library().pack_into(isa, *_parts(weight), data)
    return Packed(data, *form)


def rms_norm(x_ND: np.ndarray, weight_D: np.ndarray, eps: float) -> np.ndarray:
    """As `reference.rms_norm`."""
    y_ND = np.empty_like(x_ND)
    with named_errors():
        library().rms_norm(x_ND, weight_D, eps, y_ND)
    return y_ND


def layer_norm(
    x_ND: np.ndarray, weight_D: np.ndarray, bias_D: np.ndarray, eps: float
) -> np.ndarray:
    """As `reference.layer_norm`."""
    y_ND = np.empty_like(x_ND)
    with named_errors():
        library().layer_norm(x_ND, weight_D, bias_D, eps, y_ND)
    return y_ND


def activation(
    x_M: np.ndarray, up_M: np.ndarray | None = None, *, kind: str, isa: str | None = None
) -> np.ndarray:
    """As `reference.activation` of `kind` for one row, times `up_M` where there is one."""
    out_M = x_M.copy()
    with named_errors():
        library().activation(isa or chosen().isa, kind, out_M, up_M)
    return out_M


def draw(logits_LV: np.ndarray, draws: tuple[np.ndarray, ...], *, isa: str | None = None) -> None:
    """Draw from each row by the rules of `draws` (`DrawArrays.of(L)`), into its results.

    Meaning:  `sparing.engine.sampling`; penalised logits are rounded to float32.
    Errors:   ShapeError for a rule or an earlier token out of range.
    """
    with named_errors():
        library().draw(isa or chosen().isa, 1, logits_LV, *draws)


class NativeModel:
    """A decoder's weights, paged cache and threads in C++; one forward call at a time.

    A model must not be used in a process forked after it was made.
    """

    def __init__(
        self,
        traits: Mapping[str, Any],
        weights: Mapping[str, Weight | Packed],
        *,
        threads: int,
        activations: Activations = "int8",
    ) -> None:
        """`traits` are the fields of the C++ `DecoderShape`.

        Products with quantised weights round the rows that they meet to int8, a function of the
        row alone, or keep them in float32 when `activations` is "exact".

        A weight is asked for once, packed for this instruction set, and let go; what stays as it is
        (exact activations, an embedding that is no head, packed records) is referred to.

        Errors: ShapeError naming a trait, or a weight that is missing, unknown or misshapen.
        """
        self.isa = chosen().isa
        with named_errors():
            self._model = library().Model(dict(traits), self.isa, threads, activations)
            fill(self._model, weights)

    @property
    def threads(self) -> int:
        """Threads that share a forward call, the caller's among them."""
        return self._model.threads

    def make_cache(self, blocks: int, block_tokens: int, kv_dtype: str) -> None:
        """Set aside zeroed keys and values; memory is taken as blocks are first written.

        Errors: CapacityError when the machine cannot, ShapeError for extents without sense.
        """
        with named_errors():
            self._model.make_cache(blocks, block_tokens, kv_dtype)

    def forward(
        self,
        ids_N: np.ndarray,
        positions_N: np.ndarray,
        starts_R1: np.ndarray,
        blocks_RP: np.ndarray,
        logit_rows_L: np.ndarray,
        out_LV: np.ndarray,
        lengths_R: np.ndarray | None = None,
    ) -> None:
        """Write the rows' keys and values into their blocks and fill `out_LV`.

        Errors: ShapeError when an array has another type or shape, or asks for anything outside
            the vocabulary, the context or the cache.  Nothing is computed then.
        """
        with named_errors():
            self._model.forward(
                ids_N, positions_N, starts_R1, blocks_RP, logit_rows_L, out_LV, lengths_R
            )

    def step(
        self,
        ids_N: np.ndarray,
        positions_N: np.ndarray,
        starts_R1: np.ndarray,
        blocks_RP: np.ndarray,
        logit_rows_L: np.ndarray,
        out_LV: np.ndarray,
        draws: tuple[np.ndarray, ...],
        lengths_R: np.ndarray | None = None,
    ) -> None:
        """`forward`, and a draw from each row of `out_LV`; `draws` is `DrawArrays.of(L)`.

        Errors: as `forward`, and ShapeError for a rule out of range.
        """
        with named_errors():
            self._model.step(
                ids_N, positions_N, starts_R1, blocks_RP, logit_rows_L, out_LV, *draws, lengths_R
            )


class named_errors:
    """The library's refusals as errors of ours."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind in (ValueError, IndexError, KeyError):
            raise ShapeError(str(error)) from None
        if kind is MemoryError:
            raise CapacityError("this machine has not as much memory as was asked for") from None
        if kind in (TypeError, RuntimeError):
            first = str(error).splitlines()[0] if str(error) else "wrong arguments"
            raise ShapeError(
                f"native call: expected contiguous arrays of the documented types; {first}"
            ) from None


Parts = tuple[str, np.ndarray, np.ndarray | tuple | None, np.ndarray | None]


def fill(model: Any, weights: Mapping[str, Weight | Packed]) -> int:
    """Hand a library's model its weights one by one; how many bytes they were."""
    filled = 0
    for name, weight in weights.items():
        filled += weight.nbytes
        model.set_weight(name, *_parts(weight))
    model.finish()
    return filled


def _parts(weight: Weight | Packed) -> Parts:
    """Kind, numbers, scales and offsets of a record for the library; vectors become float32."""
    if isinstance(weight, Packed):
        return "packed", weight.data, weight.form, None
    if len(weight.shape) == 1:
        return "fp32", _aligned(weight.dequantise()), None, None
    if isinstance(weight, Float32):
        return "fp32", _aligned(weight.array_ZD), None, None
    if isinstance(weight, BFloat16):
        return "bf16", _aligned(weight.bits_ZD), None, None
    offset_ZJ = None if weight.offset_ZJ is None else _aligned(weight.offset_ZJ)
    kind = {Int8: "int8", Int4: "int4", Int3: "int3"}[type(weight)]
    data = weight.code_ZD if isinstance(weight, Int8) else weight.packed
    return kind, _aligned(data), _aligned(weight.scale_ZJ), offset_ZJ


def _aligned(array: np.ndarray) -> np.ndarray:
    return np.require(array, requirements=("C", "A"))
