"""One end for every request, exact blocks, and neighbours that never notice."""

import asyncio
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library

from engine.toy import ToyExecutor, alone
from sparing.base.errors import RequestError
from sparing.engine.assemble import assemble
from sparing.engine.config import EngineConfig
from sparing.engine.llm import LLM
from sparing.engine.request import Sampling
from sparing.engine.sampling import Luck, draw
from sparing.tokenizer.text import Tokenizer
from tokenizer.tiny import byte_level_json

TOKENIZER = Tokenizer(Library.from_str(byte_level_json()), {})
VOCAB = TOKENIZER.vocab
EOS = 1


def serve(toy: ToyExecutor | None = None, **limits: int) -> LLM:
    toy = toy or ToyExecutor(vocab=VOCAB, blocks=24, block_tokens=4, context=64)
    config = EngineConfig(**({"max_num_seqs": 4, "max_num_batched_tokens": 16} | limits))
    return assemble(toy, TOKENIZER, config, eos=(EOS,), check=True)


def truth(prompt: list[int], sampling: Sampling, seed: int) -> list[int]:
    """The ids of an answer, worked out without an engine; the end token is the last."""
    luck = Luck(seed)

    def choose(logits_V, ids):
        return draw(logits_V, sampling, luck, prompt, ids[len(prompt) :])

    ids = alone(prompt, sampling.max_tokens or 0, VOCAB, choose)
    return ids[: ids.index(EOS) + 1] if EOS in ids else ids


def rule(seed: int, tokens: int = 12, **options: object) -> Sampling:
    return Sampling(seed=seed, max_tokens=tokens, **options)  # type: ignore[arg-type]


def test_answers_alone_and_together():
    prompts = [[5 + n, 9, 30 + n] for n in range(9)]
    rules = [rule(n, temperature=0.7, top_p=0.95) for n in range(9)]
    with serve() as llm:
        together = llm.generate(prompts, rules)
        one_by_one = [llm.generate([p], r)[0] for p, r in zip(prompts, rules, strict=True)]
        stats = llm.service.stats()
    for prompt, sampling, a, b in zip(prompts, rules, together, one_by_one, strict=True):
        assert list(a.ids) == list(b.ids) == truth(prompt, sampling, sampling.seed or 0)
        assert a.text == b.text
        assert (a.usage.prompt_tokens, a.usage.completion_tokens) == (3, len(a.ids))
        shown = a.ids[:-1] if a.finish_reason == "stop" else a.ids
        assert a.text == TOKENIZER.decode(shown)
    assert stats.kv_used_blocks == stats.running == stats.waiting == 0
    assert sum(stats.finished.values()) == 18
    assert stats.prompt_tokens == 18 * 3
    assert stats.generation_tokens == 2 * sum(len(a.ids) for a in together)


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_cancellations_change_nobody_else(data):
    """Little memory, many requests, cancellations at random moments of the run."""
    toy = ToyExecutor(vocab=VOCAB, blocks=9, block_tokens=4, context=36)
    count = data.draw(st.integers(2, 8))
    cancels = data.draw(st.dictionaries(st.integers(0, count - 1), st.integers(0, 14)))
    prompts = [[7 + n] * (1 + 2 * n % 11) for n in range(count)]
    rules = [rule(n, tokens=10, ignore_eos=True) for n in range(count)]
    with serve(toy, max_num_seqs=3, max_num_batched_tokens=7) as llm:
        toy.gate = threading.Event()  # all arrive before the first step ends
        handles = [llm.stream(p, r) for p, r in zip(prompts, rules, strict=True)]
        plain_forward = toy.forward

        def forward(batch):
            for number, step in cancels.items():
                if step == toy.steps:
                    handles[number].cancel()
            return plain_forward(batch)

        toy.forward = forward  # type: ignore[method-assign]
        for number, step in cancels.items():
            if step == 0:
                handles[number].cancel()
        toy.gate.set()
        answers = [handle.result() for handle in handles]
        stats = llm.service.stats()
    assert llm.service.failure is None
    assert not llm.service._engine._choosers, "the engine remembers finished requests"
    for number, answer in enumerate(answers):
        want = truth(prompts[number], rules[number], number)
        if answer.finish_reason == "abort":
            assert number in cancels
            assert list(answer.ids) == want[: len(answer.ids)]
        else:
            assert (answer.finish_reason, list(answer.ids)) == ("length", want)
    assert stats.kv_used_blocks == 0
    assert sum(stats.finished.values()) == count


def test_an_error_stops_one_request_only(monkeypatch):
    import sparing.engine.chooser as chooser

    sound = chooser.draw

    def fragile(logits_V, sampling, luck, prompt_ids, output_ids):
        if prompt_ids[0] == 99 and len(output_ids) == 3:
            raise ZeroDivisionError("a bad row")
        return sound(logits_V, sampling, luck, prompt_ids, output_ids)

    monkeypatch.setattr(chooser, "draw", fragile)
    prompts = [[n, 8, 8] for n in (5, 99, 6)]
    with serve() as llm:
        handles = [llm.stream(p, rule(n, ignore_eos=True)) for n, p in enumerate(prompts)]
        with pytest.raises(RequestError, match="a bad row") as caught:
            handles[1].result()
        assert caught.value.status == 500
        for number in (0, 2):
            want = truth(prompts[number], rule(number, ignore_eos=True), number)
            whole = alone_ids(prompts[number], number)
            assert list(handles[number].result().ids) == whole
            assert whole[: len(want)] == want
        assert llm.service.stats().finished["error"] == 1
        assert llm.service.stats().kv_used_blocks == 0


def alone_ids(prompt: list[int], seed: int) -> list[int]:
    luck = Luck(seed)
    return alone(
        prompt, 12, VOCAB,
        lambda logits_V, ids: draw(logits_V, Sampling(), luck, prompt, ids[len(prompt) :]),
    )  # fmt: skip


def test_a_failed_step_ends_its_requests_and_the_engine_goes_on():
    toy = ToyExecutor(vocab=VOCAB)
    with serve(toy) as llm:
        toy.fail_at = 3
        with pytest.raises(RequestError, match="told to fail"):
            llm.stream([5, 6], rule(0, ignore_eos=True)).result()
        after = llm.stream([5, 6], rule(0)).result()
        assert list(after.ids) == truth([5, 6], rule(0), 0)
        assert llm.service.stats().kv_used_blocks == 0
        assert llm.service.failure is None


def test_a_broken_detokeniser_stops_one_request(monkeypatch):
    from sparing.tokenizer import stream

    sound = stream.TextStream.push
    calls = []

    def fragile(self, id):
        calls.append(id)
        if len(calls) == 4:
            raise ValueError("a bad token")
        return sound(self, id)

    monkeypatch.setattr(stream.TextStream, "push", fragile)
    with serve() as llm:
        handles = [llm.stream([5 + n], rule(n, ignore_eos=True)) for n in range(3)]
        reasons = [[delta.finish_reason for delta in handle][-1] for handle in handles]
        assert sorted(reasons) == ["error", "length", "length"]
        assert llm.service.stats().kv_used_blocks == 0


def test_the_engines_own_mistake_leaves_nobody_waiting(monkeypatch):
    with serve() as llm:
        monkeypatch.setattr(llm.service._engine.scheduler, "plan", lambda: 1 / 0)
        handle = llm.stream([5], rule(0))
        assert [delta.finish_reason for delta in handle] == ["error"]
        llm.service._thread.join(5)
        with pytest.raises(RequestError, match="has failed") as caught:
            llm.stream([5], rule(0))
        assert caught.value.status == 503
        assert isinstance(llm.service.failure, ZeroDivisionError)


def find_stop() -> tuple[list[int], Sampling, str]:
    """A greedy toy answer and two of its characters that lie in two tokens."""
    for first in range(4, 200):
        sampling = Sampling(temperature=0.0, max_tokens=20, ignore_eos=True, seed=0)
        prompt = [first]
        ids = alone(prompt, 20, VOCAB, lambda logits_V, ids: int(logits_V.argmax()))
        for at in range(4, 15):
            left, right = TOKENIZER.text_of([ids[at]]), TOKENIZER.text_of([ids[at + 1]])
            stop = left[-1:] + right[:1]
            text = TOKENIZER.decode(ids)
            if len(stop) == 2 and "\ufffd" not in stop and text.count(stop) == 1:
                return prompt, sampling, stop
    raise AssertionError("the toy says nothing of use")


def test_stop_string_over_a_token_border():
    prompt, sampling, stop = find_stop()
    with serve() as llm:
        whole = llm.generate([prompt], sampling)[0].text
        cut = Sampling(temperature=0.0, max_tokens=20, ignore_eos=True, stop=(stop,))
        handle = llm.stream(prompt, cut)
        deltas = list(handle)
    text = "".join(delta.text for delta in deltas)
    assert text == whole[: whole.index(stop)]
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == ["stop"]
    assert handle.stop_reason == stop


def test_logprobs_come_one_per_token():
    with serve() as llm:
        answer = llm.generate([[5, 6]], rule(3, logprobs=2, ignore_eos=True))[0]
    assert [each.id for each in answer.logprobs] == list(answer.ids)
    assert all(len(each.top) == 2 and each.logprob <= each.top[0][1] for each in answer.logprobs)


def test_async_readers():
    async def read(llm: LLM, seed: int) -> list[int]:
        return [id async for delta in llm.stream([5 + seed], rule(seed)) for id in delta.ids]

    async def all_of_them(llm: LLM) -> list[list[int]]:
        return await asyncio.gather(*(read(llm, seed) for seed in range(8)))

    with serve() as llm:
        for seed, ids in enumerate(asyncio.run(all_of_them(llm))):
            assert ids == truth([5 + seed], rule(seed), seed)


def test_async_cancellation_frees_the_blocks():
    async def leave(llm: LLM) -> None:
        with llm.stream([5], rule(0, tokens=60, ignore_eos=True)) as handle:
            async for _ in handle:
                break

    toy = ToyExecutor(vocab=VOCAB)
    with serve(toy) as llm:
        asyncio.run(leave(llm))
        deadline = time.monotonic() + 5
        while llm.service.stats().running and time.monotonic() < deadline:
            time.sleep(0.01)
        assert llm.service.stats().finished["abort"] == 1
        assert llm.service.stats().kv_used_blocks == 0
        assert toy.steps < 55


def test_refusals():
    with serve(max_waiting=2) as llm:
        for prompt, message in (([], "at least one"), ([VOCAB], "0 .. "), ([-1], "got -1")):
            with pytest.raises(RequestError, match=message):
                llm.stream(prompt, rule(0))
        with pytest.raises(RequestError, match="context is 64") as caught:
            llm.stream([5] * 60, rule(0))
        assert caught.value.code == "context_length_exceeded"
        toy = llm.executor
        toy.gate = threading.Event()
        first = llm.service.submit([5], rule(0), request_id="mine")
        with pytest.raises(RequestError, match="in use"):
            llm.service.submit([5], rule(0), request_id="mine")
        with pytest.raises(RequestError, match="waiting already") as caught:
            [llm.stream([5], rule(0)) for _ in range(8)]
        assert (caught.value.status, caught.value.code) == (503, "queue_full")
        toy.gate.set()
        assert first.result().ids
        assert llm.service.submit([5], rule(0), request_id="mine").result().ids


def test_close_drains_then_ends_the_rest():
    toy = ToyExecutor(vocab=VOCAB)
    llm = serve(toy)
    short = llm.stream([5], rule(0, tokens=3, ignore_eos=True))
    began = time.monotonic()
    llm.close(drain_s=30)
    assert time.monotonic() - began < 20, "waited for requests that had ended"
    assert short.result().finish_reason == "length"
    with pytest.raises(RequestError, match="shutting down"):
        llm.stream([5], rule(0))
    llm.close()

    slow = ToyExecutor(vocab=VOCAB)
    slow.gate = threading.Event()
    llm = serve(slow)
    handles = [llm.stream([5 + n], rule(n, ignore_eos=True)) for n in range(6)]
    threading.Timer(0.1, slow.gate.set).start()
    llm.close()
    assert {handle.result().finish_reason for handle in handles} == {"abort"}
    assert llm.service.stats().kv_used_blocks == 0
    assert not llm.service._thread.is_alive()


def test_the_end_comes_once():
    with serve() as llm:
        llm.executor.gate = threading.Event()
        handle = llm.stream([5], rule(0, tokens=40, ignore_eos=True))
        reply = llm.service._live[handle.id]
        llm.executor.gate.set()
        assert handle.result().finish_reason == "length"
        for reason in ("abort", "error"):
            llm.service._finish(reply, reason)
            assert not reply.finish(reason)
        assert list(handle) == []
        assert (handle.finish_reason, handle.error) == ("length", None)
        assert sum(llm.service.stats().finished.values()) == 1


def test_timing_adds_up():
    with serve() as llm:
        handle = llm.stream([5, 6, 7], rule(0, ignore_eos=True))
        handle.result()
    timing = handle.timing
    assert timing.queue_s is not None
    assert timing.queue_s + timing.prefill_s == pytest.approx(timing.first_token_s)
    assert timing.decode_s > 0
    assert timing.tokens_per_s(12) == pytest.approx(11 / timing.decode_s)
