"""The stage from sources to an index."""

import json
from collections.abc import Iterator
from pathlib import Path

from sparing.base.config import to_tree
from sparing.base.errors import ConfigError
from sparing.base.files import check_free, new_artefact, open_artefact
from sparing.base.limits import LIMITS
from sparing.base.logs import Progress
from sparing.base.stage import StageResult
from sparing.data.document import Count, Document
from sparing.data.normalise import normalise
from sparing.data.reading import ReadLimits, read
from sparing.data.sources import SourceFile, find
from sparing.retrieval import docstrings
from sparing.retrieval.config import IndexConfig
from sparing.retrieval.index import CARD, STORE, VERSION
from sparing.retrieval.passage import Passage, cut, markdown
from sparing.retrieval.store import ANALYZER, write


def build_index(
    config: IndexConfig, out: Path, *, resume: bool = False, overwrite: bool = False
) -> StageResult:
    """Cut the sources into passages and index them.

    Equal sources and settings give equal bytes.  With `resume`, a finished index with the same
    settings is returned as it is; a run that was stopped starts again.
    Errors: ConfigError for sources that are missing or hold no passage; ArtefactError when
    `out` exists.
    """
    stage = {"verb": "index build", **to_tree(config)}
    if resume and out.exists():
        done = open_artefact(out, kind="index")
        if done.stage == stage:
            return StageResult(artefact=out, quality=done.quality, facts=done.facts)
    check_free(out, overwrite=overwrite)
    found, count = Count("find"), Count("read")
    files = find(config.sources, found)
    with new_artefact(out, kind="index", stage=stage, overwrite=overwrite) as draft:
        (draft.path / STORE).mkdir()
        number = write(_passages(files, config, count), draft.path / STORE)
        if not number:
            raise ConfigError(f"sources: no passage in {len(files)} files with kind={config.kind}")
        steps = [found.tree(), count.tree()]
        card = {"version": VERSION, "analyzer": ANALYZER, "passages": number, "steps": steps}
        (draft.path / CARD).write_text(json.dumps(card, indent=1) + "\n")
        draft.facts |= {"passages": number, "files": len(files)}
        draft.facts |= {"passed_over": dict(sorted((found.dropped + count.dropped).items()))}
        facts = dict(draft.facts)
    return StageResult(artefact=out, facts=facts)


def _passages(files: list[SourceFile], config: IndexConfig, count: Count) -> Iterator[Passage]:
    limits = ReadLimits(
        line_bytes=LIMITS.line_bytes,
        document_bytes=LIMITS.file_bytes,
        text_field=config.text_field,
        share=1.0,
        seed=0,
    )
    with Progress("index build", "files", len(files)) as progress:
        for number, file in enumerate(files, start=1):
            if config.kind != "docstrings" or _is_python(file.name):
                for document in read(file, limits, count):
                    yield from passages_of(document, config, count)
            progress.update(number)


def _is_python(name: str) -> bool:
    return name.partition("#")[0].removesuffix(".gz").endswith((".py", ".pyi"))


def passages_of(document: Document, config: IndexConfig, count: Count) -> Iterator[Passage]:
    """The passages of one document, by its kind."""
    name, words = document.source, config.passage_words
    if config.kind != "text" and document.kind == "code" and _is_python(name):
        try:
            yield from docstrings.passages(document.text, name, words)
        except docstrings.NotParsed as error:
            count.note(f"not parsed as Python: {error}", name)
        return
    text, _ = normalise(document.text)
    if document.kind == "markdown":
        yield from markdown(text, name, words)
        return
    record = bool(document.key) or _is_record(name)
    for passage in cut(text, name, document.title, words):
        source = name if record else passage.source
        yield Passage(passage.text, source, document.title, document.key)


def _is_record(name: str) -> bool:
    """Whether the name already ends in the line of its record."""
    return name.rpartition(":")[2].isdigit()
