"""Lying headers and folders: refused by the reason, and never where the official package would.

The differential test mutates valid files and compares with the official safetensors package:
what it refuses, we refuse; what it accepts, we accept and read alike, except for the named
reasons for which we are stricter.
"""

import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize

from sparing.base.errors import ArtefactError, SparingError
from sparing.models.folder import open_model, read_config
from sparing.models.strict_json import parse_object
from sparing.models.tensor_file import TensorFile, parse_header

# Why we may refuse what the package takes; the format asks for the brace at the start itself.
STRICTER = re.compile(
    r"given twice|expected exactly dtype|unknown dtype|over the limit|nested deeper"
    r"|at most 8 sizes|is not a JSON number|20 characters|does not start"
)
SETTINGS = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
# dtypes whose official width we also know; F4 and F6 pack numbers below a byte
DTYPES = ["F32", "BF16", "F16", "I8", "U8", "I64", "BOOL", "F8_E4M3", "F4", "f32", "F33", ""]

PIECES = [b"{}", b'"a":', b"[[", b"}" * 3, b'{"a":' * 90, b"  ", b"\xff", b",1", b"e3", b".0", b"-"]
EDGES = [0, -1, 8, 24, 33, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30, 1e3]


def assemble(header: bytes, data: bytes, stated: int | None = None) -> bytes:
    length = len(header) if stated is None else stated
    return (length % 2**64).to_bytes(8, "little") + header + data


def ours(content: bytes, folder: Path) -> dict[str, Any] | str:
    """Shape and bytes of each tensor, or the reason of the refusal."""
    path = folder / "f.safetensors"
    path.write_bytes(content)
    try:
        file = TensorFile.open(path)
    except ArtefactError as error:
        return str(error)
    return {
        name: (list(entry.shape), entry.dtype, content[entry.start : entry.stop])
        for name, entry in file.stored.items()
    }


def theirs(content: bytes) -> dict[str, Any] | None:
    try:
        return {
            name: (entry["shape"], entry["dtype"], bytes(entry["data"]))
            for name, entry in deserialize(content)
        }
    except (SafetensorError, ValueError, OverflowError):
        return None


def compare(content: bytes, folder: Path) -> None:
    mine, official = ours(content, folder), theirs(content)
    if isinstance(mine, str):
        assert official is None or STRICTER.search(mine), (mine, content[:300])
    else:
        assert official is not None, content[:300]
        assert mine == official


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


def valid() -> tuple[dict[str, Any], bytes]:
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
        "c": {"dtype": "I8", "shape": [0, 7], "data_offsets": [32, 32]},
        "d": {"dtype": "U8", "shape": [], "data_offsets": [32, 33]},
    }
    return header, bytes(range(33))


numbers = st.one_of(
    st.integers(-2, 40),
    st.sampled_from([2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), 10**30]),
    st.sampled_from([1.0, 24.0, 1e3, True, None, "24"]),
)
fields = st.one_of(
    st.tuples(st.just("dtype"), st.sampled_from(DTYPES)),
    st.tuples(st.just("shape"), st.lists(numbers, max_size=10)),
    st.tuples(st.just("data_offsets"), st.lists(numbers, max_size=3)),
    st.tuples(st.just("extra"), numbers),
    st.tuples(st.sampled_from(["dtype", "shape", "data_offsets"]), numbers),
)


@SETTINGS
@given(
    st.lists(st.tuples(st.sampled_from("abcd"), fields), min_size=1, max_size=3),
    st.integers(-3, 3),
)
def test_changed_fields(folder: Path, changes: Any, spare: int) -> None:
    header, data = valid()
    for tensor, (field, value) in changes:
        header[tensor][field] = value
    data = data + b"x" * spare if spare >= 0 else data[:spare]
    compare(assemble(json.dumps(header).encode(), data), folder)


def mutate(rng: random.Random, content: bytes) -> bytes:
    """Change, cut, repeat or insert bytes, a few times."""
    for _ in range(rng.randrange(1, 4)):
        place = rng.randrange(len(content) + 1)
        end = min(len(content), place + rng.randrange(0, 12))
        kind = rng.randrange(5)
        if kind == 0:
            content = content[:place] + bytes([rng.randrange(256)]) + content[place + 1 :]
        elif kind == 1:
            content = content[:place] + content[end:]
        elif kind == 2:
            content = content[:end] + content[place:end] + content[end:]
        elif kind == 3:
            content = content[:place] + rng.choice(PIECES) + content[place:]
        else:
            content = content[:place] + str(rng.choice(EDGES)).encode() + content[end:]
    return content


def fits(content: bytes, stated: int) -> bytes:
    """The same bytes with a header length that follows a change of the header's size."""
    return stated.to_bytes(8, "little") + content[8:]


def differential(folder: Path, cases: int, seed: int) -> None:
    rng = random.Random(seed)
    header, data = valid()
    whole = assemble(json.dumps(header).encode(), data)
    for _ in range(cases):
        content = mutate(rng, whole)
        if rng.random() < 0.7 and len(content) >= 8 + len(data):
            content = fits(content, len(content) - 8 - len(data))
        compare(content, folder)


def test_mutated_bytes(folder: Path) -> None:
    differential(folder, 2500, seed=0)


@pytest.mark.slow
def test_mutated_bytes_at_length(folder: Path) -> None:
    differential(folder, 100_000, seed=1)


def test_random_extents_in_any_order(folder: Path) -> None:
    rng = random.Random(0)
    taken = 0
    for _ in range(1000):
        ends = sorted(rng.randrange(0, 9) for _ in range(rng.randrange(1, 5)))
        spans = list(zip([0, *ends], ends, strict=False))
        if rng.random() < 0.4:  # a hole, an overlap, an end before its start
            index = rng.randrange(len(spans))
            shift = (rng.randrange(-2, 3), rng.randrange(-2, 3))
            spans[index] = (spans[index][0] + shift[0], spans[index][1] + shift[1])
        rng.shuffle(spans)
        header = {
            f"t{index}": {"dtype": "U8", "shape": [stop - start], "data_offsets": [start, stop]}
            for index, (start, stop) in enumerate(spans)
        }
        content = assemble(json.dumps(header).encode(), bytes(ends[-1] + rng.choice([0, 0, 0, 1])))
        compare(content, folder)
        taken += theirs(content) is not None
    assert 200 < taken < 800  # both verdicts are met often


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "at least 8"),
        (b"\x02\x00\x00", "at least 8"),
        (assemble(b"{}", b"", stated=2**63), "over the limit"),
        (assemble(b"{}", b"", stated=2**64 - 1), "over the limit"),
        (assemble(b"{}", b"", stated=50_000_000), "truncated"),
        (assemble(b"", b""), "does not start"),
        (assemble(b" {}", b""), "does not start"),
        (assemble(b"[]", b""), "does not start"),
        (assemble(b'{"a":1}', b""), "expected exactly"),
        (assemble(b'{"a":{},"a":{}}', b""), "given twice"),
        (assemble(b"{" + b'"a":{' * 100_000, b""), "deeper|not strict JSON"),
        (assemble(b'{"a":' + b"[" * 100_000, b""), "deeper|not strict JSON"),
        (assemble(b'{"a":\xff}', b""), "not strict JSON"),
        (assemble(b'{"__metadata__":{"a":1}}', b""), "object of strings"),
        (assemble(b'{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}', b""), "sizes"),
        (assemble(b"{}", b"PK\x03\x04 also a zip"), "foreign bytes"),
    ],
)
def test_named_reasons(folder: Path, content: bytes, reason: str) -> None:
    verdict = ours(content, folder)
    assert isinstance(verdict, str)
    assert re.search(reason, verdict), verdict
    assert len(verdict) < 1000


def test_products_beyond_any_integer_are_exact() -> None:
    shape = [2**62, 2**62, 2**62, 4]  # 0 modulo 2^64
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}
    with pytest.raises(ArtefactError, match="needs"):
        parse_header(json.dumps({"a": entry}).encode(), data_bytes=0, name="f")


@pytest.mark.parametrize("text", [b'{"a": NaN}', b'{"a": -Infinity}', b'{"a": 1' + b"0" * 5000])
def test_json_numbers_that_are_none(text: bytes) -> None:
    with pytest.raises(ArtefactError, match="strict JSON"):
        parse_object(text + b"}" if text[-1:] != b"}" else text, "f")


def test_nesting_is_bounded() -> None:
    assert parse_object(b'{"a":[[1]]}', "f", depth=3)
    with pytest.raises(ArtefactError, match="nested deeper than 3"):
        parse_object(b'{"a":[[[1]]]}', "f", depth=3)


CONFIG = {
    "model_type": "llama",
    "vocab_size": 8,
    "hidden_size": 4,
    "intermediate_size": 4,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 8,
}


def test_a_config_that_promises_more_than_the_file_holds_allocates_nothing(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(assemble(b"{}", b""))
    big = CONFIG | {"hidden_size": 2**20, "vocab_size": 2**24, "num_attention_heads": 64}
    for layers, reason in ((1, "at least 1 tensors"), (4096, "calls for at least 4096 tensors")):
        changed = big | {"num_hidden_layers": layers}
        (tmp_path / "config.json").write_text(json.dumps(changed))
        with pytest.raises(ArtefactError, match=reason):
            open_model(tmp_path)


values = st.recursive(
    st.one_of(numbers, st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
ASKED = ["head_dim", "rope_scaling", "rope_parameters", "rope_theta", "eos_token_id"]
ASKED += ["quantization_config", "layer_types", "architectures", "rms_norm_eps", "hidden_act"]
keys = st.sampled_from([*CONFIG, *ASKED])


@settings(SETTINGS, max_examples=150)
@given(st.dictionaries(keys, values, min_size=1, max_size=3))
def test_any_config_is_read_or_refused_by_our_own_error(folder: Path, changes: Any) -> None:
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    try:
        verdict = str(read_config(folder))
    except SparingError as error:
        verdict = str(error)
    assert len(verdict) < 1000


def test_code_in_a_folder_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "modeling_evil.py").write_text("raise SystemExit(1)")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert read_config(tmp_path).width == 4
    evil = CONFIG | {"auto_map": {"AutoModelForCausalLM": "modeling_evil.Evil"}}
    (tmp_path / "config.json").write_text(json.dumps(evil))
    with pytest.raises(ArtefactError, match="never run"):
        read_config(tmp_path)


def test_a_config_that_is_a_link_elsewhere_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps(CONFIG))
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").symlink_to(secret)
    with pytest.raises(ArtefactError, match="leaves the folder"):
        read_config(model)


def test_the_seeds_of_the_differential_test_are_valid(folder: Path) -> None:
    header, data = valid()
    content = assemble(json.dumps(header).encode(), data)
    assert ours(content, folder) == theirs(content)
    assert np.prod(header["a"]["shape"]) == 6
