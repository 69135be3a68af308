"""sparing generate: continue a prompt, or a file of prompts, on the CPU."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparing.base.errors import ArtefactError, ConfigError, RequestError
from sparing.cli.common import add_json_flag, warn

if TYPE_CHECKING:
    from sparing.engine.handle import Completion, Handle
    from sparing.engine.llm import LLM
    from sparing.engine.request import Sampling
    from sparing.retrieval.index import Hit

HELP = "Continue a prompt on the CPU; the text streams to standard output, figures to the other."
EXAMPLE = "sparing generate runs/first -p 'The garden' --max-tokens 40"

_MOST_TOGETHER = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to continue, how to draw, and how to show it."""
    parser.add_argument("model", type=Path, help="model folder, or a run's folder")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("-p", "--prompt", metavar="TEXT", help="text to continue; - reads stdin")
    source.add_argument(
        "--input", type=Path, metavar="FILE.jsonl", help="one prompt a line: a text or {prompt: ..}"
    )
    parser.add_argument("-n", type=int, default=1, metavar="N", help="answers per prompt (1)")
    parser.add_argument("--index", type=Path, metavar="DIR", help="put passages from it first")
    parser.add_argument("--passages", type=int, default=3, metavar="K", help="how many (3)")
    add_sampling(parser)
    parser.add_argument("--threads", type=int, metavar="N", help="compute threads (all cores)")
    add_json_flag(parser)


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Options of the draw, the same for generate and chat."""
    add = parser.add_argument
    add("--max-tokens", type=int, metavar="N", help="most tokens to write (the model's context)")
    add("--temperature", type=float, default=0.8, metavar="X", help="0 is greedy (0.8)")
    add("--top-p", type=float, default=1.0, metavar="X", help="least mass to draw from (1)")
    add("--top-k", type=int, default=0, metavar="N", help="most tokens to draw from (0: all)")
    add("--seed", type=int, metavar="N", help="fixes the draw")
    add("--stop", action="append", default=[], metavar="TEXT", help="end before this text; repeat")


def sampling_of(args: argparse.Namespace, choice: int = 0) -> "Sampling":
    """How to draw answer number `choice`; each has a seed of its own."""
    from sparing.base.seeds import derive
    from sparing.engine.request import Sampling

    seed = args.seed if args.seed is None or choice == 0 else derive(args.seed, "choice", choice)
    try:
        return Sampling(
            temperature=args.temperature,
            top_p=args.top_p,
            top_k=args.top_k,
            max_tokens=args.max_tokens,
            stop=tuple(args.stop),
            seed=seed,
        )
    except RequestError as error:
        raise ConfigError(str(error)) from None


def run(args: argparse.Namespace) -> int:
    """Load, answer, print."""
    if args.n < 1 or args.passages < 1:
        raise ConfigError("-n and --passages: expected at least 1")
    sampling_of(args)
    prompts = _prompts(args)
    from sparing.engine.assemble import load
    from sparing.engine.config import EngineConfig

    together = min(len(prompts) * args.n, _MOST_TOGETHER)
    config = EngineConfig(
        max_num_seqs=together,
        threads=args.threads,
        max_waiting=max(len(prompts) * args.n, 1),
    )
    hits = [_search(args, prompt) for prompt in prompts]
    with load(args.model, config) as llm:
        if len(prompts) == args.n == 1 and not args.json and args.input is None:
            return _one(args, llm, prompts[0], hits[0])
        return _many(args, llm, prompts, hits)


def _one(args: argparse.Namespace, llm: "LLM", prompt: str, hits: "list[Hit]") -> int:
    """Stream a single answer."""
    if hits:
        print(_shown(hits), end="", flush=True)
        print(f"{llm.model_name} writes (a model's words, not the sources'):", flush=True)
    with llm.stream(_with(llm, prompt, hits, args.max_tokens), sampling_of(args)) as handle:
        for delta in handle:
            print(delta.text, end="", flush=True)
        print()
        if handle.error is not None:
            raise handle.error
    warn(figures(handle))
    return 0


def _many(args: argparse.Namespace, llm: "LLM", prompts: list[str], hits: "list[list[Hit]]") -> int:
    """Compute all answers together; print each when it and those before it are there."""
    rules = [sampling_of(args, choice) for choice in range(args.n)]
    handles: list[Handle] = []
    rows: list[dict[str, Any]] = []
    try:
        for prompt, found in zip(prompts, hits, strict=True):
            full = _with(llm, prompt, found, args.max_tokens)
            handles += [llm.stream(full, rule) for rule in rules]
        for number, handle in enumerate(handles):
            which, choice = divmod(number, args.n)
            answer = handle.result()
            row = _row(prompts[which], hits[which], answer, choice if args.n > 1 else None)
            rows.append(row)
            if not args.json:
                labelled = args.input is None
                print(_labelled(answer, choice) if labelled else json.dumps(row), flush=True)
    finally:
        for handle in handles:
            handle.cancel()
    if args.json:
        print(json.dumps(rows[0] if len(rows) == 1 else {"answers": rows}))
    warn(f"{len(rows)} answers, {sum(handle.usage.completion_tokens for handle in handles)} tokens")
    return 0


def _labelled(answer: "Completion", choice: int) -> str:
    return f"[{choice + 1}] {answer.text}"


def _row(
    prompt: str, hits: "list[Hit]", answer: "Completion", choice: int | None
) -> dict[str, Any]:
    row: dict[str, Any] = {"prompt": prompt}
    if choice is not None:
        row["choice"] = choice
    if hits:
        row["passages"] = [
            {"source": hit.source, "title": hit.title, "score": hit.score, "text": hit.text}
            for hit in hits
        ]
    return row | {
        "text": answer.text,
        "finish_reason": answer.finish_reason,
        "prompt_tokens": answer.usage.prompt_tokens,
        "completion_tokens": answer.usage.completion_tokens,
        "first_token_s": answer.timing.first_token_s,
        "tokens_per_s": answer.timing.tokens_per_s(answer.usage.completion_tokens),
    }


def figures(handle: "Handle") -> str:
    """What an answer took, in a line."""
    usage, timing = handle.usage, handle.timing
    first = f"first token {timing.first_token_s:.3f} s" if timing.first_token_s else "no token"
    speed = timing.tokens_per_s(usage.completion_tokens)
    rate = f", {speed:.1f} tokens/s" if speed else ""
    return (
        f"{usage.prompt_tokens} prompt tokens, {first}; {usage.completion_tokens} tokens{rate} "
        f"({handle.finish_reason})"
    )


def _prompts(args: argparse.Namespace) -> list[str]:
    if args.input is not None:
        return list(_lines(args.input))
    return [sys.stdin.read() if args.prompt == "-" else args.prompt]


def _lines(path: Path) -> Iterator[str]:
    found = False
    with path.open(encoding="utf-8", errors="strict") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            found = True
            yield _prompt_of(line, f"{path}:{number}")
    if not found:
        raise ArtefactError(f"{path}: no prompts in it")


def _prompt_of(line: str, where: str) -> str:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise ArtefactError(f"{where}: expected a JSON text or an object, a line each") from None
    prompt = value.get("prompt") if isinstance(value, dict) else value
    if not isinstance(prompt, str):
        raise ArtefactError(f'{where}: expected "text" or {{"prompt": "text"}}')
    return prompt


def _search(args: argparse.Namespace, prompt: str) -> "list[Hit]":
    if args.index is None:
        return []
    from sparing.retrieval.index import Index

    return Index.open(args.index).search(prompt, args.passages)


def _with(llm: "LLM", prompt: str, hits: "Sequence[Hit]", max_tokens: int | None) -> str:
    """The prompt after as much of the passages as leaves room for the answer."""
    if not hits:
        return prompt
    from sparing.retrieval.prompt import with_passages

    context = llm.service.context
    room = context - (max_tokens if max_tokens is not None else context // 4)
    chars = 4 * context  # more than fits; a token is seldom longer
    while chars > 0:
        full = with_passages(prompt, hits, chars)
        if len(llm.prompt_ids(full)) <= room:
            return full
        chars = chars * 3 // 4
    return prompt


def _shown(hits: "Sequence[Hit]") -> str:
    """Passages for a reader, each under its source."""
    parts = []
    for number, hit in enumerate(hits, start=1):
        title = f" - {hit.title}" if hit.title else ""
        parts.append(f"[{number}] {hit.source}{title}\n{hit.text.strip()}\n\n")
    return "".join(parts)
