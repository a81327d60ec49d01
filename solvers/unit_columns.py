"""Copies of some columns of a design: weighted, centred, scaled to unit norm, ready for coordinate descent."""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from .columns import _REDUCTION, SparseColumns, column_axpy, column_dot, shape
from .kernel import kernel

_EPS = float(np.finfo(np.float64).eps)
# A column whose squared norm falls to this share of itself when its mean is taken off is constant up to rounding.
_CONSTANT = 1e-28


@kernel(fastmath=_REDUCTION)
def _gather_normalized(X, features, root_weights, centered, work, out, scale):
    n = root_weights.size
    total = 0.0
    for i in range(n):
        total += root_weights[i] * root_weights[i]
    for k in range(features.size):
        work[:] = 0.0
        column_axpy(X, features[k], 1.0, work)
        raw = 0.0
        for i in range(n):
            raw += (root_weights[i] * work[i]) ** 2
        if centered:
            # Twice: the second pass removes the rounding of the first, however large the mean.
            for _ in range(2):
                mean = 0.0
                for i in range(n):
                    mean += root_weights[i] * root_weights[i] * work[i]
                mean /= total
                for i in range(n):
                    work[i] -= mean
        norm = 0.0
        for i in range(n):
            work[i] *= root_weights[i]
            norm += work[i] * work[i]
        scale[k] = np.sqrt(norm) if norm > _CONSTANT * raw else 0.0
        factor = 1.0 / scale[k] if scale[k] > 0.0 else 0.0
        for i in range(n):
            out[i, k] = work[i] * factor


def gather_normalized(
    X: Any, features: np.ndarray, root_weights: np.ndarray, centered: bool, out: np.ndarray, scale: np.ndarray
) -> None:
    """Copy some columns, weighted, centred and divided by their norms.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n_rows, n_columns)
        The design.
    features : ndarray of shape (m,), int64
        Which columns.
    root_weights : ndarray of shape (n_rows,)
        Square roots of the rows' weights.
    centered : bool
        Whether to subtract the weighted mean of each column first.
    out : ndarray of shape (n_rows, m)
        Where the columns go, in its own precision; the work is done in float64.
    scale : ndarray of shape (m,)
        Where the norms go; a zero column stays zero.
    """
    _gather_normalized(X, features, root_weights, centered, np.empty(root_weights.size), out, scale)


@kernel
def _gather_sparse(X, features, root_weights, total, centered, data, indices, indptr, means, scale):
    position = 0
    for k in range(features.size):
        indptr[k] = start = position
        mean, weight = 0.0, 0.0
        for t in range(X.indptr[features[k]], X.indptr[features[k] + 1]):
            i = X.indices[t]
            indices[position] = i
            data[position] = X.data[t] * root_weights[i]
            mean += data[position] * root_weights[i]
            weight += root_weights[i] * root_weights[i]
            position += 1
        raw = 0.0
        for t in range(start, position):
            raw += data[t] * data[t]
        mean = mean / total if centered else 0.0
        # The weight of the zeros. Where they have none, the rounding of the sums must not give them any: times the
        # square of a large mean it would be all there is.
        zeros = total - weight
        if zeros <= X.n_rows * _EPS * total:
            zeros = 0.0
        if centered:
            # The mean deviation is the mean's rounding; it grows with the number of entries.
            rest = -zeros * mean
            for t in range(start, position):
                rest += (data[t] - mean * root_weights[indices[t]]) * root_weights[indices[t]]
            mean += rest / total
        # The stored entries' deviations, and those of the zeros: a sum of squares, nothing cancels.
        square = zeros * mean * mean
        for t in range(start, position):
            square += (data[t] - mean * root_weights[indices[t]]) ** 2
        scale[k] = np.sqrt(square) if square > _CONSTANT * raw else 0.0
        factor = 1.0 / scale[k] if scale[k] > 0.0 else 0.0
        means[k] = mean * factor
        for t in range(start, position):
            data[t] *= factor
    indptr[features.size] = position


class CenteredColumns(NamedTuple):
    r"""Sparse columns minus a multiple of one common direction, which is never formed.

    Column k stands for :math:`x_k - \mu_k u`, where u holds the square roots of the rows' weights: the weighted
    centring of a sparse column. A vector that is orthogonal to u is kept as ``vector + shift[0] * u``, so that both
    column operations touch only stored entries.

    Attributes
    ----------
    columns : SparseColumns
        The stored columns.
    means : ndarray of shape (m,)
        The multiples :math:`\mu_k`; zero without centring.
    total : float
        The squared norm of u.
    shift : ndarray of shape (1,)
        The part of the vector along u that is not yet in it; updated in place.
    """

    columns: SparseColumns
    means: np.ndarray
    total: float
    shift: np.ndarray


@shape.register(CenteredColumns)
def _(X):
    return shape(X.columns)


@column_dot.register(CenteredColumns)
def _(X, j, vector):
    return column_dot(X.columns, j, vector) + X.shift[0] * X.means[j] * X.total


@column_axpy.register(CenteredColumns)
def _(X, j, scale, vector):
    X.shift[0] -= scale * X.means[j]
    column_axpy(X.columns, j, scale, vector)


def gather_sparse(
    X: SparseColumns, features: np.ndarray, root_weights: np.ndarray, centered: bool
) -> tuple[CenteredColumns, np.ndarray]:
    """Copy some sparse columns, weighted, divided by their norms and centred implicitly.

    Parameters
    ----------
    X : SparseColumns
        The design.
    features : ndarray of shape (m,), int64
        Which columns.
    root_weights : ndarray of shape (n_rows,)
        Square roots of the rows' weights.
    centered : bool
        Whether the weighted mean of each column is taken off.

    Returns
    -------
    columns : CenteredColumns
        Float64 columns with 32-bit row indices where they fit.
    scale : ndarray of shape (m,)
        Their norms; a zero column stays zero.
    """
    stored = int(np.sum(X.indptr[features + 1] - X.indptr[features]))
    data, means, scale = np.empty(stored), np.empty(features.size), np.empty(features.size)
    indices = np.empty(stored, dtype=np.int32 if X.n_rows < 2**31 else np.int64)
    indptr = np.empty(features.size + 1, dtype=np.int64)
    total = float(root_weights @ root_weights)
    _gather_sparse(X, features, root_weights, total, centered, data, indices, indptr, means, scale)
    return CenteredColumns(SparseColumns(data, indices, indptr, X.n_rows), means, total, np.zeros(1)), scale


def cross_products(left: CenteredColumns, right: CenteredColumns) -> np.ndarray:
    """The inner products of all columns of one set with all of another, which share rows, weights and centring.

    Parameters
    ----------
    left : CenteredColumns
        The first m columns.
    right : CenteredColumns
        The other k columns.

    Returns
    -------
    ndarray of shape (m, k)
        Their inner products.
    """
    stored = (as_scipy(part.columns) for part in (left, right))
    return (next(stored).T @ next(stored)).toarray() - left.total * np.outer(left.means, right.means)


def as_scipy(columns: SparseColumns) -> scipy.sparse.csc_array:
    """The stored columns as SciPy's matrix over the same memory."""
    size = columns.n_rows, columns.indptr.size - 1
    return scipy.sparse.csc_array((columns.data, columns.indices, columns.indptr), shape=size)


def append_columns(first: CenteredColumns, second: CenteredColumns) -> CenteredColumns:
    """Columns side by side.

    Parameters
    ----------
    first, second : CenteredColumns
        Columns of the same rows, weights and centring.

    Returns
    -------
    CenteredColumns
        All columns, in new arrays.
    """
    left, right = first.columns, second.columns
    columns = SparseColumns(
        np.concatenate([left.data, right.data]),
        np.concatenate([left.indices, right.indices]),
        np.concatenate([left.indptr, left.indptr[-1] + right.indptr[1:]]),
        left.n_rows,
    )
    return CenteredColumns(columns, np.concatenate([first.means, second.means]), first.total, np.zeros(1))
