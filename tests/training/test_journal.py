import json

from sparing.training.journal import Journal


def test_lines_written_after_the_state_was_taken_are_forgotten(tmp_path):
    live = tmp_path / "metrics.jsonl"
    first = Journal(live)
    first.write({"step": 1, "loss": 3.5}, seconds=1.0, tokens_per_s=10.0)
    state = json.loads(json.dumps(first.state()))
    first.write({"step": 2, "loss": 3.25}, seconds=2.0, tokens_per_s=10.0)
    with live.open("a") as file:
        file.write('{"step": 3, "lo')  # killed while writing
    again = Journal(live, state)
    again.write({"step": 2, "loss": 3.25}, seconds=7.0, tokens_per_s=4.0)
    assert again.text() == first.text()
    assert [json.loads(line)["step"] for line in live.read_text().splitlines()] == [1, 2]
    assert json.loads(live.read_text().splitlines()[1])["seconds"] == 7.0


def test_times_stand_apart(tmp_path):
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.write({"step": 5, "loss": 2.0}, seconds=1.23456, tokens_per_s=99.96)
    assert "seconds" not in journal.text()
    assert journal.timing() == {"step": [5], "seconds": [1.235], "tokens_per_s": [100.0]}
    assert journal.seconds == 1.235
