"""sentence-transformers folders: what they say of texts, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from sparing.base.errors import ArtefactError
from sparing.models.encoder_config import EncoderConfig, StackConfig
from sparing.models.sentence import read_sentences

STACK = StackConfig(width=8, layers=1, heads=2, head_width=4, hidden=12)
CONFIG = EncoderConfig(stack=STACK, vocab=11, context=9)
AT = "sentence_transformers.models."
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": AT + "Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": AT + "Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": AT + "Normalize"},
]
POOLING = {
    "word_embedding_dimension": 8,
    "pooling_mode_cls_token": False,
    "pooling_mode_mean_tokens": True,
    "pooling_mode_max_tokens": False,
}


def written(
    folder: Path, modules: Any = MODULES, pooling: Any = POOLING, **files: dict[str, Any]
) -> Path:
    (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    for name, tree in files.items():
        (folder / f"{name}.json").write_text(json.dumps(tree))
    return folder


def test_a_plain_folder_says_nothing(tmp_path: Path) -> None:
    found = read_sentences(tmp_path, CONFIG)
    assert (found.config, found.length, found.lower, found.prompt) == (CONFIG, 9, False, "")


def test_everything_said(tmp_path: Path) -> None:
    pooling = POOLING | {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    prompts = {"prompts": {"query": "find: ", "other": ""}, "default_prompt_name": "query"}
    folder = written(
        tmp_path, pooling=pooling,
        sentence_bert_config={"max_seq_length": 5, "do_lower_case": True},
        config_sentence_transformers=prompts,
    )  # fmt: skip
    found = read_sentences(folder, CONFIG)
    assert (found.config.pooling, found.config.normalised) == ("first", True)
    assert (found.length, found.lower, found.prompt) == (5, True, "find: ")
    assert found.config.context == 9


def test_without_normalize_nothing_is_scaled(tmp_path: Path) -> None:
    found = read_sentences(written(tmp_path, modules=MODULES[:2]), CONFIG)
    assert (found.config.pooling, found.config.normalised) == ("mean", False)


@pytest.mark.parametrize("mode", ["cls", "mean", "max", "lasttoken"])
def test_newer_pooling_files(mode: str, tmp_path: Path) -> None:
    pooling = {"embedding_dimension": 8, "pooling_mode": mode, "include_prompt": True}
    modules = [
        module | {"type": f"a.new.place.{module['type'].split('.')[-1]}"} for module in MODULES
    ]
    found = read_sentences(written(tmp_path, modules=modules, pooling=pooling), CONFIG)
    wanted = {"cls": "first", "mean": "mean", "max": "max", "lasttoken": "last"}[mode]
    assert found.config.pooling == wanted


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"modules": MODULES[:1]}, "expected Transformer, Pooling"),
        ({"modules": [*MODULES[:2], {"path": "2_Dense", "type": AT + "Dense"}]}, "Dense"),
        ({"modules": {"a": 1}}, "expected a list"),
        ({"modules": [1]}, "expected a list"),
        ({"modules": [{"type": 1, "path": ""}]}, "the type and path"),
        ({"modules": [MODULES[0] | {"path": "0_T"}, *MODULES[1:]]}, "the model in the folder"),
        ({"modules": [MODULES[0], MODULES[1] | {"path": "../x"}]}, "no such folder"),
        ({"pooling": POOLING | {"word_embedding_dimension": 9}}, "expected 8, got 9"),
        ({"pooling": POOLING | {"include_prompt": False}}, "include_prompt"),
        ({"pooling": POOLING | {"pooling_mode_cls_token": True}}, "expected one of"),
        ({"pooling": {"pooling_mode_weightedmean_tokens": True}}, "weightedmean"),
        ({"sentence_bert_config": {"max_seq_length": 10}}, "1 to 9, got 10"),
        ({"sentence_bert_config": {"max_seq_length": 0}}, "1 to 9, got 0"),
        ({"sentence_bert_config": {"model_args": {"a": 1}}}, "model_args: not supported"),
        ({"config_sentence_transformers": {"default_prompt_name": "query"}}, "no prompt 'query'"),
    ],
)
def test_what_is_not_understood_is_refused(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ArtefactError, match=reason):
        read_sentences(written(tmp_path, **changes), CONFIG)
