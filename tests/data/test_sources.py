"""Which files are read, in which order, and what is said about the others."""

import os

import pytest

from sparing.base.errors import ConfigError
from sparing.data.document import Count
from sparing.data.sources import choose, find


def _tree(root, names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text of {name}\n" * 4)
    return root


def _names(sources, count=None):
    return [file.name for file in find([str(s) for s in sources], count or Count("find"))]


def test_files_are_found_in_the_order_of_names_with_their_forms(tmp_path):
    root = _tree(tmp_path / "in", ["b.py", "a.md", "deep/c.txt.gz", "d.jsonl", "e.JSONL.gz"])
    files = find([str(root)], Count("find"))
    assert [(f.name, f.form, f.packed) for f in files] == [
        ("in/a.md", "markdown", False),
        ("in/b.py", "code", False),
        ("in/d.jsonl", "jsonl", False),
        ("in/deep/c.txt.gz", "text", True),
        ("in/e.JSONL.gz", "jsonl", True),
    ]


def test_unknown_endings_are_counted_unless_named(tmp_path):
    root = _tree(tmp_path / "in", ["a.txt", "b.bin", "c"])
    count = Count("find")
    assert _names([root], count) == ["in/a.txt"]
    assert count.dropped == {"unknown file ending": 2}
    assert _names([root / "c"]) == ["c"]


def test_two_sources_of_one_name_stay_apart(tmp_path):
    for parent in ("x", "y"):
        _tree(tmp_path / parent / "in", ["a.txt"])
    assert _names([tmp_path / "x" / "in", tmp_path / "y" / "in"]) == ["in/a.txt", "in~2/a.txt"]


def test_links_do_not_loop(tmp_path):
    root = _tree(tmp_path / "in", ["a.txt"])
    (root / "loop").symlink_to(root)
    (root / "self.txt").symlink_to(root / "self.txt")
    (root / "gone.txt").symlink_to(root / "nowhere.txt")
    count = Count("find")
    assert _names([root], count) == ["in/a.txt"]
    assert count.dropped == {"linked folder": 1, "unreadable": 2}


def test_hidden_files_and_our_own_artefacts_are_not_sources(tmp_path):
    """So that `data build . --out ./corpus` reads neither its own work nor an older result."""
    names = ["a.txt", ".secret.txt", ".corpus.work/plan.json", "corpus/manifest.json"]
    root = _tree(tmp_path / "in", [*names, "corpus/sparing.json", "corpus/deep/b.txt"])
    count = Count("find")
    assert _names([root], count) == ["in/a.txt"]
    assert count.dropped == {"artefact of ours": 1}


def test_special_files_are_not_opened(tmp_path):
    root = _tree(tmp_path / "in", ["a.txt"])
    os.mkfifo(root / "pipe.txt")
    count = Count("find")
    assert _names([root], count) == ["in/a.txt"]
    assert count.dropped == {"special file": 1}
    with pytest.raises(ConfigError, match="neither a file nor a folder"):
        _names([root / "pipe.txt"])


def test_missing_and_empty_sources_are_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere"):
        _names([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty"):
        _names([tmp_path / "empty"])
    (tmp_path / "hollow").mkdir()
    (tmp_path / "hollow" / "a.txt").touch()
    with pytest.raises(ConfigError, match="1 empty file"):
        _names([tmp_path / "hollow"])


def test_a_name_that_is_not_text_is_passed_over(tmp_path):
    root = _tree(tmp_path / "in", ["a.txt"])
    with open(os.fsencode(root) + b"/\xff.txt", "w") as file:
        file.write("x")
    assert _names([root]) == ["in/a.txt"]


def test_stdlib_is_the_library_without_tests_and_packages():
    names = _names(["stdlib"])
    assert "stdlib/json/__init__.py" in names
    assert "stdlib/argparse.py" in names
    assert not [n for n in names if "/test/" in n or "/tests/" in n or "site-packages" in n]
    assert all(name.endswith(".py") for name in names)
    assert names == sorted(names)


def test_the_cap_is_kept_and_depends_on_names_only(tmp_path):
    root = _tree(tmp_path / "in", [f"{n:02}.txt" for n in range(40)])
    files = find([str(root)], Count("find"))
    total = sum(file.disk_bytes for file in files)
    count = Count("find")
    some, share = choose(files, total // 2, 0, count)
    assert share == pytest.approx(0.5, abs=0.01)
    assert total * 0.4 < sum(file.disk_bytes for file in some) <= total // 2
    assert count.dropped["over max_bytes"] == len(files) - len(some)
    assert choose(list(reversed(files)), total // 2, 0, Count("find"))[0][::-1] == some
    other, _ = choose(files, total // 2, 1, Count("find"))
    assert other != some
    assert choose(files, total, 0, Count("find")) == (files, 1.0)
