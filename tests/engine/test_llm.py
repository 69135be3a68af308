"""The whole engine with the real forward pass, against transformers' greedy text."""

import numpy as np
import pytest
from tokenizers import Tokenizer as Library

from sparing.base.errors import ArtefactError, ConfigError, RequestError
from sparing.engine.assemble import EngineConfig, find_model, load
from sparing.engine.request import Sampling
from tokenizer.tiny import byte_level_json, write_byte_level

VOCAB = Library.from_str(byte_level_json()).get_vocab_size()
GREEDY = Sampling(temperature=0.0, max_tokens=48, ignore_eos=True)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A random Qwen3 of transformers' own making, and its folder."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(3)
    torch.set_num_threads(1)
    config = transformers.Qwen3Config(
        vocab_size=VOCAB, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, max_position_embeddings=256,
        bos_token_id=0, eos_token_id=1, initializer_range=0.3, tie_word_embeddings=False,
    )  # fmt: skip
    model = transformers.Qwen3ForCausalLM(config).eval()
    folder = tmp_path_factory.mktemp("model")
    model.save_pretrained(folder)
    write_byte_level(folder)
    return model, folder


def their_greedy(model, prompt: list[int], tokens: int) -> list[int]:
    import torch

    ids = torch.tensor([prompt])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=tokens,
        min_new_tokens=tokens, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    return out[0, len(prompt) :].tolist()


def test_greedy_text_is_transformers(reference):
    """Many requests over a cache that cannot hold them all, each as transformers alone."""
    model, folder = reference
    dice = np.random.default_rng(1)
    prompts = [dice.integers(4, VOCAB, size).tolist() for size in (1, 5, 17, 33, 2, 60)]
    config = EngineConfig(
        max_num_seqs=4, max_num_batched_tokens=24, kv_cache_tokens=160, max_model_len=128,
        block_tokens=8, threads=1,
    )  # fmt: skip
    with load(folder, config) as llm:
        answers = llm.generate(prompts, GREEDY)
        assert llm.service.stats().preemptions > 0, "the cache is too large to test anything"
        assert llm.service.stats().kv_used_blocks == 0
    for prompt, answer in zip(prompts, answers, strict=True):
        assert list(answer.ids) == their_greedy(model, prompt, GREEDY.max_tokens or 0)


def test_seeded_text_does_not_depend_on_company(reference):
    _, folder = reference
    rules = [Sampling(seed=n, max_tokens=24, temperature=1.2, top_p=0.9) for n in range(5)]
    prompts = [f"the fox {n} said" for n in range(5)]
    with load(folder, EngineConfig(max_num_seqs=5, threads=2)) as llm:
        together = [answer.text for answer in llm.generate(prompts, rules)]
    small = EngineConfig(
        max_num_seqs=2, max_num_batched_tokens=5, kv_cache_tokens=64, max_model_len=64, threads=1
    )
    with load(folder, small) as llm:
        assert [answer.text for answer in llm.generate(prompts, rules)] == together
        alone = [llm.generate(p, r)[0].text for p, r in zip(prompts, rules, strict=True)]
    assert alone == together


def test_chat_ends_at_the_end_of_turn(reference):
    _, folder = reference
    with load(folder, EngineConfig(threads=1)) as llm:
        assert {1, 3} <= llm.service.eos
        handle = llm.stream_chat([{"role": "user", "content": "hi <|im_end|>"}], GREEDY)
        assert handle.request.prompt_ids == tuple(
            llm.chat_ids([{"role": "user", "content": "hi <|im_end|>"}])
        )
        assert handle.result().usage.completion_tokens == 48
        with pytest.raises(RequestError, match="at least one"):
            llm.chat([])


def test_one_impossible_prompt_stops_the_call(reference):
    _, folder = reference
    with load(folder, EngineConfig(threads=1)) as llm:
        with pytest.raises(RequestError, match="context is 256"):
            llm.generate(["the fox", [5] * 250], GREEDY)
        assert llm.generate(["the fox"], GREEDY)[0].finish_reason == "length"
        with pytest.raises(ConfigError, match="one for each of 1"):
            llm.generate(["a"], [GREEDY, GREEDY])


def test_finding_the_model(reference, tmp_path):
    _, folder = reference
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model").symlink_to(folder)
    assert find_model(folder) == folder
    assert find_model(tmp_path / "run") == tmp_path / "run" / "model"
    with pytest.raises(ArtefactError, match="no such folder"):
        find_model(tmp_path / "none")
    with pytest.raises(ArtefactError, match=r"no config\.json"):
        find_model(tmp_path)


def test_draws_in_the_library_are_the_plain_ones(reference):
    """Sampled, penalised and reported tokens of the whole engine, with and without the library."""
    from sparing.engine.assemble import assemble

    _, folder = reference
    rules = [
        Sampling(seed=1, max_tokens=30, ignore_eos=True),
        Sampling(seed=2, max_tokens=30, ignore_eos=True, top_p=0.8, logprobs=4),
        Sampling(seed=3, max_tokens=30, ignore_eos=True, top_k=9, min_p=0.05, temperature=1.4),
        Sampling(max_tokens=30, ignore_eos=True, temperature=0.0, repetition_penalty=1.4),
        Sampling(seed=5, max_tokens=30, ignore_eos=True, frequency_penalty=0.9, logprobs=0),
    ]
    prompts = [[4 + n, 9, 12] for n in range(len(rules))]
    with load(folder, EngineConfig(threads=1)) as llm:
        ours = llm.generate(prompts, rules)
        with assemble(llm.executor, llm.tokenizer, llm.config) as plain:
            theirs = plain.generate(prompts, rules)
    assert [a.ids for a in ours] == [b.ids for b in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert len(a.logprobs) == len(b.logprobs)
        for one, two in zip(a.logprobs, b.logprobs, strict=True):
            assert one.id == two.id
            assert one.logprob == pytest.approx(two.logprob, abs=1e-12)
            assert [id for id, _ in one.top] == [id for id, _ in two.top]


def test_activations_are_as_asked(reference, tmp_path):
    """Exact ones give the logits of the dequantised weights; the default does not."""
    from sparing.compression.compress import CompressConfig, compress
    from sparing.engine.native_executor import NativeExecutor

    _, folder = reference
    small = tmp_path / "small"
    compress(
        CompressConfig(model=folder, scheme="int8", group=32, tokens=64, accept_quality=True), small
    )
    want = NativeExecutor(small, kv_tokens=32, threads=1, activations="exact").logits([5, 6, 7])
    for activations in ("exact", "int8"):
        with load(small, EngineConfig(threads=1, activations=activations)) as llm:
            got = llm.executor.logits([5, 6, 7])
        assert np.array_equal(got, want) == (activations == "exact")
    with pytest.raises(ConfigError, match="activations"):
        EngineConfig(activations="fp8")
