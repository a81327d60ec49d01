"""From X, a mask and weights to the record of what is known of a matrix: one validation for every factorization."""

import warnings
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.utils.validation import check_array, validate_data

from sparsemodels.solvers.observed_matrix import ObservedMatrix, SomeEntries, observe, values


def known_entries(
    estimator: Any,
    X: Any,
    mask: Any = None,
    weights: Any = None,
    *,
    missing: str = "auto",
    reset: bool = True,
    nonnegative: bool = True,
    min_samples: int = 1,
) -> tuple[Any, ObservedMatrix]:
    """Validate a matrix of which a part may be unknown.

    Parameters
    ----------
    estimator : estimator
        On whose behalf: its name stands in messages, its number of features is set or checked.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The matrix; NaN in a dense one marks unknown entries.
    mask : array-like of bool of shape (n_samples, n_features), optional
        True where an entry is known.
    weights : array-like or sparse matrix of shape (n_samples, n_features), optional
        Weights >= 0 of the entries; zero means unknown.
    missing : {"auto", "implicit"}, default="auto"
        With ``"implicit"``, the entries that a sparse `X` does not store are unknown instead of zero.
    reset : bool, default=True
        Whether to set the number of features, as in `fit`, or to check it.
    nonnegative : bool, default=True
        Whether known entries must be >= 0.
    min_samples : int, default=1
        The fewest rows.

    Returns
    -------
    X : ndarray or sparse array of shape (n_samples, n_features)
        The validated matrix.
    record : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        What is known of it.

    Raises
    ------
    ValueError
        If a known entry is negative or infinite, nothing is known in `fit`, or a shape is wrong.
    """
    name = type(estimator).__name__
    finite: bool | str = "allow-nan" if mask is None and weights is None else False
    X = validate_data(
        estimator,
        X,
        accept_sparse="csr",
        dtype=(np.float64, np.float32),
        ensure_all_finite=finite,
        ensure_min_samples=min_samples,
        reset=reset,
    )
    sparse = scipy.sparse.issparse(X)
    if sparse and mask is not None:
        raise ValueError("mask must be None for a sparse X: leave unknown entries out and set missing='implicit'.")
    if sparse and weights is not None and missing != "implicit":
        raise ValueError("weights of a sparse X belong to its stored entries: set missing='implicit' with them.")
    if mask is not None:
        mask = _of_shape("mask", check_array(mask, dtype=None, ensure_min_samples=0), X.shape)
        if mask.dtype != bool:
            if not np.isin(mask, (0, 1)).all():
                raise ValueError("mask must hold booleans: True where an entry is known.")
            mask = mask.astype(bool)
    if weights is not None:
        weights = _weights(weights, X)
    record = observe(X, mask=mask, weights=weights, implicit=sparse and missing == "implicit")
    known = values(record)
    if not np.isfinite(known.sum(dtype=np.float64)) and not np.isfinite(known).all():
        # NaN that a sparse matrix stores, or an infinite value at a known position.
        raise ValueError(f"Input X contains infinity or NaN at a known position, which {name} does not take.")
    if nonnegative and known.size and known.min() < 0.0:
        raise ValueError(f"Negative values in data passed to {name} (input X); known entries must be >= 0.")
    if reset and isinstance(record, SomeEntries) and known.size == 0:
        raise ValueError(f"X has no known entry: {name} needs at least one.")
    return X, record


def _of_shape(name: str, array: Any, shape: tuple[int, int]) -> Any:
    if array.shape != shape:
        raise ValueError(f"{name} must have the shape of X, {shape}, got {array.shape}.")
    return array


def _weights(weights: Any, X: Any) -> np.ndarray:
    """Weights of all entries of a dense matrix, or of the stored ones of a sparse matrix."""
    if scipy.sparse.issparse(X):
        if not scipy.sparse.issparse(weights):
            raise ValueError("weights must be a sparse matrix that stores the same entries as X.")
        weights = _of_shape("weights", scipy.sparse.csr_array(weights, dtype=np.float64, copy=True), X.shape)
        weights.sum_duplicates()
        if not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
        if not (np.array_equal(weights.indptr, X.indptr) and np.array_equal(weights.indices, X.indices)):
            raise ValueError("weights must be a sparse matrix that stores the same entries as X.")
        weights = weights.data
    else:
        weights = _of_shape("weights", check_array(weights, dtype=np.float64, ensure_min_samples=0), X.shape)
    if (weights < 0.0).any():
        raise ValueError(f"weights must be >= 0, got {weights.min()}.")
    return weights


def warn_of_empty(estimator: Any, record: ObservedMatrix) -> None:
    """Say once how many rows and columns have no known entry: nothing can be learned about them."""
    if not isinstance(record, SomeEntries):
        return
    rows = int(np.count_nonzero(np.diff(record.rows.indptr) == 0))
    columns = int(np.count_nonzero(np.diff(record.columns.indptr) == 0))
    if rows or columns:
        warnings.warn(
            f"{rows} rows and {columns} columns of X have no known entry; {type(estimator).__name__} gives them zeros.",
            UserWarning,
            stacklevel=4,
        )
