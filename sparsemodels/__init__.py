"""Classical sparse modeling with the scikit-learn interface and a certificate for every answer."""

import importlib
from typing import Any

from . import _checkout  # noqa: F401  (must stand first: it makes `sparsemodels.solvers` importable)
from ._version import __version__

_SUBMODULES = (
    "bayes",
    "completion",
    "cross_decomposition",
    "datasets",
    "decomposition",
    "inspection",
    "linear_model",
    "signal",
    "solvers",
    "structure",
)
_FUNCTIONS = {"show_versions": "_show_versions", "trusted_types": "_persistence", "warmup": "_warmup"}

__all__ = ["__version__", *_SUBMODULES, *_FUNCTIONS]


def __getattr__(name: str) -> Any:
    # Lazy (SPEC 1): `import sparsemodels` loads neither Numba nor scikit-learn.
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(f"{__name__}.{_FUNCTIONS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
