"""Published weight names and ours, and the shape that each weight must have.

The one place that knows families by name, beside `hf_families`, which reads their configs.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from sparing.models.config import DecoderConfig

Family = Literal[
    "llama", "qwen2", "qwen3", "mistral", "gemma", "gemma2", "gemma3_text", "phi3", "gpt2",
    "gpt_neox", "starcoder2", "olmo2", "mixtral", "qwen2_moe", "qwen3_moe", "smollm3", "granite",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows r of a matrix (or vector) with begin <= r modulo period < end."""

    begin: int
    end: int
    period: int


@dataclass(frozen=True, slots=True)
class Part:
    """Where one of our tensors lies among the published ones, and what makes it ours."""

    published: str
    shape: tuple[int, ...]
    """Shape of the published tensor."""
    rows: Rows | None = None
    """Rows of the published tensor (after transposing) that are ours; None for all."""
    transposed: bool = False
    """Whether the published tensor is [inputs, outputs]."""
    plus_one: bool = False
    """Whether 1 is added: a norm that multiplies by 1 + weight."""


Joint = Callable[[DecoderConfig], Mapping[str, Rows]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How a family publishes its tensors."""

    architecture: str
    """Class that config.json names."""
    outer: Mapping[str, str]
    inner: Mapping[str, str]
    """Our module of a layer to theirs; {} stands for an expert's number."""
    layer: str = "model.layers."
    joint: Joint | None = None
    """Which rows of a tensor that several of our modules share are whose."""
    transposed: bool = False
    plus_one: bool = False


def _joint(config: DecoderConfig) -> Mapping[str, Rows]:
    """Queries, keys and values one after another; gate, then up."""
    Q, G, M = config.query_width, config.kv_width, config.hidden
    return {
        "attention.query": Rows(0, Q, Q + 2 * G),
        "attention.key": Rows(Q, Q + G, Q + 2 * G),
        "attention.value": Rows(Q + G, Q + 2 * G, Q + 2 * G),
        "mlp.gate": Rows(0, M, 2 * M),
        "mlp.up": Rows(M, 2 * M, 2 * M),
    }


def _attention_joint(config: DecoderConfig) -> Mapping[str, Rows]:
    return {name: rows for name, rows in _joint(config).items() if name.startswith("attention")}


def _by_head(config: DecoderConfig) -> Mapping[str, Rows]:
    """Query, key and value of one head, then of the next."""
    K = config.head_width
    parts = ("attention.query", "attention.key", "attention.value")
    return {name: Rows(i * K, (i + 1) * K, 3 * K) for i, name in enumerate(parts)}


_OUTER = {"embed": "model.embed_tokens", "final_norm": "model.norm", "head": "lm_head"}
_ATTENTION = {
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj",
    "attention.q_norm": "self_attn.q_norm",
    "attention.k_norm": "self_attn.k_norm",
}
_GATED = {"mlp.gate": "mlp.gate_proj", "mlp.up": "mlp.up_proj", "mlp.down": "mlp.down_proj"}
_PRE_NORM = {"attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm"}
_POST_NORM = {
    "attention_post_norm": "post_attention_layernorm",
    "mlp_post_norm": "post_feedforward_layernorm",
}
_BOTH_NORMS = _POST_NORM | {
    "attention_norm": "input_layernorm",
    "mlp_norm": "pre_feedforward_layernorm",
}
_LLAMA = _ATTENTION | _GATED | _PRE_NORM
_QWEN_EXPERTS = {
    "mlp.router": "mlp.gate",
    "mlp.experts.gate": "mlp.experts.{}.gate_proj",
    "mlp.experts.up": "mlp.experts.{}.up_proj",
    "mlp.experts.down": "mlp.experts.{}.down_proj",
    "mlp.shared_router": "mlp.shared_expert_gate",
    "mlp.shared.gate": "mlp.shared_expert.gate_proj",
    "mlp.shared.up": "mlp.shared_expert.up_proj",
    "mlp.shared.down": "mlp.shared_expert.down_proj",
}
_MIXTRAL_EXPERTS = {
    "mlp.router": "block_sparse_moe.gate",
    "mlp.experts.gate": "block_sparse_moe.experts.{}.w1",
    "mlp.experts.up": "block_sparse_moe.experts.{}.w3",
    "mlp.experts.down": "block_sparse_moe.experts.{}.w2",
}
_JOINED = {
    "attention.query": "self_attn.qkv_proj",
    "attention.key": "self_attn.qkv_proj",
    "attention.value": "self_attn.qkv_proj",
    "mlp.gate": "mlp.gate_up_proj",
    "mlp.up": "mlp.gate_up_proj",
}
_GPT2 = {
    "attention_norm": "ln_1",
    "mlp_norm": "ln_2",
    "attention.query": "attn.c_attn",
    "attention.key": "attn.c_attn",
    "attention.value": "attn.c_attn",
    "attention.output": "attn.c_proj",
    "mlp.up": "mlp.c_fc",
    "mlp.down": "mlp.c_proj",
}
_NEOX = _PRE_NORM | {
    "attention.query": "attention.query_key_value",
    "attention.key": "attention.query_key_value",
    "attention.value": "attention.query_key_value",
    "attention.output": "attention.dense",
    "mlp.up": "mlp.dense_h_to_4h",
    "mlp.down": "mlp.dense_4h_to_h",
}


def _as_llama(name: str, inner: Mapping[str, str] = _LLAMA, *, plus_one: bool = False) -> Naming:
    architecture = f"{name}ForCausalLM"
    return Naming(architecture=architecture, outer=_OUTER, inner=inner, plus_one=plus_one)


NAMES: Mapping[Family, Naming] = {
    "llama": _as_llama("Llama"),
    "qwen2": _as_llama("Qwen2"),
    "qwen3": _as_llama("Qwen3"),
    "mistral": _as_llama("Mistral"),
    "smollm3": _as_llama("SmolLM3"),
    "granite": _as_llama("Granite"),
    "gemma": _as_llama("Gemma", plus_one=True),
    "gemma2": _as_llama("Gemma2", _LLAMA | _BOTH_NORMS, plus_one=True),
    "gemma3_text": _as_llama("Gemma3", _LLAMA | _BOTH_NORMS, plus_one=True),
    "olmo2": _as_llama("Olmo2", _ATTENTION | _GATED | _POST_NORM),
    "mixtral": _as_llama("Mixtral", _LLAMA | _MIXTRAL_EXPERTS),
    "qwen2_moe": _as_llama("Qwen2Moe", _LLAMA | _QWEN_EXPERTS),
    "qwen3_moe": _as_llama("Qwen3Moe", _LLAMA | _QWEN_EXPERTS),
    "starcoder2": _as_llama(
        "Starcoder2", _LLAMA | {"mlp.up": "mlp.c_fc", "mlp.down": "mlp.c_proj"}
    ),
    "phi3": Naming(
        architecture="Phi3ForCausalLM", outer=_OUTER, inner=_LLAMA | _JOINED, joint=_joint
    ),
    "gpt2": Naming(
        architecture="GPT2LMHeadModel",
        outer={
            "embed": "transformer.wte",
            "positions": "transformer.wpe",
            "final_norm": "transformer.ln_f",
            "head": "lm_head",
        },
        inner=_GPT2,
        layer="transformer.h.",
        joint=_attention_joint,
        transposed=True,
    ),
    "gpt_neox": Naming(
        architecture="GPTNeoXForCausalLM",
        outer={
            "embed": "gpt_neox.embed_in",
            "final_norm": "gpt_neox.final_layer_norm",
            "head": "embed_out",
        },
        inner=_NEOX,
        layer="gpt_neox.layers.",
        joint=_by_head,
    ),
}
FAMILIES: tuple[Family, ...] = tuple(NAMES)

_OURS = re.compile(r"layers\.([0-9]{1,4})\.([a-z_.]+)(?:\.([0-9]{1,4})\.([a-z]+))?\.(weight|bias)")
# Causal masks and rotary frequencies that old folders hold beside the weights.
_IGNORED = re.compile(
    r"(model\.layers|gpt_neox\.layers|transformer\.h|h)\.[0-9]{1,4}\."
    r"(self_attn\.rotary_emb\.inv_freq|attention\.rotary_emb\.inv_freq"
    r"|attn\.(bias|masked_bias)|attention\.(bias|masked_bias))"
)


def published(name: str, family: Family) -> str:
    """The name under which `family` publishes our tensor `name` (which must be one of ours)."""
    naming = NAMES[family]
    matched = _OURS.fullmatch(name)
    if matched:
        layer, part, expert, leaf, kind = matched.groups()
        module = naming.inner[part if expert is None else f"{part}.{leaf}"].format(expert)
        return f"{naming.layer}{layer}.{module}.{kind}"
    part, _, leaf = name.rpartition(".")
    return f"{naming.outer[part]}.{leaf}"


def is_harmless(published_name: str) -> bool:
    """Whether old folders hold this tensor although it follows from the config."""
    return _IGNORED.fullmatch(published_name) is not None


def parts(config: DecoderConfig, family: Family) -> dict[str, Part]:
    """Where `family` publishes each tensor of the model, our name to its place."""
    naming = NAMES[family]
    joint = naming.joint(config) if naming.joint else {}
    found: dict[str, Part] = {}
    for name, shape in shapes(config).items():
        matched = _OURS.fullmatch(name)
        module = matched[2] if matched else ""
        rows = joint.get(module)
        turned = naming.transposed and matched is not None and len(shape) == 2
        whole = shape if rows is None else (_all_rows(shape[0], rows), *shape[1:])
        found[name] = Part(
            published(name, family),
            whole[::-1] if turned else whole,
            rows,
            turned,
            naming.plus_one and name.endswith("norm.weight"),
        )
    return found


def as_stored(found: Mapping[str, Part], names: Collection[str]) -> dict[str, Part]:
    """The places in a folder that holds `names`: some leave out the first word of all of theirs.

    GPT-2's own folders say h.0.ln_1.weight for transformer.h.0.ln_1.weight.
    """
    roots = {part.published.partition(".")[0] for part in found.values()} - {"lm_head", "embed_out"}
    prefix = f"{roots.pop()}." if len(roots) == 1 else ""
    if not prefix or any(name.startswith(prefix) for name in names):
        return dict(found)
    return {
        name: replace(part, published=part.published.removeprefix(prefix))
        for name, part in found.items()
    }


def _all_rows(ours: int, rows: Rows) -> int:
    return ours // (rows.end - rows.begin) * rows.period


def shapes(config: DecoderConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of the model in the order of the forward pass, our name to shape."""
    D, V = config.width, config.vocab
    found = _Shapes(config)
    found["embed.weight"] = (V, D)
    if config.positions == "learned":
        found["positions.weight"] = (config.context, D)
    for layer in range(config.layers):
        found.prefix = f"layers.{layer}."
        _attention_shapes(config, found)
        _mlp_shapes(config, layer, found)
    found.prefix = ""
    found.norm("final_norm")
    if not config.tied:
        found["head.weight"] = (V, D)
    return found.shapes


@dataclass(slots=True)
class _Shapes:
    """Shapes under a prefix, in order."""

    config: DecoderConfig
    prefix: str = ""
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def __setitem__(self, name: str, shape: tuple[int, ...]) -> None:
        self.shapes[self.prefix + name] = shape

    def linear(self, name: str, rows: int, columns: int, *, bias: bool = False) -> None:
        self[f"{name}.weight"] = (rows, columns)
        if bias:
            self[f"{name}.bias"] = (rows,)

    def norm(self, name: str) -> None:
        for leaf in ("weight", "bias") if self.config.norm == "layer" else ("weight",):
            self[f"{name}.{leaf}"] = (self.config.width,)

    def feed_forward(self, name: str, hidden: int, *, bias: bool = False) -> None:
        D = self.config.width
        if self.config.gated:
            self.linear(f"{name}.gate", hidden, D, bias=bias)
        self.linear(f"{name}.up", hidden, D, bias=bias)
        self.linear(f"{name}.down", D, hidden, bias=bias)


def _attention_shapes(config: DecoderConfig, found: _Shapes) -> None:
    D, Q, G = config.width, config.query_width, config.kv_width
    if config.norm_place != "post":
        found.norm("attention_norm")
    found.linear("attention.query", Q, D, bias=config.qkv_bias)
    found.linear("attention.key", G, D, bias=config.qkv_bias)
    found.linear("attention.value", G, D, bias=config.qkv_bias)
    if config.qk_norm:
        K, full = config.head_width, config.qk_norm == "full"
        found["attention.q_norm.weight"] = (Q if full else K,)
        found["attention.k_norm.weight"] = (G if full else K,)
    found.linear("attention.output", D, Q, bias=config.output_bias)
    if config.norm_place != "pre":
        found.norm("attention_post_norm")


def _mlp_shapes(config: DecoderConfig, layer: int, found: _Shapes) -> None:
    D, experts = config.width, config.experts
    if config.norm_place != "post":
        found.norm("mlp_norm")
    if experts is None or layer in config.dense_layers:
        found.feed_forward("mlp", config.hidden, bias=config.mlp_bias)
    else:
        found.linear("mlp.router", experts.count, D)
        for expert in range(experts.count):
            found.feed_forward(f"mlp.experts.{expert}", experts.hidden)
        if experts.shared_hidden:
            found.linear("mlp.shared_router", 1, D)
            found.feed_forward("mlp.shared", experts.shared_hidden)
    if config.norm_place != "pre":
        found.norm("mlp_post_norm")
