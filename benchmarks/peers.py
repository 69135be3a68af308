"""Environments and conversions of the peers, for `sparing bench` and `cpu_inference.py`.

    .venv/bin/python benchmarks/peers.py MODEL [--peers DIR] [--only llama.cpp,openvino]

MODEL is a Hugging Face folder with dense weights. Under DIR (default: peers in $SPARING_HOME):

    environments/NAME        private environments: peers want versions of their own
    models/MODEL/...         our int8 and int4 folders, GGUF files, OpenVINO and ONNX folders
    peers.json               what each peer runs beside each folder of ours

Every step that is done is skipped when it is asked for again; one that fails is reported, and the
others go on. Packages come from the index that pip is set up for; nothing else is fetched.
"""

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gguf_file import write_gguf
from sparing.base.home import home
from sparing.bench import peers
from sparing.bench.contestant import Entry
from sparing.compression.compress import CompressConfig, plan, rounded_weights, write
from sparing.models.folder import open_model

TORCH = "torch==2.13.0"
ENVIRONMENTS: dict[str, tuple[str, ...]] = {
    "llama.cpp": ("llama-cpp-python==0.3.36",),
    "openvino": ("openvino==2026.4.1", "openvino-genai==2026.4.1.0"),
    "openvino-export": (TORCH, "optimum-intel==2.2.0", "nncf==3.4.0", "openvino-genai==2026.4.1.0"),
    "onnxruntime-genai": ("onnxruntime-genai==0.18.0", "onnxruntime==1.32.0"),
    "onnx-export": (
        *(TORCH, "onnxruntime-genai==0.18.0", "onnxruntime==1.32.0"),
        *("onnx", "onnx-ir", "transformers<5.10", "sentencepiece"),
    ),
    "transformers": (TORCH, "transformers==5.23.0"),
}
UNWANTED = {"openvino-export": ("torchvision",)}
"""Brought along by a dependency, built for another torch, and in the way of its import."""

NEEDS = {
    "llama.cpp": ("llama.cpp",),
    "openvino": ("openvino", "openvino-export"),
    "onnxruntime-genai": ("onnxruntime-genai", "onnx-export"),
    "transformers": ("transformers",),
}
GGML_TYPES = {"q4_0": 2, "q8_0": 7, "q4_k_m": 15}
"""llama.h, enum llama_ftype."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one model's files lie."""

    peers: Path
    """The whole folder."""
    source: Path
    """The dense model."""

    @property
    def folder(self) -> Path:
        """Of this model's conversions."""
        return self.peers / "models" / self.source.resolve().name

    def python(self, environment: str) -> str:
        """Interpreter of a private environment."""
        return str(self.peers / "environments" / environment / "bin" / "python")


def make_environment(place: Place, name: str) -> None:
    """A private environment with its packages; done when its stamp says so."""
    folder = place.peers / "environments" / name
    stamp, wanted = folder / "made.txt", "\n".join(ENVIRONMENTS[name]) + "\n"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    pip = [shutil.which("python3") or sys.executable, "-m", "pip", "--python", place.python(name)]
    run([*pip, "install", "--quiet", *ENVIRONMENTS[name]])
    for package in UNWANTED.get(name, ()):
        run([*pip, "uninstall", "--quiet", "--yes", package])
    stamp.write_text(wanted)


def run(command: Sequence[str]) -> None:
    """A step in a process of its own.  Errors: CalledProcessError."""
    print("+", " ".join(command)[:300], flush=True)
    subprocess.run(command, check=True)


@dataclass(frozen=True, slots=True)
class Own:
    """A folder of ours at one width."""

    label: str
    path: Path
    note: str
    head: Literal["keep", "int8", "int4"] = "keep"


def own_folders(place: Place) -> dict[str, list[Own]]:
    """Our folders by width, the first the one that peers are compared with; made or not."""
    return {
        "bf16": [Own("bf16", place.source, "KV fp32")],
        "int8": [Own("int8", place.folder / "sparing-int8-head8", "g128, head int8", "int8")],
        "int4": [
            Own("int4, head int8", place.folder / "sparing-int4-head8", "g128, head int8", "int8"),
            Own("int4, head int4", place.folder / "sparing-int4-head4", "g128, head int4", "int4"),
        ],
    }


def make_own(place: Place) -> None:
    """Our folders: rounded to nearest in groups of 128, without a card."""
    for scheme in ("int8", "int4"):
        for own in own_folders(place)[scheme]:
            if not own.path.exists():
                opened = open_model(place.source)
                config = CompressConfig(
                    model=place.source, scheme=scheme, head=own.head, search=False
                )
                names, group = plan(opened, config)
                with part(own.path) as draft:
                    write(opened, rounded_weights(opened, names, group, config), draft)


class part:
    """A name beside `target` that becomes it when the block ends without an error."""

    def __init__(self, target: Path) -> None:
        self.target, self.path = target, target.with_name(f".{target.name}.part")

    def __enter__(self) -> Path:
        self.target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.unlink(missing_ok=True)
        return self.path

    def __exit__(self, kind: type | None, *rest: object) -> None:
        if kind is None:
            self.path.rename(self.target)


QUANTISE = """
import ctypes, sys, llama_cpp
source, target, kind = sys.argv[1:]
params = llama_cpp.llama_model_quantize_default_params()
params.ftype = int(kind)
sys.exit(llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params)))
"""


def llamacpp(place: Place) -> dict[str, list[Entry]]:
    """GGUF files: BF16 by us, the quantised ones by the library, as its users have them."""
    base = place.folder / "bf16.gguf"
    if not base.exists():
        with part(base) as draft:
            write_gguf(open_model(place.source), draft)
    entries: dict[str, list[Entry]] = {"bf16": [gguf_entry(place, base, "BF16", "")]}
    for kind, width, note in (
        ("q4_0", "int4", "groups of 32, head Q6_K"),
        ("q8_0", "int8", "groups of 32, head Q8_0"),
        ("q4_k_m", "int4", "groups of 32 in 256, head Q6_K"),
    ):
        path = place.folder / f"{kind}.gguf"
        if not path.exists():
            code = str(GGML_TYPES[kind])
            with part(path) as draft:
                run([place.python("llama.cpp"), "-c", QUANTISE, str(base), str(draft), code])
        entries.setdefault(width, []).append(gguf_entry(place, path, kind.upper(), note))
    return entries


def gguf_entry(place: Place, path: Path, kind: str, note: str) -> Entry:
    return Entry(
        label=f"llama.cpp {kind}",
        engine="llama.cpp",
        model=str(path),
        python=place.python("llama.cpp"),
        weight_bytes=path.stat().st_size,
        head="int8" if "Q6_K" in note else "",  # six bits in bytes, with products of bytes
        note="; ".join(filter(None, (note, "KV fp16"))),
    )


def openvino(place: Place) -> dict[str, list[Entry]]:
    """Folders of its own exporter: symmetric int4 in groups of 128, symmetric int8, fp16."""
    entries: dict[str, list[Entry]] = {}
    for width, fmt, extra, note in (
        ("int4", "int4", ("--sym", "--group-size", "128", "--ratio", "1.0"), "g128, head int8"),
        ("int8", "int8", ("--sym",), "a scale per row"),
        ("bf16", "fp16", (), "weights fp16"),
    ):
        out = place.folder / f"openvino-{fmt}"
        if not out.exists():
            with part(out) as draft:
                command = [place.python("openvino-export"), "-m", "optimum.commands.optimum_cli"]
                command += ["export", "openvino", "-m", str(place.source.resolve())]
                command += ["--task", "text-generation-with-past", "--weight-format", fmt, *extra]
                run([*command, str(draft)])
        entry = Entry(
            label=f"OpenVINO {fmt}",
            engine="openvino",
            model=str(out),
            python=place.python("openvino"),
            weight_bytes=(out / "openvino_model.bin").stat().st_size,
            head="int8" if "head int8" in note else "",
            note=f"{note}; KV int8",
        )
        entries[width] = [entry]
    return entries


def onnx(place: Place) -> dict[str, list[Entry]]:
    """The folder of its own builder: int4 in groups of 32, products with int8 activations."""
    out = place.folder / "onnx-int4"
    if not out.exists():
        with part(out) as draft:
            command = [place.python("onnx-export"), "-m", "onnxruntime_genai.models.builder"]
            command += ["-i", str(place.source.resolve()), "-o", str(draft), "-p", "int4"]
            command += ["-e", "cpu", "-c", str(place.folder / "onnx-cache")]
            run([*command, "--extra_options", "int4_accuracy_level=4", "int4_block_size=32"])
    entry = Entry(
        label="onnxruntime-genai int4",
        engine="onnxruntime-genai",
        model=str(out),
        python=place.python("onnxruntime-genai"),
        weight_bytes=sum(path.stat().st_size for path in out.glob("*.onnx*")),
        note="g32, head int4; KV fp32",
    )
    return {"int4": [entry]}


def transformers(place: Place) -> dict[str, list[Entry]]:
    """The dense folder itself."""
    weights = sum(path.stat().st_size for path in place.source.glob("*.safetensors"))
    entry = Entry(
        label="transformers bf16",
        engine="transformers",
        model=str(place.source.resolve()),
        python=place.python("transformers"),
        weight_bytes=weights,
        options={"dtype": "bf16"},
        note="eager; KV bf16",
    )
    return {"bf16": [entry]}


CONVERT: dict[str, Callable[[Place], dict[str, list[Entry]]]] = {
    "llama.cpp": llamacpp,
    "openvino": openvino,
    "transformers": transformers,
    "onnxruntime-genai": onnx,
}


def prepare(place: Place, names: Sequence[str]) -> int:
    """Environments, conversions and the manifest; returns how many peers could not be had."""
    found: dict[str, list[Entry]] = {"int4": [], "int8": [], "bf16": []}
    failed = []
    for name in names:
        begun = time.perf_counter()
        try:
            for environment in NEEDS[name]:
                make_environment(place, environment)
            for width, entries in CONVERT[name](place).items():
                found[width] += entries
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{name}: left out: {str(error)[:300]}", flush=True)
            failed.append(name)
        print(f"{name}: {time.perf_counter() - begun:.0f} s", flush=True)
    models = peers.read(place.peers)
    make_own(place)
    for width, folders in own_folders(place).items():
        for own in folders:
            path = str(own.path.resolve())
            kept = [each for each in models.get(path, []) if each.engine not in names]
            models[path] = [*kept, *found[width]]
    peers.write(place.peers, models)
    return len(failed)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--peers", type=Path, default=home() / "peers")
    parser.add_argument("--only", default=",".join(CONVERT))
    options = parser.parse_args()
    names = peers.chosen(options.only.split(","))
    place = Place(options.peers.absolute(), options.model)
    raise SystemExit(1 if prepare(place, names) else 0)


if __name__ == "__main__":
    main()
