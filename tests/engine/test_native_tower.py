"""Encoders of texts and images against transformers, and a text's numbers whatever its company."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import encoder_cases as cases
import numpy as np
import pytest
import torch

from sparing.base.errors import RequestError, ShapeError
from sparing.engine import native_tower
from sparing.engine.assemble import load_any
from sparing.engine.config import EngineConfig
from sparing.engine.embedder import Embedder
from sparing.engine.native_tower import Tower
from sparing.kernels.formats import Int8
from sparing.models.encoder_folder import open_encoder

TOLERANCE = 1e-5  # of the largest number: two float32 sums of up to 100 terms, in other orders
TEXTS = [cases.ids(count, seed=count) for count in (1, 7, 130, 64, 2)]


def close(ours: np.ndarray, theirs: torch.Tensor) -> None:
    wanted = theirs.numpy()
    assert ours.shape == wanted.shape
    assert np.abs(ours - wanted).max() < TOLERANCE * np.abs(wanted).max()


def opened(model: Any, folder: Path, **settings: Any) -> Embedder:
    found = load_any(cases.save(model, folder), EngineConfig(threads=2, **settings))
    assert isinstance(found, Embedder)
    return found


BERTS: dict[str, Callable[[], Any]] = {
    "bert": cases.bert,
    "bert-relu": lambda: cases.bert(hidden_act="relu", type_vocab_size=1),
    "masked": cases.masked_bert,
    "roberta": cases.roberta,
}


@pytest.mark.parametrize("name", BERTS)
@torch.inference_mode()
def test_bert_rows(name: str, tmp_path: Path) -> None:
    theirs = cases.randomise(BERTS[name]())
    side = opened(theirs, tmp_path).texts
    assert side is not None
    body = getattr(theirs, "bert", theirs)
    rows_ND, starts_R1 = side.tower.rows(TEXTS)
    for text, begin, end in zip(TEXTS, starts_R1, starts_R1[1:], strict=False):
        close(rows_ND[begin:end], body(torch.tensor([text])).last_hidden_state[0])


@pytest.mark.parametrize("scaled", [False, True])
@torch.inference_mode()
def test_bert_mean(scaled: bool, tmp_path: Path) -> None:
    theirs = cases.randomise(cases.bert())
    ours = opened(theirs, tmp_path).embed(TEXTS, normalised=scaled)
    for row, text in zip(ours, TEXTS, strict=True):
        mean = theirs(torch.tensor([text])).last_hidden_state[0].mean(0)
        close(row, mean / mean.norm() if scaled else mean)


@torch.inference_mode()
def test_vit(tmp_path: Path) -> None:
    for number, (pooled, changes) in enumerate(
        [(True, {}), (True, {"pooler_output_size": 44, "qkv_bias": False}), (False, {})]
    ):
        theirs = cases.randomise(cases.vit(pooled=pooled, **changes))
        side = opened(theirs, tmp_path / str(number)).images
        assert side is not None
        batch = cases.images(3)
        wanted = theirs(batch)
        close(side.tower.image_rows(batch.numpy()), wanted.last_hidden_state)
        feature = wanted.pooler_output if pooled else wanted.last_hidden_state[:, 0]
        close(side.tower.images(batch.numpy()), feature)


@torch.inference_mode()
def test_vit_of_oblong_patches(tmp_path: Path) -> None:
    theirs = cases.randomise(cases.vit(image_size=[12, 20], patch_size=[4, 5], num_channels=2))
    batch = torch.randn((2, 2, 12, 20), generator=torch.Generator().manual_seed(3))
    close(opened(theirs, tmp_path).encode_images(batch.numpy()), theirs(batch).pooler_output)


@pytest.mark.parametrize("end", [100, 2])
@torch.inference_mode()
def test_clip(end: int, tmp_path: Path) -> None:
    theirs = cases.randomise(cases.clip(eos_token_id=end))
    ours = opened(theirs, tmp_path)
    texts = [[*cases.ids(count, seed=count), 100, 3, 4] for count in (1, 8, 30)]
    for row, text in zip(ours.embed(texts, normalised=False), texts, strict=True):
        close(row, theirs.get_text_features(torch.tensor([text])).pooler_output[0])
    batch = cases.images(4)
    close(
        ours.encode_images(batch.numpy(), normalised=False),
        theirs.get_image_features(batch).pooler_output,
    )
    wanted = theirs(torch.tensor([texts[1]]), batch)
    close(ours.encode_images(batch.numpy()), wanted.image_embeds)
    close(ours.embed([texts[1]]), wanted.text_embeds)


@torch.inference_mode()
def test_single_clip_towers(tmp_path: Path) -> None:
    batch, text = cases.images(2), [*cases.ids(9), 100]
    theirs = cases.randomise(cases.clip_vision(mapped=True))
    ours = opened(theirs, tmp_path / "mapped").encode_images(batch.numpy(), normalised=False)
    close(ours, theirs(batch).image_embeds)
    theirs = cases.randomise(cases.clip_vision(mapped=False))
    ours = opened(theirs, tmp_path / "plain").encode_images(batch.numpy(), normalised=False)
    close(ours, theirs(batch).pooler_output)
    theirs = cases.randomise(cases.clip_text())
    ours = opened(theirs, tmp_path / "text").embed([text], normalised=False)
    close(ours, theirs(torch.tensor([text])).text_embeds)


@torch.inference_mode()
def test_siglip(tmp_path: Path) -> None:
    theirs = cases.randomise(cases.siglip())
    ours = opened(theirs, tmp_path / "both")
    texts = [cases.ids(17, seed=seed) for seed in range(3)]
    close(
        ours.embed(texts, normalised=False),
        theirs.get_text_features(torch.tensor(texts)).pooler_output,
    )
    batch = cases.images(3)
    close(
        ours.encode_images(batch.numpy(), normalised=False),
        theirs.get_image_features(batch).pooler_output,
    )
    theirs = cases.randomise(cases.siglip_vision())
    alone = opened(theirs, tmp_path / "image").encode_images(batch.numpy(), normalised=False)
    close(alone, theirs(batch).pooler_output)


def test_company_and_threads_change_no_bit(tmp_path: Path) -> None:
    folder = open_encoder(cases.save(cases.randomise(cases.bert()), tmp_path))
    one, three = (Tower(folder.config, folder.weights, threads=count) for count in (1, 3))
    together = one.texts(TEXTS)
    assert np.array_equal(three.texts(TEXTS), together)
    for row, text in zip(together, TEXTS, strict=True):
        assert np.array_equal(one.texts([text])[0], row)
    assert np.array_equal(one.texts(TEXTS[::-1])[::-1], together)


def test_calls_are_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_encoder(cases.save(cases.randomise(cases.clip()), tmp_path))
    texts = [[*cases.ids(count, seed=count), 100] for count in (5, 12, 30, 7, 1, 9)]
    found = folder.config
    ours = opened(cases.randomise(cases.clip()), tmp_path / "again")
    whole, images = ours.embed(texts), cases.images(5).numpy()
    features = ours.encode_images(images)
    monkeypatch.setattr(native_tower, "ROWS", 20)
    assert found is not None
    assert np.array_equal(ours.embed(texts), whole)
    assert np.array_equal(ours.encode_images(images), features)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    ours = opened(cases.randomise(cases.bert()), tmp_path / "bert")
    with pytest.raises(RequestError, match=r"texts\[1\]: has 151 tokens, the model takes 150"):
        ours.embed([[1], [1] * 151])
    assert ours.embed([[1], [1] * 151], truncate=True).shape == (2, 60)
    with pytest.raises(RequestError, match="1 to 150 tokens, got 0"):
        ours.embed([[]])
    with pytest.raises(RequestError, match="at least one"):
        ours.embed([])
    with pytest.raises(ShapeError, match="0 <= value < 101, got 101"):
        ours.embed([[101]])
    with pytest.raises(ShapeError, match="got -1"):
        ours.embed([[-1]])
    with pytest.raises(RequestError, match="bert reads texts"):
        ours.encode_images(cases.images(1).numpy())
    with pytest.raises(RequestError, match="writes no text"):
        ours.generate("x")
    with pytest.raises(RequestError, match="no tokenizer"):
        ours.embed("words")
    ours = opened(cases.randomise(cases.vit()), tmp_path / "vit")
    with pytest.raises(RequestError, match="vit reads images"):
        ours.embed([[1]])
    for shape in ((1, 3, 23, 24), (0, 3, 23, 23), (3, 23, 23), (1, 1, 23, 23)):
        with pytest.raises(RequestError, match="images: expected"):
            ours.encode_images(np.zeros(shape, np.float32))
    with pytest.raises(RequestError, match="NaN"):
        ours.encode_images(np.full((1, 3, 23, 23), np.nan, np.float32))


@pytest.mark.parametrize("bits", [8, 4])
@torch.inference_mode()
def test_quantised_bert(bits: int, tmp_path: Path) -> None:
    theirs = cases.randomise(
        cases.bert(hidden_size=64, intermediate_size=96, num_attention_heads=4)
    )
    folder = open_encoder(cases.quantise(theirs, tmp_path, bits=bits, group=32))
    exact = Tower(folder.config, folder.weights, threads=2, activations="exact")
    rounded = Tower(folder.config, folder.weights, threads=2)
    assert rounded.weight_bytes < 0.6 * sum(each.nbytes for each in theirs.state_dict().values())
    for text in TEXTS:
        wanted = theirs(torch.tensor([text])).last_hidden_state[0]
        close(exact.rows([text])[0], wanted)
        error = np.abs(rounded.rows([text])[0] - wanted.numpy())
        assert 0 < error.max() < 0.15 * np.abs(wanted.numpy()).max()
        assert np.sqrt(np.square(error).mean()) < 0.02 * wanted.square().mean().sqrt()
    together = rounded.texts(TEXTS)
    for row, text in zip(together, TEXTS, strict=True):
        assert np.array_equal(rounded.texts([text])[0], row)


@torch.inference_mode()
def test_quantised_clip(tmp_path: Path) -> None:
    theirs = cases.randomise(cases.clip())
    folder = open_encoder(cases.quantise(theirs, tmp_path, bits=8, group=4))
    names = [name for name in folder.weights if name.startswith("image.")]
    assert any(isinstance(folder.weights[name], Int8) for name in names)
    weights = {name.removeprefix("image."): folder.weights[name] for name in names}
    tower = Tower(folder.config.image, weights, threads=1, activations="exact")
    batch = cases.images(2)
    close(tower.images(batch.numpy(), normalised=False),
          theirs.get_image_features(batch).pooler_output)  # fmt: skip
