r"""Every column of a matrix regressed on all the others at once (EASE).

.. math:: \min_B \; \tfrac12 \|X - X B\|_F^2 + \tfrac12 \sum_i \rho_i \sum_j b_{ij}^2 \quad\text{with}\quad b_{jj} = 0

Column j of B is the ridge regression of column j of X on the other columns. With :math:`G = X^T X + \mathrm{diag}
(\rho)` and :math:`P = G^{-1}` all of them are :math:`B = I - P\, \mathrm{diag}(P)^{-1}`: one Cholesky factor and one
triangular inverse, :math:`n^3` operations, against :math:`8 n^3 / 3` of a general inverse.

Memory is one n x n array: the Gram matrix in its upper triangle stays as it is while the lower one becomes first the
Cholesky factor and then the inverse.

**The certificate** is the gradient :math:`G B - X^T X` off the diagonal, which is zero at the solution. As
:math:`G (I - B) = G P\, \mathrm{diag}(P)^{-1}`, it is measured from the two triangles by products with random sign
vectors z: the mean of :math:`\|R z\|^2` is :math:`\|R\|_F^2`, at a cost of :math:`n^2` for each.

References
----------
H. Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019. H. Steck, "Autoencoders that don't overfit
towards the identity", NeurIPS 2020.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg.blas
import scipy.linalg.lapack
import scipy.sparse
from array_api_compat import array_namespace, device
from joblib import Parallel, delayed, effective_n_jobs

from .kernel import kernel

_DENSE_SHARE = 0.05  # sparse multiplications over dense ones, from where on the dense product is faster
_BLOCK = 512  # rows made dense at a time
_PROBES = 32
_TILE = 64


class ItemRegression(NamedTuple):
    """The solution with its certificate.

    Attributes
    ----------
    coef : ndarray of shape (n_items, n_items)
        The weights B, with a zero diagonal.
    kkt : float
        The Frobenius norm of the gradient off the diagonal relative to that at B = 0, estimated from random sign
        vectors: its square without bias, within a factor of 1 +- 0.5 for all but one in a hundred seeds.
    """

    coef: np.ndarray
    kkt: float


@kernel(fastmath={"contract", "nsz"})
def _add_products(data, indices, indptr, row_weights, by_column, column_starts, cursor, first, last, gram):
    """Rows first to last of the upper triangle of the Gram matrix, one after the other, each in cache.

    Entry (u, j) is met in the order of the columns, so the entries of row u from j on begin at a cursor that moves by
    one.
    """
    for j in range(first, last):
        row = gram[j]
        for s in range(column_starts[j], column_starts[j + 1]):
            u = by_column[s]
            start = cursor[u]
            cursor[u] = start + 1
            value = data[start] * row_weights[u] if row_weights.size else data[start]
            for t in range(start, indptr[u + 1]):
                row[indices[t]] += value * data[t]


def gram_matrix(
    X: Any, sample_weight: np.ndarray | None = None, *, out: np.ndarray | None = None, n_jobs: int | None = None
) -> np.ndarray:
    """The upper triangle of the (weighted) Gram matrix of the columns.

    Parameters
    ----------
    X : ndarray or scipy sparse array of shape (n_samples, n_items)
        The matrix, float32 or float64.
    sample_weight : ndarray of shape (n_samples,), optional
        Weights >= 0 of the rows.
    out : ndarray of shape (n_items, n_items), optional
        Where to add the products, in C order and of the type of `X`; a new array of zeros if None.
    n_jobs : int, optional
        Threads of a sparse product; the result is the same for any number, to the bit.

    Returns
    -------
    ndarray of shape (n_items, n_items)
        Their inner products in the upper triangle; what stands below the diagonal means nothing.
    """
    n_samples, n_items = X.shape
    gram = np.zeros((n_items, n_items), dtype=X.dtype) if out is None else out
    if not scipy.sparse.issparse(X):
        for start in range(0, n_samples, max(_BLOCK, n_items)):
            rows = slice(start, start + max(_BLOCK, n_items))
            _add_dense(X[rows], None if sample_weight is None else sample_weight[rows], gram)
        return gram
    csr = X.tocsr()
    if not csr.has_canonical_format:
        csr = csr.copy()
        csr.sum_duplicates()
    counts = np.diff(csr.indptr).astype(np.float64)
    if counts @ counts > _DENSE_SHARE * n_samples * float(n_items) ** 2:
        for start in range(0, n_samples, _BLOCK):
            rows = slice(start, start + _BLOCK)
            _add_dense(csr[rows].toarray(), None if sample_weight is None else sample_weight[rows], gram)
        return gram
    by_column = scipy.sparse.csr_array((np.zeros(csr.nnz, np.int8), csr.indices, csr.indptr), shape=csr.shape).tocsc()
    weights = np.empty(0, csr.dtype) if sample_weight is None else sample_weight.astype(csr.dtype)
    edges = _column_blocks(csr, min(effective_n_jobs(n_jobs), n_items))

    def block(first: int, last: int) -> None:
        cursor = csr.indptr[:-1].copy()
        if first:  # where each row reaches column `first`
            rows = np.repeat(np.arange(n_samples), np.diff(csr.indptr))
            cursor += np.bincount(rows[csr.indices < first], minlength=n_samples).astype(cursor.dtype)
        _add_products(
            csr.data, csr.indices, csr.indptr, weights, by_column.indices, by_column.indptr, cursor, first, last, gram
        )

    if len(edges) == 2:
        block(*edges)
    else:
        Parallel(n_jobs=len(edges) - 1, backend="threading")(
            delayed(block)(first, last) for first, last in pairwise(edges)
        )
    return gram


def _column_blocks(csr: Any, n_blocks: int) -> list[int]:
    """Edges of blocks of columns with about equal work."""
    if n_blocks == 1:
        return [0, csr.shape[1]]
    remaining = np.repeat(csr.indptr[1:], np.diff(csr.indptr)) - np.arange(csr.nnz)
    work = np.cumsum(np.bincount(csr.indices, weights=remaining, minlength=csr.shape[1]))
    cuts = np.searchsorted(work, np.linspace(0.0, work[-1], n_blocks + 1)[1:-1])
    return sorted({0, *(int(cut) for cut in cuts), csr.shape[1]})


def _add_dense(rows: np.ndarray, weights: np.ndarray | None, gram: np.ndarray) -> None:
    if weights is not None:
        rows = rows * np.sqrt(weights).astype(rows.dtype)[:, np.newaxis]
    rank_k = scipy.linalg.blas.get_blas_funcs("syrk", (rows,))
    # The transpose of the C-ordered array is in Fortran order: its lower triangle is our upper one.
    if rows.flags.c_contiguous:
        rank_k(1.0, rows.T, beta=1.0, c=gram.T, trans=0, lower=1, overwrite_c=1)
    else:
        rank_k(1.0, rows, beta=1.0, c=gram.T, trans=1, lower=1, overwrite_c=1)


@kernel
def _weights_from_inverse(array, diagonal, out):
    """B = -P / diag(P) by columns, P from the lower triangle, in square tiles; `out` can be the array itself."""
    n = array.shape[0]
    for top in range(0, n, _TILE):
        bottom = min(top + _TILE, n)
        for left in range(0, top + 1, _TILE):
            for i in range(top, bottom):
                for j in range(left, min(left + _TILE, i)):
                    value = -array[i, j]
                    out[i, j] = value / diagonal[j]
                    out[j, i] = value / diagonal[i]
    for i in range(n):
        out[i, i] = 0.0


def _stationarity(array: np.ndarray, gram_diagonal: np.ndarray, ridge: np.ndarray) -> float:
    """The relative gradient off the diagonal, from the Gram matrix above and the inverse below the diagonal."""
    n = array.shape[0]
    inverse_diagonal = array.diagonal().astype(np.float64)
    penalized = gram_diagonal.astype(np.float64) + ridge
    symmetric = scipy.linalg.blas.get_blas_funcs("symm", (array,))
    signs = np.random.default_rng(0).choice(np.array([-1.0, 1.0]), (n, _PROBES))

    def with_gram(vectors: np.ndarray) -> np.ndarray:
        product = symmetric(1.0, array.T, vectors.astype(array.dtype), lower=1)
        return product + (penalized - inverse_diagonal)[:, np.newaxis] * vectors

    # The diagonal of G P, off which the residual is taken: sums over the triangles, a block of rows at a time.
    diagonal = penalized * inverse_diagonal
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        corner = array[start:stop, start:stop]
        both = np.triu(corner, 1) * np.tril(corner, -1).T
        diagonal[start:stop] += both.sum(axis=1, dtype=np.float64) + both.sum(axis=0, dtype=np.float64)
        both = array[start:stop, stop:] * array[stop:, start:stop].T
        diagonal[start:stop] += both.sum(axis=1, dtype=np.float64)
        diagonal[stop:] += both.sum(axis=0, dtype=np.float64)
    scaled = signs / inverse_diagonal[:, np.newaxis]
    image = symmetric(1.0, array.T, scaled.astype(array.dtype), lower=0)
    residual = with_gram(image) - diagonal[:, np.newaxis] * scaled
    start_gradient = with_gram(signs) - penalized[:, np.newaxis] * signs
    norm = np.linalg.norm(start_gradient)
    return float(np.linalg.norm(residual) / norm) if norm > 0.0 else 0.0


def regress_items(gram: np.ndarray, ridge: np.ndarray, *, overwrite: bool = False) -> ItemRegression:
    """Solve for the weights from the Gram matrix.

    Parameters
    ----------
    gram : ndarray of shape (n_items, n_items)
        The inner products of the columns in the upper triangle, in C order, float32 or float64; the lower triangle is
        used as a work space, the upper one and the diagonal are kept.
    ridge : ndarray of shape (n_items,)
        The penalty of each row of B, >= 0.
    overwrite : bool, default=False
        Whether the weights take the memory of `gram`, which is lost.

    Returns
    -------
    ItemRegression
        The weights and the certificate.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the penalized Gram matrix is not positive definite in its precision.
    """
    factorize, invert = scipy.linalg.lapack.get_lapack_funcs(("potrf", "potri"), (gram,))
    positions, failed = np.arange(gram.shape[0]), 1
    gram_diagonal = gram[positions, positions]
    # In the eyes of LAPACK (Fortran order) our lower triangle is the upper one.
    _mirror(gram)
    gram[positions, positions] += ridge.astype(gram.dtype)
    try:
        _, failed = factorize(gram.T, lower=0, clean=0, overwrite_a=1)
        if failed == 0:
            _, failed = invert(gram.T, lower=0, overwrite_c=1)
        if failed:
            raise np.linalg.LinAlgError(f"the Gram matrix ({gram.dtype}) is not positive definite at item {failed - 1}")
        kkt = _stationarity(gram, gram_diagonal, ridge)
        coef = gram if overwrite else np.empty_like(gram)
        _weights_from_inverse(gram, gram.diagonal().copy(), coef)
    finally:
        if not (overwrite and failed == 0):
            gram[positions, positions] = gram_diagonal
    return ItemRegression(coef, kkt)


def regress_items_of_array(gram: Any, ridge: Any) -> ItemRegression:
    """Solve on the device of the Gram matrix, an array of any array API library.

    Parameters
    ----------
    gram : array of shape (n_items, n_items)
        The inner products of the columns, all of them.
    ridge : array of shape (n_items,)
        The penalty of each row of B, > 0.

    Returns
    -------
    ItemRegression
        The weights, an array like `gram`, and the certificate, here exact.
    """
    xp = array_namespace(gram)
    identity = xp.eye(gram.shape[0], dtype=gram.dtype, device=device(gram))
    penalized = gram + identity * ridge
    inverse = xp.linalg.inv(penalized)
    others = 1.0 - identity
    coef = -inverse / xp.linalg.diagonal(inverse)[None, :] * others
    norm = float(xp.linalg.vector_norm(gram * others))
    gradient = float(xp.linalg.vector_norm((penalized @ coef - gram) * others))
    return ItemRegression(coef, gradient / norm if norm > 0.0 else 0.0)


@kernel
def _mirror(array):
    """Copy the upper triangle into the lower one, in square tiles."""
    n = array.shape[0]
    for top in range(0, n, _TILE):
        for left in range(top, n, _TILE):
            for i in range(top, min(top + _TILE, n)):
                for j in range(max(left, i + 1), min(left + _TILE, n)):
                    array[j, i] = array[i, j]
