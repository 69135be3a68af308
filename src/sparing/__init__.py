"""Sparing: from raw text to a served model at the least cost per unit of quality.

Every stage is a function in `sparing.api`; importing this package alone loads nothing heavy.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "load": "sparing.api",
    "LLM": "sparing.engine.llm",
    "Sampling": "sparing.engine.request",
    "Index": "sparing.retrieval.index",
}

__all__ = ["LLM", "Index", "Sampling", "__version__", "load"]  # pyrefly: ignore


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'sparing' has no attribute {name!r}")
