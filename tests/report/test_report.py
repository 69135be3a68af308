"""The page stands alone, holds the run's figures, and survives missing and hostile parts."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import fake_run
import pytest

from sparing.base.errors import ArtefactError, MissingExtraError
from sparing.base.files import annotate
from sparing.measure import machine
from sparing.report import figures, gather, learning, markup
from sparing.report.report import write_report

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Collects tags, attributes and visible text, and checks that tags close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.stack:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = fake_run.build(tmp_path_factory.mktemp("report") / "first")
    return write_report(run)


def test_it_is_beside_the_run_and_well_formed(whole: Path) -> None:
    assert whole.name == "report.html"
    page = Page(whole.read_text())
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_it_loads_nothing(whole: Path) -> None:
    text = whole.read_text()
    assert "http" not in text.replace("http-equiv", "")
    assert "@import" not in text
    for tag, attrs in Page(text).tags:
        assert tag not in ("script", "link", "img", "iframe", "object", "embed")
        for name, value in attrs.items():
            assert not name.startswith("on")
            if name in ("href", "src", "xlink:href"):
                assert value.startswith("#")
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)", text))
    assert "default-src 'none'" in text


def test_links_inside_drawings_lead_somewhere(whole: Path) -> None:
    text = whole.read_text()
    ids = set(re.findall(r'\bid="([^"]+)"', text))
    wanted = re.findall(r'href="#([^"]+)"', text) + re.findall(r"url\(#([^)]+)\)", text)
    assert wanted
    assert set(wanted) <= ids


@pytest.mark.parametrize(
    "words",
    [
        "quickstart",
        "1.14 bits/byte",
        "3-gram 1.29, 5-gram 1.19",
        "3.28M tokens",
        "layers 4 width 192 heads 6 context 256",
        "21.8k tokens/s, 2.62M parameters",
        "6.1x smaller, KL 0.0524 nats",
        "estimated",
        "too short 201, mostly numbers 77, long lines 49",
        "normalise removed nothing",
        "csv.py#DictReader",
        "minutes old; trust the passages",
        "processor time x 5 W per core assumed",
        "481 g/kWh",
        "[tokenizer]",
        "vocab_size = 2048",
        "AMD EPYC",
        "59.0 GFLOP/s",
        "99.38 %",
        "327 (17.5 %)",
    ],
)
def test_a_figure_of_the_run_stands_in_the_page(whole: Path, words: str) -> None:
    assert words in Page(whole.read_text()).text


def test_the_sum_of_the_stages_and_the_cost_of_the_model(whole: Path) -> None:
    text = Page(whole.read_text()).text
    assert "sum 3:41 6:42" in text
    assert "The last model of this run cost 3:06 and 1.76 kJ (estimated)" in text


def test_equal_runs_give_equal_pages(whole: Path) -> None:
    first = whole.read_bytes()
    assert write_report(whole.parent).read_bytes() == first


def test_colours_follow_the_theme(whole: Path) -> None:
    text = whole.read_text()
    assert "prefers-color-scheme: dark" in text
    drawings = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert drawings.count("var(--one)") > 5
    assert not re.findall(r"#[0-9a-f]{6}\b", drawings)


GONE = {
    ("corpus", "shards", "answer"): ["A corpus", "A question"],
    ("model", "ledger", "int8", "int4"): ["A training run", "A ledger", "A compressed model"],
    ("recipe", "eval", "corpus", "tokenizer"): ["A recipe", "The steps of the data build"],
}


@pytest.mark.parametrize("parts", GONE)
def test_missing_parts_are_named_and_the_rest_is_there(
    tmp_path: Path, parts: tuple[str, ...]
) -> None:
    run = fake_run.build(tmp_path / "run", without=parts)
    text = Page(write_report(run).read_text()).text
    for name in GONE[parts]:
        assert f"{name}: not in this run." in text
    assert text.count("not in this run") == len(GONE[parts])
    assert "AMD EPYC" in text


def test_an_empty_run_is_a_page_too(tmp_path: Path) -> None:
    (tmp_path / "machine.json").write_text(json.dumps(fake_run.MACHINE))
    text = Page(write_report(tmp_path).read_text()).text
    assert text.count("not in this run") >= 6


def test_the_machine_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_measure", lambda cores: None)
    run = fake_run.build(tmp_path / "run", without=("machine", "ledger", *fake_run.STAGES))
    write_report(run)
    kept = (run / "machine.json").read_text()
    assert json.loads(kept)["facts"]["cores"] >= 1
    (run / "machine.json").write_text(kept.replace('"cores": ', '"cores": 7'))
    assert '"cores": 7' in (run / "machine.json").read_text()
    write_report(run)
    assert '"cores": 7' in (run / "machine.json").read_text()


EVIL = "<script>alert(1)</script>\"'&\x00\x1b[31m $\\frac{1}{2}$ ]]> -->"


def test_hostile_text_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    run = fake_run.build(tmp_path / "run", without=("corpus", "answer", "int8", "model", "recipe"))
    (run / "recipe.toml").write_text(f"name = {json.dumps(EVIL)}\n# {EVIL[:25]}\n")
    files = {
        "corpus": {
            "manifest.json": json.dumps(
                {
                    "steps": [{"step": EVIL, "in": 2, "out": 1, "dropped": {EVIL: 1}}],
                    "splits": {"train": {"documents": EVIL, "bytes": EVIL}},
                    "warnings": [EVIL],
                }
            )
        },
        "answer": {
            "answer.json": json.dumps(
                {"question": EVIL, "passages": [{"source": EVIL, "text": EVIL}], "text": EVIL}
            )
        },
        "int8": {"quality.json": json.dumps({"scheme": EVIL, "method": EVIL, "group": EVIL})},
        "model": {"metrics.jsonl": json.dumps({"tokens": 1, "loss": "NaN", "x": EVIL}) + "\n"},
    }
    for name, contents in files.items():
        fake_run._artefact(run, name, name if name == "corpus" else "model", contents, {})
    annotate(run / "corpus", facts={"parameters": EVIL})
    text = write_report(run).read_text()
    assert "<script" not in text
    assert "\x00" not in text
    assert "\x1b" not in text
    page = Page(text)
    assert "script" not in {tag for tag, _ in page.tags}
    assert "<script>alert(1)</script>" in page.text


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("recipe.toml", "name = ["),
        ("machine.json", "{"),
        ("machine.json", "[1]"),
        ("corpus/manifest.json", "{"),
        ("int4/quality.json", "nonsense"),
        ("corpus/sparing.json", "{}"),
        ("ledger.sqlite", "not a database" * 100),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, file: str, damage: str) -> None:
    run = fake_run.build(tmp_path / "run", without=("model", "int8"))
    (run / file).write_text(damage)
    with pytest.raises(ArtefactError, match=re.escape(Path(file).name)):
        write_report(run)
    assert not (run / "report.html").exists()


def test_no_such_run(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="no such run"):
        write_report(tmp_path / "absent")


def test_a_log_that_was_cut_and_one_that_is_damaged(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert [record["step"] for record in gather.read_metrics(log)] == [1, 2]
    log.write_text('{"step": 1}\n{"st\n{"step": 2}\n')
    with pytest.raises(ArtefactError, match="line 2"):
        list(gather.read_metrics(log))


def test_times_come_from_the_card_by_step(tmp_path: Path) -> None:
    run = fake_run.build(tmp_path / "run", without=("corpus", "ledger"))
    metrics = gather.gather(run).metrics
    assert metrics[9]["step"] == 10
    assert metrics[9]["seconds"] == pytest.approx(3.75)
    annotate(run / "model", facts={"timing": {"step": [2, 9], "seconds": [0.5]}})
    metrics = gather.gather(run).metrics
    assert [record["step"] for record in metrics if "seconds" in record] == [2]
    annotate(run / "model", facts={"timing": "none"})
    assert all("seconds" not in record for record in gather.gather(run).metrics)


def test_without_matplotlib_the_error_names_the_extra(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from sparing.report.report import write_report\n"
        "from sparing.base.errors import MissingExtraError\n"
        "try: write_report(sys.argv[1])\n"
        "except MissingExtraError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "sparing[report]" in done.stdout
    assert issubclass(MissingExtraError, Exception)


def test_numbers_as_people_read_them() -> None:
    assert markup.number(None) == markup.number(float("nan")) == markup.number("7") == "\u2013"
    assert markup.number(0) == "0"
    assert markup.number(1234567) == "1,234,567"
    assert markup.number(0.00312) == "0.00312"
    assert markup.number(3.1e-7) == "3.10e-07"
    assert markup.joules(90_000.0) == "25 Wh"
    assert markup.joules(1500.0) == "1.5 kJ"
    assert markup.grams(0.25) == "250 mg"
    assert markup.money(0.0031, "EUR") == "0.0031 EUR"
    assert markup.number(True) == "\u2013"


def test_the_running_mean_is_centred() -> None:
    line = [float(x) for x in range(50)]
    assert learning.running_mean(line, 9) == pytest.approx(line)
    assert learning.running_mean([5.0] * 7, 25) == pytest.approx([5.0] * 7)
    assert learning.running_mean([], 3) == []


def test_thinning_keeps_the_ends() -> None:
    values = list(range(10_001))
    kept = learning.thin(values, 100)
    assert len(kept) <= 102
    assert (kept[0], kept[-1]) == (0, 10_000)
    assert learning.thin([], 5) == []


def test_a_drawing_names_its_values() -> None:
    panel = figures.Bars("Sizes", [3.0, None], ["three", "unknown"])
    drawn = figures.bars(["a", "b"], panel, name="sizes").text
    for word in ("three", "unknown", ">a<", ">b<", "Sizes"):
        assert word in drawn
    assert drawn.startswith("<svg viewBox=")
    assert drawn.endswith("</svg>")
