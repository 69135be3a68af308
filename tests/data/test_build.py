"""The corpus stage: what goes in, what stays, equal bytes however the run went."""

import gzip
import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from sparing.base.errors import ArtefactError, ConfigError
from sparing.base.files import open_artefact, verify_artefact
from sparing.data.build import build_corpus
from sparing.data.config import DataConfig
from sparing.data.parquet import documents

SENTENCE = "the old harbour slept while nets dried in the wind and boats waited for evening tide"
WORDS = SENTENCE.split()


def _prose(number, sentences=40):
    source = random.Random(number)
    lines = [
        " ".join(source.choices(WORDS, k=9)) + f" {source.getrandbits(40):x}."
        for _ in range(sentences)
    ]
    return "\n".join(lines) + "\n"


def _source(root, files=60):
    """A folder with prose, code, Markdown and records, planted duplicates among them."""
    (root / "deep").mkdir(parents=True)
    for number in range(files):
        (root / f"prose-{number:03}.txt").write_text(_prose(number))
        code = f"def f{number}(x):\n    return x + {number}\n\n\n" + _prose(number + 5000, 3)
        (root / "deep" / f"code-{number:03}.py").write_text(code)
    (root / "copy.txt").write_text((root / "prose-003.txt").read_text())
    (root / "near.md").write_text((root / "prose-004.txt").read_text() + "One more line here.\n")
    records = [json.dumps({"text": _prose(number + 9000, 8)}) for number in range(50)]
    (root / "records.jsonl.gz").write_bytes(gzip.compress("\n".join(records).encode()))
    return root


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return _source(tmp_path_factory.mktemp("source") / "in")


def _config(source, **changes):
    return DataConfig(sources=(str(source),), part_bytes=8192, heldout_fraction=0.1, **changes)


@pytest.fixture(scope="module")
def corpus(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("corpus") / "corpus"
    build_corpus(_config(source), out)
    return out


def _manifest(corpus):
    return json.loads((corpus / "manifest.json").read_text())


def _steps(corpus):
    return {step["step"]: step for step in _manifest(corpus)["steps"]}


def test_planted_duplicates_go_and_the_first_stays(corpus):
    sources = [
        s for split in ("train", "heldout") for (s,) in documents(corpus, split, ("source",))
    ]
    assert len(sources) == len(set(sources)) == 60 + 60 + 50
    assert "in/copy.txt" in sources  # before in/prose-003.txt, which repeats it
    assert "in/prose-003.txt" not in sources
    assert "in/near.md" in sources
    assert "in/prose-004.txt" not in sources
    steps = _steps(corpus)
    assert steps["exact duplicates"]["dropped"] == {"repeats an earlier document": 1}
    assert steps["near duplicates"]["dropped"] == {"repeats an earlier document": 1}
    assert steps["near duplicates"]["samples"] == {
        "repeats an earlier document": ["in/prose-004.txt"]
    }


def test_counts_of_neighbouring_steps_agree(corpus):
    steps = _manifest(corpus)["steps"]
    assert [step["step"] for step in steps] == [
        "find",
        "read",
        "normalise",
        "filter",
        "exact duplicates",
        "near duplicates",
    ]
    for before, after in itertools.pairwise(steps[1:]):
        assert (before["out"], before["bytes_out"]) == (after["in"], after["bytes_in"])
    for step in steps:
        assert step["in"] - step["out"] == sum(step["dropped"].values())
    splits = _manifest(corpus)["splits"]
    assert steps[-1]["out"] == sum(split["documents"] for split in splits.values())
    assert steps[-1]["bytes_out"] == sum(split["bytes"] for split in splits.values())


def test_rows_say_what_they_are(corpus):
    for split in ("train", "heldout"):
        for text, source, kind, digest in documents(
            corpus, split, ("text", "source", "kind", "hash")
        ):
            assert hashlib.sha256(text.encode()).hexdigest() == digest
            assert kind == (
                "code"
                if source.endswith(".py")
                else "markdown"
                if source.endswith(".md")
                else "text"
            )
    assert 0 < _manifest(corpus)["splits"]["heldout"]["documents"] < 45


def test_equal_bytes_for_every_way_to_run(source, corpus, tmp_path):
    stated = open_artefact(corpus)
    assert verify_artefact(corpus) is None
    build_corpus(_config(source), tmp_path / "again")
    build_corpus(_config(source, workers=2), tmp_path / "two")
    for name in ("again", "two"):
        assert open_artefact(tmp_path / name).content_hash == stated.content_hash
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "two"]  # no work left


def test_the_size_of_parts_changes_nothing(source, corpus, tmp_path):
    config = DataConfig(sources=(str(source),), heldout_fraction=0.1)
    build_corpus(config, tmp_path / "one-part")
    assert open_artefact(tmp_path / "one-part").content_hash == open_artefact(corpus).content_hash


def test_a_finished_corpus_is_returned_with_resume_and_refused_without(source, corpus):
    before = {path: path.stat().st_mtime_ns for path in corpus.iterdir()}
    assert build_corpus(_config(source), corpus, resume=True).artefact == corpus
    with pytest.raises(ArtefactError, match="exists already"):
        build_corpus(_config(source), corpus)
    with pytest.raises(ArtefactError, match="exists already"):
        build_corpus(_config(source, seed=1), corpus, resume=True)
    assert {path: path.stat().st_mtime_ns for path in corpus.iterdir()} == before


def test_a_stopped_run_is_not_resumed_with_other_settings(source, tmp_path, monkeypatch):
    from sparing.data import build

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "_assemble", stop)
    with pytest.raises(KeyboardInterrupt):
        build_corpus(_config(source), tmp_path / "c")
    assert not (tmp_path / "c").exists()
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="without --resume"):
        build_corpus(_config(source, seed=1), tmp_path / "c", resume=True)
    build_corpus(_config(source, seed=1), tmp_path / "c")


def test_finished_parts_are_not_read_again(source, corpus, tmp_path, monkeypatch):
    from sparing.data import build

    made = []
    real = build.sieve

    def counted(part, config, work):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(part.number)
        real(part, config, work)

    monkeypatch.setattr(build, "sieve", counted)
    with pytest.raises(KeyboardInterrupt):
        build_corpus(_config(source), tmp_path / "c")
    made.append("stopped")
    build_corpus(_config(source), tmp_path / "c", resume=True)
    assert made[:5] == [0, 1, 2, "stopped", 3]
    assert open_artefact(tmp_path / "c").content_hash == open_artefact(corpus).content_hash


def test_a_subset_is_chosen_by_hash(source, tmp_path):
    build_corpus(_config(source, max_bytes=60_000), tmp_path / "c")
    steps = _steps(tmp_path / "c")
    assert steps["find"]["dropped"]["over max_bytes"] > 10
    assert steps["read"]["bytes_in"] < 90_000  # records of gz weigh more unpacked


def test_steps_that_remove_nothing_or_everything_say_so(source, tmp_path, caplog):
    (tmp_path / "in").mkdir()
    for number in range(5):
        (tmp_path / "in" / f"{number}.txt").write_text(_prose(number))
    with caplog.at_level("WARNING", logger="sparing.data"):
        build_corpus(_config(tmp_path / "in"), tmp_path / "c")
    assert _manifest(tmp_path / "c")["warnings"] == [
        f"the step {step!r} removed nothing from 5 documents"
        for step in ("filter", "exact duplicates", "near duplicates")
    ]
    with pytest.raises(ConfigError, match=r"'filter' removed everything \(5 under min_chars\)"):
        build_corpus(_config(tmp_path / "in", min_chars=10**6), tmp_path / "d")
    with pytest.raises(ConfigError, match="5 kind text"):
        build_corpus(_config(tmp_path / "in", kinds=("code",)), tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_near_duplicates_can_be_kept(source, tmp_path):
    build_corpus(_config(source, near_duplicates=False), tmp_path / "c")
    assert "near duplicates" not in _steps(tmp_path / "c")
    assert sum(s["documents"] for s in _manifest(tmp_path / "c")["splits"].values()) == 171


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 0.0},
        {"heldout_fraction": 1.0},
        {"max_bytes": 0},
        {"workers": 0},
        {"kinds": ()},
    ],
)
def test_settings_are_checked(changes):
    with pytest.raises(ConfigError):
        DataConfig(sources=("x",), **changes)


def _command(source, out, *flags):
    words = [sys.executable, "-m", "sparing", "data", "build", str(source), "--out", str(out)]
    return [*words, "--part-bytes", "8192", "--heldout-fraction", "0.1", *flags]


def _killed_at(seconds, command):
    """Start, kill -9 after some seconds; whether it was still running."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    assert process.returncode == 0
    return False


def _kill_and_resume(source, corpus, folder, rounds, seed):
    begun = time.monotonic()
    subprocess.run(_command(source, folder / "whole"), check=True, capture_output=True)
    whole = time.monotonic() - begun
    places = random.Random(seed)
    killed = 0
    for number in range(rounds):
        out = folder / f"killed-{number}"
        for _ in range(1 + number % 3):  # killed once, twice or three times
            if out.exists():
                break
            killed += _killed_at(places.uniform(0.3, 1) * whole, _command(source, out, "--resume"))
            if out.exists():
                verify_artefact(out)
        subprocess.run(_command(source, out, "--resume"), check=True, capture_output=True)
        assert open_artefact(out).content_hash == open_artefact(corpus).content_hash
        verify_artefact(out)
    left = [path.name for path in folder.iterdir() if path.name.startswith(".")]
    assert not left
    return killed


def test_kill_and_resume(source, corpus, tmp_path):
    assert _kill_and_resume(source, corpus, tmp_path, 3, 0) > 0


@pytest.mark.slow
def test_kill_and_resume_at_many_places(source, corpus, tmp_path):
    assert _kill_and_resume(source, corpus, tmp_path, 40, 1) > 20
