"""The safetensors reader and writer against the official package."""

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from sparing.base.errors import ArtefactError
from sparing.models.tensor_file import Tensor, TensorFile, write_tensors

KINDS = {"U8": "u1", "I8": "i1", "I16": "i2", "U16": "u2", "F16": "f2", "I32": "i4", "U32": "u4"}
KINDS |= {"F32": "f4", "I64": "i8", "U64": "u8", "F64": "f8"}


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    made = {kind: rng.integers(0, 100, (3, 5)).astype(kind) for kind in KINDS.values()}
    return made | {"empty": np.zeros((0, 4), np.float32), "scalar": np.array(2.5, np.float32)}


def test_what_the_package_wrote(tmp_path: Path) -> None:
    save_file(arrays(), tmp_path / "a.safetensors", metadata={"format": "pt"})
    file = TensorFile.open(tmp_path / "a.safetensors")
    assert file.stored.keys() == arrays().keys()
    for name, array in arrays().items():
        read = file.array(name)
        assert read.dtype == array.dtype
        assert np.array_equal(read, array)
        assert read.flags.aligned


def test_what_the_package_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    named = {kind: dtype for dtype, kind in KINDS.items()}
    tensors = {n: Tensor(named.get(n, "F32"), array) for n, array in arrays().items()}
    data_bytes = write_tensors(path, tensors.items())
    assert data_bytes == sum(array.nbytes for array in arrays().values())
    with safe_open(path, "np") as file:
        assert set(file.keys()) == arrays().keys()
        for name, array in arrays().items():
            assert np.array_equal(file.get_tensor(name), array)
    assert all(
        entry.start % 8 == 0
        for entry in TensorFile.open(path).stored.values()
        if entry.dtype in ("F64", "I64", "U64")
    )


def test_arrays_are_views_of_the_file_and_read_only(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, [("a", Tensor("F32", np.ones((4, 4), np.float32)))])
    array = TensorFile.open(path).array("a")
    assert not array.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_what_is_let_go_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    want = np.arange(1 << 22, dtype=np.float32).reshape(2048, 2048)
    write_tensors(path, [("a", Tensor("F32", want))])
    file = TensorFile.open(path)
    array = file.array("a")
    total = array.sum(dtype=np.float64)  # all of it is in memory now
    before = resident_kib()
    file.let_go()
    assert before - resident_kib() > want.nbytes // 1024 // 2
    assert array.sum(dtype=np.float64) == total


def resident_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def test_unaligned_arrays_are_copied(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    header += b" " * (3 - len(header) % 4)
    values = np.array([1.5, -2.0], np.float32)
    path.write_bytes(len(header).to_bytes(8, "little") + header + values.tobytes())
    array = TensorFile.open(path).array("a")
    assert array.flags.aligned
    assert np.array_equal(array, values)


def test_a_dtype_without_numbers_is_refused_when_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, [("a", Tensor("F8_E4M3", np.ones(4, np.uint8)))])
    file = TensorFile.open(path)
    with pytest.raises(ArtefactError, match="F8_E4M3 is not supported"):
        file.array("a")


def test_a_file_without_tensors(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, [])
    assert not TensorFile.open(path).stored
