import pytest
import torch

from sparing.base.errors import ConfigError
from sparing.training.precision import cpu_flags, resolve


@pytest.mark.parametrize(
    ("flags", "bf16"),
    [
        ({"avx2"}, False),
        ({"avx2", "avx512f"}, False),
        ({"avx512_bf16"}, True),
        ({"amx_bf16"}, True),
    ],
)
def test_auto_takes_bf16_only_where_the_cpu_has_it(flags, bf16):
    found = resolve("auto", "cpu", flags=frozenset(flags))
    assert found.bf16 is bf16
    assert "bf16" in found.reason
    assert found.device.type == "cpu"


def test_what_was_asked_for_is_taken():
    assert resolve("bf16", "cpu", flags=frozenset()).bf16
    assert not resolve("fp32", "cpu", flags=frozenset({"amx_bf16"})).bf16


def test_autocast_follows_the_choice():
    x = torch.ones(2, 2)
    with resolve("bf16", "cpu").autocast():
        assert (x @ x).dtype == torch.bfloat16
    with resolve("fp32", "cpu").autocast():
        assert (x @ x).dtype == torch.float32


def test_flags_are_read_from_the_first_core(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nflags\t\t: fpu avx2 amx_bf16\n\nflags : other\n")
    assert cpu_flags(file) == {"fpu", "avx2", "amx_bf16"}
    assert cpu_flags(tmp_path / "absent") == frozenset()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_an_error():
    with pytest.raises(ConfigError, match="device"):
        resolve("auto", "cuda")
