"""config.json of image towers and of the text towers beside them."""

from collections.abc import Collection, Mapping
from typing import Any

from sparing.base.errors import ArtefactError
from sparing.models.encoder_config import (
    EncoderConfig,
    Head,
    ImageShape,
    StackConfig,
    TowersConfig,
)
from sparing.models.fields import Fields
from sparing.models.hf_common import activation, pair, refuse_unknown, section

_STACK = {
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "layer_norm_eps",
    "quantization_config",
}
_IMAGE = _STACK | {"image_size", "patch_size", "num_channels"}
_VIT = _IMAGE | {"qkv_bias", "pooler_output_size", "pooler_act"}
_VISION = _IMAGE | {"projection_dim", "vision_use_head"}
_TEXT = _STACK | {"vocab_size", "max_position_embeddings", "projection_dim", "projection_size"}
_BOTH = {"text_config", "vision_config", "text_config_dict", "vision_config_dict",
         "projection_dim", "quantization_config"}  # fmt: skip
_CLIP_END = 2
"""What old CLIP configs give as end token, whatever it is; then the largest id is the end."""


def read_vit(tree: Mapping[str, Any], stored: Collection[str], name: str) -> EncoderConfig:
    """ViT; its pooler is the head where the folder has one."""
    refuse_unknown(tree, _VIT, name)
    field = Fields(tree, name)
    if tree.get("pooler_act", "tanh") != "tanh":
        raise ArtefactError(f"{name}: pooler_act: expected tanh, got {tree['pooler_act']!s:.80}")
    stack = _stack(field, "gelu", 1e-12, qkv_bias=field.boolean("qkv_bias", default=True),
                   final_norm=True)  # fmt: skip
    image = _image(field, 16)
    pooled = "pooler.dense.weight" in stored
    width = field.integer("pooler_output_size", stack.width)
    return EncoderConfig(
        stack=stack,
        image=image,
        context=image.patches + 1,
        first_row=True,
        pooling="first",
        head=Head(width=width, bias=True, tanh=True) if pooled else Head(),
        normalised=False,
    )


def read_siglip_or_clip(
    tree: Mapping[str, Any], stored: Collection[str], name: str
) -> TowersConfig:
    """Both towers, or the one that the folder is."""
    kind: str = tree["model_type"]
    text, image = (_siglip_text, _siglip_image) if "siglip" in kind else (_clip_text, _clip_image)
    if kind.endswith("_vision_model"):
        return TowersConfig(image=image(tree, stored, name))
    if kind.endswith("_text_model"):
        return TowersConfig(text=text(tree, stored, name))
    refuse_unknown(tree, _BOTH, name)
    inner = {key: dict(section(tree, key, name)) for key in ("text_config", "vision_config")}
    if kind == "clip":  # the outer width counts for both
        width = Fields(tree, name).integer("projection_dim", 512)
        inner = {key: part | {"projection_dim": width} for key, part in inner.items()}
    return TowersConfig(
        text=text(inner["text_config"], stored, f"{name}: text_config"),
        image=image(inner["vision_config"], stored, f"{name}: vision_config"),
    )


def _clip_text(tree: Mapping[str, Any], stored: Collection[str], name: str) -> EncoderConfig:
    refuse_unknown(tree, _TEXT, name)
    field = Fields(tree, name)
    end = field.integer("eos_token_id", 49407)
    mapped = "text_projection.weight" in stored
    width = field.integer("projection_dim", 512)
    return EncoderConfig(
        stack=_stack(field, "quick_gelu", 1e-5, default=(512, 12, 8, 2048), causal=True,
                     final_norm=True),
        vocab=field.integer("vocab_size", 49408),
        context=field.integer("max_position_embeddings", 77),
        pooling="end",
        end=None if end == _CLIP_END else end,
        head=Head(width=width) if mapped else Head(),
    )  # fmt: skip


def _clip_image(tree: Mapping[str, Any], stored: Collection[str], name: str) -> EncoderConfig:
    refuse_unknown(tree, _VISION, name)
    field = Fields(tree, name)
    image = _image(field, 32)
    mapped = "visual_projection.weight" in stored
    width = field.integer("projection_dim", 512) if mapped else None
    return EncoderConfig(
        stack=_stack(field, "quick_gelu", 1e-5),
        image=image,
        context=image.patches + 1,
        patch_bias=False,
        first_row=True,
        embed_norm=True,
        pooling="first",
        head=Head(norm=True, width=width),
    )


def _siglip_text(tree: Mapping[str, Any], stored: Collection[str], name: str) -> EncoderConfig:
    refuse_unknown(tree, _TEXT, name)
    field = Fields(tree, name)
    stack = _stack(field, "gelu_pytorch_tanh", 1e-6, final_norm=True)
    return EncoderConfig(
        stack=stack,
        vocab=field.integer("vocab_size", 32000),
        context=field.integer("max_position_embeddings", 64),
        pooling="last",
        pad=field.integer("pad_token_id", 1),
        head=Head(width=field.integer("projection_size", stack.width), bias=True),
    )


def _siglip_image(tree: Mapping[str, Any], stored: Collection[str], name: str) -> EncoderConfig:
    refuse_unknown(tree, _VISION, name)
    field = Fields(tree, name)
    image = _image(field, 16)
    return EncoderConfig(
        stack=_stack(field, "gelu_pytorch_tanh", 1e-6, final_norm=True),
        image=image,
        context=image.patches,
        pooling="probe" if field.boolean("vision_use_head", default=True) else "mean",
    )


def _stack(
    field: Fields,
    word: str,
    eps: float,
    *,
    default: tuple[int, int, int, int] = (768, 12, 12, 3072),
    qkv_bias: bool = True,
    causal: bool = False,
    final_norm: bool = False,
) -> StackConfig:
    """The blocks; writers leave out what is `default` (width, layers, heads, hidden)."""
    width, heads = field.integer("hidden_size", default[0]), field.integer(
        "num_attention_heads", default[2])  # fmt: skip
    if heads < 1 or width % heads:
        raise ArtefactError(f"{field.name}: hidden_size: expected a multiple of {heads} heads")
    return StackConfig(
        width=width,
        layers=field.integer("num_hidden_layers", default[1]),
        heads=heads,
        head_width=width // heads,
        hidden=field.integer("intermediate_size", default[3]),
        norm_eps=field.number("layer_norm_eps", eps),
        activation=activation(field.tree.get("hidden_act", word), f"{field.name}: hidden_act"),
        qkv_bias=qkv_bias,
        causal=causal,
        final_norm=final_norm,
    )


def _image(field: Fields, patch: int) -> ImageShape:
    height, width = pair(field, "image_size", 224)
    patch_height, patch_width = pair(field, "patch_size", patch)
    return ImageShape(
        height=height,
        width=width,
        patch_height=patch_height,
        patch_width=patch_width,
        channels=field.integer("num_channels", 3),
    )
