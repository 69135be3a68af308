"""What the verbs share: options from a configuration, one way to print, one way to run a stage."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from sparing.base import config
from sparing.base.home import home
from sparing.base.stage import StageResult

C = TypeVar("C")


def add_config(parser: argparse.ArgumentParser, cls: type, *, skip: Sequence[str] = ()) -> None:
    """One `--kebab-case` option per field of a configuration class."""
    notes = _field_notes(cls)
    for field in dataclasses.fields(cls):
        if field.name not in skip:
            parser.add_argument(
                "--" + field.name.replace("_", "-"),
                dest=f"config.{field.name}",
                metavar=field.name.rpartition("_")[2].upper(),
                help=(notes.get(field.name, "") + _default(field)).replace("%", "%%"),
            )


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is dataclasses.MISSING:
        return "" if field.default_factory is not dataclasses.MISSING else " (required)"
    if isinstance(field.default, tuple):
        return f" (default: {','.join(map(str, field.default))})" if field.default else ""
    return "" if field.default is None else f" (default: {field.default})"


def _field_notes(cls: type) -> dict[str, str]:
    """The line of meaning behind each field, read from the class's source."""
    import ast
    import inspect
    import textwrap

    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    except (OSError, TypeError):
        return {}
    notes, name = {}, None
    for node in getattr(body, "body", []):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        elif name and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            notes[name], name = " ".join(str(node.value.value).split()), None
    return notes


def config_from(args: argparse.Namespace, cls: type[C], **given: Any) -> C:
    """The configuration that the options (and `given` values) describe."""
    names = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    tree = {
        name: value
        for name in names
        if (value := getattr(args, f"config.{name}", None)) is not None
    }
    hints = get_type_hints(cls)
    given = {name: config.parse(hints[name], value, name) for name, value in given.items()}
    return config.build(cls, tree | given)


def add_stage_flags(parser: argparse.ArgumentParser) -> None:
    """--out, --resume, --overwrite and --json, the same for every stage."""
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--resume", action="store_true", help="go on where a stopped run left off")
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it exists")
    add_json_flag(parser)


def add_json_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def emit(args: argparse.Namespace, result: Any, text: str) -> None:
    """The result on standard output: one JSON object with --json, else the text."""
    print(json.dumps(result, default=str) if args.json else text)


def stage(
    args: argparse.Namespace,
    verb: str,
    function: Callable[..., StageResult],
    settings: Any,
) -> int:
    """Run one stage under the ledger and print what it made and what it cost."""
    from sparing.recipe.account import run_stage

    result, cost = run_stage(
        verb,
        function,
        settings,
        args.out,
        ledger=ledger_path(),
        resume=args.resume,
        overwrite=args.overwrite,
    )
    facts = {"artefact": str(result.artefact), "tokens": result.tokens} | result.quality
    lines = [f"{verb}: {result.artefact}"]
    lines += [f"  {name}: {_short(value)}" for name, value in facts.items() if name != "artefact"]
    lines += [f"  {name}: {_short(value)}" for name, value in result.facts.items()]
    lines += [f"  {name}: {_short(value)}" for name, value in cost.items() if value is not None]
    emit(args, facts | {"facts": result.facts, "cost": cost}, "\n".join(lines))
    return 0


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    text = json.dumps(value, default=str) if isinstance(value, (dict, list)) else str(value)
    return text if len(text) <= 100 else text[:97] + "..."


def ledger_path() -> Path:
    """The ledger of stages that are run one by one: `$SPARING_HOME/ledger.sqlite`."""
    return home() / "ledger.sqlite"


def warn(text: str) -> None:
    print(text, file=sys.stderr)
