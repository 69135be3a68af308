"""Rotary positions in a config.json: the older and the newer way to write them, both ways."""

from typing import Any

from sparing.base.errors import ArtefactError
from sparing.models.config import DecoderConfig, RopeScaling
from sparing.models.fields import Fields

_ROPE_KEYS = {
    "rope_type",
    "type",
    "rope_theta",
    "factor",
    "original_max_position_embeddings",
    "low_freq_factor",
    "high_freq_factor",
    "beta_fast",
    "beta_slow",
    "attention_factor",
    "mscale",
    "mscale_all_dim",
    "truncate",
}


def read_rope(field: Fields, context: int) -> tuple[float, RopeScaling | None]:
    """Base and stretching, from `rope_parameters` (new) or rope_theta and rope_scaling (old).

    A folder may hold both; what both state must then be the same.
    """
    new, old = field.tree.get("rope_parameters"), field.tree.get("rope_scaling")
    for key, tree in (("rope_parameters", new), ("rope_scaling", old)):
        if tree is not None and not isinstance(tree, dict):
            raise ArtefactError(f"{field.name}: {key}: expected an object, got {tree!s:.80}")
    plain = field.number("rope_theta", 10000.0)
    said = [
        _rope_of(Fields(tree, f"{field.name}: {key}"), plain, context)
        for key, tree in (("rope_parameters", new), ("rope_scaling", old))
        if tree
    ]
    if not said:
        return plain, None
    if len(said) == 2 and said[0] != said[1]:
        raise ArtefactError(f"{field.name}: rope_parameters and rope_scaling contradict each other")
    if field.tree.get("rope_theta") is not None and said[0][0] != plain:
        raise ArtefactError(f"{field.name}: rope_theta and rope_parameters contradict each other")
    return said[0]


def _rope_of(field: Fields, theta: float, context: int) -> tuple[float, RopeScaling | None]:
    for key, value in field.tree.items():
        if key == "partial_rotary_factor" and value in (None, 1, 1.0):
            continue
        if key not in _ROPE_KEYS:
            raise ArtefactError(f"{field.name}: {key[:80]}: not supported, got {value!s:.80}")
    kind = field.tree.get("rope_type", field.tree.get("type", "default"))
    theta = field.number("rope_theta", theta)
    if kind == "default":
        return theta, None
    if kind not in ("linear", "dynamic", "yarn", "llama3"):
        raise ArtefactError(
            f"{field.name}: rope_type: expected default, linear, dynamic, yarn or llama3, "
            f"got {str(kind)[:80]!r}"
        )
    stretched = kind in ("yarn", "llama3")
    original = field.integer("original_max_position_embeddings", context) if stretched else None
    return theta, RopeScaling(
        kind=kind,
        factor=field.number("factor"),
        original_context=original,
        low_freq_factor=field.maybe("low_freq_factor") if kind == "llama3" else None,
        high_freq_factor=field.maybe("high_freq_factor") if kind == "llama3" else None,
        **(_yarn_fields(field) if kind == "yarn" else {}),
    )


def _yarn_fields(field: Fields) -> dict[str, Any]:
    return {
        "beta_fast": field.number("beta_fast", 32.0) or 32.0,
        "beta_slow": field.number("beta_slow", 1.0) or 1.0,
        "attention_factor": field.maybe("attention_factor"),
        "mscale": field.maybe("mscale"),
        "mscale_all_dim": field.maybe("mscale_all_dim"),
        "truncate": field.boolean("truncate", default=True),
    }


def rope_tree(config: DecoderConfig) -> dict[str, Any]:
    scaling = config.rope_scaling
    if scaling is None:
        plain = {"rope_type": "default", "rope_theta": config.rope_theta}
        return {"rope_theta": config.rope_theta, "rope_scaling": None, "rope_parameters": plain}
    fields: dict[str, Any] = {"rope_type": scaling.kind, "factor": scaling.factor}
    if scaling.kind in ("yarn", "llama3"):
        fields["original_max_position_embeddings"] = scaling.original_context
    if scaling.kind == "llama3":
        fields |= {
            "low_freq_factor": scaling.low_freq_factor,
            "high_freq_factor": scaling.high_freq_factor,
        }
    if scaling.kind == "yarn":
        names = ("beta_fast", "beta_slow", "attention_factor", "mscale", "mscale_all_dim")
        values = {name: getattr(scaling, name) for name in names}
        fields |= {name: value for name, value in values.items() if value is not None}
        fields["truncate"] = scaling.truncate
    return {
        "rope_theta": config.rope_theta,
        "rope_scaling": fields,
        "rope_parameters": fields | {"rope_theta": config.rope_theta},
    }
