import pytest
import torch

from sparing.base.errors import ArtefactError, ConfigError
from sparing.training import checkpoint
from sparing.training.checkpoint import Checkpoint

RUN = {"steps": 9, "model": {"width": 16}, "data": "hash"}


def state(step):
    return Checkpoint(
        step=step,
        weights={"w": torch.full((2, 3), float(step))},
        optimiser={"m": torch.arange(4.0) * step, "steps": torch.tensor(step)},
        journal={"lines": [{"step": step}], "times": [{"seconds": 0.5}]},
    )


def test_the_newest_comes_back_whole(tmp_path):
    for step in (2, 10, 9):
        checkpoint.save(tmp_path, state(step), run=RUN, keep=5)
    found = checkpoint.latest(tmp_path, run=RUN)
    assert found.step == 10
    assert torch.equal(found.weights["w"], state(10).weights["w"])
    assert torch.equal(found.optimiser["m"], state(10).optimiser["m"])
    assert found.optimiser["steps"].dtype == torch.int64
    assert found.journal == state(10).journal


def test_only_the_newest_are_kept_and_a_step_may_be_saved_again(tmp_path):
    for step in (1, 2, 3, 3):
        checkpoint.save(tmp_path, state(step), run=RUN, keep=2)
    assert [step for step, _ in checkpoint.listed(tmp_path)] == [3, 2]
    assert checkpoint.latest(tmp_path, run=RUN).step == 3


@pytest.mark.parametrize("file", ["weights.safetensors", "trainer_state.json", "sparing.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_newest_falls_back_and_says_so(tmp_path, caplog, file, damage):
    for step in (4, 8):
        checkpoint.save(tmp_path, state(step), run=RUN, keep=2)
    path = tmp_path / "checkpoint-8" / file
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[:-3])
    else:
        path.unlink()
    assert checkpoint.latest(tmp_path, run=RUN).step == 4
    assert "checkpoint-8" in caplog.text
    assert "the checkpoint before" in caplog.text
    checkpoint.save(tmp_path, state(8), run=RUN, keep=2)
    assert checkpoint.latest(tmp_path, run=RUN).step == 8


def test_when_all_are_damaged_nothing_is_started_in_silence(tmp_path):
    checkpoint.save(tmp_path, state(4), run=RUN, keep=2)
    (tmp_path / "checkpoint-4" / "weights.safetensors").write_bytes(b"")
    with pytest.raises(ArtefactError, match="every checkpoint is damaged"):
        checkpoint.latest(tmp_path, run=RUN)
    assert (tmp_path / "checkpoint-4").exists()


def test_a_run_with_other_settings_is_refused_by_name(tmp_path):
    checkpoint.save(tmp_path, state(4), run=RUN, keep=2)
    with pytest.raises(ConfigError, match="steps: expected 9"):
        checkpoint.latest(tmp_path, run=RUN | {"steps": 12})


def test_an_empty_or_absent_folder_has_none(tmp_path):
    assert checkpoint.latest(tmp_path, run=RUN) is None
    assert checkpoint.latest(tmp_path / "absent", run=RUN) is None


def test_a_write_that_fails_leaves_the_one_before(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, state(4), run=RUN, keep=1)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(tmp_path, state(8), run=RUN, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-4"]
    assert checkpoint.latest(tmp_path, run=RUN).step == 4
