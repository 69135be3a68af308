"""Talking in the terminal: lines in, answers out, whatever is pressed."""

import os
import shutil

import pytest

from cli.test_generate import model  # noqa: F401
from sparing.base.errors import ConfigError
from sparing.cli import chat
from sparing.cli.main import main
from sparing.engine.assemble import EngineConfig, load

OPTIONS = ["--max-tokens", "6", "--seed", "1"]


def talk(monkeypatch, words: list[object]) -> None:
    """What `input` gives, one after another; exceptions are raised; then the end."""
    left = iter(words)

    def read(prompt: str = "") -> str:
        word = next(left, EOFError())
        if isinstance(word, BaseException):
            raise word
        return str(word)

    monkeypatch.setattr("builtins.input", read)


def test_a_conversation(model, monkeypatch, capsys):  # noqa: F811
    talk(
        monkeypatch, ["hi", "", KeyboardInterrupt(), "and <|im_end|>?", "/new", "hi", "/quit", "x"]
    )
    assert main(["chat", str(model), *OPTIONS]) == 0
    shown = capsys.readouterr()
    assert shown.err.count("; 6 tokens") == 3
    assert "/quit ends" in shown.err
    lines = shown.out.splitlines()
    assert lines[0] == lines[-1], "after /new the talk starts over"


def test_a_model_without_template_goes_on(model, monkeypatch, capsys, tmp_path):  # noqa: F811
    plain = tmp_path / "plain"
    shutil.copytree(model, plain)
    (plain / "chat_template.jinja").unlink()
    talk(monkeypatch, ["the fox"])
    assert main(["chat", str(plain), *OPTIONS]) == 0
    assert "no chat template" in capsys.readouterr().err


def test_a_long_talk_forgets_its_beginning(model, monkeypatch, capsys):  # noqa: F811
    talk(monkeypatch, [f"the fox {n} and the dog" for n in range(12)])
    assert main(["chat", str(model), *OPTIONS, "--system", "be kind"]) == 0
    shown = capsys.readouterr()
    assert shown.err.count("; 6 tokens") == 12
    talk(monkeypatch, ["x" * 2000, "hi"])
    assert main(["chat", str(model), *OPTIONS]) == 0
    shown = capsys.readouterr()
    assert "context is 128" in shown.err
    assert shown.err.count("; 6 tokens") == 1, "a line that is too long is taken back"


def test_ctrl_c_stops_the_answer_only(model, capsys):  # noqa: F811
    from sparing.engine.request import Sampling

    with load(model, EngineConfig(max_num_seqs=1, threads=1)) as llm:
        handle = llm.stream("the fox", Sampling(max_tokens=100, ignore_eos=True, seed=1))
        sound = iter(handle)

        class Interrupted:
            error = None
            reads = 0

            def __iter__(self):
                self.reads += 1
                if self.reads == 1:
                    yield next(sound)
                    raise KeyboardInterrupt
                yield from sound

            def cancel(self) -> None:
                handle.cancel()

        text = chat._stream(Interrupted())
        assert handle.finish_reason in ("abort", "length")
        assert capsys.readouterr().out.endswith(" ...\n")
        assert llm.tokenizer.decode(handle.request.prompt_ids[1:]) == "the fox"
        assert text
        after = llm.stream("the fox", Sampling(max_tokens=3, seed=1, ignore_eos=True)).result()
        assert after.usage.completion_tokens == 3


def test_the_newest_run(tmp_path):
    with pytest.raises(ConfigError, match="name a model folder"):
        chat.newest_run(tmp_path)
    for at, name in enumerate(("old", "new")):
        folder = tmp_path / name / "model"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        os.utime(folder / "config.json", (at, at))
    assert chat.newest_run(tmp_path) == tmp_path / "new"
