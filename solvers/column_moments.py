"""Weighted means and squared norms of all columns, and their products with a vector, in one pass."""

from typing import Any

import numpy as np

from .columns import _REDUCTION, SparseColumns, shape
from .generic import generic
from .kernel import kernel

_EPS = np.finfo(np.float64).eps


@generic
def _moments(X, j, weights, total, vector):
    """The weighted mean of column `j`, its weighted squared norm about it, and its product with a vector.

    `total` is the sum of the weights, or 0.0 where the norm is to be taken about zero.
    """
    raise TypeError(f"not a design matrix: {type(X).__name__}")


@kernel(fastmath=_REDUCTION)
def _dense_moments(column, weights, total, vector):
    first, square, product = 0.0, 0.0, 0.0
    if total == 0.0:
        for i in range(column.size):
            value = np.float64(column[i])
            square += weights[i] * value * value
            product += value * vector[i]
        return 0.0, square, product
    for i in range(column.size):
        value = np.float64(column[i])
        first += weights[i] * value
        product += value * vector[i]
    mean = first / total
    for i in range(column.size):  # the column is in the nearest cache now: no second pass over memory
        deviation = np.float64(column[i]) - mean
        square += weights[i] * deviation * deviation
    return mean, square, product


@_moments.register(np.ndarray)
def _(X, j, weights, total, vector):
    return _dense_moments(X[:, j], weights, total, vector)


@_moments.register(SparseColumns)
def _(X, j, weights, total, vector):
    first, product, stored = 0.0, 0.0, 0.0
    for k in range(X.indptr[j], X.indptr[j + 1]):
        i = X.indices[k]
        value = np.float64(X.data[k])
        first += weights[i] * value
        stored += weights[i]
        product += value * vector[i]
    mean = first / total if total != 0.0 else 0.0
    square = 0.0
    for k in range(X.indptr[j], X.indptr[j + 1]):
        deviation = np.float64(X.data[k]) - mean
        square += weights[X.indices[k]] * deviation * deviation
    # The rows without a stored value deviate by the mean; where there are none their weight is rounding.
    zeros = total - stored
    if zeros > weights.size * _EPS * total:
        square += zeros * mean * mean
    return mean, square, product


@kernel
def _by_columns(X, weights, total, vector, mean, square, product):
    for j in range(mean.size):
        mean[j], square[j], product[j] = _moments(X, j, weights, total, vector)


@kernel
def _by_rows(X, weights, total, vector, mean, square, product):
    # A C-ordered matrix is read in the order it lies in memory: once, or twice about the mean.
    mean[:] = 0.0
    square[:] = 0.0
    product[:] = 0.0
    if total != 0.0:
        for i in range(X.shape[0]):
            scale = weights[i] / total
            for j in range(mean.size):
                mean[j] += scale * X[i, j]
    for i in range(X.shape[0]):
        for j in range(mean.size):
            deviation = X[i, j] - mean[j]
            square[j] += weights[i] * deviation * deviation
            product[j] += vector[i] * X[i, j]


def column_moments(
    X: Any, weights: np.ndarray, vector: np.ndarray, *, centred: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Weighted means, squared norms about them, and products with a vector, of all columns.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n_rows, n_columns)
        The design, read once (twice if it lies in C order and `centred`).
    weights : ndarray of shape (n_rows,), float64
        Row weights :math:`s`, non-negative.
    vector : ndarray of shape (n_rows,), float64
        A vector :math:`v`.
    centred : bool
        Whether the norms are taken about the means; if not, the means returned are zero.

    Returns
    -------
    mean : ndarray of shape (n_columns,)
        :math:`m_j = \sum_i s_i x_{ij} / \sum_i s_i`.
    square : ndarray of shape (n_columns,)
        :math:`\sum_i s_i (x_{ij} - m_j)^2`, without cancellation.
    product : ndarray of shape (n_columns,)
        :math:`\sum_i x_{ij} v_i`.
    """
    mean, square, product = np.empty((3, shape(X)[1]))
    total = float(weights.sum()) if centred else 0.0
    by_rows = isinstance(X, np.ndarray) and abs(X.strides[0]) > abs(X.strides[1])
    (_by_rows if by_rows else _by_columns)(X, weights, total, vector, mean, square, product)
    return mean, square, product
