"""A browser opens the page, talks with the model and sees what it costs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import server_toy

from sparing.engine.llm import LLM
from sparing.server.app import create_app
from sparing.server.pages import pages
from sparing.server.settings import ServerSettings, digest_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as made:
        opened = made.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


class Page:
    """An open page, with what went wrong on it and what it fetched."""

    def __init__(self, browser, url: str, **options) -> None:
        self.page = browser.new_page(**options)
        self.faults: list[str] = []
        self.fetched: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self.fetched.append(request.url))
        self.page.on(
            "console",
            lambda said: self.faults.append(said.text) if said.type == "error" else None,
        )
        self.page.goto(url)

    def ask(self, text: str) -> None:
        self.page.fill("#ask", text)
        self.page.keyboard.press("Enter")

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)


def words_in(foot: str) -> int:
    """The tokens that the line under an answer tells of."""
    return int(foot.split(" tokens")[0])


@in_a_browser
def test_talk_and_see_the_cost(browser, url: str) -> None:
    open_page = Page(browser, url)
    page = open_page.page
    page.wait_for_selector("#model.ready")
    assert open_page.text("#model-name") == "toy"
    page.fill("#max_tokens", "30")
    page.fill("#seed", "1")
    page.select_option("#index", "docs")
    open_page.ask("hello <b>there</b>")
    page.wait_for_selector(".foot")
    assert open_page.text(".turn.user .said") == "hello <b>there</b>"
    assert "statistics.mean" in open_page.text(".passage")
    assert len(open_page.text(".model-turn > .said")) > 5
    first = words_in(open_page.text(".foot"))
    assert 0 < first <= 30
    assert "measured" in open_page.text("#label")
    assert float(open_page.text("#rate").replace(",", "")) > 0
    assert f"{first} out" in open_page.text("#tokens")
    page.select_option("#index", "")
    open_page.ask("and then?")
    page.wait_for_selector("li.model-turn:nth-of-type(4) .foot")
    second = words_in(open_page.text("li.model-turn:nth-of-type(4) .foot"))
    assert f"2 answers, {first + second} tokens" in open_page.text("#session")
    assert open_page.faults == []
    assert all(fetched.startswith(url) for fetched in open_page.fetched)
    page.close()


@in_a_browser
def test_stop_frees_the_model(browser, tmp_path: Path) -> None:
    with (
        server_toy.toy_llm(tmp_path, pause=0.05, ends=False) as slow,
        server_toy.live(slow) as address,
    ):
        open_page = Page(browser, address)
        open_page.page.wait_for_selector("#model.ready")
        open_page.ask("tell me")
        open_page.page.wait_for_selector(".model-turn .said")
        server_toy.until(lambda: len(open_page.text(".model-turn .said")) > 3)
        open_page.page.click("#stop")
        open_page.page.wait_for_selector(".foot")
        assert "stopped by you" in open_page.text(".foot")
        server_toy.until(lambda: slow.service.stats().kv_used_blocks == 0, 2.0)
        assert open_page.page.is_visible("#send")
        open_page.page.close()


@in_a_browser
def test_a_base_model_completes(browser, tmp_path: Path) -> None:
    with (
        server_toy.toy_llm(tmp_path, template=False) as base,
        server_toy.live(base) as address,
    ):
        open_page = Page(browser, address)
        page = open_page.page
        page.wait_for_selector("#model.ready")
        assert page.is_disabled('input[value="chat"]')
        assert "no chat template" in open_page.text("#mode-note")
        page.fill("#max_tokens", "8")
        page.fill("#seed", "1")
        open_page.ask("def f(")
        page.wait_for_selector(".foot")
        assert open_page.text(".said .given") == "def f("
        assert len(open_page.text(".said.continued")) > len("def f(")
        page.close()


@in_a_browser
def test_a_key_is_asked_for_and_not_kept(browser, llm: LLM) -> None:
    app = create_app(llm, ServerSettings(key_digests=(digest_of("sesame"),)))
    with server_toy.running(app) as address:
        open_page = Page(browser, address)
        page = open_page.page
        page.wait_for_selector("#key-field:not([hidden])", state="attached")
        page.fill("#key", "sesame")
        page.keyboard.press("Tab")
        page.wait_for_selector("#model.ready")
        kept = page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])")
        assert "sesame" not in kept + page.url
        page.close()


@in_a_browser
@pytest.mark.parametrize(
    "hostile",
    [
        "<img src=x onerror=\"document.title='hacked'\">",
        "<script>document.title='hacked'</script>",
        "[click](javascript:document.title='hacked')",
        "![x](https://evil.example/track.png)",
    ],
)
def test_hostile_answers_do_nothing(browser, tmp_path: Path, hostile: str) -> None:
    class Saying(server_toy.ToyExecutor):
        """Says the hostile text, whatever is asked."""

        def __init__(self, tokenizer, **options) -> None:
            super().__init__(tokenizer, **options)
            self.said = [*tokenizer.encode(hostile), 3]
            self.mark = tokenizer.encode("assistant\n")

        def _logits(self, table, length):
            ids = self._cache[table[table >= 0]].reshape(-1)[:length].tolist()
            size = len(self.mark)
            start = max(at for at in range(length) if ids[at : at + size] == self.mark)
            logits_V = super()._logits(table, length)
            logits_V[self.said[length - start - size]] = 99.0
            return logits_V

    with server_toy.toy_llm(tmp_path, make=Saying) as bad, server_toy.live(bad) as address:
        open_page = Page(browser, address)
        page = open_page.page
        page.wait_for_selector("#model.ready")
        page.fill("#max_tokens", "100")
        open_page.ask("hi")
        page.wait_for_selector(".foot")
        assert page.locator(".said img, .said script, .said a[href^=javascript]").count() == 0
        assert page.title() == "Sparing playground"
        assert all(fetched.startswith(address) for fetched in open_page.fetched)
        page.close()


@in_a_browser
def test_a_phone_and_a_keyboard(browser, url: str) -> None:
    open_page = Page(browser, url, viewport={"width": 360, "height": 640})
    page = open_page.page
    page.wait_for_selector("#model.ready")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360, "nothing sticks out"
    assert not page.is_visible("#panel")
    page.focus("#panel-toggle")
    page.keyboard.press("Enter")
    assert page.is_visible("#temperature")
    page.keyboard.press("Escape")
    assert not page.is_visible("#panel")
    page.close()


def test_the_page_asks_nobody_else() -> None:
    found = pages()
    assert found["/"].kind.startswith("text/html")
    for path, page in found.items():
        text = page.body.decode()
        assert text.isascii(), path
        for word in ("http://", "https://", "//cdn", "innerHTML", "eval(", "style=", "onclick="):
            plain = text.replace("http://www.w3.org/2000/svg", "")
            assert word not in plain, (path, word)
