"""sparing export: a model in another program's format."""

import argparse
from pathlib import Path

from sparing.base.errors import ArtefactError
from sparing.base.units import bytes_text
from sparing.cli.common import add_json_flag, emit

HELP = "write a model in another program's format; a GGUF file is read by llama.cpp"
EXAMPLE = "sparing export runs/first --to gguf --out first.gguf"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL", help="model or run folder, or .gguf")
    parser.add_argument("--to", choices=["gguf"], default="gguf", help="format (default: gguf)")
    parser.add_argument("--out", type=Path, required=True, help="file to make")
    parser.add_argument(
        "--type", default="keep", choices=["keep", "f32", "f16", "bf16", "q8_0", "q4_0"],
        help="keep: every number as it is; otherwise matrices are rounded (default: keep)",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it exists")
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from sparing.engine.assemble import find_model
    from sparing.models.folder import open_model
    from sparing.models.gguf_export import export_gguf

    if args.out.exists() and not args.overwrite:
        raise ArtefactError(f"{args.out}: exists already; --overwrite replaces it")
    done = export_gguf(open_model(find_model(args.model), check_finite=True), args.out, args.type)
    tree = {"path": str(done.path), "bytes": done.file_bytes, "tensors": dict(done.tensors)}
    kinds = ", ".join(f"{count} {kind}" for kind, count in done.tensors.items())
    emit(args, tree, f"export: {done.path}\n  {bytes_text(done.file_bytes)}, tensors: {kinds}")
    return 0
