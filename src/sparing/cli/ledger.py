"""sparing ledger: what the stages cost."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sparing.base.units import bytes_text, count_text, seconds_text
from sparing.cli import common

HELP = """Show what stages cost, write a run's report, or compare two runs.

Every energy figure is measured, estimated or unavailable, and says which. Without RUN, `show` takes
the stages that were run one by one."""
EXAMPLE = "sparing ledger show runs/first"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="ledger_verb", required=True, metavar="WHAT")
    show = verbs.add_parser("show", help="one line per stage, the sum, and what each model cost")
    show.add_argument("target", nargs="?", type=Path, metavar="RUN", help="run folder or ledger")
    report = verbs.add_parser("report", help="write RUN/report.html")
    report.add_argument("target", type=Path, metavar="RUN", help="run folder")
    compare = verbs.add_parser("compare", help="figures of two runs side by side")
    compare.add_argument("first", type=Path, metavar="RUN", help="run folder")
    compare.add_argument("second", type=Path, metavar="RUN", help="run folder")
    for child in (show, report, compare):
        common.add_json_flag(child)


def run(args: argparse.Namespace) -> int:
    return {"show": _show, "report": _report, "compare": _compare}[args.ledger_verb](args)


def _report(args: argparse.Namespace) -> int:
    from sparing.report.report import write_report

    path = write_report(args.target)
    common.emit(args, {"report": str(path)}, str(path))
    return 0


def _compare(args: argparse.Namespace) -> int:
    from sparing.report.compare import compare
    from sparing.report.gather import gather

    pairs = compare(gather(args.first), gather(args.second))
    tree = {
        "first": str(args.first),
        "second": str(args.second),
        "figures": [pair.to_tree() for pair in pairs],
    }
    lines = [["", str(args.first), str(args.second), "second / first"]]
    lines += [[p.name, _plain(p.first), _plain(p.second), _plain(p.ratio)] for p in pairs]
    common.emit(args, tree, _table(lines))
    return 0


def _show(args: argparse.Namespace) -> int:
    from sparing.measure import cost
    from sparing.measure.ledger import Ledger, chain_cost

    path = args.target or common.ledger_path()
    path = path / "ledger.sqlite" if path.is_dir() else path
    rows = Ledger(path).rows()
    total = cost.total([row.cost for row in rows if row.cost is not None])
    made = [row.artefact_hash for row in rows if row.status == "finished" and row.artefact_hash]
    chains = {content_hash: chain_cost(rows, content_hash) for content_hash in made}
    tree = {
        "ledger": str(path),
        "rows": [asdict(row) for row in rows],
        "total": total.to_tree(),
        "cost_of": {h: chain.total.to_tree() for h, chain in chains.items()},
    }
    lines = [
        ["stage", "status", "wall", "CPU", "memory", "tokens", "energy", "", "CO2e", "to make"]
    ]
    for row in rows:
        chain = chains.get(row.artefact_hash or "")
        spent = seconds_text(chain.total.seconds) if chain else "-"
        tokens = count_text(row.tokens) if row.tokens else "-"
        lines.append([row.stage, row.status, *_figures(row.cost, tokens), spent])
    lines.append(["sum", "", *_figures(total, "-"), ""])
    text = _table(lines)
    text += "\n\nto-make: the wall time of the stage and of everything it was made from"
    text += f"\nenergy:  {total.energy_method}; {total.energy_idle}"
    text += f"\ncarbon:  {total.carbon_method}"
    common.emit(args, tree, text)
    return 0


def _figures(spent: Any, tokens: str) -> list[str]:
    if spent is None:
        return ["-"] * 7
    peak, joules, grams = spent.peak_rss_bytes, spent.joules, spent.gco2e
    return [
        seconds_text(spent.seconds),
        seconds_text(spent.cpu_seconds),
        "-" if peak is None else bytes_text(peak),
        tokens,
        "-" if joules is None else f"{count_text(joules)} J",
        spent.energy_label,
        "-" if grams is None else f"{grams:.3g} g",
    ]


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.5g}"


def _table(lines: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
