"""What a search is worth, against judged queries in the BEIR layout.

Queries: jsonl with `_id` and `text`.  Judgements: tab-separated `query-id corpus-id score` with
a header line.  Passages count for the record they are from (`key`), at the place of the best.
Sources: Jarvelin & Kekalainen 2002 for nDCG (linear gain, as trec_eval computes it); Thakur et
al. 2021, arXiv:2104.08663, for the layout.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparing.base.errors import ArtefactError, ConfigError
from sparing.base.limits import LIMITS
from sparing.retrieval.index import MOST_HITS, Index

Judgements = Mapping[str, Mapping[str, int]]
"""Query id -> record id -> grade."""
DEPTH = 100
"""Records per query that are looked at."""


def ndcg(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """Discounted gain of the first k over the best possible; 0 when nothing is relevant."""
    gains = [max(grades.get(record, 0), 0) for record in ranked[:k]]
    ideal = sorted((grade for grade in grades.values() if grade > 0), reverse=True)[:k]
    best = _discounted(ideal)
    return _discounted(gains) / best if best else 0.0


def _discounted(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(place + 2) for place, gain in enumerate(gains))


def recall(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """Share of the relevant records among the first k; 0 when nothing is relevant."""
    relevant = {record for record, grade in grades.items() if grade > 0}
    return len(relevant & set(ranked[:k])) / len(relevant) if relevant else 0.0


def reciprocal_rank(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """One over the place of the first relevant record among the first k, or 0."""
    for place, record in enumerate(ranked[:k], start=1):
        if grades.get(record, 0) > 0:
            return 1 / place
    return 0.0


MEASURES: dict[str, tuple[Callable[..., float], int]] = {
    "ndcg@10": (ndcg, 10),
    "recall@10": (recall, 10),
    "recall@100": (recall, 100),
    "mrr@10": (reciprocal_rank, 10),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Means over the judged queries."""

    queries: int
    means: dict[str, float]
    standard_errors: dict[str, float]


def evaluate(
    search: Callable[[str], Sequence[str]], queries: Mapping[str, str], judged: Judgements
) -> Quality:
    """Run every judged query through `search` (text -> ranked record ids).

    Queries without a relevant record are left out, as trec_eval does.
    Errors: ConfigError when no query is judged.
    """
    rows: list[list[float]] = []
    for number, text in queries.items():
        grades = judged.get(number, {})
        if any(grade > 0 for grade in grades.values()):
            ranked = search(text)
            rows.append([measure(ranked, grades, k) for measure, k in MEASURES.values()])
    if not rows:
        raise ConfigError("qrels: no query has a relevant record; do the ids belong together?")
    columns = dict(zip(MEASURES, zip(*rows, strict=True), strict=True))
    means = {name: sum(values) / len(values) for name, values in columns.items()}
    return Quality(
        queries=len(rows),
        means=means,
        standard_errors={
            name: math.sqrt(sum((value - means[name]) ** 2 for value in values)) / len(values)
            for name, values in columns.items()
        },
    )


def ranked_records(index: Index, text: str, depth: int = DEPTH) -> list[str]:
    """Record ids by their best passage."""
    seen: dict[str, None] = {}
    for hit in index.search(text, min(MOST_HITS, 4 * depth)):
        seen.setdefault(hit.key or hit.source)
    return list(seen)[:depth]


def read_queries(path: Path) -> dict[str, str]:
    """Query id -> text.  Errors: ArtefactError naming the line that is wrong."""
    queries: dict[str, str] = {}
    for number, line in enumerate(_lines(path), start=1):
        try:
            record = json.loads(line)
            queries[str(record["_id"])] = str(record["text"])
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise ArtefactError(f"{path}:{number}: expected _id and text: {error}") from None
    return queries


def read_judgements(path: Path) -> dict[str, dict[str, int]]:
    """Query id -> record id -> grade.  Errors: ArtefactError naming the line that is wrong."""
    judged: dict[str, dict[str, int]] = {}
    for number, line in enumerate(_lines(path), start=1):
        fields = line.split("\t")
        if number == 1 and fields[0] == "query-id":
            continue
        try:
            query, record, grade = fields
            judged.setdefault(query, {})[record] = int(grade)
        except ValueError:
            raise ArtefactError(
                f"{path}:{number}: expected query-id, corpus-id and score between tabs"
            ) from None
    return judged


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > LIMITS.file_bytes:
            raise ArtefactError(f"{path}: over {LIMITS.file_bytes} bytes")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArtefactError(f"{path}: {error}") from None
    return [line for line in text.splitlines() if line.strip()]
