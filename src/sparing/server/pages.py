"""The files of the playground, read once at start."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One static file: its bytes, their type and their tag."""

    body: bytes
    kind: str
    tag: str


def pages() -> dict[str, Page]:
    """Every static file under its path: `/` is index.html, the others stand under /web/."""
    found = {}
    for file in sorted(files("sparing.server").joinpath("web").iterdir(), key=lambda f: f.name):
        suffix = file.name.rpartition(".")[2]
        if suffix in TYPES:
            body = file.read_bytes()
            path = "/" if file.name == "index.html" else f"/web/{file.name}"
            tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            found[path] = Page(body=body, kind=TYPES[suffix], tag=tag)
    return found
