"""Sparse Bayesian learning: which coefficients are zero, and how sure the others are."""

import importlib
from typing import Any

_WHERE: dict[str, str] = {
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
