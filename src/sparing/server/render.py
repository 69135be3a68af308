"""Markdown of an answer as HTML that cannot run, load or send anything."""

import nh3
from markdown_it import MarkdownIt

TAGS = set(
    [
        "a",
        "b",
        "blockquote",
        "br",
        "code",
        "del",
        "em",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "i",
        "li",
        "ol",
        "p",
        "pre",
        "s",
        "strong",
        "table",
        "tbody",
        "td",
        "th",
        "thead",
        "tr",
        "ul",
    ]
)
"""No images, frames, forms, styles or scripts: nothing that a browser would fetch or run."""

_markdown = MarkdownIt("commonmark", {"html": False, "maxNesting": 20}).enable(
    ["table", "strikethrough"]
)


def to_html(text: str) -> str:
    """CommonMark with tables, rendered and then cleaned against a list of allowed tags.

    Raw HTML in the text is shown as text; links keep only http, https and mailto.
    """
    return nh3.clean(
        _markdown.render(text),
        tags=TAGS,
        attributes={"a": {"href", "title"}, "ol": {"start"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )
