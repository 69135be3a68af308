"""sparing compress: make a model smaller, with its quality card."""

import argparse
from pathlib import Path

from sparing.cli.common import add_config, add_stage_flags, config_from, stage

HELP = """Make a model smaller: linear weights become int8, int4 or int3 codes in groups.

The result loads in transformers (compressed-tensors, pack-quantized). Beside it lies quality.json:
perplexity, bits per byte, KL divergence, agreement, size and speed, before and after, with rounded
activations as it is served and with exact ones. A result past
the limit on the KL divergence is refused, and nothing is left behind."""

EXAMPLE = "sparing compress runs/first/model --scheme int4 --data runs/first/shards --out small"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from sparing.compression.compress import CompressConfig

    parser.add_argument("model", type=Path, help="model folder; it is only read")
    switches = ("accept_quality", "search")
    add_config(parser, CompressConfig, skip=("model", *switches))
    parser.add_argument(
        "--no-search",
        dest="config.search",
        action="store_false",
        help="scale each group by its largest weight; no search for the least squared error",
    )
    parser.add_argument(
        "--accept-quality",
        dest="config.accept_quality",
        action="store_true",
        help="publish even past the limit; the card says so",
    )
    add_stage_flags(parser)


def run(args: argparse.Namespace) -> int:
    from sparing.compression.compress import CompressConfig, compress

    return stage(args, "compress", compress, config_from(args, CompressConfig, model=args.model))
