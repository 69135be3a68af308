"""`sparing index build|search|eval`."""

import argparse
from dataclasses import asdict
from pathlib import Path

from sparing.cli import common

HELP = "Build a search index over docstrings, prose or your own texts; search it; judge it."
EXAMPLE = 'sparing index search runs/first/index "how do I read a file line by line" -k 3'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The three sub-verbs and their options."""
    from sparing.retrieval.config import IndexConfig

    verbs = parser.add_subparsers(dest="index_verb", required=True, metavar="build|search|eval")
    build = verbs.add_parser("build", help="cut sources into passages and index them")
    build.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="file, folder, or `stdlib` for Python's own"
    )
    common.add_config(build, IndexConfig, skip=("sources",))
    common.add_stage_flags(build)
    search = verbs.add_parser("search", help="find passages by their words")
    search.add_argument("index", type=Path, metavar="DIR")
    search.add_argument("query", metavar="QUERY", help="plain words; nothing is an operator")
    search.add_argument("-k", type=int, default=5, help="passages to show (default: 5)")
    common.add_json_flag(search)
    judge = verbs.add_parser("eval", help="nDCG, recall and MRR against judged queries")
    judge.add_argument("index", type=Path, metavar="DIR")
    judge.add_argument("--queries", type=Path, required=True, help="jsonl with _id and text")
    judge.add_argument("--qrels", type=Path, required=True, help="query-id, corpus-id, score")
    common.add_json_flag(judge)


def run(args: argparse.Namespace) -> int:
    """Run the chosen sub-verb."""
    return {"build": _build, "search": _search, "eval": _eval}[args.index_verb](args)


def _build(args: argparse.Namespace) -> int:
    from sparing.retrieval.build import build_index
    from sparing.retrieval.config import IndexConfig

    settings = common.config_from(args, IndexConfig, sources=tuple(args.sources))
    return common.stage(args, "index.build", build_index, settings)


def _search(args: argparse.Namespace) -> int:
    from sparing.retrieval.index import Index

    hits = Index.open(args.index).search(args.query, args.k)
    blocks = [
        f"{place}. {hit.title or '(no title)'}  {hit.source}  score {hit.score:.2f}\n"
        + "\n".join(f"   {line}" for line in hit.text.splitlines())
        for place, hit in enumerate(hits, start=1)
    ]
    result = {"query": args.query, "hits": [asdict(hit) for hit in hits]}
    common.emit(args, result, "\n\n".join(blocks) or "no passage holds any of these words")
    return 0


def _eval(args: argparse.Namespace) -> int:
    from sparing.base.files import annotate, open_artefact
    from sparing.retrieval.index import Index
    from sparing.retrieval.quality import (
        evaluate,
        ranked_records,
        read_judgements,
        read_queries,
    )

    index = Index.open(args.index)
    quality = evaluate(
        lambda text: ranked_records(index, text),
        read_queries(args.queries),
        read_judgements(args.qrels),
    )
    found = asdict(quality)
    annotate(args.index, quality=open_artefact(args.index).quality | found)
    lines = [
        f"{name}: {mean:.4f} +- {quality.standard_errors[name]:.4f}"
        for name, mean in quality.means.items()
    ]
    common.emit(args, found, "\n".join([f"queries: {quality.queries}", *lines]))
    return 0
