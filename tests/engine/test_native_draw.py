"""The native draw against the plain one in numpy, which is tested against transformers."""

import dataclasses

import numpy as np
import pytest

from sparing.base.errors import ShapeError
from sparing.engine.chooser import Chooser
from sparing.engine.request import Request, Sampling
from sparing.kernels.draw import DrawArrays
from sparing.kernels.native import draw, library

ISAS = library().isas()
RULES = {
    "greedy": Sampling(temperature=0.0),
    "plain": Sampling(),
    "cold": Sampling(temperature=0.3),
    "frozen": Sampling(temperature=5e-324),
    "hot": Sampling(temperature=2.0, top_p=0.999),
    "top_k": Sampling(top_k=7),
    "top_k of many": Sampling(top_k=700, temperature=1.3),
    "top_p": Sampling(top_p=0.8),
    "top_p, few": Sampling(top_p=0.05),
    "min_p": Sampling(min_p=0.1),
    "all": Sampling(temperature=1.7, top_k=40, top_p=0.9, min_p=0.05, logprobs=3),
    "reported": Sampling(logprobs=20),
    "chosen only": Sampling(temperature=0.0, logprobs=0),
    "penalised": Sampling(
        repetition_penalty=1.3, presence_penalty=0.5, frequency_penalty=0.25, logprobs=5, top_k=30
    ),
    "greedy, penalised": Sampling(temperature=0.0, repetition_penalty=1.8, frequency_penalty=1.5),
    "greedy, encouraged": Sampling(temperature=0.0, presence_penalty=-2.0, logprobs=2),
}
SIZES = [1, 2, 63, 64, 65, 700, 17_000, 40_001]


def logits_of(seed: int, V: int, *, rounded: bool = False) -> np.ndarray:
    values_V = 4 * np.random.Generator(np.random.PCG64(seed)).standard_normal(V)
    return (np.round(values_V) if rounded else values_V).astype(np.float32)


def pair(rule: Sampling, seed: int, V: int) -> tuple[Chooser, Chooser]:
    """Two choosers of one request, with the same past."""
    prompt = tuple((seed * 7 + i) % V for i in range(5))
    request = Request(id="r", prompt_ids=prompt, sampling=rule, max_tokens=99, seed=seed)
    choosers = Chooser(request), Chooser(request)
    for chooser in choosers:
        for i in range(6):
            chooser.note((seed + i * i) % V)
    return choosers


def native(logits_LV: np.ndarray, choosers: list[Chooser], isa: str) -> DrawArrays:
    arrays = DrawArrays(len(choosers), 20)
    for chooser, row_C in zip(choosers, arrays.rules_LC, strict=True):
        chooser.fill(row_C)
    arrays.see([chooser.seen() for chooser in choosers])
    draw(logits_LV, arrays.of(len(logits_LV)), isa=isa)
    return arrays


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("rounded", [False, True], ids=["", "many ties"])
@pytest.mark.parametrize("V", SIZES)
def test_every_rule_chooses_as_the_plain_version(V, rounded, isa):
    """All rules as the rows of one batch, eight times with other logits and luck."""
    for seed in range(8):
        pairs = [pair(rule, 31 * seed + i, V) for i, rule in enumerate(RULES.values())]
        logits_LV = np.stack(
            [logits_of(97 * seed + i, V, rounded=rounded) for i in range(len(pairs))]
        )
        arrays = native(logits_LV.copy(), [ours for ours, _ in pairs], isa)
        for row, ((_, theirs), name) in enumerate(zip(pairs, RULES, strict=True)):
            want = theirs.plain(logits_LV[row])
            assert arrays.ids_L[row] == want.id, (name, seed)
            if want.logprobs is None:
                continue
            assert arrays.logprobs_L[row] == pytest.approx(want.logprobs.logprob, abs=1e-12)
            count = len(want.logprobs.top)
            got_ids = arrays.top_ids_LK[row, :count].tolist()
            assert got_ids == [id for id, _ in want.logprobs.top]
            got = arrays.top_logprobs_LK[row, :count]
            np.testing.assert_allclose(got, [p for _, p in want.logprobs.top], atol=1e-12)


@pytest.mark.parametrize("isa", ISAS)
def test_a_row_is_drawn_alike_in_any_company(isa):
    V, names = 20_000, list(RULES)
    logits_LV = np.stack([logits_of(i, V) for i in range(len(names))])
    together = native(logits_LV.copy(), [pair(RULES[n], i, V)[0] for i, n in enumerate(names)], isa)
    for i, name in enumerate(names):
        alone = native(logits_LV[i : i + 1].copy(), [pair(RULES[name], i, V)[0]], isa)
        assert alone.ids_L[0] == together.ids_L[i], name
        assert alone.logprobs_L[0] == together.logprobs_L[i], name


@pytest.mark.parametrize("isa", ISAS)
def test_the_logits_are_left_as_they_were(isa):
    logits_LV = logits_of(3, 500)[None]
    before = logits_LV.copy()
    native(logits_LV, [pair(RULES["penalised"], 3, 500)[0]], isa)
    np.testing.assert_array_equal(logits_LV, before)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("bad", [np.nan, np.inf], ids=str)
@pytest.mark.parametrize("at", [0, 130, 499])
def test_broken_logits_concern_their_own_row(bad, at, isa):
    logits_LV = np.stack([logits_of(i, 500) for i in range(3)])
    logits_LV[1, at] = bad
    for name in ("greedy", "plain", "all", "reported"):
        rows = [pair(RULES[name], i, 500) for i in range(3)]
        got = native(logits_LV.copy(), [ours for ours, _ in rows], isa)
        assert got.ids_L[1] == -1
        for row in (0, 2):
            assert got.ids_L[row] == rows[row][1].plain(logits_LV[row]).id


@pytest.mark.parametrize("isa", ISAS)
def test_masked_tokens_are_never_drawn(isa):
    logits_LV = np.full((1, 300), -np.inf, np.float32)
    logits_LV[0, [70, 299]] = 1.0, 0.5
    rules = [rule for name, rule in RULES.items() if rule.logprobs is None]
    for number, rule in enumerate(rules * 10):
        arrays = native(logits_LV.copy(), [pair(rule, number, 300)[0]], isa)
        assert arrays.ids_L[0] in (70, 299), rule
    nothing = np.full((1, 300), -np.inf, np.float32)
    assert native(nothing, [pair(Sampling(), 0, 300)[0]], isa).ids_L[0] == -1


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("luck", [0.0, 0.5, 1.0])
def test_luck_at_its_ends_takes_a_possible_token(luck, isa):
    logits_LV = np.full((1, 130), -np.inf, np.float32)
    logits_LV[0, [5, 64, 100]] = 0.0
    for rule in (Sampling(), Sampling(top_p=0.999), Sampling(top_k=3)):
        arrays = DrawArrays(1, 20)
        pair(rule, 1, 130)[0].fill(arrays.rules_LC[0])
        arrays.rules_LC[0, 6] = luck
        draw(logits_LV.copy(), arrays.of(1), isa=isa)
        assert arrays.ids_L[0] == {0.0: 5, 0.5: 64, 1.0: 100}[luck]


@pytest.mark.parametrize(
    ("column", "value"),
    [(0, -1.0), (0, np.nan), (1, 0.0), (1, 1.5), (2, -0.1), (2, np.nan), (3, 0.0), (3, np.nan),
     (4, np.inf), (5, np.nan), (6, -0.5), (6, np.nan), (7, -1.0), (7, 1e18), (7, np.nan),
     (8, -2.0), (8, 21.0), (8, np.nan)],
)  # fmt: skip
def test_rules_out_of_range_are_refused(column, value):
    arrays = DrawArrays(1, 20)
    pair(Sampling(), 1, 9)[0].fill(arrays.rules_LC[0])
    arrays.rules_LC[0, column] = value
    with pytest.raises(ShapeError):
        draw(np.zeros((1, 9), np.float32), arrays.of(1))


@pytest.mark.parametrize("ids", [[-1], [9], [2**31 - 1]])
def test_earlier_tokens_outside_the_vocabulary_are_refused(ids):
    arrays = DrawArrays(1, 20)
    pair(Sampling(), 1, 9)[0].fill(arrays.rules_LC[0])
    arrays.see([(np.array(ids, np.int32), np.ones(1, np.int32))])
    with pytest.raises(ShapeError, match="vocabulary"):
        draw(np.zeros((1, 9), np.float32), arrays.of(1))


@pytest.mark.parametrize("starts", [[0, 7], [1, 1], [0, -3]])
def test_lists_of_earlier_tokens_that_lie_are_refused(starts):
    arrays = DrawArrays(1, 20)
    pair(Sampling(), 1, 9)[0].fill(arrays.rules_LC[0])
    arrays.seen_starts[:] = starts
    with pytest.raises(ShapeError):
        draw(np.zeros((1, 9), np.float32), arrays.of(1))


def test_every_field_of_a_rule_reaches_the_draw():
    """A field that got lost would draw like the default does."""
    V, default = 400, Sampling(seed=1)
    changed = {
        "temperature": 0.4, "top_p": 0.3, "min_p": 0.6, "top_k": 2,
        "repetition_penalty": 9.0, "presence_penalty": -2.0, "frequency_penalty": -2.0,
    }  # fmt: skip
    for name, value in changed.items():
        rule, differs = dataclasses.replace(default, **{name: value}), False
        for seed in range(200):
            logits_LV = 0.3 * logits_of(seed, V)[None]
            one = native(logits_LV.copy(), [pair(rule, seed, V)[0]], ISAS[0]).ids_L[0]
            two = native(logits_LV.copy(), [pair(default, seed, V)[0]], ISAS[0]).ids_L[0]
            differs |= bool(one != two)
        assert differs, name
