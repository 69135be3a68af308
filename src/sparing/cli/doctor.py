"""sparing doctor: what this machine and this installation can do."""

import argparse
import importlib.util
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from sparing.base.errors import ConfigError, SparingError
from sparing.base.home import home
from sparing.base.units import bytes_text
from sparing.cli import common

HELP = """Look at the machine and the installation; exit 1, naming the fix, if something is broken.

The first call measures memory bandwidth and matmul speed (a few seconds) and keeps the figures;
measure again with --fresh when the machine was busy."""
EXAMPLE = "sparing doctor --json"

EXTRAS = {
    "train": ("torch", "pretrain"),
    "data": ("pyarrow", "data build, data tokenize"),
    "retrieval": ("tantivy", "index, --index"),
    "report": ("matplotlib", "the report of a run"),
}
"""Extra -> the package that shows it is there, and the verbs that need it."""

LEAST_DISK_BYTES = 1 << 30
"""Below this a recipe may well run out of disk."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    state: Literal["ok", "note", "broken"]
    text: str
    fix: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fresh", action="store_true", help="measure the machine again")
    common.add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    findings = [
        _python(),
        *_machine(fresh=args.fresh),
        _native(),
        _energy(),
        _prices(),
        _home(),
        _disk(),
        *_extras(),
    ]
    broken = [finding for finding in findings if finding.state == "broken"]
    tree = {"ok": not broken, "findings": [asdict(finding) for finding in findings]}
    common.emit(args, tree | {"machine": _tree(args)}, _text(findings))
    return 1 if broken else 0


def _tree(args: argparse.Namespace) -> object:
    from sparing.measure import machine

    return machine.probe().to_tree() if args.json else None


def _peaks(threads: int) -> dict[str, float | None]:
    """Integer and bfloat16 peaks; unknown where the native library was not built."""
    from sparing.kernels import peaks

    try:
        best = peaks.best(threads)
    except SparingError:
        return {}
    return {"int8_ops": best.int8_ops, "bf16_flops": best.bf16_flops}


def _text(findings: list[Finding]) -> str:
    width = max(len(finding.name) for finding in findings)
    marks = {"ok": "ok    ", "note": "note  ", "broken": "BROKEN"}
    lines = []
    for finding in findings:
        lines.append(f"{marks[finding.state]}  {finding.name.ljust(width)}  {finding.text}")
        if finding.fix:
            lines.append(f"{' ' * (width + 10)}-> {finding.fix}")
    return "\n".join(lines)


def _python() -> Finding:
    import sparing

    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("version", "ok", f"sparing {sparing.__version__}, Python {version}")


def _machine(*, fresh: bool) -> list[Finding]:
    from sparing.measure import machine

    found = machine.probe(cache=not fresh, peaks=_peaks)
    facts = found.facts
    caches = ", ".join(f"{name} {bytes_text(size)}" for name, size in facts.cache_bytes.items())
    lines = [
        Finding("processor", "ok", f"{facts.model}, {facts.cores} of {facts.machine_cores} cores"),
        Finding("isa flags", "ok", " ".join(facts.isa) or "none that matter here"),
        Finding("memory", "ok", f"{bytes_text(facts.ram_bytes)}; caches: {caches or 'unknown'}"),
    ]
    if found.read_bytes_per_s is None or found.fp32_flops is None:
        text = "bandwidth and matmul speed are unknown: the probe could not run"
        return [*lines, Finding("speed", "note", text)]
    one, rate = found.read_bytes_per_s_1 or 0.0, found.read_bytes_per_s
    text = f"reads {rate / 1e9:.1f} GB/s ({one / 1e9:.1f} with one thread), "
    text += f"float32 matmul {found.fp32_flops / 1e9:.0f} GFLOP/s"
    text += f", int8 {found.int8_ops / 1e9:.0f} GOP/s" if found.int8_ops else ""
    text += f", bf16 {found.bf16_flops / 1e9:.0f} GFLOP/s" if found.bf16_flops else ""
    text += f"; {found.label}"
    busy = (found.load_before or 0.0) > facts.machine_cores / 2
    hint = (
        "it was measured on a busy machine; measure again: sparing doctor --fresh" if busy else ""
    )
    return [*lines, Finding("speed", "note" if busy else "ok", text, hint)]


def _native() -> Finding:
    from sparing.kernels import native

    try:
        choice = native.chosen()
    except ConfigError as error:
        return Finding("kernels", "broken", str(error), "unset SPARING_ISA or name another")
    except SparingError as error:
        return Finding("kernels", "broken", str(error), "pip install . in the source tree")
    return Finding("kernels", "ok", f"{choice.isa}: {choice.reason}")


def _energy() -> Finding:
    from sparing.measure import energy, meter

    meters = meter.system_meter()
    counters = ", ".join(counter.name for counter in meters.counters)
    _, why = energy.rapl_counters()
    fix = why.partition("run: ")[2]
    if meters.watts is None:
        return Finding("energy", "ok", f"measured by {counters}")
    text = f"processor estimated: {meters.watts.method}, +-{meters.watts.spread:.0%}"
    return Finding("energy", "note", f"measured by {counters}; {text}" if counters else text, fix)


def _prices() -> Finding:
    from sparing.measure import settings

    path = settings.settings_file()
    try:
        stated = settings.stated()
    except ConfigError as error:
        return Finding("prices", "broken", str(error), f"correct {path}")
    text = f"{stated.intensity.grams_per_kwh:g} gCO2e/kWh ({stated.intensity.source}); "
    text += stated.prices.method
    if path.is_file():
        return Finding("prices", "ok", text)
    fix = f'state yours in {path}: country = "FRA", electricity_per_kwh = 0.25, currency = "EUR"'
    return Finding("prices", "note", text, fix)


def _home() -> Finding:
    path = home()
    text = f"{path} (SPARING_HOME)"
    try:
        path.mkdir(parents=True, exist_ok=True)
        mark = path / ".writable"
        mark.write_text("")
        mark.unlink()
    except OSError as error:
        fix = "set SPARING_HOME to a folder that you may write"
        return Finding("home", "broken", f"{text}: {error.strerror or error}", fix)
    return Finding("home", "ok", text)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    text = f"{bytes_text(free)} free in {Path.cwd()}"
    if free < LEAST_DISK_BYTES:
        return Finding("disk", "note", text, "free some space, or run with --out elsewhere")
    return Finding("disk", "ok", text)


def _extras() -> list[Finding]:
    findings = []
    for extra, (package, verbs) in EXTRAS.items():
        if importlib.util.find_spec(package) is not None:
            findings.append(Finding(f"extra {extra}", "ok", f"{package} is there, for {verbs}"))
        else:
            text = f"{package} is absent, which {verbs} needs"
            fix = f"pip install 'sparing[{extra}]'"
            findings.append(Finding(f"extra {extra}", "note", text, fix))
    return findings
