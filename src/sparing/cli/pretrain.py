"""`sparing pretrain`: train a decoder from nothing on token shards."""

import argparse

from sparing.cli import common

HELP = "train a decoder from scratch"
EXAMPLE = "sparing pretrain --data runs/first/shards --model demo --out runs/first/model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from sparing.training.config import PretrainConfig

    common.add_config(parser, PretrainConfig)
    common.add_stage_flags(parser)


def run(args: argparse.Namespace) -> int:
    from sparing.training.config import PretrainConfig

    settings = common.config_from(args, PretrainConfig)
    try:
        from sparing.training.pretrain import pretrain
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from sparing.base.errors import missing_extra

        raise missing_extra("torch", "train") from None
    return common.stage(args, "pretrain", pretrain, settings)
