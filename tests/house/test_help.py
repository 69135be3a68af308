"""Every verb explains itself with an example that its own parser accepts."""

import shlex

import pytest

from sparing.cli.main import VERBS, build_parser, main


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "example: sparing " + verb in text


@pytest.mark.parametrize("verb", VERBS)
def test_example_parses(verb: str) -> None:
    import importlib

    example = importlib.import_module(f"sparing.cli.{verb}").EXAMPLE
    words = shlex.split(example)
    assert words[:2] == ["sparing", verb]
    build_parser(verb).parse_known_args(words[1:])


def test_unknown_verb_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrian"]) == 2
    assert "did you mean 'pretrain'" in capsys.readouterr().err
