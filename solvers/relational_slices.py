r"""Relations between the same entities, slice by slice, stored for one entity at a time.

A relational tensor holds T square matrices :math:`X_t` over n entities: entry (i, j) of slice t says how i relates to
j. What involves entity i are the rows i and the columns i of all slices. :class:`DenseLinks` and :class:`SparseLinks`
keep them side by side, as row i of an n x 2Tn matrix L,

.. math:: L = [X_0,\; X_0^\top,\; X_1,\; X_1^\top,\; \dots].

Every entry of the tensor stands in L twice. Values at unknown positions are dropped here, before any arithmetic.
"""

from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from .generic import generic


class DenseLinks(NamedTuple):
    """The links of every entity, dense.

    Attributes
    ----------
    values : ndarray of shape (n_entities, 2 * n_slices * n_entities)
        L with zeros at unknown positions, float64, C-contiguous.
    unknown : ndarray of shape (n_unknown,)
        The columns of the unknown positions of L, row by row, sorted.
    unknown_start : ndarray of shape (n_entities + 1,)
        Where each row starts in `unknown`.
    """

    values: np.ndarray
    unknown: np.ndarray
    unknown_start: np.ndarray


class SparseLinks(NamedTuple):
    """The links of every entity, as compressed sparse rows.

    Attributes
    ----------
    data, indices, indptr : ndarray
        L as compressed sparse rows, float64; without unknown positions.
    n_columns : int
        The number of columns of L.
    unknown, unknown_start : ndarray
        As in :class:`DenseLinks`.
    """

    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    n_columns: int
    unknown: np.ndarray
    unknown_start: np.ndarray


class RelationalSlices(NamedTuple):
    """A relational tensor, ready to be factorized.

    Attributes
    ----------
    links : DenseLinks or SparseLinks
        All of it by entities.
    slices : list of ndarray or of csr_array, each of shape (n_entities, n_entities)
        The slices with zeros at unknown positions; views where dense.
    unknown : list of tuple of ndarray
        For each slice the rows and the columns of its unknown positions.
    squared_norm : float
        The sum of all squared known entries.
    """

    links: Any
    slices: list
    unknown: list[tuple[np.ndarray, np.ndarray]]
    squared_norm: float


def relational_slices(X: Any) -> RelationalSlices:
    """Store a relational tensor by entities.

    Parameters
    ----------
    X : ndarray of shape (n_slices, n_entities, n_entities) or list of sparse arrays
        The tensor; NaN marks an unknown entry. In a sparse slice what is not stored is zero.

    Returns
    -------
    RelationalSlices
        The tensor, float64. A dense one takes twice its memory.
    """
    if isinstance(X, np.ndarray):
        return _dense(X)
    return _sparse([scipy.sparse.csr_array(slice_, dtype=np.float64) for slice_ in X])


def _dense(X: np.ndarray) -> RelationalSlices:
    n_slices, n_entities, _ = X.shape
    known = ~np.isnan(X)
    values = np.empty((n_entities, n_slices, 2, n_entities))
    values[:, :, 0] = np.where(known, X, 0.0).transpose(1, 0, 2)
    values[:, :, 1] = values[:, :, 0].transpose(2, 1, 0)
    unknown = []
    for t in range(n_slices):
        i, j = np.nonzero(~known[t])
        unknown.append((i, j))
    links = DenseLinks(values.reshape(n_entities, -1), *_unknown_links(unknown, n_entities))
    slices = [values[:, t, 0] for t in range(n_slices)]
    return RelationalSlices(links, slices, unknown, float(sum(np.vdot(slice_, slice_) for slice_ in slices)))


def _sparse(X: list) -> RelationalSlices:
    unknown, slices = [], []
    for slice_ in X:
        slice_.sum_duplicates()
        entries = slice_.tocoo()
        missing = np.isnan(entries.data)
        unknown.append((entries.row[missing], entries.col[missing]))
        if missing.any():
            kept = (entries.data[~missing], (entries.row[~missing], entries.col[~missing]))
            slice_ = scipy.sparse.csr_array(kept, shape=slice_.shape)
        slices.append(slice_)
    both = [part for slice_ in slices for part in (slice_, slice_.T)]
    stacked = scipy.sparse.csr_array(scipy.sparse.hstack(both, format="csr"))
    stacked.sort_indices()
    unknown_links = _unknown_links(unknown, X[0].shape[0])
    links = SparseLinks(stacked.data, stacked.indices, stacked.indptr, stacked.shape[1], *unknown_links)
    return RelationalSlices(links, slices, unknown, float(sum(np.vdot(part.data, part.data) for part in slices)))


def _unknown_links(unknown: list, n_entities: int) -> tuple[np.ndarray, np.ndarray]:
    """The unknown positions of all slices as rows of L."""
    rows = np.concatenate([part for i, j in unknown for part in (i, j)]).astype(np.int64)
    columns = [
        (2 * t + side) * n_entities + other.astype(np.int64)
        for t, (i, j) in enumerate(unknown)
        for side, other in enumerate((j, i))
    ]
    order = np.lexsort((np.concatenate(columns), rows))
    start = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n_entities))])
    return np.concatenate(columns)[order], start


@generic
def link_product(links, i, K, out):
    """Row i of L times K, into `out`.

    Parameters
    ----------
    links : DenseLinks or SparseLinks
        The record of L.
    i : int
        The entity.
    K : ndarray of shape (2 * n_slices * n_entities, n_components)
        What to multiply with.
    out : ndarray of shape (n_components,)
        The product.
    """
    raise TypeError(f"not links of entities: {type(links).__name__}")


@link_product.register(DenseLinks)
def _(links, i, K, out):
    out[:] = 0.0
    row = links.values[i]
    n_fours = row.size // 4 * 4
    for c in range(0, n_fours, 4):  # four rows of K for each pass over the sums
        first, second, third, fourth = row[c], row[c + 1], row[c + 2], row[c + 3]
        for a in range(out.size):
            out[a] += (first * K[c, a] + second * K[c + 1, a]) + (third * K[c + 2, a] + fourth * K[c + 3, a])
    for c in range(n_fours, row.size):
        for a in range(out.size):
            out[a] += row[c] * K[c, a]


@link_product.register(SparseLinks)
def _(links, i, K, out):
    out[:] = 0.0
    for entry in range(links.indptr[i], links.indptr[i + 1]):
        value = links.data[entry]
        for a in range(out.size):
            out[a] += value * K[links.indices[entry], a]


@singledispatch
def links_matrix(links: Any) -> Any:
    """L itself, as an array or a sparse array over the same memory.

    Parameters
    ----------
    links : DenseLinks or SparseLinks
        The record of L.

    Returns
    -------
    ndarray or csr_array of shape (n_entities, 2 * n_slices * n_entities)
        The matrix.
    """
    raise TypeError(f"not links of entities: {type(links).__name__}")


@links_matrix.register
def _(links: DenseLinks) -> np.ndarray:
    return links.values


@links_matrix.register
def _(links: SparseLinks) -> Any:
    shape = (links.indptr.size - 1, links.n_columns)
    return scipy.sparse.csr_array((links.data, links.indices, links.indptr), shape=shape)


@generic
def link_value(links, i, c):
    """The entry of L in row i and column c.

    Parameters
    ----------
    links : DenseLinks or SparseLinks
        The record of L.
    i, c : int
        Where.

    Returns
    -------
    float
        The entry; zero where it is not stored.
    """
    raise TypeError(f"not links of entities: {type(links).__name__}")


@link_value.register(DenseLinks)
def _(links, i, c):
    return links.values[i, c]


@link_value.register(SparseLinks)
def _(links, i, c):
    low, high = links.indptr[i], links.indptr[i + 1]
    while low < high:
        middle = (low + high) // 2
        if links.indices[middle] < c:
            low = middle + 1
        else:
            high = middle
    return links.data[low] if low < links.indptr[i + 1] and links.indices[low] == c else 0.0
