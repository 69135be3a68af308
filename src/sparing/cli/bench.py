"""sparing bench: how fast a model runs here, beside the peers and the machine's limits."""

import argparse
from pathlib import Path
from typing import Any

from sparing.cli.common import add_json_flag, emit, warn

HELP = """Measure decoding, prompt reading and time to the first token, in turns with the peers.

Every engine has a process of its own, the same prompts and the same threads. The machine's read
bandwidth and arithmetic peaks are measured between the turns: the roof is the larger of weight
bytes over bandwidth and operations over peak. Peers need conversions of the model, which
`python benchmarks/peers.py MODEL` makes; one that cannot run here is named with the reason."""

EXAMPLE = "sparing bench runs/first/int4 --against llama.cpp,transformers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="model folder, or the folder of a run")
    parser.add_argument(
        "--against",
        type=_names,
        default=(),
        metavar="PEERS",
        help="peers, as in llama.cpp,openvino,onnxruntime-genai,transformers",
    )
    parser.add_argument(
        "--peers",
        type=Path,
        metavar="DIR",
        help="folder of benchmarks/peers.py (default: peers in $SPARING_HOME)",
    )
    parser.add_argument("--threads", type=int, help="of every engine (default: usable cores)")
    parser.add_argument(
        "--streams", type=_numbers, default=(1, 8, 16), metavar="N,N", help="(default: 1,8,16)"
    )
    for name, value, text in (
        ("--prompt", 128, "tokens of a prompt before decoding"),
        ("--prefill", 1024, "tokens of the prompt whose reading is timed; 0 for none"),
        ("--first-token", 512, "tokens of the prompt before a timed first token; 0 for none"),
        ("--turns", 5, "samples of every figure, at least 5"),
    ):
        help_text = f"{text} (default: {value})"
        parser.add_argument(name, type=int, default=value, metavar="N", help=help_text)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="keep the samples, and go on from them"
    )
    add_json_flag(parser)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def run(args: argparse.Namespace) -> int:
    from sparing.base.home import home
    from sparing.bench import cells, compare

    wanted = cells.standard(
        streams=args.streams,
        prompt=args.prompt,
        prefill=args.prefill,
        first_token=args.first_token,
        turns=args.turns,
    )
    result = compare.compare(
        args.model,
        args.against,
        cells=wanted,
        peers_folder=args.peers or home() / "peers",
        threads=args.threads,
        out=args.out,
        say=warn,
    )
    emit(args, result, _text(result))
    return 0 if result["cells"] else 1


def _text(result: dict[str, Any]) -> str:
    lines = [f"{result['group']}: {result['threads']} threads, medians of turns taken in turn", ""]
    for cell in result["cells"]:
        lines += [cell["text"], ""]
    memory = {line["label"]: line for line in result["memory"]}
    for loaded in result["loaded"]:
        label = loaded["label"]
        most = memory.get(label, {}).get("peak_bytes")
        text = f"{label}: version {loaded['version']}, loaded in {loaded['seconds']:.1f} s"
        lines.append(text + (f", at most {most / 1e6:.0f} MB resident" if most else ""))
    lines += [f"absent: {name}: {reason}" for name, reason in result["absent"].items()]
    lines += [f"left out: {text}" for text in result["left_out"]]
    return "\n".join(lines)
