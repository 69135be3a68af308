"""`sparing doctor` on this machine and on broken ones."""

import json
from pathlib import Path

import pytest

from sparing.base.errors import SparingError
from sparing.cli import doctor
from sparing.cli.main import main
from sparing.kernels import native
from sparing.kernels.choose import Choice
from sparing.measure import energy, machine

FIGURES = {
    "read_bytes_per_s_1": 8.5e9,
    "read_bytes_per_s": 9.0e9,
    "fp32_flops": 5.0e10,
    "idle_watts": None,
    "load_before": 0.2,
    "int8_ops": None,
    "bf16_flops": None,
}


@pytest.fixture(autouse=True)
def _sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that was measured and a library that was built."""
    monkeypatch.setenv("SPARING_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(machine, "_measure", lambda cores: dict(FIGURES))
    monkeypatch.setattr(native, "chosen", lambda: Choice("avx2", "the best"))
    peaks = {"int8_ops": 7.0e10, "bf16_flops": None}
    monkeypatch.setattr(doctor, "_peaks", lambda threads: peaks)


def findings(capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, dict[str, str]]:
    assert main(["doctor", "--json"]) == code
    tree = json.loads(capsys.readouterr().out)
    assert tree["ok"] == (code == 0)
    assert tree["machine"]["facts"]["cores"] >= 1
    return {finding["name"]: finding for finding in tree["findings"]}


def test_a_sound_machine(capsys: pytest.CaptureFixture[str]) -> None:
    found = findings(capsys)
    assert "9.0 GB/s (8.5 with one thread)" in found["speed"]["text"]
    assert "50 GFLOP/s, int8 70 GOP/s; measured" in found["speed"]["text"]
    assert found["kernels"]["text"] == "avx2: the best"
    assert {f"extra {name}" for name in doctor.EXTRAS} <= found.keys()
    assert main(["doctor"]) == 0
    assert "BROKEN" not in capsys.readouterr().out


def test_a_library_that_was_not_built(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent() -> Choice:
        raise SparingError("the native library cannot be loaded")

    monkeypatch.setattr(native, "chosen", absent)
    found = findings(capsys, code=1)
    assert found["kernels"]["state"] == "broken"
    assert "pip install" in found["kernels"]["fix"]
    assert main(["doctor"]) == 1
    assert "BROKEN" in capsys.readouterr().out


def test_an_instruction_set_that_cannot_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sparing.kernels.choose import choose

    monkeypatch.setattr(native, "chosen", lambda: choose(["reference"], "avx512"))
    found = findings(capsys, code=1)
    assert "SPARING_ISA" in found["kernels"]["fix"]


def test_a_home_that_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPARING_HOME", str(tmp_path / "file"))
    found = findings(capsys, code=1)
    assert "SPARING_HOME" in found["home"]["fix"]


def test_counters_that_may_not_be_read_name_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    why = "RAPL is there but not readable; run: sudo chmod a+r /x"
    monkeypatch.setattr(energy, "rapl_counters", lambda: ([], why))
    from sparing.measure import meter

    meter.system_meter.cache_clear()
    found = findings(capsys)
    meter.system_meter.cache_clear()
    assert found["energy"]["fix"] == "sudo chmod a+r /x"
    assert "estimated" in found["energy"]["text"]


def test_a_missing_extra_is_a_note_with_its_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(doctor.EXTRAS, "train", ("no_such_package", "pretrain"))
    found = findings(capsys)
    assert found["extra train"]["state"] == "note"
    assert found["extra train"]["fix"] == "pip install 'sparing[train]'"


def test_a_busy_machine_is_told_to_measure_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "_measure", lambda cores: FIGURES | {"load_before": 64.0})
    assert "--fresh" in findings(capsys)["speed"]["fix"]
    monkeypatch.setattr(machine, "_measure", lambda cores: dict(FIGURES))
    assert "--fresh" in findings(capsys)["speed"]["fix"]  # from the cache
    assert main(["doctor", "--fresh"]) == 0
    assert "--fresh" not in capsys.readouterr().out


def test_prices_and_carbon_as_stated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "measure.toml" in findings(capsys)["prices"]["fix"]
    path = tmp_path / "home" / "measure.toml"
    path.write_text('country = "SWE"\nelectricity_per_kwh = 0.2\n')
    assert "SWE" in findings(capsys)["prices"]["text"]
    path.write_text("pue = 0.1\n")
    assert "pue" in findings(capsys, code=1)["prices"]["text"]
