"""`write_report(run)`: one HTML file that stands alone."""

from __future__ import annotations

import json
from pathlib import Path

from sparing.base.files import write_atomic
from sparing.measure import machine
from sparing.report import corpus, figures, learning, overview, quality, spending
from sparing.report.gather import RunParts, gather
from sparing.report.markup import escape
from sparing.report.style import CSS

REPORT = "report.html"

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The page may load and run nothing, whatever stands in it."""


def write_report(run: Path) -> Path:
    """Write `report.html` into the run's folder and return its path.

    Parts that the run lacks are named as absent.  The machine is looked at once and kept as
    `machine.json` beside the report.
    Errors:
        MissingExtraError: matplotlib is not installed.
        ArtefactError: no such run, or a damaged file in it.
    """
    figures.check()
    run = Path(run)
    parts = gather(run)
    if parts.machine is None:
        text = json.dumps(machine.probe().to_tree(), indent=1, sort_keys=True) + "\n"
        write_atomic(run / "machine.json", text)
        parts = gather(run)
    out = run / REPORT
    write_atomic(out, page(parts))
    return out


def page(parts: RunParts) -> str:
    """The whole page."""
    blocks = [
        overview.header(parts),
        overview.tiles(parts),
        learning.section(parts),
        corpus.section(parts),
        quality.section(parts),
        quality.answer(parts),
        spending.section(parts),
        spending.recipe(parts),
        spending.machine(parts),
    ]
    body = "\n".join(block.text for block in blocks)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(parts.name)} - Sparing report</title>
<style>{CSS}</style>
</head>
<body>
<main>
{body}
<footer>Written by Sparing from the files of this run; it loads nothing from elsewhere.</footer>
</main>
</body>
</html>
"""
