"""sparing run: a recipe, every stage in order."""

import argparse
import sys
from pathlib import Path

from sparing.cli import common

HELP = """Run a recipe: every stage in order, each with its quality and cost, then one report.

Any setting can be given on the command line as --STEP.KEY=VALUE, for example
--model.steps=200 or --corpus.sources=docs,notes. A run that was stopped goes on with --resume;
finished steps whose settings and inputs are unchanged are not run again."""
EXAMPLE = "sparing run recipes/quickstart.toml --out runs/first --corpus.sources=my/notes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", type=Path, help="a TOML file, see recipes/")
    parser.add_argument("--out", type=Path, help="run folder (default: runs/NAME)")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    common.add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from sparing.recipe.plan import read_recipe
    from sparing.recipe.runner import run_recipe

    recipe = read_recipe(args.recipe, args.overrides or {})
    out = args.out or Path("runs") / recipe.name
    done = run_recipe(recipe, out, resume=args.resume, tell=_tell)
    common.emit(args, done.to_tree(), done.text())
    return 0


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
