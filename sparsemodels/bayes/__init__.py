"""Sparse Bayesian learning: which coefficients are zero, and how sure the others are."""

import importlib
from typing import Any

_WHERE: dict[str, str] = {
    "KroneckerSparseBayes": "kronecker_sparse_bayes",
    "RVMClassifier": "rvm_classifier",
    "RVMRegressor": "rvm_regressor",
    "SparseBayesClassifier": "sparse_bayes_classifier",
    "SparseBayesRegressor": "sparse_bayes_regressor",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
