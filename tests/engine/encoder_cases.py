"""Small random encoders of every family, made by transformers: the outside implementation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
import transformers as hf
from safetensors.numpy import load_file
from tokenizers import decoders, models, pre_tokenizers, processors
from torch import nn

from sparing.kernels.formats import Int4, Int8, pack_int4
from sparing.models.quantised import describe, stored_tensors
from sparing.models.tensor_file import Tensor, write_tensors

BLOCKS: dict[str, Any] = {
    "hidden_size": 60,
    "intermediate_size": 92,
    "num_hidden_layers": 2,
    "num_attention_heads": 5,
}
TEXT = BLOCKS | {"vocab_size": 101, "max_position_embeddings": 150}
IMAGE = BLOCKS | {"image_size": 23, "patch_size": 5}  # 4 x 4 patches, three pixels not seen
T5: dict[str, Any] = {
    "vocab_size": 101,
    "d_model": 60,
    "d_kv": 14,
    "d_ff": 92,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 5,
    "relative_attention_num_buckets": 12,
    "relative_attention_max_distance": 21,
    "decoder_start_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
CLIP_TEXT = TEXT | {"projection_dim": 36, "eos_token_id": 100, "max_position_embeddings": 40}
SIGLIP_TEXT = TEXT | {"max_position_embeddings": 17, "projection_size": 60}


def bert(**changes: Any) -> Any:
    return hf.BertModel(hf.BertConfig(**(TEXT | changes)))


def masked_bert() -> Any:
    return hf.BertForMaskedLM(hf.BertConfig(**(TEXT | {"hidden_act": "gelu_new"})))


def roberta() -> Any:
    config = hf.RobertaConfig(**(TEXT | {"type_vocab_size": 1, "pad_token_id": 1}))
    return hf.RobertaModel(config)


def vit(*, pooled: bool = True, **changes: Any) -> Any:
    return hf.ViTModel(hf.ViTConfig(**(IMAGE | changes)), add_pooling_layer=pooled)


def clip(**changes: Any) -> Any:
    text = CLIP_TEXT | changes
    config = hf.CLIPConfig(
        text_config=text, vision_config=IMAGE | {"projection_dim": 36}, projection_dim=36
    )
    return hf.CLIPModel(config)


def clip_vision(*, mapped: bool) -> Any:
    config = hf.CLIPVisionConfig(**(IMAGE | {"projection_dim": 36}))
    return hf.CLIPVisionModelWithProjection(config) if mapped else hf.CLIPVisionModel(config)


def clip_text() -> Any:
    return hf.CLIPTextModelWithProjection(hf.CLIPTextConfig(**CLIP_TEXT))


def siglip() -> Any:
    config = hf.SiglipConfig(text_config=SIGLIP_TEXT, vision_config=IMAGE)
    return hf.SiglipModel(config)


def siglip_vision() -> Any:
    return hf.SiglipVisionModel(hf.SiglipVisionConfig(**IMAGE))


def t5(*, own_head: bool = False, **changes: Any) -> Any:
    model = hf.T5ForConditionalGeneration(hf.T5Config(**(T5 | changes)))
    if own_head:
        model.config.tie_word_embeddings = False
        model.lm_head.weight = torch.nn.Parameter(torch.empty(101, 60))
    return model


def mt5() -> Any:
    config = hf.MT5Config(**(T5 | {"feed_forward_proj": "gated-gelu"}))
    return hf.MT5ForConditionalGeneration(config)


def randomise(model: Any, seed: int = 0) -> Any:
    """Large random weights, norms and biases too, so that every part of the model matters."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            spread = 0.3 if parameter.ndim < 2 else parameter[0].numel() ** -0.5
            parameter.normal_(float(parameter.ndim < 2) * 0.7, spread)
    return model.eval()


def save(model: Any, folder: Path) -> Path:
    """As transformers writes it."""
    model.save_pretrained(folder)
    return folder


def ids(count: int, seed: int = 1, vocab: int = 100) -> list[int]:
    """Random token ids; 100 is not among them, so that it can be an end token."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2, vocab, (count,), generator=generator).tolist()


def images(count: int, seed: int = 2) -> torch.Tensor:
    """Random float32 images of the odd size."""
    return torch.randn((count, 3, 23, 23), generator=torch.Generator().manual_seed(seed))


def write_words(folder: Path, *, framed: tuple[str, str] = ("", "</s>")) -> None:
    """A tokenizer of words w0 .. w100 into `folder`; `framed` go before and after a text."""
    vocab = {"<pad>": 0, "</s>": 1} | {f"w{number}": number for number in range(2, 101)}
    library = tokenizers.Tokenizer(models.WordLevel(vocab, unk_token="w2"))
    library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    library.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    library.add_special_tokens(["<pad>", "</s>"])
    before, after = framed
    library.post_processor = processors.TemplateProcessing(
        single=f"{before} $A {after}".strip(),
        special_tokens=[(name, vocab[name]) for name in framed if name],
    )
    (folder / "tokenizer.json").write_text(library.to_str())
    settings = {"eos_token": "</s>", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def quantise(model: Any, folder: Path, *, bits: int, group: int) -> Path:
    """Save `model` with its linear maps rounded to `bits`, in the model and in the folder alike."""
    save(model, folder)
    state = dict(load_file(folder / "model.safetensors"))
    linears = {
        name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)
    }
    packed: dict[str, Int4 | Int8] = {}
    stored: list[tuple[str, Tensor]] = []
    most = 2 ** (bits - 1) - 1
    for name, module in linears.items():
        if f"{name}.weight" not in state or "head" in name or module.in_features % group:
            continue
        weight_ZD = state.pop(f"{name}.weight")
        grouped = weight_ZD.reshape(len(weight_ZD), -1, group)
        scale_ZJ = (np.abs(grouped).max(-1) / most).astype(np.float32)
        code = np.rint(grouped / scale_ZJ[..., None]).reshape(weight_ZD.shape).astype(np.int8)
        record = Int8(code, scale_ZJ) if bits == 8 else Int4(pack_int4(code), scale_ZJ)
        packed[name] = record
        stored += stored_tensors(name, record, half=False)
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(record.dequantise()))
    stored += [(name, Tensor("F32", array)) for name, array in state.items()]
    write_tensors(folder / "model.safetensors", stored)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = describe(packed, linears)
    (folder / "config.json").write_text(json.dumps(config))
    return folder
