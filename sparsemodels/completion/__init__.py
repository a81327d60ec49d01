"""Completion of partially observed matrices and recommendation."""

import importlib
from typing import Any

_WHERE: dict[str, str] = {
    "ALSCompletion": "als_completion",
    "EASE": "ease",
    "SoftImpute": "soft_impute",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
