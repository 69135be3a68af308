"""The stage that puts a question to the index and the model."""

import json
from dataclasses import dataclass
from pathlib import Path

from sparing.base import config, files
from sparing.base.errors import require
from sparing.base.stage import StageResult
from sparing.engine.assemble import load
from sparing.engine.request import Sampling
from sparing.retrieval.index import Index
from sparing.retrieval.prompt import with_passages

LABEL = "written by the small model of this run; fluent perhaps, right by chance"


@dataclass(frozen=True, slots=True, kw_only=True)
class AskConfig:
    """One question, answered with passages."""

    model: Path
    """Model folder."""
    index: Path
    """Index folder."""
    question: str
    """What is asked."""
    passages: int = 3
    """Passages put before the question."""
    passage_chars: int = 900
    """Characters that all passages together may take of the prompt."""
    max_tokens: int = 80
    """Tokens the model may write."""
    temperature: float = 0.0
    """0 is greedy."""
    seed: int = 0
    """Seed of the draw, where there is one."""

    def __post_init__(self) -> None:
        require(bool(self.question.strip()), "question", "some text", self.question)
        require(self.passages > 0, "passages", "a positive number", self.passages)
        require(self.max_tokens > 0, "max_tokens", "a positive number", self.max_tokens)


def ask(
    settings: AskConfig, out: Path, *, resume: bool = False, overwrite: bool = False
) -> StageResult:
    """Search, put the best passages before the question, let the model write.

    Makes `answer.json`: the question, the passages with source and score, the model's text and
    what to think of it.  Errors: those of opening the index and the model.
    """
    del resume  # a second's work is simply done again
    files.check_free(out, overwrite=overwrite)
    hits = Index.open(settings.index).search(settings.question, settings.passages)
    prompt = with_passages(settings.question, hits, settings.passage_chars)
    sampling = Sampling(
        temperature=settings.temperature, max_tokens=settings.max_tokens, seed=settings.seed
    )
    with load(settings.model) as llm:
        completion = llm.generate([prompt], sampling)[0]
    answer = {
        "question": settings.question,
        "passages": [
            {"source": hit.source, "title": hit.title, "score": hit.score, "text": hit.text}
            for hit in hits
        ],
        "text": completion.text,
        "label": LABEL,
    }
    parents = {"model": files.hash_of(settings.model), "index": files.hash_of(settings.index)}
    with files.new_artefact(
        out, kind="answer", stage=config.to_tree(settings), parents=parents, overwrite=overwrite
    ) as draft:
        (draft.path / "answer.json").write_text(json.dumps(answer, indent=1) + "\n")
    tokens = completion.usage.prompt_tokens + completion.usage.completion_tokens
    return StageResult(artefact=out, tokens=tokens, facts={"passages": len(hits)})
