"""Sparse linear models and greedy recovery."""

import importlib
from typing import Any

_WHERE = {
    "AdaptiveLasso": "adaptive_lasso",
    "AdaptiveLassoCV": "adaptive_lasso",
    "ElasticNet": "elastic_net",
    "ElasticNetCV": "elastic_net",
    "Lasso": "lasso",
    "LassoCV": "lasso",
    "OrthogonalMatchingPursuit": "orthogonal_matching_pursuit",
    "OrthogonalMatchingPursuitCV": "orthogonal_matching_pursuit_cv",
    "adaptive_lasso_path": "adaptive_lasso",
    "elastic_net_path": "elastic_net",
    "lasso_path": "lasso",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
