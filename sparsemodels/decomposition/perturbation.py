"""Data slightly changed at random: by noise that leaves their mean as it is, or by resampling."""

from typing import Any

import numpy as np
import scipy.sparse


def perturbed(X: Any, known: np.ndarray | None, noise: str, epsilon: float, seed: int) -> Any:
    """A copy of data with multiplicative or Poisson noise.

    Parameters
    ----------
    X : ndarray, sparse matrix, or list of either
        The data. Zeros stay zero: of a sparse matrix only the stored values are changed.
    known : ndarray of bool, or None
        True where a dense `X` is known, if not everywhere. What stands elsewhere stays as it is.
    noise : {"uniform", "poisson"}
        Factors drawn uniformly from ``[1 - epsilon, 1 + epsilon]``, or Poisson counts with the values as means: both
        have the data as their mean.
    epsilon : float
        The half width of the uniform distribution.
    seed : int
        The draw.

    Returns
    -------
    ndarray, sparse matrix, or list
        The copy, of the same type.
    """
    rng = np.random.default_rng(seed)

    def noisy(values: np.ndarray) -> np.ndarray:
        if noise == "uniform":
            return (values * rng.uniform(1.0 - epsilon, 1.0 + epsilon, size=values.shape)).astype(values.dtype)
        unknown = np.isnan(values)
        counts = rng.poisson(np.where(unknown, 0.0, values)).astype(values.dtype)
        counts[unknown] = np.nan
        return counts

    def one(matrix: Any) -> Any:
        if scipy.sparse.issparse(matrix):
            copy = matrix.copy()
            copy.data = noisy(copy.data)
            return copy
        if known is None:
            return noisy(matrix)
        copy = matrix.copy()
        copy[known] = noisy(matrix[known])
        return copy

    return [one(matrix) for matrix in X] if isinstance(X, list | tuple) else one(X)


def resampled(X: Any, metadata: dict[str, Any], seed: int) -> tuple[Any, dict[str, Any]]:
    """As many rows of a matrix, or slices of a tensor, drawn with replacement; metadata with them.

    Parameters
    ----------
    X : ndarray, sparse matrix, or list of either
        The data, resampled along the first axis.
    metadata : dict of str to array or sparse matrix
        Arrays of the shape of `X`.
    seed : int
        The draw.

    Returns
    -------
    X : ndarray, sparse matrix, or list
        The drawn rows.
    metadata : dict
        Theirs.
    """
    size = len(X) if isinstance(X, list | tuple) else X.shape[0]
    drawn = np.random.default_rng(seed).integers(size, size=size)

    def take(data: Any) -> Any:
        if isinstance(data, list | tuple):
            return [data[k] for k in drawn]
        return data.tocsr()[drawn] if scipy.sparse.issparse(data) else np.asarray(data)[drawn]

    return take(X), {name: take(values) for name, values in metadata.items()}
