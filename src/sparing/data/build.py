"""The stage that makes a corpus: find, sieve part by part, deduplicate, divide, write.

    files -> parts (kept in the work folder) -> repeated or not -> train | heldout -> Parquet

Only the sieve is slow, and a killed run repeats one part of it at most.  Everything after it is
a pure function of the parts.
"""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from sparing.base.config import to_tree
from sparing.base.errors import ConfigError
from sparing.base.files import (
    check_free,
    new_artefact,
    open_artefact,
    read_json,
    working,
    write_atomic,
)
from sparing.base.logs import Progress, logger
from sparing.base.stage import StageResult
from sparing.data.config import DataConfig
from sparing.data.divide import heldout_of
from sparing.data.document import Count
from sparing.data.duplicates import HASHES, exact_repeats, near_repeats
from sparing.data.parquet import SplitWriter, rows
from sparing.data.sieve import STEPS, Part, parts, sieve
from sparing.data.sources import choose, find


def build_corpus(
    config: DataConfig, out: Path, *, resume: bool = False, overwrite: bool = False
) -> StageResult:
    """Make a corpus folder from the sources.

    With `resume`, finished parts of a killed run are used, and a finished corpus with the same
    settings is returned as it is.  Equal sources and settings give equal bytes.
    Errors: ConfigError for sources that are missing, hold nothing, or lose everything to a
    step; ArtefactError when `out` exists.
    """
    if resume and out.exists() and open_artefact(out, kind="corpus").stage == _stage(config):
        with working(out):  # a kill after the last rename leaves the parts behind
            pass
        return StageResult(artefact=out, facts=open_artefact(out).facts)
    check_free(out, overwrite=overwrite)
    with working(out) as work:
        found = Count("find")
        files, share = choose(find(config.sources, found), config.max_bytes, config.seed, found)
        for file in files:
            found.keep(file.disk_bytes, file.disk_bytes)
        divided = parts(files, share, config.part_bytes)
        _prepare(config, divided, work, resume=resume)
        _sieve_all(divided, config, work)
        with new_artefact(out, kind="corpus", stage=_stage(config), overwrite=overwrite) as draft:
            manifest = _assemble(divided, config, work, found, draft.path)
            draft.facts |= _facts(manifest)
    return StageResult(artefact=out, facts=_facts(manifest))


def _stage(config: DataConfig) -> dict[str, Any]:
    tree = to_tree(config)
    tree.pop("workers")  # it does not change the corpus
    return {"verb": "data build", **tree}


def _prepare(config: DataConfig, divided: list[Part], work: Path, *, resume: bool) -> None:
    """Keep the finished parts that still hold, or start with an empty work folder."""
    plan = json.dumps(
        {
            "config": _stage(config),
            "parts": [
                [[file.name, file.disk_bytes, file.changed_ns] for file in part.files]
                for part in divided
            ],
        }
    )
    path = work / "plan.json"
    if resume and path.exists():
        if path.read_text() == plan:
            return
        raise ConfigError(
            "--resume: the settings or the source files changed since the run was stopped; "
            "run again without --resume"
        )
    shutil.rmtree(work)
    work.mkdir()
    write_atomic(path, plan)


def _sieve_all(divided: list[Part], config: DataConfig, work: Path) -> None:
    left = [part for part in divided if not part.counts(work).exists()]
    done = sum(file.disk_bytes for part in divided for file in part.files)
    total = done
    done -= sum(file.disk_bytes for part in left for file in part.files)
    with Progress("data build", "bytes", total) as progress:
        progress.update(done)
        for part in _run(left, config, work):
            done += sum(file.disk_bytes for file in part.files)
            progress.update(done)


def _run(left: list[Part], config: DataConfig, work: Path) -> Iterator[Part]:
    if config.workers == 1 or len(left) < 2:
        for part in left:
            sieve(part, config, work)
            yield part
        return
    with ProcessPoolExecutor(config.workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(sieve, part, config, work) for part in left]
        for part, future in zip(left, futures, strict=True):
            future.result()
            yield part


def _assemble(
    divided: list[Part], config: DataConfig, work: Path, found: Count, folder: Path
) -> dict[str, Any]:
    """Deduplicate, divide and write; return the manifest."""
    counts = [found, *_sum(divided, work)]
    _must_leave(counts)
    sizes = _sizes(divided, work)
    exact, near = Count("exact duplicates"), Count("near duplicates")
    keep = _exact(divided, work, sizes, exact)
    counts.append(exact)
    if config.near_duplicates:
        keep = _near(divided, work, sizes, keep, config.threshold, near)
        counts.append(near)
    heldout = heldout_of(
        _rows(divided, work, ("source", "kind")), keep, config.heldout_fraction, config.seed
    )
    writers = {name: SplitWriter(folder, name) for name in ("train", "heldout")}
    for index, (text, source, kind, digest) in enumerate(
        _rows(divided, work, ("text", "source", "kind", "hash"))
    ):
        if keep[index]:
            writers["heldout" if heldout[index] else "train"].add(text, source, kind, digest.hex())
    for writer in writers.values():
        writer.close()
    manifest = {
        "steps": [count.tree() for count in counts],
        "splits": {name: writer.tree() for name, writer in writers.items()},
        "warnings": _warnings(counts, writers["heldout"].documents, config),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    for warning in manifest["warnings"]:
        logger("data").warning("%s", warning)
    return manifest


def _sum(divided: list[Part], work: Path) -> list[Count]:
    totals = {name: Count(name) for name in STEPS}
    for part in divided:
        for tree in read_json(part.counts(work))["steps"]:
            totals[tree["step"]].add(Count.from_tree(tree))
    return list(totals.values())


def _rows(divided: list[Part], work: Path, columns: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    for part in divided:
        yield from rows(part.parquet(work), columns)


def _sizes(divided: list[Part], work: Path) -> np.ndarray:
    """UTF-8 bytes of each document."""
    return np.array([len(text.encode()) for (text,) in _rows(divided, work, ("text",))], np.int64)


def _exact(divided: list[Part], work: Path, sizes: np.ndarray, count: Count) -> np.ndarray:
    digests = b"".join(digest for (digest,) in _rows(divided, work, ("hash",)))
    repeated = exact_repeats(digests)
    _count_repeats(divided, work, sizes, np.ones(len(sizes), bool), repeated, count)
    return ~repeated


def _near(
    divided: list[Part],
    work: Path,
    sizes: np.ndarray,
    keep: np.ndarray,
    threshold: float,
    count: Count,
) -> np.ndarray:
    path = work / "signatures.u32"
    with path.open("wb") as file:
        for (signature,) in _rows(divided, work, ("signature",)):
            file.write(signature)
    signature = np.memmap(path, np.uint32, mode="r", shape=(len(sizes), HASHES))
    first = near_repeats(signature, threshold, keep)
    repeated = keep & (first != np.arange(len(first)))
    _count_repeats(divided, work, sizes, keep, repeated, count)
    return keep & ~repeated


def _count_repeats(
    divided: list[Part],
    work: Path,
    sizes: np.ndarray,
    among: np.ndarray,
    repeated: np.ndarray,
    count: Count,
) -> None:
    for index, (source,) in enumerate(_rows(divided, work, ("source",))):
        if repeated[index]:
            count.drop("repeats an earlier document", source, int(sizes[index]))
        elif among[index]:
            count.keep(int(sizes[index]), int(sizes[index]))


def _must_leave(counts: list[Count]) -> None:
    for count in counts:
        if not count.documents_out:
            reasons = ", ".join(f"{n} {reason}" for reason, n in count.dropped.most_common(5))
            raise ConfigError(
                f"sources: the step {count.step!r} removed everything ({reasons or 'no text'}); "
                "relax its settings or add sources"
            )


def _warnings(counts: list[Count], heldout: int, config: DataConfig) -> list[str]:
    warnings = [
        f"the step {count.step!r} removed nothing from {count.documents_in} documents"
        for count in counts
        if count.step in ("filter", "exact duplicates", "near duplicates") and not count.dropped
    ]
    if config.heldout_fraction and not heldout:
        warnings.append("one document is too few to keep any apart for evaluation")
    return warnings


def _facts(manifest: dict[str, Any]) -> dict[str, Any]:
    splits, steps = manifest["splits"], manifest["steps"]
    return {
        "documents": {name: split["documents"] for name, split in splits.items()},
        "bytes": {name: split["bytes"] for name, split in splits.items()},
        "removed": {step["step"]: sum(step["dropped"].values()) for step in steps},
        "warnings": manifest["warnings"],
    }
