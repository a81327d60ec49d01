r"""Codes of many signals over a dictionary, stored by rows, and the products that learning a dictionary needs.

A signal x is coded as :math:`x \approx \sum_a z_a d_a` with few nonzeros; the codes of all signals are the rows of a
sparse matrix Z, the atoms :math:`d_a` the rows of D, so that :math:`X \approx Z D`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse

from .kernel import kernel
from .row_blocks import map_blocks

_FAST = {"contract", "nsz"}


class SparseCodes(NamedTuple):
    """A matrix of codes in compressed rows.

    Attributes
    ----------
    indptr : ndarray of shape (n_signals + 1,), int64
        Where each row begins in the other two.
    indices : ndarray of shape (n_nonzeros,), int32
        The atoms, increasing in each row.
    values : ndarray of shape (n_nonzeros,)
        Their coefficients.
    n_atoms : int
        The number of columns.
    """

    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray
    n_atoms: int


@kernel
def _pack(indices, values, counts, indptr, packed_indices, packed_values):
    # Insertion sort by atom: the rows are short.
    for i in range(counts.size):
        start = indptr[i]
        for t in range(counts[i]):
            atom, value = indices[i, t], values[i, t]
            at = start + t
            while at > start and packed_indices[at - 1] > atom:
                packed_indices[at] = packed_indices[at - 1]
                packed_values[at] = packed_values[at - 1]
                at -= 1
            packed_indices[at] = atom
            packed_values[at] = value


def from_padded(indices: np.ndarray, values: np.ndarray, counts: np.ndarray, n_atoms: int) -> SparseCodes:
    """Codes from rows of equal length of which the first few entries count.

    Parameters
    ----------
    indices : ndarray of shape (n_signals, width), int32
        The atoms of each row, in any order, no atom twice.
    values : ndarray of shape (n_signals, width)
        Their coefficients.
    counts : ndarray of shape (n_signals,), int64
        How many entries of each row count.
    n_atoms : int
        The number of atoms.

    Returns
    -------
    SparseCodes
        The same, packed and in order.
    """
    indptr = np.zeros(counts.size + 1, dtype=np.int64)
    np.cumsum(counts, out=indptr[1:])
    packed_indices = np.empty(indptr[-1], dtype=np.int32)
    packed_values = np.empty(indptr[-1], dtype=values.dtype)
    _pack(indices, values, counts, indptr, packed_indices, packed_values)
    return SparseCodes(indptr, packed_indices, packed_values, n_atoms)


def from_matrix(matrix: np.ndarray | scipy.sparse.sparray) -> SparseCodes:
    """Codes from a dense or sparse matrix of shape (n_signals, n_atoms); its zeros are dropped."""
    csr = scipy.sparse.csr_array(matrix, copy=scipy.sparse.issparse(matrix))
    csr.sum_duplicates()
    csr.eliminate_zeros()
    return SparseCodes(csr.indptr.astype(np.int64), csr.indices.astype(np.int32), csr.data, csr.shape[1])


def to_csr(codes: SparseCodes) -> scipy.sparse.csr_array:
    """The codes as a SciPy array, which shares their memory where it can."""
    n_signals = codes.indptr.size - 1
    fits = codes.indptr[-1] <= np.iinfo(np.int32).max
    indptr = codes.indptr.astype(np.int32) if fits else codes.indptr
    indices = codes.indices if fits else codes.indices.astype(np.int64)
    csr = scipy.sparse.csr_array((codes.values, indices, indptr), shape=(n_signals, codes.n_atoms))
    csr.has_sorted_indices = csr.has_canonical_format = True
    return csr


def to_dense(codes: SparseCodes) -> np.ndarray:
    """The codes as an ndarray of shape (n_signals, n_atoms)."""
    return to_csr(codes).toarray()


def concatenated(parts: Sequence[SparseCodes]) -> SparseCodes:
    """The codes of several batches of signals, one below the other."""
    if len(parts) == 1:
        return parts[0]
    counts = np.concatenate([np.diff(part.indptr) for part in parts])
    indptr = np.zeros(counts.size + 1, dtype=np.int64)
    np.cumsum(counts, out=indptr[1:])
    return SparseCodes(
        indptr,
        np.concatenate([part.indices for part in parts]),
        np.concatenate([part.values for part in parts]),
        parts[0].n_atoms,
    )


@kernel
def _add_code_gram(indptr, indices, values, out):
    for i in range(indptr.size - 1):
        for s in range(indptr[i], indptr[i + 1]):
            row, value = out[indices[s]], np.float64(values[s])
            for t in range(indptr[i], indptr[i + 1]):
                row[indices[t]] += value * values[t]


@kernel(fastmath=_FAST)
def _add_code_products(indptr, indices, values, X, out):
    for i in range(indptr.size - 1):
        signal = X[i]
        for s in range(indptr[i], indptr[i + 1]):
            row, value = out[indices[s]], np.float64(values[s])
            for j in range(signal.size):
                row[j] += value * signal[j]


def code_gram(codes: SparseCodes, out: np.ndarray | None = None) -> np.ndarray:
    """The Gram matrix of the codes, :math:`Z^T Z` of shape (n_atoms, n_atoms), float64, added to `out` if given."""
    total = np.zeros((codes.n_atoms, codes.n_atoms)) if out is None else out
    _add_code_gram(codes.indptr, codes.indices, codes.values, total)
    return total


def code_products(codes: SparseCodes, X: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The products :math:`Z^T X` of shape (n_atoms, n_features), float64, added to `out` if given."""
    total = np.zeros((codes.n_atoms, X.shape[1])) if out is None else out
    _add_code_products(codes.indptr, codes.indices, codes.values, X, total)
    return total


@kernel(fastmath=_FAST)
def _reconstruct(indptr, indices, values, atoms, start, out):
    for i in range(out.shape[0]):
        signal = out[i]
        signal[:] = 0.0
        for s in range(indptr[start + i], indptr[start + i + 1]):
            atom, value = atoms[indices[s]], values[s]
            for j in range(signal.size):
                signal[j] += value * atom[j]


def reconstruct(codes: SparseCodes, atoms: np.ndarray, *, n_jobs: int | None = None) -> np.ndarray:
    """The signals that codes stand for, :math:`Z D`.

    Parameters
    ----------
    codes : SparseCodes
        The codes of n_signals signals.
    atoms : ndarray of shape (n_atoms, n_features), C order
        The dictionary.
    n_jobs : int, optional
        Threads over blocks of signals; the answer does not depend on them.

    Returns
    -------
    ndarray of shape (n_signals, n_features)
        The signals, in the precision of the dictionary.
    """
    n_signals = codes.indptr.size - 1
    out = np.empty((n_signals, atoms.shape[1]), dtype=atoms.dtype)

    def work(start: int, stop: int) -> None:
        _reconstruct(codes.indptr, codes.indices, codes.values, atoms, start, out[start:stop])

    map_blocks(n_signals, n_jobs, work)
    return out


def squared_residuals(
    codes: SparseCodes,
    X: np.ndarray,
    atoms: np.ndarray,
    known: np.ndarray | None = None,
    *,
    n_jobs: int | None = None,
) -> np.ndarray:
    r"""The squared residual norm of every signal, :math:`\|x_i - z_i D\|^2` over its known entries.

    Parameters
    ----------
    codes : SparseCodes
        The codes.
    X : ndarray of shape (n_signals, n_features)
        The signals.
    atoms : ndarray of shape (n_atoms, n_features), C order
        The dictionary.
    known : ndarray of shape (n_signals, n_features), bool, optional
        Which entries count.
    n_jobs : int, optional
        Threads over blocks of signals.

    Returns
    -------
    ndarray of shape (n_signals,), float64
        The squared norms.
    """
    n_signals = codes.indptr.size - 1
    squares = np.empty(n_signals)

    def work(start: int, stop: int) -> None:
        fitted = np.empty((stop - start, atoms.shape[1]), dtype=atoms.dtype)
        _reconstruct(codes.indptr, codes.indices, codes.values, atoms, start, fitted)
        residual = np.subtract(X[start:stop], fitted, dtype=np.float64)
        if known is not None:
            residual[~known[start:stop]] = 0.0
        np.einsum("ij,ij->i", residual, residual, out=squares[start:stop])

    map_blocks(n_signals, n_jobs, work)
    return squares
