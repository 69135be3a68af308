"""The notebook face: every stage a function, and `load` for a model that answers.

    import sparing.api as sparing
    corpus = sparing.data_build("runs/corpus", sources=["notes"])
    tokenizer = sparing.tokenizer_train("runs/tokenizer", corpus=corpus.artefact)
    ...
    with sparing.load("runs/model") as llm:
        print(llm.generate(["Once"])[0].text)

Each function takes the artefact to make and the settings of its configuration class by name, runs
under the meter and the ledger, and returns a StageResult.
"""

from pathlib import Path
from typing import Any

from sparing.base import config
from sparing.base.home import home
from sparing.base.stage import StageResult
from sparing.recipe.account import run_stage
from sparing.recipe.stages import stage_named

__all__ = [
    "compress",
    "data_build",
    "data_tokenize",
    "evaluate",
    "index_build",
    "load",
    "pretrain",
    "tokenizer_train",
]


def load(model: str | Path, **settings: Any) -> Any:
    """A model folder, ready: an `LLM` with generate, stream and chat for one that writes text, an
    `Embedder` with embed and encode_images for an encoder.

    `settings` are fields of EngineConfig.  Errors: ArtefactError for a folder that cannot be
    read, ConfigError for an unknown setting, CapacityError when the cache cannot fit.
    """
    from sparing.engine.assemble import EngineConfig, load_any

    return load_any(Path(model), config.build(EngineConfig, settings))


def _run(
    use: str, out: str | Path, settings: dict[str, Any], resume: bool, overwrite: bool
) -> StageResult:
    function, cls = stage_named(use).load()
    result, _ = run_stage(
        use,
        function,
        config.build(cls, settings),
        Path(out),
        ledger=home() / "ledger.sqlite",
        resume=resume,
        overwrite=overwrite,
    )
    return result


def data_build(
    out: str | Path, *, resume: bool = False, overwrite: bool = False, **settings: Any
) -> StageResult:
    """Sources -> a clean, deduplicated corpus.  Settings: `sparing.data.build.DataConfig`."""
    return _run("data.build", out, settings, resume, overwrite)


def data_tokenize(
    out: str | Path, *, resume: bool = False, overwrite: bool = False, **settings: Any
) -> StageResult:
    """A corpus -> token shards.  Settings: `sparing.data.tokenize.TokenizeConfig`."""
    return _run("data.tokenize", out, settings, resume, overwrite)


def tokenizer_train(
    out: str | Path, *, resume: bool = False, overwrite: bool = False, **settings: Any
) -> StageResult:
    """A corpus -> a byte-level BPE.  Settings: `sparing.tokenizer.train.TokenizerConfig`."""
    return _run("tokenizer.train", out, settings, resume, overwrite)


def pretrain(
    out: str | Path, *, resume: bool = False, overwrite: bool = False, **settings: Any
) -> StageResult:
    """Shards -> a trained decoder.  Settings: `sparing.training.pretrain.PretrainConfig`."""
    return _run("pretrain", out, settings, resume, overwrite)


def compress(
    out: str | Path, *, resume: bool = False, overwrite: bool = False, **settings: Any
) -> StageResult:
    """A model -> a smaller one with its card.  Settings: `CompressConfig`."""
    return _run("compress", out, settings, resume, overwrite)


def evaluate(
    out: str | Path, *, resume: bool = False, overwrite: bool = False, **settings: Any
) -> StageResult:
    """A model -> what it is worth.  Settings: `sparing.evaluation.evaluate.EvalConfig`."""
    return _run("eval", out, settings, resume, overwrite)


def index_build(
    out: str | Path, *, resume: bool = False, overwrite: bool = False, **settings: Any
) -> StageResult:
    """Sources -> a search index.  Settings: `sparing.retrieval.build.IndexConfig`."""
    return _run("index.build", out, settings, resume, overwrite)
