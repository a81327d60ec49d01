"""The one module that touches private or version-dependent scikit-learn names."""

from typing import Any

import array_api_compat
import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator as _SklearnEstimator
from sklearn.base import _fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import _check_sample_weight

from ._version import __version__

try:  # scikit-learn >= 1.9, experimental there
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class _NoContext:
        """Stands in for a callback context on older scikit-learn: every call does nothing."""

        def call_on_fit_task_begin(self, **_):
            return None

        def call_on_fit_task_end(self, **_):
            return False

        def subcontext(self, **_):
            return self

        def propagate_callback_context(self, *_):
            return self

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in for scikit-learn's mixin where there is none."""

        def _init_callback_context(self, **_):
            return _NoContext()

    def with_callbacks(function):  # type: ignore[no-redef]
        """Return the function as it is: no callbacks on this scikit-learn."""
        return function


__all__ = [
    "BaseEstimator",
    "CallbackSupportMixin",
    "HasMethods",
    "Interval",
    "StrOptions",
    "_fit_context",
    "check_weights",
    "require_numpy",
    "returns_frames",
    "with_callbacks",
]


class BaseEstimator(_SklearnEstimator):
    """The base of scikit-learn with the version stamp of this package in every pickle."""

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_sparsemodels_version": __version__}


def check_weights(sample_weight: Any, X: Any) -> np.ndarray:
    """Sample weights as float64, non-negative and not all zero, on every supported scikit-learn."""
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not np.any(weights):
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights


def require_numpy(X: Any, solver: str) -> None:
    """First line of a fit whose solver is compiled for NumPy."""
    foreign = array_api_compat.is_array_api_obj(X) and not array_api_compat.is_numpy_array(X)
    if foreign and (get_config()["array_api_dispatch"] or array_api_compat.is_cupy_array(X)):
        raise TypeError(
            f"solver={solver!r} runs on NumPy arrays only, got {type(X).__module__}.{type(X).__name__}; "
            "move X to NumPy first."
        )


def returns_frames(transformer: Any) -> bool:
    """Whether ``set_output`` asks that the output of `transform` becomes a data frame, which holds no sparse array."""
    return _get_output_config("transform", transformer)["dense"] != "default"
