r"""The leading eigenspace of a fixed matrix plus one of low rank, :math:`K + V V^T`, again and again for changing V.

K is :math:`Y Y^T` for a tall, wide or sparse matrix Y. Where the smaller side of Y is moderate its eigenvectors are
computed once; in their basis the sum is a diagonal matrix plus one of low rank, and no later step looks at Y again.
Otherwise a Lanczos method takes products with Y.
"""

from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg

_MODERATE = 1500  # the smaller side of Y, up to which its eigenvectors are computed
_SMALL = 200  # size of a matrix, up to which LAPACK is faster than a Lanczos method


class Spectrum(NamedTuple):
    """A positive semidefinite matrix in its eigenvectors.

    Attributes
    ----------
    basis : ndarray of shape (n, m)
        Orthonormal eigenvectors.
    values : ndarray of shape (m,)
        Their eigenvalues, ascending; those of all other directions are zero.
    """

    basis: np.ndarray
    values: np.ndarray


class Products(NamedTuple):
    """A positive semidefinite matrix given by products with its factor.

    Attributes
    ----------
    factor : ndarray or sparse matrix of shape (n, k)
        The matrix Y.
    """

    factor: Any


class Leading(NamedTuple):
    """The leading eigenspace of :math:`K + V V^T` and what it holds.

    Attributes
    ----------
    total : float
        The sum of the leading eigenvalues.
    captured : float
        The trace of K within the subspace.
    projected : ndarray of shape (n, n_columns)
        V projected on the subspace.
    coordinates : ndarray of shape (m, rank)
        Orthonormal vectors that span the subspace, in the basis of the matrix and `extra`.
    extra : ndarray of shape (n, m - n_basis)
        Orthonormal directions outside of the basis of the matrix.
    """

    total: float
    captured: float
    projected: np.ndarray
    coordinates: np.ndarray
    extra: np.ndarray


def eigenstructure(factor: Any, *, moderate: int = _MODERATE) -> Spectrum | Products:
    """Prepare the matrix :math:`Y Y^T`.

    Parameters
    ----------
    factor : ndarray or sparse matrix of shape (n, k)
        The matrix Y.
    moderate : int, default=1500
        The smaller side of Y up to which its eigenvectors are computed.

    Returns
    -------
    Spectrum or Products
        The eigenvectors; or Y itself, where they would take too long or, Y being sparse, too much memory.
    """
    n, k = factor.shape
    if min(n, k) > moderate or (n > k and scipy.sparse.issparse(factor) and n > moderate):
        return Products(factor)
    if n <= k:
        gram = factor @ factor.T
        values, basis = scipy.linalg.eigh(gram.toarray() if scipy.sparse.issparse(gram) else gram)
    else:
        dense = factor.toarray() if scipy.sparse.issparse(factor) else factor
        basis, triangle = scipy.linalg.qr(dense, mode="economic")
        values, rotation = scipy.linalg.eigh(triangle @ triangle.T)
        basis = basis @ rotation
    return Spectrum(basis, np.maximum(values, 0.0))


def _largest(values: np.ndarray, V: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The leading eigenvalues and eigenvectors of a diagonal matrix plus `V` times its transpose."""
    size = values.size
    if size > _SMALL and 5 * rank <= size:

        def multiply(u: np.ndarray) -> np.ndarray:
            return values * u.ravel() + V @ (V.T @ u.ravel())

        operator = scipy.sparse.linalg.LinearOperator((size, size), matvec=multiply, dtype=np.float64)
        start = values / max(values.max(), 1e-300) + np.abs(V).sum(axis=1) / max(np.abs(V).sum(), 1e-300) + 1e-3
        try:
            return scipy.sparse.linalg.eigsh(operator, k=rank, which="LA", v0=start, ncv=min(size, 3 * rank + 20))
        except scipy.sparse.linalg.ArpackError:
            pass  # eigenvalues too close to each other
    matrix = V @ V.T
    matrix[np.diag_indices_from(matrix)] += values
    return scipy.linalg.eigh(matrix, subset_by_index=(size - rank, size - 1))


@singledispatch
def leading(K: Any, V: np.ndarray, rank: int) -> Leading:
    """The subspace of a given dimension that holds most of :math:`K + V V^T`.

    Parameters
    ----------
    K : Spectrum or Products
        The fixed matrix, of shape (n, n).
    V : ndarray of shape (n, n_columns)
        The factor of the matrix of low rank.
    rank : int
        The dimension; at most that of the matrix' range.

    Returns
    -------
    Leading
        The subspace.
    """
    raise TypeError(f"not a matrix in its eigenvectors or by products: {type(K).__name__}")


@leading.register
def _(K: Spectrum, V: np.ndarray, rank: int) -> Leading:
    inside = K.basis.T @ V
    n, m = K.basis.shape
    extra, values = np.empty((n, 0)), K.values
    if m < n:  # V may leave the range of K
        outside = V - K.basis @ inside
        outside -= K.basis @ (K.basis.T @ outside)  # twice is enough: orthogonal to working precision
        left, sizes, _ = scipy.linalg.svd(outside, full_matrices=False)
        extra = left[:, sizes > 1e-13 * np.linalg.norm(V)]
        if extra.shape[1]:
            inside = np.vstack([inside, extra.T @ outside])
            values = np.concatenate([values, np.zeros(extra.shape[1])])
    eigenvalues, coordinates = _largest(values, inside, min(rank, values.size))
    projected = coordinates @ (coordinates.T @ inside)
    captured = float(values @ np.einsum("ij,ij->i", coordinates, coordinates))
    return Leading(
        float(eigenvalues.sum()), captured, K.basis @ projected[:m] + extra @ projected[m:], coordinates, extra
    )


@leading.register
def _(K: Products, V: np.ndarray, rank: int) -> Leading:
    factor, n = K.factor, K.factor.shape[0]
    if rank >= n:
        raise ValueError(f"rank must be below the number of dimensions, {n}, got {rank}.")

    def multiply(u: np.ndarray) -> np.ndarray:
        return factor @ (factor.T @ u.ravel()) + V @ (V.T @ u.ravel())

    operator = scipy.sparse.linalg.LinearOperator((n, n), matvec=multiply, dtype=np.float64)
    start = factor @ np.ones(factor.shape[1]) + V.sum(axis=1)
    if not np.any(start):
        start = np.ones(n)
    eigenvalues, basis = scipy.sparse.linalg.eigsh(
        operator, k=rank, which="LA", v0=start, ncv=min(n, 2 * rank + 20), maxiter=max(10 * n, 1000)
    )
    captured = float(np.sum((factor.T @ basis) ** 2))
    return Leading(float(eigenvalues.sum()), captured, basis @ (basis.T @ V), basis, np.empty((n, 0)))


def subspace_basis(K: Spectrum | Products, subspace: Leading) -> np.ndarray:
    """Orthonormal vectors that span a subspace.

    Parameters
    ----------
    K : Spectrum or Products
        The fixed matrix.
    subspace : Leading
        The subspace.

    Returns
    -------
    ndarray of shape (n, rank)
        The vectors.
    """
    if isinstance(K, Products):
        return subspace.coordinates
    m = K.basis.shape[1]
    return K.basis @ subspace.coordinates[:m] + subspace.extra @ subspace.coordinates[m:]
