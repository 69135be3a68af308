"""Rotary positions in a config.json: the older and the newer way to write them, both ways."""

from collections.abc import Iterable, Mapping
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
    "partial_rotary_factor",  # read, or refused, by the family
}
_LONGROPE = ("longrope", "su")
_LONGROPE_KEYS = {"short_factor", "long_factor"}


def read_rope(
    field: Fields, context: int, *, theta: float = 10000.0, theta_key: str = "rope_theta"
) -> tuple[float, RopeScaling | None]:
    """Base and stretching, from `rope_parameters` (new) or a base and rope_scaling (old).

    `theta` is the family's base where the folder names none, `theta_key` its old name.
    A folder may hold both ways; what both state must then be the same.
    """
    plain = field.number(theta_key, theta)
    trees = [(key, _object(field, key)) for key in ("rope_parameters", "rope_scaling")]
    original = field.get("original_max_position_embeddings")
    said = [
        _rope_of(Fields(_with_original(tree, original), f"{field.name}: {key}"), plain, context)
        for key, tree in trees
        if tree
    ]
    if not said:
        return plain, None
    if len(said) == 2 and said[0] != said[1]:
        raise ArtefactError(f"{field.name}: rope_parameters and rope_scaling contradict each other")
    if field.get(theta_key) is not None and said[0][0] != plain:
        raise ArtefactError(f"{field.name}: {theta_key} and rope_parameters contradict each other")
    return said[0]


def read_two_ropes(
    field: Fields, context: int, *, theta: float, window_theta: float
) -> tuple[float, RopeScaling | None, float]:
    """Base and stretching of the layers that see everything, and the base of the others.

    New folders hold both in `rope_parameters`, under the names of `layer_types`.
    """
    both = _object(field, "rope_parameters")
    if "full_attention" not in both and "sliding_attention" not in both:
        if both:
            raise ArtefactError(
                f"{field.name}: rope_parameters: expected full_attention and sliding_attention, "
                f"got {sorted(both)!s:.80}"
            )
        stated = field.number("rope_local_base_freq", window_theta)
        return *read_rope(field, context, theta=theta), stated
    _refuse_unknown(both, {"full_attention", "sliding_attention"}, f"{field.name}: rope_parameters")
    said = []
    for key, plain in (("full_attention", theta), ("sliding_attention", window_theta)):
        tree = _object(Fields(both, f"{field.name}: rope_parameters"), key)
        said.append(_rope_of(Fields(tree, f"{field.name}: {key}"), plain, context))
    if said[1][1] is not None:
        raise ArtefactError(
            f"{field.name}: rope_parameters.sliding_attention: expected rope_type default"
        )
    for key in ("rope_theta", "rope_scaling", "rope_local_base_freq"):
        if field.get(key) is not None:
            raise ArtefactError(f"{field.name}: {key}: also in rope_parameters; remove one")
    return *said[0], said[1][0]


def read_rotary_share(field: Fields, key: str, default: float) -> float:
    """Which part of a head's features turns, from `key` or from rope_parameters."""
    said = [
        Fields(tree, f"{field.name}: {name}").number("partial_rotary_factor")
        for name in ("rope_parameters", "rope_scaling")
        if (tree := _object(field, name)) and tree.get("partial_rotary_factor") is not None
    ]
    if field.get(key) is not None:
        said.append(field.number(key))
    if len(set(said)) > 1:
        raise ArtefactError(f"{field.name}: {key} and rope_parameters contradict each other")
    share = said[0] if said else default
    if not 0.0 < share <= 1.0:
        raise ArtefactError(f"{field.name}: {key}: expected above 0 and at most 1, got {share}")
    return share


def _object(field: Fields, key: str) -> Mapping[str, Any]:
    tree = field.get(key)
    if tree is not None and not isinstance(tree, dict):
        raise ArtefactError(f"{field.name}: {key}: expected an object, got {tree!s:.80}")
    return tree or {}


def _with_original(tree: Mapping[str, Any], original: Any) -> Mapping[str, Any]:
    """LongRoPE folders say beside rope_scaling how long the original context was."""
    key = "original_max_position_embeddings"
    longrope = tree.get("rope_type", tree.get("type")) in _LONGROPE
    return {key: original, **tree} if longrope and original is not None else tree


def _refuse_unknown(tree: Mapping[str, Any], known: Iterable[str], name: str) -> None:
    for key, value in tree.items():
        if key not in known:
            raise ArtefactError(f"{name}: {key[:80]}: not supported, got {value!s:.80}")


def _rope_of(field: Fields, theta: float, context: int) -> tuple[float, RopeScaling | None]:
    kind = field.tree.get("rope_type", field.tree.get("type", "default"))
    longrope = kind in _LONGROPE
    _refuse_unknown(field.tree, _ROPE_KEYS | (_LONGROPE_KEYS if longrope else set()), field.name)
    theta = field.number("rope_theta", theta)
    if kind == "default":
        return theta, None
    if kind not in ("linear", "dynamic", "yarn", "llama3", *_LONGROPE):
        raise ArtefactError(
            f"{field.name}: rope_type: expected default, linear, dynamic, yarn, llama3 or "
            f"longrope, got {str(kind)[:80]!r}"
        )
    stretched = kind in ("yarn", "llama3") or longrope
    original = field.integer("original_max_position_embeddings", context) if stretched else None
    return theta, RopeScaling(
        kind="longrope" if longrope else kind,
        factor=field.number("factor", context / max(original or 1, 1) if longrope else None),
        original_context=original,
        low_freq_factor=field.maybe("low_freq_factor") if kind == "llama3" else None,
        high_freq_factor=field.maybe("high_freq_factor") if kind == "llama3" else None,
        **(_yarn_fields(field) if kind == "yarn" else {}),
        **(_longrope_fields(field) if longrope else {}),
    )


def _longrope_fields(field: Fields) -> dict[str, Any]:
    return {
        "attention_factor": field.maybe("attention_factor"),
        "short_factors": field.numbers("short_factor", 1 << 15),
        "long_factors": field.numbers("long_factor", 1 << 15),
    }


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
