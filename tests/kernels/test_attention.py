"""Native attention of every variant against float64, and the bits that must not move."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from sparing.base.errors import ShapeError
from sparing.kernels import native, reference
from sparing.kernels.attention import KV_DTYPES, PagedAttention, Rule, kv_token_bytes

ISAS = native.library().isas()


class Case:
    """Random queries over random keys in shuffled blocks, and what they should give."""

    def __init__(
        self, T: int, S: int, *, H: int, G: int, K: int, isa: str, seed: int = 0,
        kv_dtype: str = "fp32", block_tokens: int = 16, threads: int = 1, size: float = 1.0,
        position: int | None = None, **rule: Any,
    ) -> None:  # fmt: skip
        rng = np.random.default_rng(seed)
        self.q, self.k, self.v = (
            rng.standard_normal(shape).astype(np.float32) * np.float32(size)
            for shape in ((T, H, K), (S, G, K), (S, G, K))
        )
        self.position = S - T if position is None else position
        self.rule = Rule(scale=rule.pop("scale", K**-0.5), **rule)
        blocks = -(-S // block_tokens)
        self.table = rng.permutation(blocks + 3)[:blocks].astype(np.int32)
        self.paged = PagedAttention(
            kv_dtype=kv_dtype, kv_heads=G, head_width=K, blocks=blocks + 3,
            block_tokens=block_tokens, threads=threads, isa=isa,
        )  # fmt: skip
        self.paged.write(self.table, 0, self.k, self.v)

    def got(self, begin: int = 0, end: int | None = None, table: Any = None) -> np.ndarray:
        q = np.ascontiguousarray(self.q[begin:end])
        return self.paged.attend(
            q, self.rule,
            positions_N=self.position + begin + np.arange(len(q)),
            blocks_RP=(self.table if table is None else table)[None],
            lengths_R=[len(self.k)],
        )  # fmt: skip

    def law(self, dtype: type = np.float64) -> np.ndarray:
        """The definition, on the keys and values as they are kept."""
        rule, k, v = self.rule, *self.paged.read(self.table, len(self.k))
        options = {name: getattr(rule, name) for name in ("causal", "window", "softcap")}
        for name in ("slopes_H", "sinks_H"):
            value = getattr(rule, name)
            options[name] = None if value is None else value.astype(dtype)
        if rule.bias_HC is not None:
            ahead_TS = np.arange(len(k)) - (self.position + np.arange(len(self.q))[:, None])
            options["bias_HTS"] = rule.bias_HC[:, ahead_TS + rule.bias_HC.shape[1] // 2]
        return reference.attention(
            self.q.astype(dtype), k.astype(dtype), v.astype(dtype),
            position=self.position, scale=dtype(rule.scale), **options,
        )  # fmt: skip


def rule_named(name: str, H: int, S: int) -> dict[str, Any]:
    rng = np.random.default_rng(9)
    return {
        "causal": {},
        "whole": {"causal": False},
        "window": {"window": 37},
        "window of one": {"window": 1},
        "window both ways": {"window": 20, "causal": False},
        "softcap": {"softcap": 3.0, "scale": 1.0},
        "slopes": {"slopes_H": rng.uniform(0.01, 0.5, H).astype(np.float32)},
        "sinks": {"sinks_H": rng.standard_normal(H).astype(np.float32) * 3},
        "bias": {"bias_HC": rng.standard_normal((H, 2 * S + 1)).astype(np.float32)},
        "bias both ways": {
            "causal": False,
            "bias_HC": rng.standard_normal((H, 2 * S + 1)).astype(np.float32),
        },
        "all": {
            "softcap": 5.0,
            "window": 60,
            "slopes_H": rng.uniform(0.01, 0.5, H).astype(np.float32),
            "sinks_H": rng.standard_normal(H).astype(np.float32),
        },
    }[name]


RULES = [
    *("causal", "whole", "window", "window of one", "window both ways", "softcap", "slopes"),
    *("sinks", "bias", "bias both ways", "all"),
]
# rows, positions: one, odd, a whole tile and one more, more rows than a task, several chunks
SIZES = [(1, 1), (17, 17), (1, 127), (5, 64), (3, 65), (40, 130), (2, 1100)]
HEADS = [(2, 2, 64), (4, 1, 8), (7, 1, 64), (6, 3, 80), (3, 1, 20)]  # H, G, K


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("heads", HEADS)
def test_within_twice_the_error_of_the_plain_way(
    isa: str, name: str, heads: tuple[int, int, int]
) -> None:
    """AT-1: at most twice what the definition loses in float32, plus four roundings."""
    H, G, K = heads
    for T, S in SIZES:
        case = Case(T, S, H=H, G=G, K=K, isa=isa, **rule_named(name, H, S))
        exact = case.law()
        plain = np.abs(case.law(np.float32) - exact).max()
        error = np.abs(case.got() - exact).max()
        assert error <= 2 * plain + 4 * 2.0**-24 * np.abs(exact).max(), (T, S)


@pytest.mark.parametrize("isa", ISAS)
def test_a_long_odd_sequence(isa: str) -> None:
    case = Case(33, 4097, H=4, G=2, K=32, isa=isa, threads=2)
    exact = case.law()
    plain = np.abs(case.law(np.float32) - exact).max()
    assert np.abs(case.got() - exact).max() <= 2 * plain


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kv_dtype", KV_DTYPES)
@pytest.mark.parametrize("block_tokens", [1, 4, 16, 24, 64])
def test_every_kind_computes_with_what_it_keeps(isa: str, kv_dtype: str, block_tokens: int) -> None:
    for (H, G, K), (T, S) in zip(HEADS, [(1, 70), (13, 100), (1, 600), (3, 20), (2, 33)],
                                 strict=True):  # fmt: skip
        case = Case(T, S, H=H, G=G, K=K, isa=isa, kv_dtype=kv_dtype, block_tokens=block_tokens)
        exact = case.law()
        assert np.abs(case.got() - exact).max() <= 1e-6 * np.abs(case.v).max() + 1e-6


@pytest.mark.parametrize("kv_dtype", KV_DTYPES)
def test_what_is_kept_is_the_nearest_code(kv_dtype: str) -> None:
    case = Case(1, 50, H=1, G=3, K=24, isa=ISAS[0], kv_dtype=kv_dtype)
    for kept, given in zip(case.paged.read(case.table, 50), (case.k, case.v), strict=True):
        most = np.abs(given).max(axis=-1, keepdims=True)
        if kv_dtype == "fp32":
            np.testing.assert_array_equal(kept, given)
        elif kv_dtype == "bf16":
            np.testing.assert_array_equal(kept, torch.from_numpy(given).bfloat16().float().numpy())
        elif kv_dtype == "int8":
            assert (np.abs(kept - given) <= most / 127 * 0.5001).all()
        else:  # codes end at 7 where the largest is -8: what is beyond loses up to a whole step
            error = np.abs(kept - given)
            assert (error <= most / 8 * 1.0001).all()
            assert np.median(error / most) < 1 / 16


@pytest.mark.parametrize("kv_dtype", ["int8", "int4"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_stays_not_a_number(kv_dtype: str, bad: float) -> None:
    case = Case(1, 4, H=1, G=1, K=16, isa=ISAS[0], kv_dtype=kv_dtype)
    case.k[2, 0, 5] = bad
    case.paged.write(case.table, 0, case.k, case.v)
    k, v = case.paged.read(case.table, 4)
    assert np.isnan(k[2]).all()
    assert np.isfinite(k[[0, 1, 3]]).all()
    assert np.isfinite(v).all()
    assert np.isnan(case.got()).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kv_dtype", KV_DTYPES)
@pytest.mark.parametrize("name", RULES)
def test_bits_depend_on_the_row_alone(isa: str, kv_dtype: str, name: str) -> None:
    """Any number of rows at once, threads, block sizes, and chunks apart or in one pass."""
    S = 1100
    sizes: dict[str, Any] = {"H": 6, "G": 2, "K": 40, "isa": isa, "kv_dtype": kv_dtype}
    rule = rule_named(name, 6, S)
    base = Case(19, S, **sizes, **rule)
    want = base.got()
    for case, rows in (
        (Case(19, S, **sizes, threads=3, **rule), 1),
        (Case(19, S, **sizes, block_tokens=8, **rule), 7),
        (Case(19, S, **sizes, block_tokens=128, threads=2, **rule), 4),
    ):
        case.table = np.sort(case.table)
        case.paged.write(case.table, 0, case.k, case.v)
        got = [case.got(begin, begin + rows) for begin in range(0, 19, rows)]
        np.testing.assert_array_equal(np.concatenate(got), want)


@pytest.mark.parametrize("isa", ISAS)
def test_sequences_side_by_side_keep_their_bits(isa: str) -> None:
    paged = PagedAttention(kv_dtype="fp32", kv_heads=1, head_width=16, blocks=40, isa=isa,
                           threads=2)  # fmt: skip
    rng = np.random.default_rng(3)
    tables = rng.permutation(40).reshape(4, 10).astype(np.int32)
    lengths, rule = [150, 3, 64, 99], Rule(scale=0.25)
    for table, length in zip(tables, lengths, strict=True):
        k, v = (rng.standard_normal((length, 1, 16)).astype(np.float32) for _ in range(2))
        paged.write(table, 0, k, v)
    rows = [5, 1, 2, 9]
    q = rng.standard_normal((sum(rows), 3, 16)).astype(np.float32)
    starts = np.cumsum([0, *rows])
    positions = np.concatenate(
        [np.arange(n - m, n) for n, m in zip(lengths, rows, strict=True)]
    )  # fmt: skip
    together = paged.attend(q, rule, positions_N=positions, blocks_RP=tables, starts_R1=starts)
    for r in range(4):
        part = slice(starts[r], starts[r + 1])
        alone = paged.attend(
            np.ascontiguousarray(q[part]), rule, positions_N=positions[part],
            blocks_RP=tables[r : r + 1],
        )  # fmt: skip
        np.testing.assert_array_equal(together[part], alone)


@pytest.mark.parametrize("isa", ISAS)
def test_pages_are_read_where_the_table_says(isa: str) -> None:
    """PA-1: 1e-5 of contiguous attention for shuffled blocks; two of them swapped is found out."""
    case = Case(4, 100, H=2, G=2, K=32, isa=isa)
    exact = case.law()
    assert np.abs(case.got() - exact).max() <= 1e-5
    swapped = case.table.copy()
    swapped[[1, 6]] = swapped[[6, 1]]  # the last block is part full: another order of softmax
    assert np.abs(case.got(table=swapped) - exact).max() > 1e-3


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kv_dtype", KV_DTYPES)
def test_extreme_scores(isa: str, kv_dtype: str) -> None:
    """AT-2: scores of 1e4 and far beyond float32 give numbers, the law's where that has any."""
    case = Case(3, 90, H=2, G=1, K=16, isa=isa, kv_dtype=kv_dtype, scale=1.0, size=50.0)
    exact = case.law()
    assert np.abs(case.q @ case.k[:, 0].T).max() > 1e4
    assert np.abs(case.got() - exact).max() <= 1e-3 * np.abs(case.v).max()
    beyond = Case(3, 90, H=2, G=1, K=16, isa=isa, kv_dtype=kv_dtype, scale=1e30, size=1e6)
    assert np.isfinite(beyond.got()).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("sinks", [False, True])
def test_a_row_that_sees_nothing_is_zero(isa: str, sinks: bool) -> None:
    """AT-2: rows beyond the keys and a window; rows beside them keep their values."""
    sink = {"sinks_H": np.ones(2, np.float32)} if sinks else {}
    case = Case(6, 10, H=2, G=1, K=16, isa=isa, window=3, position=9, **sink)
    got, exact = case.got(), case.law()
    assert (got[3:] == 0).all()
    assert (got[:3] != 0).any()
    np.testing.assert_allclose(got, exact, atol=1e-6)


@pytest.mark.parametrize("isa", ISAS)
def test_blocks_outside_the_window_are_not_read(isa: str) -> None:
    case = Case(2, 200, H=2, G=1, K=16, isa=isa, window=40)
    want = case.got()
    for array in (case.k, case.v):
        array[:144] = np.nan  # whole blocks before position 159
    case.paged.write(case.table, 0, case.k, case.v)
    np.testing.assert_array_equal(case.got(), want)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("H", [3, 4])
def test_a_later_position_does_not_reach_an_earlier_row(isa: str, H: int) -> None:
    case = Case(20, 20, H=H, G=H if H == 4 else 1, K=16, isa=isa)
    want = case.got()
    case.k[11:], case.v[11:] = np.nan, np.nan
    case.paged.write(case.table, 0, case.k, case.v)
    got = case.got()
    np.testing.assert_array_equal(got[:11], want[:11])
    assert np.isnan(got[11:]).all()


@pytest.mark.parametrize("kv_dtype", KV_DTYPES)
@pytest.mark.parametrize("K", [8, 64, 80, 100])
def test_sizes_are_those_of_the_library(kv_dtype: str, K: int) -> None:
    paged = PagedAttention(kv_dtype=kv_dtype, kv_heads=3, head_width=K, blocks=1)
    assert paged.token_bytes == kv_token_bytes(kv_dtype, layers=1, kv_heads=3, head_width=K)


def test_decoding_meets_the_whole_pass() -> None:
    """AT-6: one row over long keys, its chunks shared among threads, against all rows at once."""
    whole = Case(700, 700, H=4, G=2, K=32, isa=ISAS[0])
    last = Case(1, 700, H=4, G=2, K=32, isa=ISAS[0], threads=2)
    last.q[:] = whole.q[-1:]
    last.paged.write(last.table, 0, whole.k, whole.v)
    np.testing.assert_array_equal(last.got()[0], whole.got()[-1])
    exact = torch.nn.functional.scaled_dot_product_attention(
        *(torch.from_numpy(x).double().transpose(0, 1) for x in (whole.q, whole.k, whole.v)),
        is_causal=True, enable_gqa=True,
    )  # fmt: skip
    np.testing.assert_allclose(whole.got(), exact.transpose(0, 1).numpy(), atol=1e-5)


MEMORY = """
import sys, numpy as np
from sparing.kernels.attention import PagedAttention, Rule
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
S = int(sys.argv[1])
paged = PagedAttention(kv_dtype="fp32", kv_heads=1, head_width=16, blocks=S // 16)
x = np.zeros((S, 1, 16), np.float32)
table = np.arange(S // 16, dtype=np.int32)
paged.write(table, 0, x, x)
before = peak()
paged.attend(x, Rule(scale=1.0, window=64), positions_N=np.arange(S), blocks_RP=table[None])
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_grows_no_faster_than_the_sequence() -> None:
    """AT-3: 64 times the positions add at most what the output itself takes, and 1 MiB."""
    kib = [
        int(subprocess.run([sys.executable, "-c", MEMORY, str(S)], capture_output=True, text=True,
                           check=True).stdout)
        for S in (1024, 65536)
    ]  # fmt: skip
    output_kib = 65536 * 16 * 4 / 1024
    assert kib[1] <= 2 * output_kib + 1024, "all scores of 65536 positions would take 16 GiB"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"positions_N": [0, 2]}, "positions"),
        ({"positions_N": [-1, 0]}, "positions"),
        ({"blocks_RP": [[9]]}, "blocks"),
        ({"blocks_RP": [[-1]]}, "blocks"),
        ({"lengths_R": [17]}, "blocks"),
        ({"starts_R1": [0, 1]}, "starts"),
        ({"q_NHK": np.zeros((2, 3, 16), np.float32)}, "heads"),
        ({"q_NHK": np.zeros((2, 2, 8), np.float32)}, "heads"),
        ({"rule": Rule(scale=1.0, slopes_H=np.ones(3, np.float32))}, "slopes_H"),
        ({"rule": Rule(scale=1.0, bias_HC=np.ones((2, 3), np.float32))}, "distance"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], named: str) -> None:
    paged = PagedAttention(kv_dtype="fp32", kv_heads=2, head_width=16, blocks=1)
    arguments: dict[str, Any] = {
        "q_NHK": np.zeros((2, 2, 16), np.float32),
        "rule": Rule(scale=1.0),
        "positions_N": [3, 4],
        "blocks_RP": [[0]],
    }
    with pytest.raises(ShapeError, match=named):
        paged.attend(**(arguments | changes))


def test_unknown_kinds_and_extents_are_refused() -> None:
    with pytest.raises(ShapeError, match="int8 or int4, got fp8"):
        PagedAttention(kv_dtype="fp8", kv_heads=1, head_width=8, blocks=1)
    with pytest.raises(ShapeError, match="extents"):
        PagedAttention(kv_dtype="fp32", kv_heads=0, head_width=8, blocks=1)
