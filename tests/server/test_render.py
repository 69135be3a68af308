"""Rendered answers cannot run, load or send anything."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparing.server.render import TAGS, to_html

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](https://evil.example/track.png)",
    "[x](javascript:alert(1))",
    "[x](  JaVaScRiPt:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:x)",
    "<svg/onload=alert(1)>",
    "<a href='javascript:x' style='position:fixed'>x</a>",
    "<iframe src=//evil.example></iframe>",
    '[a](https://e.example "x\\" onmouseover=\\"alert(1)")',
    "```<script>\nalert(1)\n```",
    "<math><mtext></table><mglyph><style><img src=x onerror=alert(1)>",
    "| a |\n|---|\n| <script>x</script> |",
    "[x]: javascript:alert(1)\n\n[x]",
    "<details open ontoggle=alert(1)>",
]
words = st.sampled_from([*HOSTILE, "\n", "\n\n", "`", "**", "<", ">", '"', "(", "]", "&#x6a;"])


class Checker(HTMLParser):
    """Refuses any tag, attribute or scheme off the list."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        for name, value in attrs:
            assert name in {"href", "title", "rel", "start"}, name
            if name == "href":
                scheme = (value or "").partition(":")[0].strip().lower()
                assert scheme not in {"javascript", "data", "vbscript", "file", "blob"}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text(text: str) -> None:
    Checker().feed(to_html(text))


@given(st.lists(words | st.text(max_size=8), max_size=12).map("".join))
def test_any_mixture(text: str) -> None:
    Checker().feed(to_html(text))


def test_what_is_kept() -> None:
    html = to_html("# A\n\n**b** `c` [d](https://e.example)\n\n| x | y |\n|---|---|\n| 1 | 2 |\n")
    for piece in ("<h1>A</h1>", "<strong>b</strong>", "<code>c</code>", "<td>1</td>"):
        assert piece in html
    assert 'href="https://e.example"' in html
    assert "noopener" in html
    assert "&lt;b&gt;" in to_html("a <b> c")
