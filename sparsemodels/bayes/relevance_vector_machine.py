"""What relevance vector machines share: kernels between samples, of which only the relevant ones are kept."""

from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.utils.validation import validate_data

from sparsemodels._base import BaseEstimator, CallbackSupportMixin, Interval, StrOptions, require_numpy

from .kernel_design import KERNELS, kernel_matrix, kernel_width


class RelevanceVectorMachine(CallbackSupportMixin, BaseEstimator):
    """Base of the machines: a sparse Bayesian model with one column for every training sample."""

    _parameter_constraints: dict = {
        "kernel": [StrOptions(set(KERNELS)), callable],
        "gamma": [StrOptions({"scale", "auto"}), Interval(Real, 0, None, closed="neither")],
        "degree": [Interval(Integral, 1, None, closed="left")],
        "coef0": [Interval(Real, None, None, closed="neither")],
        "kernel_params": [dict, None],
        "bias": ["boolean"],
        "threshold": [StrOptions({"auto"}), Interval(Real, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
    }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        is_precomputed = isinstance(self.kernel, str) and self.kernel == "precomputed"
        tags.input_tags.pairwise = is_precomputed
        tags.input_tags.sparse = not is_precomputed
        return tags

    @property
    def _is_precomputed(self) -> bool:
        return isinstance(self.kernel, str) and self.kernel == "precomputed"

    def _accepted(self) -> dict[str, Any]:
        return {"accept_sparse": False if self._is_precomputed else "csr", "dtype": (np.float64, np.float32)}

    def _training_data(self, X: Any, y: Any, **options: Any) -> tuple[Any, np.ndarray]:
        """Validated samples, or the kernel between them, and targets."""
        require_numpy(X, "relevance vector machine")
        if self.kernel_params is not None and not callable(self.kernel):
            raise ValueError(f"kernel_params must be None unless the kernel is a callable, got kernel={self.kernel!r}.")
        X, y = validate_data(self, X, y, **self._accepted(), **options)
        if self._is_precomputed and X.shape[0] != X.shape[1]:
            raise ValueError(
                "X must be the square kernel matrix of the training samples with kernel='precomputed', got an array "
                f"of shape {X.shape}."
            )
        return X, y

    def _rows_of(self, X: Any, rows: np.ndarray) -> Any:
        """The samples of positive weight: only these have a kernel."""
        if len(rows) == X.shape[0]:
            return X
        return X[np.ix_(rows, rows)] if self._is_precomputed else X[rows]

    def _set_kernel(self, X: Any, weights: np.ndarray | None) -> None:
        """Fix the width of the kernel."""
        if self._is_precomputed:
            self.__dict__.pop("gamma_", None)
        else:
            self.gamma_ = kernel_width(self.gamma, X, weights)

    def _kernel(self, X: Any, Y: Any = None) -> np.ndarray:
        return kernel_matrix(
            X,
            Y,
            kernel=self.kernel,
            gamma=self.gamma_,
            degree=self.degree,
            coef0=self.coef0,
            kernel_params=self.kernel_params,
        )

    def _training_kernel(self, X: Any) -> np.ndarray:
        """The kernel of the training samples, in column order where that is free: the named kernels are symmetric."""
        if self._is_precomputed:
            return X
        kernel = self._kernel(X)
        return kernel if callable(self.kernel) else kernel.T

    def _set_relevant(self, X: Any, active: np.ndarray, rows: np.ndarray) -> None:
        """Keep a copy of the relevant samples, so that the training data can go."""
        self.relevance_ = rows[active]
        if self._is_precomputed:
            self.relevance_vectors_ = np.empty((0, 0), dtype=X.dtype)
        else:
            vectors = X[active]
            self.relevance_vectors_ = vectors.toarray() if scipy.sparse.issparse(vectors) else vectors

    def _validate_new(self, X: Any) -> Any:
        """Samples to predict, checked against those of `fit`."""
        require_numpy(X, "relevance vector machine")
        return validate_data(self, X, reset=False, **self._accepted())

    def _relevant_kernel(self, X: Any) -> np.ndarray:
        """The kernel between samples and the relevance vectors, in float64."""
        if self._is_precomputed:
            return X[:, self.relevance_].astype(np.float64, copy=False)
        if not len(self.relevance_):
            return np.empty((X.shape[0], 0))
        sparse = scipy.sparse.issparse(X)
        vectors = scipy.sparse.csr_array(self.relevance_vectors_) if sparse else self.relevance_vectors_
        return self._kernel(X, vectors).astype(np.float64, copy=False)
