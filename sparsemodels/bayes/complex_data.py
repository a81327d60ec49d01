"""Samples and targets that may be real or complex, dense, sparse or a linear operator: one validation for them."""

from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import LinearOperator
from sklearn.utils.validation import check_array, check_consistent_length, validate_data

_PRECISIONS = (np.float64, np.float32)


def is_complex(array: Any) -> bool:
    """Whether the entries of an array, of any library, or of a nested list are complex.

    Parameters
    ----------
    array : array-like
        What a user passed.

    Returns
    -------
    bool
        The answer; False for what has no type of its own.
    """
    return getattr(getattr(array, "dtype", None), "kind", "") == "c" or (
        isinstance(array, list | tuple) and np.iscomplexobj(array)
    )


def kept_precision(given: Any, computed: Any) -> Any:
    """The type of an answer: the precision of the data, complex if the answer is.

    Parameters
    ----------
    given : dtype
        That of the data.
    computed : dtype
        That of the answer as it was computed.

    Returns
    -------
    type
        One of float32, float64, complex64 and complex128.
    """
    single = np.dtype(given) in (np.dtype(np.float32), np.dtype(np.complex64))
    if np.issubdtype(computed, np.complexfloating):
        return np.complex64 if single else np.complex128
    return np.float32 if single else np.float64


def training_data(estimator: Any, X: Any, y: Any, *, allow_complex: bool) -> tuple[Any, np.ndarray]:
    """Validate samples and targets of `fit`.

    Parameters
    ----------
    estimator : estimator
        On whose behalf: its number of features is set.
    X : {array-like, sparse matrix, LinearOperator} of shape (n_samples, n_features)
        Samples.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets.
    allow_complex : bool
        Whether they may be complex.

    Returns
    -------
    X : ndarray, CSC array or LinearOperator of shape (n_samples, n_features)
        The samples.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        The targets.

    Raises
    ------
    ValueError
        If something is complex that may not be, or infinite, or of a wrong shape.
    """
    complex_data = is_complex(X) or is_complex(y)
    if complex_data and not allow_complex:
        raise ValueError(
            "Complex data not supported with allow_complex=False: set allow_complex=True for complex coefficients."
        )
    if isinstance(X, LinearOperator):
        estimator.n_features_in_ = X.shape[1]
        estimator.__dict__.pop("feature_names_in_", None)
        y = _targets(y)
        if len(y) != X.shape[0]:
            raise ValueError(f"y must have one entry for each of the {X.shape[0]} rows of X, got {len(y)}.")
        return X, y
    if not complex_data:
        return validate_data(estimator, X, y, accept_sparse="csc", dtype=_PRECISIONS, y_numeric=True, multi_output=True)
    X, y = _both_parts(estimator, X, reset=True), _targets(y)
    check_consistent_length(X, y)
    if scipy.sparse.issparse(X):
        X = scipy.sparse.csc_array(X)
    return (X if X.dtype.kind in "fc" else X.astype(np.float64)), y


def samples(estimator: Any, X: Any, *, allow_complex: bool) -> Any:
    """Validate samples of `predict`.

    Parameters
    ----------
    estimator : estimator
        The fitted estimator.
    X : {array-like, sparse matrix, LinearOperator} of shape (n_samples, n_features)
        Samples.
    allow_complex : bool
        Whether they may be complex.

    Returns
    -------
    ndarray, sparse array or LinearOperator of shape (n_samples, n_features)
        The samples.
    """
    if isinstance(X, LinearOperator):
        if X.shape[1] != estimator.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(estimator).__name__} is expecting "
                f"{estimator.n_features_in_} features as input."
            )
        return X
    if allow_complex and is_complex(X):
        return _both_parts(estimator, X, reset=False)
    return validate_data(estimator, X, accept_sparse=("csr", "csc"), dtype=_PRECISIONS, reset=False)


def _both_parts(estimator: Any, X: Any, *, reset: bool) -> Any:
    """Scikit-learn checks real arrays only: check both parts."""
    X = X if scipy.sparse.issparse(X) else np.asarray(X)
    for part in (X.real, X.imag) if np.iscomplexobj(X) else (X,):
        validate_data(estimator, part, accept_sparse=("csr", "csc"), dtype=_PRECISIONS, reset=reset)
    return X


def _targets(y: Any) -> np.ndarray:
    """Targets of either field, finite, of one or two dimensions."""
    y = np.asarray(y)
    for part in (y.real, y.imag) if np.iscomplexobj(y) else (y,):
        check_array(part, ensure_2d=False, dtype=np.float64, input_name="y")
    if y.ndim not in (1, 2):
        raise ValueError(f"y must have one or two dimensions, got an array of shape {y.shape}.")
    return y.astype(np.result_type(y.dtype, np.float64))
