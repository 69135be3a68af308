"""Run the steps, skip what is finished, and end with the report."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparing.base import files
from sparing.base.errors import ArtefactError, MissingExtraError, SparingError
from sparing.base.units import bytes_text, count_text, seconds_text
from sparing.recipe.account import run_stage
from sparing.recipe.plan import Recipe, Step, settings_of
from sparing.recipe.stages import stage_named

STATE = "steps.json"
LEDGER = "ledger.sqlite"


@dataclass(frozen=True, slots=True)
class Done:
    """A finished run."""

    run: Path
    steps: dict[str, dict[str, Any]]
    report: Path | None

    def to_tree(self) -> dict[str, Any]:
        return {
            "run": str(self.run),
            "report": str(self.report) if self.report else None,
            "steps": self.steps,
        }

    def text(self) -> str:
        """What a person wants to read at the end."""
        lines = [f"{'step':12} {'time':>8} {'memory':>10} {'energy':>12}  artefact"]
        for name, step in self.steps.items():
            cost = step["cost"]
            joules = cost.get("joules")
            energy = "unavailable" if joules is None else f"{count_text(joules)} J"
            peak = cost.get("peak_rss_bytes")
            lines.append(
                f"{name:12} {seconds_text(cost.get('seconds', 0.0)):>8} "
                f"{bytes_text(peak) if peak else '-':>10} {energy:>12}  {step['artefact']}"
            )
        labels = {step["cost"].get("energy_label", "unavailable") for step in self.steps.values()}
        lines.append(
            f"energy is {' / '.join(sorted(labels))}; details: sparing ledger show {self.run}"
        )
        for name, step in self.steps.items():
            if step["use"] == "ask":
                lines += ["", *_answer(self.run / name / "answer.json")]
        if self.report:
            lines += ["", f"report:  {self.report}"]
        model, index = self._last("compress") or self._last("pretrain"), self._last("index.build")
        if model:
            attach = f" --index docs={index}" if index else ""
            lines.append(f"serve:   sparing serve {model}{attach}")
        return "\n".join(lines)

    def _last(self, use: str) -> str | None:
        made = [step["artefact"] for step in self.steps.values() if step["use"] == use]
        return made[-1] if made else None


def _answer(path: Path) -> list[str]:
    answer = files.read_json(path)
    lines = [f"question: {answer['question']}"]
    for number, passage in enumerate(answer["passages"], start=1):
        words = " ".join(passage["text"].split())
        lines.append(f"  [{number}] {passage['source']}  {passage['title']}")
        lines.append(f"      {words[:200]}{'...' if len(words) > 200 else ''}")
    text = answer["text"].strip().replace("\n", "\n  ")
    return [*lines, f"the model's own words ({answer['label']}):", f"  {text}"]


def run_recipe(recipe: Recipe, out: Path, *, resume: bool, tell: Callable[[str], None]) -> Done:
    """Run every step into `out`, one folder a step, with ledger, recipe and report beside them.

    Errors: ArtefactError when `out` holds something and `resume` is not asked for, or when it is
    not a run of ours; else those of the stages. Finished steps stay finished.
    """
    if out.exists() and any(out.iterdir()):
        if not (out / STATE).is_file():
            raise ArtefactError(f"{out}: not empty and not a run; choose another --out")
        if not resume:
            raise ArtefactError(
                f"{out}: exists already; go on with --resume or choose another --out"
            )
    with files.lock(out):
        out.mkdir(parents=True, exist_ok=True)
        files.write_atomic(out / "recipe.toml", recipe.to_toml())
        state = files.read_json(out / STATE) if (out / STATE).is_file() else {}
        changed = not state
        for number, step in enumerate(recipe.steps, start=1):
            head = f"[{number}/{len(recipe.steps)}] {step.name} ({step.use})"
            key = _key(step, out)
            if _finished(state.get(step.name), key, out / step.name):
                tell(f"{head}: finished before")
                continue
            tell(head)
            changed = True
            _prepare(state, step, key, out)
            state[step.name] = _run(step, key, out)
            _save(state, out)
            tell(_summary(state[step.name]))
        steps = {step.name: state[step.name] for step in recipe.steps}
        return Done(out, steps, _report(out, tell) if changed else _existing(out / "report.html"))


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def _key(step: Step, run: Path) -> str:
    """Changes when the step's settings or the content of its inputs change."""
    parents = {parent: files.hash_of(run / parent) for parent in step.parents}
    text = json.dumps([step.use, dict(step.with_), parents], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _finished(entry: dict[str, Any] | None, key: str, folder: Path) -> bool:
    if not entry or entry.get("key") != key or entry.get("status") != "finished":
        return False
    try:
        return files.open_artefact(folder).content_hash == entry["content_hash"]
    except SparingError:
        return False


def _prepare(state: dict[str, Any], step: Step, key: str, run: Path) -> None:
    """Forget the parts of a stopped step whose settings have changed since."""
    if state.get(step.name, {}).get("key") != key:
        shutil.rmtree(run / f".{step.name}.work", ignore_errors=True)
    state[step.name] = {"key": key, "status": "started", "use": step.use}
    _save(state, run)


def _run(step: Step, key: str, run: Path) -> dict[str, Any]:
    function, _ = stage_named(step.use).load()
    result, cost = run_stage(
        step.name,
        function,
        settings_of(step, run),
        run / step.name,
        ledger=run / LEDGER,
        resume=True,
        overwrite=(run / step.name).exists(),
    )
    return {
        "key": key,
        "status": "finished",
        "use": step.use,
        "artefact": str(result.artefact),
        "content_hash": files.hash_of(result.artefact),
        "tokens": result.tokens,
        "flops": result.flops,
        "quality": result.quality,
        "facts": result.facts,
        "cost": cost,
    }


def _save(state: dict[str, Any], run: Path) -> None:
    files.write_atomic(run / STATE, json.dumps(state, indent=1, default=str) + "\n")


def _summary(entry: dict[str, Any]) -> str:
    words = [seconds_text(entry["cost"].get("seconds", 0.0))]
    for name, value in entry["quality"].items():
        if isinstance(value, int | float):
            words.append(f"{name} {value:.4g}")
    return "    " + ", ".join(words)


def _report(run: Path, tell: Callable[[str], None]) -> Path | None:
    try:
        from sparing.report.report import write_report

        return write_report(run)
    except MissingExtraError as error:
        tell(f"no report: {error}")
        return None
