"""Columns of a design matrix: a dense array or a CSC record, read in place by compiled code.

A dense design is a plain ``numpy.ndarray`` (float32 or float64, any order, read-only or not); a sparse one is a
:class:`SparseColumns` record over SciPy's own arrays. Sums over float32 columns are accumulated in float64.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from .generic import generic
from .kernel import kernel

# Lets dot-like reductions use vector registers; NaN and inf keep their meaning.
_REDUCTION = {"contract", "reassoc", "nsz", "arcp"}
_EPS = float(np.finfo(np.float64).eps)

# A column whose squared norm falls to this share of itself when its mean is taken off is constant up to rounding.
_CONSTANT = 1e-28


class SparseColumns(NamedTuple):
    """A matrix in compressed sparse column form; indices of 32 or 64 bits.

    Attributes
    ----------
    data : ndarray of shape (nnz,)
        The stored values, float32 or float64.
    indices : ndarray of shape (nnz,)
        Their rows.
    indptr : ndarray of shape (n_columns + 1,)
        Where each column starts.
    n_rows : int
        The number of rows.
    """

    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    n_rows: int


def as_columns(X: Any) -> Any:
    """The design as compiled code reads it: the array itself, or a CSC record over the same memory.

    Parameters
    ----------
    X : ndarray, scipy CSC matrix or array of shape (n_rows, n_columns), or SparseColumns
        The design matrix. Other sparse formats are converted, which copies.

    Returns
    -------
    ndarray or SparseColumns
        A view, where `X` is an array or in CSC form.
    """
    if isinstance(X, SparseColumns):
        return X
    if scipy.sparse.issparse(X):
        csc = X.tocsc()
        if not csc.has_canonical_format:
            csc = csc.copy()
            csc.sum_duplicates()
        return SparseColumns(csc.data, csc.indices, csc.indptr, csc.shape[0])
    return np.asarray(X)


@generic
def shape(X):
    """The shape of a design: (rows, columns)."""
    raise TypeError(f"not a design matrix: {type(X).__name__}")


@generic
def column_dot(X, j, vector):
    """The inner product of column `j` with a vector, accumulated in float64."""
    raise TypeError(f"not a design matrix: {type(X).__name__}")


@generic
def column_axpy(X, j, scale, vector):
    """Add `scale` times column `j` to a vector, in place."""
    raise TypeError(f"not a design matrix: {type(X).__name__}")


@shape.register(np.ndarray)
def _(X):
    return X.shape


@shape.register(SparseColumns)
def _(X):
    return X.n_rows, X.indptr.size - 1


@kernel(fastmath=_REDUCTION)
def _dense_dot(column, vector):
    total = 0.0
    for i in range(column.size):
        total += column[i] * vector[i]
    return total


@column_dot.register(np.ndarray)
def _(X, j, vector):
    return _dense_dot(X[:, j], vector)


@column_axpy.register(np.ndarray)
def _(X, j, scale, vector):
    column = X[:, j]
    for i in range(vector.size):
        vector[i] += scale * column[i]


# Unsigned indices: a signed one costs a test for "from the end" at every access, 40 % of the time.
@column_dot.register(SparseColumns)
def _(X, j, vector):
    total = 0.0
    for k in range(np.uint64(X.indptr[j]), np.uint64(X.indptr[j + 1])):
        total += X.data[k] * vector[np.uint64(X.indices[k])]
    return total


@column_axpy.register(SparseColumns)
def _(X, j, scale, vector):
    for k in range(np.uint64(X.indptr[j]), np.uint64(X.indptr[j + 1])):
        vector[np.uint64(X.indices[k])] += scale * X.data[k]


@kernel
def correlate_columns(X, vector, out):
    """Write the inner products of the first ``out.size`` columns with a vector, one column at a time."""
    for j in range(out.size):
        out[j] = column_dot(X, j, vector)


@kernel
def _correlate_rows(X, vector, out):
    # Row by row: a C-ordered matrix is read once, in the order it lies in memory.
    out[:] = 0.0
    for i in range(X.shape[0]):
        scale = vector[i]
        for j in range(out.size):
            out[j] += scale * X[i, j]


def correlate(X: Any, vector: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """All inner products of the columns with a vector, :math:`X^T v`, in float64.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n_rows, n_columns)
        The design.
    vector : ndarray of shape (n_rows,), float64
        The vector.
    out : ndarray of shape (n_columns,), float64, optional
        Where to write.

    Returns
    -------
    ndarray of shape (n_columns,)
        The inner products.
    """
    out = np.empty(shape(X)[1]) if out is None else out
    if isinstance(X, SparseColumns):
        correlate_columns(X, vector, out)
    elif X.dtype == np.float64 and (X.flags.f_contiguous or X.flags.c_contiguous):
        np.dot(X.T, vector, out=out)
    elif abs(X.strides[0]) > abs(X.strides[1]):
        _correlate_rows(X, vector, out)
    else:
        correlate_columns(X, vector, out)
    return out


@kernel
def _correlate_some_columns(X, indices, vector, out):
    for j in indices:
        out[j] = column_dot(X, j, vector)


@kernel
def _correlate_some_rows(X, indices, vector, out):
    for j in indices:
        out[j] = 0.0
    for i in range(X.shape[0]):
        scale = vector[i]
        for j in indices:
            out[j] += scale * X[i, j]


def correlate_some(X: Any, indices: np.ndarray, vector: np.ndarray, out: np.ndarray) -> None:
    """The inner products of some columns with a vector, written in their places.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n_rows, n_columns)
        The design.
    indices : ndarray of int64
        Which columns.
    vector : ndarray of shape (n_rows,), float64
        The vector.
    out : ndarray of shape (n_columns,), float64
        Where to write; entries of other columns stay.
    """
    by_rows = not isinstance(X, SparseColumns) and abs(X.strides[0]) > abs(X.strides[1])
    (_correlate_some_rows if by_rows else _correlate_some_columns)(X, indices, vector, out)


@kernel
def _combine_columns(X, indices, coef, out):
    out[:] = 0.0
    for k in range(indices.size):
        column_axpy(X, indices[k], coef[k], out)


@kernel
def _combine_rows(X, indices, coef, out):
    for i in range(out.size):
        total = 0.0
        for k in range(indices.size):
            total += X[i, indices[k]] * coef[k]
        out[i] = total


def combine(X: Any, indices: np.ndarray, coef: np.ndarray) -> np.ndarray:
    """The combination of some columns, :math:`X_{:, indices} c`, in float64.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n_rows, n_columns)
        The design.
    indices : ndarray of shape (m,), int64
        Which columns.
    coef : ndarray of shape (m,), float64
        Their coefficients.

    Returns
    -------
    ndarray of shape (n_rows,)
        The linear combination.
    """
    out = np.empty(shape(X)[0])
    if not isinstance(X, SparseColumns) and abs(X.strides[0]) > abs(X.strides[1]):
        _combine_rows(X, indices, coef, out)
    else:
        _combine_columns(X, indices, coef, out)
    return out


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
