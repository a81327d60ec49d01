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
    by_rows = isinstance(X, np.ndarray) and abs(X.strides[0]) > abs(X.strides[1])
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
    if isinstance(X, np.ndarray) and abs(X.strides[0]) > abs(X.strides[1]):
        _combine_rows(X, indices, coef, out)
    else:
        _combine_columns(X, indices, coef, out)
    return out
