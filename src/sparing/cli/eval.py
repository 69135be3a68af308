"""sparing eval: perplexity, bits per byte and divergence of a model."""

import argparse
from pathlib import Path
from typing import Any

from sparing.cli.common import add_config, add_json_flag, config_from, emit, stage

HELP = """Perplexity and bits per UTF-8 byte of a model on a text file or on held-out shards.

With --against, how far a second model of the same tokenizer is from it: KL divergence, top-1
agreement, nats lost. With --ngrams and shards, what counting alone reaches. Documents longer than
the context are read in overlapping windows; no token is left out."""

EXAMPLE = "sparing eval runs/first/model --perplexity README.md --against runs/first/int4"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from sparing.evaluation.evaluate import EvalConfig

    parser.add_argument("model", type=Path, help="model folder")
    parser.add_argument(
        "--perplexity",
        type=Path,
        required=True,
        metavar="FILE|SHARDS",
        help="text, Markdown or .jsonl file, or a shards folder (its held-out split)",
    )
    parser.add_argument(
        "--ngrams",
        dest="config.ngrams",
        default="",
        metavar="ORDERS",
        help="orders of n-grams to score beside the model, as in 3,5; needs shards",
    )
    add_config(parser, EvalConfig, skip=("model", "data", "ngrams"))
    parser.add_argument("--out", type=Path, help="folder to write eval.json into")
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it exists")
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from sparing.evaluation.evaluate import EvalConfig, evaluate, measure

    orders = [order for order in getattr(args, "config.ngrams").split(",") if order]
    given = {"model": args.model, "data": args.perplexity, "ngrams": orders}
    settings = config_from(args, EvalConfig, **given)
    if args.out is not None:
        args.resume = False
        return stage(args, "eval", evaluate, settings)
    result = measure(settings)
    emit(args, result, text(result))
    return 0


def text(result: dict[str, Any]) -> str:
    """The result for a person: one figure a line, ranges behind."""
    source, quality = result["evaluation"], result["quality"]
    lines = [
        f"{source['tokens']} tokens, {source['bytes']} bytes in {source['documents']} documents "
        f"of {source['source']} ({source['documents_left_out']} left out)",
        *_figures("", quality),
    ]
    for entry in result.get("ngrams", ()):
        name = f"{entry['order']}-gram bits/byte"
        lines.append(f"{name:24}{entry['bits_per_byte']:.4f}   counted on {entry['trained_on']}")
    if against := result.get("against"):
        lines += ["", f"against {against['path']}", *_figures("its ", against["quality"])]
        for name in ("kl_mean", "kl_p99", "top1_agreement", "nats_lost"):
            lines.append(f"{name:24}{_ranged(against[name])}")
    return "\n".join([*lines, f"({source['context_policy']})"])


def _figures(whose: str, quality: dict[str, Any]) -> list[str]:
    return [
        f"{whose + 'perplexity':24}{quality['perplexity']:.4f}",
        f"{whose + 'nats/token':24}{_ranged(quality['nats_per_token'])}",
        f"{whose + 'bits/byte':24}{quality['bits_per_byte']:.4f}",
    ]


def _ranged(interval: dict[str, float]) -> str:
    low, high = interval["low"], interval["high"]
    return f"{interval['value']:.6g}   (95 %: {low:.6g} to {high:.6g})"
