"""The command line: `sparing VERB ...`; only the chosen verb is imported."""

import argparse
import importlib
import re
import sys

import sparing
from sparing.base.config import nearest
from sparing.base.errors import ConfigError, MissingExtraError, SparingError

OVERRIDE = re.compile(r"--[A-Za-z_]\w*(\.\w+)*\.\w+=")

VERBS = {
    "run": "run a recipe: every stage, in order, with its cost",
    "data": "build, tokenize, inspect and compare corpora",
    "tokenizer": "train a tokenizer",
    "pretrain": "train a decoder from scratch",
    "compress": "make a model smaller, with its quality card",
    "export": "write a model in another program's format",
    "index": "build, search and evaluate a search index",
    "generate": "continue a prompt on the CPU",
    "chat": "talk with a model in the terminal",
    "serve": "serve a model over HTTP, with a playground",
    "eval": "perplexity, bits per byte and divergence of a model",
    "bench": "speed beside the peers and the machine's limits",
    "ledger": "what the stages cost",
    "doctor": "what this machine and installation can do",
}


def build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """The parser; only `chosen` gets its options, so that help needs no heavy import."""
    parser = argparse.ArgumentParser(
        prog="sparing",
        allow_abbrev=False,
        description="From raw text to a served model, with what it cost.",
        epilog="example: sparing run recipes/quickstart.toml --out runs/first",
    )
    parser.add_argument("--version", action="version", version=f"sparing {sparing.__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, text in VERBS.items():
        module = importlib.import_module(f"sparing.cli.{name}") if name == chosen else None
        child = verbs.add_parser(
            name,
            help=text,
            allow_abbrev=False,
            description=module.HELP if module else text,
            epilog=f"example: {module.EXAMPLE}" if module else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if module:
            module.add_arguments(child)
            child.set_defaults(run=module.run, overrides=None)
    return parser


def parse(chosen: str | None, argv: list[str]) -> argparse.Namespace:
    """The arguments; what only `run` takes, `--step.key=value`, is kept apart in `overrides`."""
    parser = build_parser(chosen)
    dotted = [word for word in argv if chosen == "run" and OVERRIDE.match(word)]
    args = parser.parse_args([word for word in argv if word not in dotted])
    args.overrides = dict(word[2:].split("=", 1) for word in dotted)
    return args


def main(argv: list[str] | None = None) -> int:
    """Run one verb.  Exit code 0 done, 1 ran and failed, 2 asked wrongly."""
    argv = sys.argv[1:] if argv is None else argv
    chosen = next((word for word in argv if not word.startswith("-")), None)
    if chosen is not None and chosen not in VERBS:
        hint = nearest(chosen, VERBS) or f"; one of {', '.join(VERBS)}"
        print(f"sparing: {chosen}: no such verb{hint}", file=sys.stderr)
        return 2
    try:
        args = parse(chosen, argv)
        return int(args.run(args))
    except ConfigError as error:
        print(f"sparing {chosen}: {error}", file=sys.stderr)
        return 2
    except (SparingError, MissingExtraError) as error:
        print(f"sparing {chosen}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"sparing {chosen}: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            f"\nsparing {chosen}: interrupted; --resume goes on where it stopped", file=sys.stderr
        )
        return 130
