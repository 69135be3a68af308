"""`sparing tokenizer train`."""

import argparse

from sparing.cli import common

HELP = "Train a byte-level BPE tokenizer on a corpus."
EXAMPLE = "sparing tokenizer train runs/first/corpus --vocab-size 4096 --out runs/first/tokenizer"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-verb and its options."""
    from sparing.tokenizer.train import TokenizerConfig

    verbs = parser.add_subparsers(dest="tokenizer_verb", required=True, metavar="train")
    train = verbs.add_parser("train", help="learn a vocabulary from a corpus or text files")
    train.add_argument("corpus", metavar="CORPUS", help="folder of `data build`, or text files")
    common.add_config(train, TokenizerConfig, skip=("corpus",))
    common.add_stage_flags(train)


def run(args: argparse.Namespace) -> int:
    """Train, and print what was made."""
    from sparing.tokenizer.train import TokenizerConfig, train_tokenizer

    settings = common.config_from(args, TokenizerConfig, corpus=args.corpus)
    return common.stage(args, "tokenizer.train", train_tokenizer, settings)
