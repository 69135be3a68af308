"""`sparing data build|tokenize|inspect|diff`."""

import argparse
from pathlib import Path
from typing import Any

from sparing.cli import common

HELP = "Build a corpus from files, write it as token shards, look into either, compare two."
EXAMPLE = "sparing data build stdlib ~/notes papers.jsonl.gz --out runs/first/corpus"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The four sub-verbs and their options."""
    from sparing.data.config import DataConfig, TokenizeConfig

    verbs = parser.add_subparsers(dest="data_verb", required=True, metavar="build|tokenize|...")
    build = verbs.add_parser("build", help="clean and deduplicate sources into a corpus")
    build.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="file, folder, or `stdlib` for Python's own"
    )
    common.add_config(build, DataConfig, skip=("sources",))
    common.add_stage_flags(build)
    tokenize = verbs.add_parser("tokenize", help="write a corpus as token shards")
    tokenize.add_argument("corpus", metavar="CORPUS", help="folder made by `data build`")
    common.add_config(tokenize, TokenizeConfig, skip=("corpus",))
    common.add_stage_flags(tokenize)
    inspect = verbs.add_parser("inspect", help="what a corpus or a folder of shards holds")
    inspect.add_argument("folder", type=Path, metavar="DIR")
    inspect.add_argument("--verify", action="store_true", help="compare every checksum first")
    common.add_json_flag(inspect)
    diff = verbs.add_parser("diff", help="how two corpora differ")
    diff.add_argument("left", type=Path, metavar="A")
    diff.add_argument("right", type=Path, metavar="B")
    common.add_json_flag(diff)


def run(args: argparse.Namespace) -> int:
    """Run the chosen sub-verb."""
    return {"build": _build, "tokenize": _tokenize, "inspect": _inspect, "diff": _diff}[
        args.data_verb
    ](args)


def _build(args: argparse.Namespace) -> int:
    from sparing.data.build import build_corpus
    from sparing.data.config import DataConfig

    settings = common.config_from(args, DataConfig, sources=tuple(args.sources))
    return common.stage(args, "data.build", build_corpus, settings)


def _tokenize(args: argparse.Namespace) -> int:
    from sparing.data.config import TokenizeConfig
    from sparing.data.tokenize import tokenize_corpus

    settings = common.config_from(args, TokenizeConfig, corpus=args.corpus)
    return common.stage(args, "data.tokenize", tokenize_corpus, settings)


def _inspect(args: argparse.Namespace) -> int:
    from sparing.data.summary import inspect

    found = inspect(args.folder, verify=args.verify)
    common.emit(args, found, "\n".join(_lines(found)))
    return 0


def _diff(args: argparse.Namespace) -> int:
    from sparing.data.summary import diff

    found = diff(args.left, args.right)
    common.emit(args, found, "\n".join(_lines(found)))
    return 0


def _lines(tree: dict[str, Any], indent: str = "") -> list[str]:
    """A tree as indented `name: value` lines; lists of trees are numbered by their step."""
    lines: list[str] = []
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{name}:", *_lines(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines.append(f"{indent}{name}:")
            lines += [f"{indent}  {_step(entry)}" for entry in value]
        elif isinstance(value, list):
            lines.append(f"{indent}{name}: {', '.join(map(str, value)) or '-'}")
        elif value != {}:
            lines.append(f"{indent}{name}: {value}")
    return lines


def _step(entry: dict[str, Any]) -> str:
    dropped = ", ".join(f"{reason} {times}" for reason, times in entry["dropped"].items())
    changed = ", ".join(f"{reason} {times}" for reason, times in entry["changed"].items())
    return (
        f"{entry['step']}: {entry['in']} -> {entry['out']}"
        + (f"; dropped: {dropped}" if dropped else "")
        + (f"; changed: {changed}" if changed else "")
    )
