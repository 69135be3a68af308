"""sparing serve: a model over HTTP, with a playground."""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import cast

from sparing.base.errors import ConfigError
from sparing.cli.common import add_config, config_from, warn

HELP = "Serve a model over HTTP in OpenAI's words, with a playground at /."
EXAMPLE = "sparing serve runs/first/int4 --index docs=runs/first/index"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, the keys and indexes, and one option per setting."""
    from sparing.engine.config import EngineConfig
    from sparing.measure.settings import MeasureConfig
    from sparing.server.settings import ServerSettings

    parser.add_argument("model", nargs="?", type=Path, help="model folder, or a run's folder")
    parser.add_argument("--model", dest="model_option", type=Path, metavar="DIR", help="the same")
    parser.add_argument(
        "--index",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="attach a search index; may be given several times",
    )
    parser.add_argument(
        "--api-key-file", type=Path, metavar="FILE", help="file with one API key on each line"
    )
    parser.add_argument(
        "--api-key", metavar="KEY", help="an API key; visible in the list of processes"
    )
    for title, settings in (
        ("server", ServerSettings),
        ("engine", EngineConfig),
        ("energy and cost", MeasureConfig),
    ):
        group = cast(argparse.ArgumentParser, parser.add_argument_group(title))
        add_config(group, settings, skip=_NOT_OPTIONS)


_NOT_OPTIONS = ("key_digests", "max_requests")


def run(args: argparse.Namespace) -> int:
    """Take the port, load, say where, answer until a signal."""
    from sparing.engine.assemble import find_model, load
    from sparing.engine.config import EngineConfig
    from sparing.measure.settings import MeasureConfig
    from sparing.server.app import create_app
    from sparing.server.costs import server_meter
    from sparing.server.facts import facts_of
    from sparing.server.indexes import open_indexes
    from sparing.server.run import listen, serve, url_of
    from sparing.server.settings import ServerSettings

    model = args.model or args.model_option
    if model is None:
        raise ConfigError("model: name the folder to serve, as in: " + EXAMPLE)
    engine, measure = config_from(args, EngineConfig), config_from(args, MeasureConfig)
    settings = config_from(args, ServerSettings, key_digests=_digests(args))
    settings = replace(settings, max_requests=engine.max_num_seqs + engine.max_waiting)
    indexes = open_indexes(args.index)
    with listen(settings) as door, load(model, engine, name=settings.served_model_name) as llm:
        app = create_app(
            llm,
            settings,
            indexes=indexes,
            meter=server_meter(measure.watts_per_core),
            measure=measure,
            facts=facts_of(find_model(model)),
        )
        line = f"{llm.model_name} is served at {url_of(door)}"
        serve(
            app,
            door,
            drain_seconds=settings.drain_seconds,
            on_ready=lambda: print(line, flush=True),
        )
    return 0


def _digests(args: argparse.Namespace) -> tuple[str, ...]:
    """Digests of the keys from the file, the environment and the command line."""
    from sparing.server.settings import digest_of, read_keys

    digests = read_keys(args.api_key_file) if args.api_key_file else ()
    if key := os.environ.get("SPARING_API_KEY", "").strip():
        digests += (digest_of(key),)
    if args.api_key is not None:
        if not args.api_key.strip():
            raise ConfigError("api-key: expected a key, got nothing")
        warn("--api-key is visible in the list of processes; --api-key-file is not")
        digests += (digest_of(args.api_key.strip()),)
    return digests
