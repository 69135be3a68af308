"""The cache's size: what fits, what is cut, what is refused."""

import pytest

from sparing.base.errors import CapacityError, ConfigError
from sparing.engine.capacity import fit, free_memory_bytes
from sparing.engine.config import EngineConfig

MIB = 1 << 20


def fitted(config: EngineConfig, *, free: int | None = 1000 * MIB, context: int = 100):
    return fit(config, context=context, kv_token_bytes=1024, free_bytes=free)


def test_enough_for_all_when_memory_allows():
    got = fitted(EngineConfig(max_num_seqs=4))
    assert (got.config.max_model_len, got.config.kv_cache_tokens) == (100, 4 * 112)
    assert "4 answers of 100 tokens" in got.reason
    assert fitted(EngineConfig(max_num_seqs=4), free=None).config.kv_cache_tokens == 4 * 112


def test_a_share_of_free_memory_is_the_most():
    got = fitted(EngineConfig(max_num_seqs=16), free=2 * MIB)
    assert got.config.kv_cache_tokens == 512
    assert got.config.max_model_len == 100
    assert "25% of 2 MiB" in got.reason


def test_a_context_that_does_not_fit_is_cut_or_refused():
    got = fitted(EngineConfig(), free=MIB, context=10_000)
    assert got.config.max_model_len == got.config.kv_cache_tokens == 256
    assert "cut from 10000 to 256" in got.reason
    with pytest.raises(CapacityError, match="1000 tokens do not fit in a KV cache of 256"):
        fitted(EngineConfig(max_model_len=1000), free=MIB, context=10_000)
    with pytest.raises(CapacityError, match="do not fit"):
        fitted(EngineConfig(), free=1024)


def test_what_is_asked_for_is_given_or_refused():
    assert fitted(EngineConfig(kv_cache_tokens=130)).config.kv_cache_tokens == 144
    with pytest.raises(CapacityError, match="are free"):
        fitted(EngineConfig(kv_cache_tokens=5000), free=MIB)
    with pytest.raises(ConfigError, match="at most the model's context of 100"):
        fitted(EngineConfig(max_model_len=101))


def test_free_memory_is_the_lesser_of_machine_and_group(tmp_path):
    meminfo, group = tmp_path / "meminfo", tmp_path / "group"
    meminfo.write_text("MemTotal: 9 kB\nMemAvailable:    4096 kB\n")
    assert free_memory_bytes(meminfo, group) == 4 * MIB
    group.mkdir()
    (group / "memory.max").write_text("3145728\n")
    (group / "memory.current").write_text("2097152\n")
    (group / "memory.stat").write_text("anon 1\ninactive_file 1048576\n")
    assert free_memory_bytes(meminfo, group) == 2 * MIB
    (group / "memory.max").write_text("max\n")
    assert free_memory_bytes(meminfo, group) == 4 * MIB
    assert (free_memory_bytes() or 0) > MIB


@pytest.mark.parametrize(
    "bad",
    [
        {"max_num_seqs": 0},
        {"max_num_batched_tokens": 3},
        {"block_tokens": 12},
        {"kv_cache_share": 1.0},
        {"threads": 0},
        {"max_waiting": 0},
    ],
    ids=str,
)
def test_settings_out_of_range(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        EngineConfig(**bad)
