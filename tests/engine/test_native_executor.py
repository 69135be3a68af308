"""The C++ forward pass against transformers, against the law in float64, and at its borders."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from sparing.base.errors import CapacityError, ConfigError, ShapeError
from sparing.engine.executor import Batch
from sparing.engine.native_executor import NativeExecutor
from sparing.kernels import native, reference
from sparing.kernels.formats import (
    BFloat16,
    Float32,
    Int4,
    Int8,
    from_bfloat16,
    pack_int4,
    to_bfloat16,
)
from sparing.models.config import DecoderConfig
from sparing.models.folder import ModelFolder
from sparing.models.names import shapes
from sparing.models.rope import attention_scale, inverse_frequencies

COMMON: dict[str, Any] = {
    "vocab_size": 173,
    "hidden_size": 48,
    "intermediate_size": 100,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 320,
    "bos_token_id": 0,
    "eos_token_id": None,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 40,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 80,
}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
LLAMA, QWEN2, QWEN3 = (
    (LlamaConfig, LlamaForCausalLM),
    (Qwen2Config, Qwen2ForCausalLM),
    (Qwen3Config, Qwen3ForCausalLM),
)
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "llama": (LLAMA, {}),
    "llama-tied-every-head-its-own-keys": (
        LLAMA,
        {"tie_word_embeddings": True, "num_key_value_heads": 6},
    ),
    "llama-biases-one-key-head": (
        LLAMA,
        {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 1},
    ),
    "llama-wide-head-llama3": (LLAMA, {"head_dim": 22, "rope_parameters": LLAMA3}),
    "llama-yarn": (LLAMA, {"rope_parameters": YARN}),
    "llama-linear": (LLAMA, {"rope_parameters": LINEAR}),
    "llama-dynamic": (LLAMA, {"rope_parameters": DYNAMIC}),
    "qwen2-tied": (QWEN2, {"tie_word_embeddings": True}),
    "qwen3": (QWEN3, {"head_dim": 16}),
    "qwen3-tied": (QWEN3, {"head_dim": 32, "tie_word_embeddings": True}),
}
TINY = DecoderConfig(
    vocab=61, width=32, layers=2, heads=4, kv_heads=2, head_width=8, hidden=48, context=96,
    qkv_bias=True, output_bias=True, mlp_bias=True, qk_norm="head", rope_theta=100.0,
)  # fmt: skip


@pytest.fixture(params=native.library().isas())
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Every variant that runs here, as `SPARING_ISA` would force it."""
    monkeypatch.setenv("SPARING_ISA", request.param)
    native.chosen.cache_clear()
    yield request.param
    native.chosen.cache_clear()


def outside(case: str) -> Any:
    """A random model of transformers, norms and biases random too."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    (config_class, model_class), changes = CASES[case]
    model = model_class(config_class(**(COMMON | changes))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            spread = 0.3 if parameter.ndim == 1 else 2 * parameter.shape[-1] ** -0.5
            parameter.normal_(float(parameter.ndim == 1), spread)
    return model


def random_folder(config: DecoderConfig, kind: str, seed: int = 0) -> ModelFolder:
    """A model of weight records of this kind, in memory only."""
    rng = np.random.default_rng(seed)
    weights: dict[str, Any] = {}
    for name, shape in shapes(config).items():
        numbers = (rng.standard_normal(shape) * shape[-1] ** -0.5).astype(np.float32)
        if len(shape) == 1:
            weights[name] = Float32(numbers + np.float32(name.endswith("weight")))
        elif kind == "fp32":
            weights[name] = Float32(numbers)
        elif kind == "bf16":
            weights[name] = BFloat16(to_bfloat16(numbers))
        else:
            most = 127 if kind == "int8" else 7
            scale_ZJ = np.full((shape[0], shape[1] // 16), np.abs(numbers).max() / most, np.float32)
            codes = np.rint(numbers / scale_ZJ[0, 0]).astype(np.int8)
            int8 = kind == "int8"
            weights[name] = Int8(codes, scale_ZJ) if int8 else Int4(pack_int4(codes), scale_ZJ)
    return ModelFolder(Path("."), config, "llama", weights, ())


def law(folder: ModelFolder, ids_T: np.ndarray, *, half_cache: bool = False) -> np.ndarray:
    """The whole decoder in float64, of `kernels.reference` alone."""
    config = folder.config
    w = {name: weight.dequantise().astype(np.float64) for name, weight in folder.weights.items()}
    T, K, eps = len(ids_T), config.head_width, config.norm_eps
    turn = (np.arange(T), inverse_frequencies(config), attention_scale(config))

    def maps(x_TD: np.ndarray, name: str) -> np.ndarray:
        return reference.linear(x_TD, w[f"{name}.weight"], w.get(f"{name}.bias"))

    x_TD = w["embed.weight"][ids_T]
    for i in range(config.layers):
        at = f"layers.{i}."
        h_TD = reference.rms_norm(x_TD, w[at + "attention_norm.weight"], eps)
        q, k, v = (
            maps(h_TD, at + f"attention.{part}").reshape(T, -1, K)
            for part in ("query", "key", "value")
        )
        if config.qk_norm:
            q = reference.rms_norm(q, w[at + "attention.q_norm.weight"], eps)
            k = reference.rms_norm(k, w[at + "attention.k_norm.weight"], eps)
        q, k = reference.rope(q, *turn), reference.rope(k, *turn)
        if half_cache:
            k, v = (from_bfloat16(to_bfloat16(x.astype(np.float32))) for x in (k, v))
        seen = reference.attention(q, k, v, position=0).reshape(T, -1)
        x_TD = x_TD + maps(seen, at + "attention.output")
        h_TD = reference.rms_norm(x_TD, w[at + "mlp_norm.weight"], eps)
        inner = reference.swiglu(maps(h_TD, at + "mlp.gate"), maps(h_TD, at + "mlp.up"))
        x_TD = x_TD + maps(inner, at + "mlp.down")
    head = w["embed.weight" if config.tied else "head.weight"]
    return reference.linear(reference.rms_norm(x_TD, w["final_norm.weight"], eps), head)


def greedy(executor: NativeExecutor, prompt: list[int], count: int) -> list[int]:
    """The likeliest continuation, one decoded token per forward call."""
    ids, rows, begin = list(prompt), list(prompt), 0
    blocks_RP = np.arange(executor.blocks, dtype=np.int32)[::-1][None].copy()
    for _ in range(count):
        batch = Batch(
            ids_N=np.array(rows, np.int32),
            positions_N=np.arange(begin, begin + len(rows), dtype=np.int32),
            starts_R1=np.array([0, len(rows)], np.int32),
            blocks_RP=blocks_RP,
            logit_rows_L=np.array([len(rows) - 1], np.int32),
        )
        begin += len(rows)
        rows = [int(executor.forward(batch)[0].argmax())]
        ids += rows
    return ids


@pytest.mark.parametrize("case", CASES)
def test_logits_and_greedy_text_are_those_of_transformers(
    case: str, isa: str, tmp_path: Path
) -> None:
    """float32: 1e-4 of the largest logit, the bound of the whole project; text equal."""
    model = outside(case)
    model.save_pretrained(tmp_path)
    executor = NativeExecutor(tmp_path, kv_tokens=320)
    ids = np.random.default_rng(1).integers(0, 173, 300)
    with torch.no_grad():
        want = model(torch.from_numpy(ids)[None]).logits[0].numpy()
    got = executor.logits(ids.tolist())
    assert np.abs(got - want).max() < 1e-4 * np.abs(want).max()
    text = greedy(executor, ids[:9].tolist(), 256)
    with torch.no_grad():  # its likeliest token after every prefix of our text is our next one
        likeliest = model(torch.tensor(text)[None]).logits[0].argmax(-1)
    assert text[9:] == likeliest[8:-1].tolist()


def test_greedy_text_is_what_transformers_generates(tmp_path: Path) -> None:
    model = outside("llama")
    model.save_pretrained(tmp_path)
    prompt = [3, 1, 4, 1, 5]
    text = model.generate(
        torch.tensor([prompt]), max_new_tokens=256, do_sample=False, pad_token_id=0
    )
    executor = NativeExecutor(tmp_path, kv_tokens=320)
    assert greedy(executor, prompt, 256) == text[0].tolist()


@pytest.mark.parametrize("kind", ["fp32", "bf16", "int8", "int4"])
@pytest.mark.parametrize("tied", [False, True])
def test_every_format_follows_the_law(kind: str, tied: bool, isa: str) -> None:
    """1e-5 of the largest logit: some hundred roundings in each of a dozen steps.

    Rows rounded to int8 are off by up to 1/254 of their largest; a few such errors add up.
    """
    folder = random_folder(replace(TINY, tied=tied), kind)
    ids_T = np.random.default_rng(2).integers(0, 61, 50)
    want = law(folder, ids_T)
    got = NativeExecutor(folder, kv_tokens=64, activations="exact").logits(ids_T)
    assert np.abs(got - want).max() < 1e-5 * np.abs(want).max()
    rounded = NativeExecutor(folder, kv_tokens=64, activations="int8").logits(ids_T)
    assert np.sqrt(np.mean((rounded - want) ** 2)) < 0.02 * np.sqrt(np.mean(want**2))


@pytest.mark.parametrize("kind", ["bf16", "int8", "int4"])
def test_a_format_and_its_float32_twin_give_the_same_bits(kind: str, isa: str) -> None:
    folder = random_folder(TINY, kind)
    twin = replace(
        folder, weights={name: Float32(w.dequantise()) for name, w in folder.weights.items()}
    )
    ids = [5, 60, 0, 7, 7]
    got, want = (
        NativeExecutor(f, kv_tokens=16, activations="exact").logits(ids) for f in (folder, twin)
    )
    np.testing.assert_array_equal(got, want)


def test_a_bfloat16_cache_costs_half_and_little(isa: str) -> None:
    """Keys and values are rounded to the nearest of 8 bits, and nothing else is.

    A float32 value beside a tie may round to its other neighbour, so a tenth of the whole error
    is allowed; truncation instead of rounding would double it.
    """
    folder = random_folder(TINY, "fp32")
    ids_T = np.random.default_rng(3).integers(0, 61, 60)
    exact, half = (NativeExecutor(folder, kv_tokens=64, kv_dtype=d) for d in ("fp32", "bf16"))
    assert half.kv_bytes * 2 == exact.kv_bytes == 2 * 2 * 64 * 2 * 16 * 4  # 8 columns and 8 zeros
    got = half.logits(ids_T)
    whole = np.abs(got - exact.logits(ids_T)).max()
    assert 0 < np.abs(got - law(folder, ids_T, half_cache=True)).max() < 0.1 * whole


def batch(**changes: Any) -> Batch:
    """Two sequences of two and one tokens in blocks 0 and 1; some arrays replaced."""
    arrays: dict[str, Any] = {
        "ids_N": [1, 2, 3],
        "positions_N": [0, 1, 4],
        "starts_R1": [0, 2, 3],
        "blocks_RP": [[0, -1], [1, 2]],
        "logit_rows_L": [1, 2],
    }
    arrays |= changes
    return Batch(**{name: np.array(values, np.int32) for name, values in arrays.items()})


@pytest.fixture(scope="module")
def small() -> NativeExecutor:
    return NativeExecutor(random_folder(TINY, "fp32"), kv_tokens=16, block_tokens=4)


def test_a_batch_within_its_borders_runs(small: NativeExecutor) -> None:
    assert small.forward(batch()).shape == (2, 61)
    assert small.forward(batch(logit_rows_L=[])).shape == (0, 61)


def test_rows_may_be_asked_for_in_any_order_and_again(small: NativeExecutor) -> None:
    some = small.forward(batch(logit_rows_L=[0, 1, 2]))
    again = small.forward(batch(logit_rows_L=[2, 0, 0, 1, 2]))
    np.testing.assert_array_equal(again, some[[2, 0, 0, 1, 2]])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"ids_N": [1, 61, 3]}, "ids_N"),
        ({"ids_N": [1, -1, 3]}, "ids_N"),
        ({"ids_N": [1, 2]}, "positions_N"),
        ({"ids_N": [], "positions_N": [], "starts_R1": [0, 0, 0], "logit_rows_L": []}, "ids_N"),
        ({"positions_N": [0, 1, 96]}, "positions_N"),
        ({"positions_N": [-1, 0, 4]}, "positions_N"),
        ({"positions_N": [0, 2, 4]}, "positions_N"),
        ({"positions_N": [0, 1, 8]}, "blocks_RP"),
        ({"positions_N": [3, 4, 4]}, "blocks_RP"),
        ({"blocks_RP": [[0, -1], [1, 4]]}, "blocks_RP"),
        ({"blocks_RP": [[0, -1], [-1, 2]]}, "blocks_RP"),
        ({"blocks_RP": [[2, -1], [1, 2]], "positions_N": [0, 1, 5]}, "blocks_RP"),
        ({"blocks_RP": [[], []]}, "blocks_RP"),
        ({"blocks_RP": [[0, -1]]}, "starts_R1"),
        ({"blocks_RP": [0, 1]}, "contiguous"),
        ({"starts_R1": [0, 2, 4]}, "starts_R1"),
        ({"starts_R1": [1, 2, 3]}, "starts_R1"),
        ({"starts_R1": [0, 3, 3]}, "starts_R1"),
        ({"starts_R1": [0, 5, 3]}, "starts_R1"),
        ({"starts_R1": [0, -2, 3]}, "starts_R1"),
        ({"logit_rows_L": [3]}, "logit_rows_L"),
        ({"logit_rows_L": [-1]}, "logit_rows_L"),
    ],
)
def test_a_batch_beyond_a_border_is_refused(
    changes: dict[str, Any], named: str, small: NativeExecutor
) -> None:
    with pytest.raises(ShapeError, match=named):
        small.forward(batch(**changes))


def test_another_integer_type_is_refused(small: NativeExecutor) -> None:
    with pytest.raises(ShapeError, match="contiguous"):
        small.forward(replace(batch(), ids_N=np.array([1, 2, 3])))


def test_more_tokens_than_cache_or_context_are_refused(small: NativeExecutor) -> None:
    with pytest.raises(CapacityError, match="1 to 16"):
        small.logits([1] * 17)
    with pytest.raises(CapacityError, match="got 0"):
        small.logits([])
    wide = NativeExecutor(random_folder(TINY, "fp32"), kv_tokens=1000)
    with pytest.raises(CapacityError, match="1 to 96"):
        wide.logits([1] * 97)


@pytest.mark.parametrize(("tokens", "error"), [(1 << 44, CapacityError), (1 << 60, ShapeError)])
def test_a_cache_beyond_the_machine_is_refused(tokens: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        NativeExecutor(random_folder(TINY, "fp32"), kv_tokens=tokens)


@pytest.mark.parametrize(
    "setting", [{"kv_tokens": 0}, {"block_tokens": 0}, {"threads": 0}, {"kv_dtype": "fp8"}]
)
def test_settings_out_of_range_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        NativeExecutor(random_folder(TINY, "fp32"), **({"kv_tokens": 16} | setting))


def test_weights_are_checked_by_name_and_shape() -> None:
    folder = random_folder(TINY, "int8")
    weights = dict(folder.weights)
    for change, message in (
        ({"head.weight": None}, "head.weight: weight is missing"),
        ({"other.weight": weights["head.weight"]}, "other.weight: this model has no such"),
        ({"head.weight": weights["embed.weight"].__class__(
            np.zeros((61, 16), np.int8), np.ones((61, 1), np.float32)
        )}, r"head.weight: expected shape \[61, 32\], got \[61, 16\]"),
        ({"final_norm.weight": weights["head.weight"]}, "final_norm.weight: expected shape"),
    ):  # fmt: skip
        changed = {name: w for name, w in (weights | change).items() if w is not None}
        with pytest.raises(ShapeError, match=message):
            NativeExecutor(replace(folder, weights=changed), kv_tokens=16)


def test_what_an_executor_says_of_itself(small: NativeExecutor) -> None:
    assert (small.vocab, small.context, small.blocks, small.block_tokens) == (61, 96, 4, 4)
    assert small.weight_bytes == sum(w.nbytes for w in random_folder(TINY, "fp32").weights.values())
    assert small.isa in native.library().isas()
    assert NativeExecutor(random_folder(TINY, "fp32"), kv_tokens=16, threads=3).threads == 3
