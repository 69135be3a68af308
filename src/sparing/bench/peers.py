"""Which peers can take a model here, and where their conversions lie.

A folder of peers is made by `benchmarks/peers.py`: environments, conversions, and `peers.json`,
which says for each of our model folders what the peers run instead of it.
"""

import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sparing.base.config import nearest
from sparing.base.errors import ArtefactError, ConfigError
from sparing.base.files import read_json, write_atomic
from sparing.bench.contestant import Entry

MANIFEST = "peers.json"
PACKAGES = {
    "llama.cpp": "llama_cpp",
    "openvino": "openvino_genai",
    "onnxruntime-genai": "onnxruntime_genai",
    "transformers": "transformers",
}
"""Peer to the module that shows it is installed in this environment."""


def chosen(names: Sequence[str]) -> list[str]:
    """The peers named, once each.  Errors: ConfigError naming the nearest known one."""
    for name in names:
        if name not in PACKAGES:
            hint = nearest(name, PACKAGES) or f"; one of {', '.join(PACKAGES)}"
            raise ConfigError(f"--against: {name}: no such peer{hint}")
    return list(dict.fromkeys(names))


def find(
    model: Path, names: Sequence[str], *, folder: Path, width: str
) -> tuple[list[Entry], dict[str, str]]:
    """What the peers run beside `model`, and why the others are absent.

    Errors: ArtefactError for a damaged manifest.
    """
    prepared = read(folder).get(str(model.resolve()), [])
    entries: list[Entry] = []
    absent: dict[str, str] = {}
    for name in names:
        mine = [entry for entry in prepared if entry.engine == name]
        entries += mine or _here(name, model, width, absent)
    return entries, absent


def _here(name: str, model: Path, width: str, absent: dict[str, str]) -> list[Entry]:
    """What this environment can run without a conversion; the reason goes into `absent`."""
    installed = importlib.util.find_spec(PACKAGES[name]) is not None
    if not installed:
        absent[name] = "not installed; run: pip install 'sparing[bench]'"
    elif name == "llama.cpp" and model.suffix == ".gguf":
        return [
            Entry(
                label=f"llama.cpp {model.name}",
                engine=name,
                model=str(model),
                weight_bytes=model.stat().st_size,
            )
        ]
    elif name == "transformers" and model.is_dir() and width in ("bf16", "fp32"):
        label = f"transformers {width}"
        return [Entry(label=label, engine=name, model=str(model), options={"dtype": width})]
    else:
        absent[name] = f"no conversion of {model}; run: python benchmarks/peers.py {model}"
    return []


def read(folder: Path) -> dict[str, list[Entry]]:
    """The manifest: absolute path of a model of ours to the peers' entries; empty without one.

    Errors: ArtefactError for a damaged one.
    """
    path = folder / MANIFEST
    if not path.exists():
        return {}
    tree = read_json(path)
    try:
        return {
            model: [_entry(each) for each in entries] for model, entries in tree["models"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(f"{path}: not a manifest of peers: {error!r}") from None


def _entry(tree: Mapping[str, Any]) -> Entry:
    return Entry(**tree)


def write(folder: Path, models: Mapping[str, Sequence[Entry]]) -> None:
    """Write the manifest."""
    tree = {
        "version": 1,
        "models": {path: [asdict(entry) for entry in models[path]] for path in models},
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / MANIFEST, json.dumps(tree, indent=1) + "\n")


def python_of(folder: Path, environment: str) -> str:
    """The interpreter of a private environment, or this one when there is none."""
    path = folder / "environments" / environment / "bin" / "python"
    return str(path) if path.exists() else sys.executable
