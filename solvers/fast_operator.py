r"""A product of sparse factors as a linear operator: applied factor by factor, never multiplied out.

.. math:: A = \lambda\, S_1 S_2 \cdots S_J\, P

with P an optional reordering of the input. An application costs :math:`2 \sum_j \mathrm{nnz}(S_j)` operations on each
vector, against :math:`2 m n` for the matrix. Vectors are taken a few at a time, side by side, so that every
nonzero works on whole vector registers while what lies between two factors stays in the cache.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import LinearOperator

from .kernel import kernel
from .row_blocks import map_blocks

_CACHE = 2**20  # bytes of the two buffers of vectors side by side
_LANES = (8, 32)  # fewest and most vectors side by side


class _Packed(NamedTuple):
    """Factors in the order in which they are applied, one after the other in the same arrays."""

    sizes: np.ndarray
    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    gather: np.ndarray
    scatter: np.ndarray


def _pack(factors: Sequence[Any], gather: np.ndarray, scatter: np.ndarray) -> _Packed:
    offset, indptr = 0, []
    for factor in factors:
        indptr.append(factor.indptr.astype(np.int64) + offset)
        offset += factor.nnz
    return _Packed(
        np.array([factors[0].shape[1]] + [factor.shape[0] for factor in factors], dtype=np.int64),
        np.concatenate(indptr),
        np.concatenate([factor.indices.astype(np.int32) for factor in factors]),
        np.concatenate([factor.data for factor in factors]),
        gather,
        scatter,
    )


def _merged(factors: Sequence[Any]) -> list[Any]:
    """Neighbouring factors multiplied out where their product has no more nonzeros than both: fewer passes."""
    factors, j = list(factors), 0
    while j < len(factors) - 1:
        product = scipy.sparse.csr_array(factors[j] @ factors[j + 1])
        if product.nnz <= factors[j].nnz + factors[j + 1].nnz:
            factors[j : j + 2] = [product]
        else:
            j += 1
    return factors


@kernel(fastmath={"contract", "nsz"})
def _combine(target, read, indices, data, start, stop):
    """One row of a factor times all vectors side by side, four nonzeros a pass."""
    width = target.size
    if start == stop:
        for lane in range(width):
            target[lane] = 0.0
        return
    if stop - start >= 4:
        v0, v1, v2, v3 = data[start], data[start + 1], data[start + 2], data[start + 3]
        x0, x1, x2, x3 = indices[start], indices[start + 1], indices[start + 2], indices[start + 3]
        for lane in range(width):
            target[lane] = v0 * read[x0, lane] + v1 * read[x1, lane] + v2 * read[x2, lane] + v3 * read[x3, lane]
        start += 4
    elif stop - start >= 2:
        v0, v1, x0, x1 = data[start], data[start + 1], indices[start], indices[start + 1]
        for lane in range(width):
            target[lane] = v0 * read[x0, lane] + v1 * read[x1, lane]
        start += 2
    else:
        v0, x0 = data[start], indices[start]
        for lane in range(width):
            target[lane] = v0 * read[x0, lane]
        start += 1
    while start + 4 <= stop:
        v0, v1, v2, v3 = data[start], data[start + 1], data[start + 2], data[start + 3]
        x0, x1, x2, x3 = indices[start], indices[start + 1], indices[start + 2], indices[start + 3]
        for lane in range(width):
            target[lane] += v0 * read[x0, lane] + v1 * read[x1, lane] + v2 * read[x2, lane] + v3 * read[x3, lane]
        start += 4
    while start < stop:
        v0, x0 = data[start], indices[start]
        for lane in range(width):
            target[lane] += v0 * read[x0, lane]
        start += 1


@kernel(fastmath={"contract", "nsz"})
def _apply_packed(vectors, scale, sizes, indptr, indices, data, gather, scatter, read, written, out):
    n_factors, lanes = sizes.size - 1, read.shape[1]
    for first in range(0, vectors.shape[0], lanes):
        width = min(lanes, vectors.shape[0] - first)
        for lane in range(width):
            for k in range(sizes[0]):
                read[k, lane] = vectors[first + lane, gather[k]]
        at = 0
        for factor in range(n_factors):
            for i in range(sizes[factor + 1]):
                _combine(written[i, :width], read, indices, data, indptr[at + i], indptr[at + i + 1])
            at += sizes[factor + 1] + 1
            read, written = written, read
        for lane in range(width):
            for k in range(sizes[n_factors]):
                out[first + lane, scatter[k]] = scale * read[k, lane]


@kernel(fastmath={"contract", "nsz"})
def _apply_to_one(vector, scale, sizes, indptr, indices, data, gather, scatter, read, written, out):
    """The same for one vector, without loops over vectors that would be one long."""
    for k in range(sizes[0]):
        read[k] = vector[gather[k]]
    at = 0
    for factor in range(sizes.size - 1):
        for i in range(sizes[factor + 1]):
            total = read[0] * 0
            for entry in range(indptr[at + i], indptr[at + i + 1]):
                total += data[entry] * read[indices[entry]]
            written[i] = total
        at += sizes[factor + 1] + 1
        read, written = written, read
    for k in range(sizes[sizes.size - 1]):
        out[scatter[k]] = scale * read[k]


class FastOperator(LinearOperator):
    r"""The linear operator :math:`A x = \lambda S_1 \cdots S_J\, x_\pi`, with its adjoint.

    Parameters
    ----------
    factors : sequence of sparse or dense matrices
        :math:`S_1, \ldots, S_J`, the left one first; real or complex. Sparse rows of equal precision are not copied.
    scale : float or complex, default=1.0
        The number :math:`\lambda`.
    permutation : ndarray of int of shape (n_columns,), optional
        The order :math:`\pi` in which the last factor takes the entries of x; None leaves them where they are.

    Attributes
    ----------
    factors : tuple of csr_array
        The factors.
    scale : float or complex
        The number in front.
    permutation : ndarray of int or None
        The order of the input.
    n_nonzeros : int
        The nonzeros of all factors together.

    Raises
    ------
    ValueError
        If the shapes of the factors do not fit, or `permutation` is none.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.fast_operator import FastOperator
    >>> A = FastOperator([np.array([[1.0, 1.0], [1.0, -1.0]]), np.diag([1.0, 2.0])], scale=0.5)
    >>> A @ np.array([2.0, 1.0])
    array([2., 0.])
    >>> A.H @ np.array([2.0, 0.0])
    array([1., 2.])
    """

    def __init__(self, factors: Sequence[Any], scale: Any = 1.0, permutation: np.ndarray | None = None):
        if not factors:
            raise ValueError("a product needs at least one factor, got none")
        dtype = np.result_type(*(factor.dtype for factor in factors), np.float32)
        self.factors = tuple(scipy.sparse.csr_array(factor).astype(dtype, copy=False) for factor in factors)
        for left, right in pairwise(self.factors):
            if left.shape[1] != right.shape[0]:
                raise ValueError(f"factors of the shapes {left.shape} and {right.shape} cannot be multiplied")
        shape = (self.factors[0].shape[0], self.factors[-1].shape[1])
        self.scale = dtype.type(scale)
        self.permutation = None if permutation is None else np.asarray(permutation)
        if self.permutation is not None and not np.array_equal(np.sort(self.permutation), np.arange(shape[1])):
            raise ValueError(f"permutation must hold every number from 0 to {shape[1] - 1} once")
        self.n_nonzeros = sum(factor.nnz for factor in self.factors)
        order = np.arange(shape[1]) if self.permutation is None else self.permutation.astype(np.int64)
        # Transposed and not conjugated: the adjoint conjugates what goes in and what comes out.
        steps = _merged(self.factors)
        self._forward = _pack(steps[::-1], order, np.arange(shape[0]))
        self._backward = _pack([step.T.tocsr() for step in steps], np.arange(shape[0]), order)
        super().__init__(dtype, shape)

    @property
    def complexity_gain(self) -> float:
        """How many times fewer nonzeros the factors have than the matrix has entries."""
        return self.shape[0] * self.shape[1] / max(self.n_nonzeros, 1)

    def rows(self, X: np.ndarray, n_jobs: int | None = None) -> np.ndarray:
        """Apply the operator to every row of an array.

        Parameters
        ----------
        X : ndarray of shape (n_vectors, n_columns)
            Vectors, one a row.
        n_jobs : int, optional
            Threads over blocks of rows; the answer does not depend on them.

        Returns
        -------
        ndarray of shape (n_vectors, n_rows)
            The product of `X` and the transposed matrix.
        """
        return self._run(self._forward, X, n_jobs)

    def transposed_rows(self, X: np.ndarray, n_jobs: int | None = None) -> np.ndarray:
        """Apply the transposed operator to every row of an array.

        Parameters
        ----------
        X : ndarray of shape (n_vectors, n_rows)
            Vectors, one a row.
        n_jobs : int, optional
            Threads over blocks of rows; the answer does not depend on them.

        Returns
        -------
        ndarray of shape (n_vectors, n_columns)
            The product of `X` and the matrix: for codes of signals over the rows of the matrix, the signals.
        """
        return self._run(self._backward, X, n_jobs)

    def to_dense(self) -> np.ndarray:
        """The matrix, multiplied out.

        Returns
        -------
        ndarray of shape (n_rows, n_columns)
            The product of all factors with the number in front.
        """
        identity = np.eye(min(self.shape), dtype=self.dtype)
        return self.rows(identity).T.copy() if self.shape[1] <= self.shape[0] else self.transposed_rows(identity)

    def _run(self, packed: _Packed, X: np.ndarray, n_jobs: int | None) -> np.ndarray:
        X = np.ascontiguousarray(X, dtype=np.result_type(X, self.dtype))
        if X.ndim != 2 or X.shape[1] != packed.sizes[0]:
            raise ValueError(f"X must have {packed.sizes[0]} columns, got the shape {X.shape}")
        out = np.empty((X.shape[0], packed.sizes[-1]), dtype=X.dtype)
        width = int(packed.sizes.max())
        lanes = min(max(_CACHE // (2 * width * X.dtype.itemsize), _LANES[0]), _LANES[1])
        if X.shape[0] == 1:
            _apply_to_one(X[0], self.scale, *packed, *np.empty((2, width), dtype=X.dtype), out[0])
            return out

        def work(start: int, stop: int) -> None:
            read, written = np.empty((2, width, min(lanes, stop - start)), dtype=X.dtype)
            _apply_packed(X[start:stop], self.scale, *packed, read, written, out[start:stop])

        map_blocks(X.shape[0], n_jobs, work)
        return out

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        return self.rows(np.reshape(x, (1, -1)))[0]

    def _rmatvec(self, x: np.ndarray) -> np.ndarray:
        return self.transposed_rows(np.reshape(x, (1, -1)).conj())[0].conj()

    def _matmat(self, X: np.ndarray) -> np.ndarray:
        return self.rows(X.T).T

    def _rmatmat(self, X: np.ndarray) -> np.ndarray:
        return self.transposed_rows(X.T.conj()).T.conj()
