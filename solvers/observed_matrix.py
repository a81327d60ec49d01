"""What is known of a matrix that is factorized: all of it, its nonzeros, or a part of its entries.

Every factorization works on one of four records. Each holds the matrix by rows and by columns, so that
:func:`transposed` is free and one row update serves both factors:

=====================  ===================================================================================
:class:`DenseMatrix`    every entry known, stored dense
:class:`SparseMatrix`   every entry known, the zeros not stored
:class:`MostEntries`    a few entries unknown: dense with zeros in their places, and the list of the unknown
:class:`SomeEntries`    the known entries listed, each with its weight where there are weights
=====================  ===================================================================================

Values at unknown positions are dropped here, before any arithmetic: they can be NaN, infinite or anything else.
"""

from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse


class SparseRows(NamedTuple):
    """Listed entries of a matrix, row by row (compressed sparse rows); indices of 32 or 64 bits, sorted.

    Attributes
    ----------
    data : ndarray of shape (n_entries,)
        Their values, float32 or float64.
    indices : ndarray of shape (n_entries,)
        Their columns.
    indptr : ndarray of shape (n_rows + 1,)
        Where each row starts.
    n_columns : int
        The number of columns of the matrix.
    weights : ndarray of shape (n_entries,) or (0,)
        A weight > 0 for each entry, of the type of `data`; empty where every entry counts alike.
    """

    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    n_columns: int
    weights: np.ndarray


class DenseMatrix(NamedTuple):
    """A matrix of which every entry is known.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_columns)
        The matrix, float32 or float64, in any order.
    """

    X: np.ndarray


class SparseMatrix(NamedTuple):
    """A matrix of which every entry is known and most are zero.

    Attributes
    ----------
    rows : SparseRows
        The nonzeros by rows.
    columns : SparseRows
        The nonzeros by columns: the rows of the transpose.
    """

    rows: SparseRows
    columns: SparseRows


class MostEntries(NamedTuple):
    """A matrix with few unknown entries.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_columns)
        The matrix with zeros at the unknown positions.
    unknown_rows : SparseRows
        The unknown positions by rows; `data` is empty.
    unknown_columns : SparseRows
        The same by columns.
    """

    X: np.ndarray
    unknown_rows: SparseRows
    unknown_columns: SparseRows


class SomeEntries(NamedTuple):
    """The known entries of a matrix, everything else unknown.

    Attributes
    ----------
    rows : SparseRows
        The known entries by rows.
    columns : SparseRows
        The same entries by columns.
    """

    rows: SparseRows
    columns: SparseRows


ObservedMatrix = DenseMatrix | SparseMatrix | MostEntries | SomeEntries


def _rows(csr: Any, weights: Any = None) -> SparseRows:
    extra = np.empty(0, dtype=csr.data.dtype) if weights is None else weights
    return SparseRows(csr.data, csr.indices, csr.indptr, csr.shape[1], extra)


def _both_ways(csr: Any, weights: np.ndarray | None) -> tuple[SparseRows, SparseRows]:
    """A CSR matrix and its entries' weights as rows and as columns."""
    csc = csr.tocsc()
    columns = _rows(csc.T)
    if weights is not None:
        as_matrix = scipy.sparse.csr_array((weights, csr.indices, csr.indptr), shape=csr.shape)
        columns = columns._replace(weights=as_matrix.tocsc().data)
    return _rows(csr, weights), columns


def _canonical(X: Any) -> Any:
    csr = X.tocsr()
    if not csr.has_canonical_format:
        csr = csr.copy()
        csr.sum_duplicates()
    return csr


def observe(
    X: Any, *, mask: np.ndarray | None = None, weights: np.ndarray | None = None, implicit: bool = False
) -> ObservedMatrix:
    """Make the record of a matrix.

    Which record it becomes follows from the share of known entries alone, not from the form in which they came: the
    three ways to say that an entry is unknown give the same record, to the bit.

    Parameters
    ----------
    X : ndarray or scipy sparse array of shape (n_rows, n_columns)
        The matrix, float32 or float64. NaN in a dense one marks an unknown entry. Used in place where possible.
    mask : ndarray of bool of shape (n_rows, n_columns), optional
        True where the entry is known, for a dense `X`.
    weights : ndarray of shape (n_rows, n_columns), optional
        Weights >= 0 of the entries, dense; zero means unknown. For a sparse `X`, one weight for each stored entry in
        the order of ``X.tocsr().data``, canonical.
    implicit : bool, default=False
        Whether the entries that a sparse `X` does not store are unknown; otherwise they are zeros.

    Returns
    -------
    DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The record.
    """
    if scipy.sparse.issparse(X):
        csr = _canonical(X)
        if not implicit and weights is None:
            return SparseMatrix(*_both_ways(csr, None))
        entry_weights = None
        if weights is not None:
            known = weights > 0.0
            if not known.all():
                rows = np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr))[known]
                csr = scipy.sparse.csr_array((csr.data[known], (rows, csr.indices[known])), shape=csr.shape)
            entry_weights = _unless_equal(weights[known].astype(csr.dtype))
        if entry_weights is None and 2 * csr.nnz > csr.shape[0] * csr.shape[1]:
            filled = csr.toarray()
            known = np.zeros(csr.shape, dtype=bool)
            known[np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr)), csr.indices] = True
            return _dense(filled, known, None)
        return SomeEntries(*_both_ways(csr, entry_weights))
    if mask is None and weights is None and np.isfinite(X.sum(dtype=np.float64)):
        return DenseMatrix(X)  # one pass: a NaN anywhere would show in the sum
    known = ~np.isnan(X)
    if mask is not None:
        known &= mask
    if weights is not None:
        known &= weights > 0.0
    return _dense(X, known, weights)


def _unless_equal(weights: np.ndarray) -> np.ndarray | None:
    """Weights, or None where every one of them is one."""
    return None if (weights == 1.0).all() else weights


def _dense(X: np.ndarray, known: np.ndarray, weights: np.ndarray | None) -> ObservedMatrix:
    n_known = int(np.count_nonzero(known))
    entry_weights = None if weights is None else _unless_equal(weights[known].astype(X.dtype))
    if entry_weights is None and n_known == X.size:
        return DenseMatrix(X)
    if entry_weights is None and 2 * n_known > X.size:
        filled = np.where(known, X, X.dtype.type(0))
        unknown = scipy.sparse.csr_array(~known)
        rows, columns = _both_ways(unknown, None)
        nothing = np.empty(0, dtype=X.dtype)
        return MostEntries(
            filled, rows._replace(data=nothing, weights=nothing), columns._replace(data=nothing, weights=nothing)
        )
    i, j = np.nonzero(known)
    indptr = np.concatenate([[0], np.cumsum(np.count_nonzero(known, axis=1))])
    index = np.int32 if max(n_known, *X.shape) < 2**31 else np.int64
    csr = scipy.sparse.csr_array((X[i, j], j.astype(index), indptr.astype(index)), shape=X.shape)
    return SomeEntries(*_both_ways(csr, entry_weights))


@singledispatch
def transposed(matrix: Any) -> Any:
    """The record of the transposed matrix, over the same memory."""
    raise TypeError(f"not an observed matrix: {type(matrix).__name__}")


@transposed.register
def _(matrix: DenseMatrix) -> DenseMatrix:
    return DenseMatrix(matrix.X.T)


@transposed.register
def _(matrix: SparseMatrix) -> SparseMatrix:
    return SparseMatrix(matrix.columns, matrix.rows)


@transposed.register
def _(matrix: MostEntries) -> MostEntries:
    return MostEntries(matrix.X.T, matrix.unknown_columns, matrix.unknown_rows)


@transposed.register
def _(matrix: SomeEntries) -> SomeEntries:
    return SomeEntries(matrix.columns, matrix.rows)


@singledispatch
def shape(matrix: Any) -> tuple[int, int]:
    """The shape of an observed matrix: (rows, columns)."""
    return matrix.rows.indptr.size - 1, matrix.rows.n_columns


@shape.register(DenseMatrix)
@shape.register(MostEntries)
def _(matrix: Any) -> tuple[int, int]:
    return matrix.X.shape


@singledispatch
def values(matrix: Any) -> np.ndarray:
    """The stored values of an observed matrix: every other known entry is zero."""
    return matrix.rows.data


@values.register(DenseMatrix)
@values.register(MostEntries)
def _(matrix: Any) -> np.ndarray:
    return matrix.X


@singledispatch
def total_weight(matrix: Any) -> float:
    """The weights of all known entries together: their number where there are no weights."""
    n_rows, n_columns = shape(matrix)
    return float(n_rows * n_columns)


@total_weight.register
def _(matrix: MostEntries) -> float:
    return float(matrix.X.size - matrix.unknown_rows.indices.size)


@total_weight.register
def _(matrix: SomeEntries) -> float:
    weights = matrix.rows.weights
    return float(weights.sum(dtype=np.float64)) if weights.size else float(matrix.rows.data.size)


def power_sum(matrix: ObservedMatrix, power: float) -> float:
    """Sum of the known values to a power, with their weights, in float64; zeros count only for a positive power.

    With `power` 2 this is the squared Frobenius norm of what is known.
    """
    stored = values(matrix).ravel(order="K")
    weights = matrix.rows.weights if isinstance(matrix, SomeEntries) else np.empty(0)
    total = 0.0
    for start in range(0, stored.size, 1 << 16):  # in blocks: no float64 copy of a large float32 matrix
        block = stored[start : start + (1 << 16)].astype(np.float64)
        positive = block > 0.0 if power != 2.0 else slice(None)
        terms = block[positive] ** power
        if weights.size:
            terms = terms * weights[start : start + (1 << 16)][positive]
        total += float(terms.sum())
    return total
