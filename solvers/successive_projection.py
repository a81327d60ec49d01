"""Successive projection: the rows of which all others are mixtures.

Where some rows of the matrix are "pure", every other row being a nonnegative combination of them (with a sum of at most
one, or with any sum after normalisation of the rows), they are found exactly: the row of largest norm is one of them,
and among the parts of all rows orthogonal to it the same holds for the others. In hyperspectral unmixing the pure rows
are the pixels that show one material alone.
"""

from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from .observed_matrix import DenseMatrix, MostEntries, SomeEntries, SparseMatrix, shape


class SuccessiveProjection(NamedTuple):
    """The rows found.

    Attributes
    ----------
    indices : ndarray of shape (n_found,)
        The rows in the order in which they were found; fewer than asked for where the others are combinations of
        these up to rounding.
    residual_norms : ndarray of shape (n_found,)
        The norm of the part of each that is orthogonal to those before it.
    """

    indices: np.ndarray
    residual_norms: np.ndarray


@singledispatch
def _as_array(matrix: Any) -> Any:
    """The matrix with zeros for what is unknown."""
    raise TypeError(f"not an observed matrix: {type(matrix).__name__}")


@_as_array.register(DenseMatrix)
@_as_array.register(MostEntries)
def _(matrix: Any) -> Any:
    return matrix.X


@_as_array.register(SparseMatrix)
@_as_array.register(SomeEntries)
def _(matrix: Any) -> Any:
    rows = matrix.rows
    return scipy.sparse.csr_array((rows.data, rows.indices, rows.indptr), shape=shape(matrix))


def _square_norms(X: Any) -> np.ndarray:
    if scipy.sparse.issparse(X):
        return np.asarray(X.multiply(X).sum(axis=1), dtype=np.float64).ravel()
    return np.einsum("ij,ij->i", X, X, dtype=np.float64)


def successive_projection(matrix: Any, n_components: int, *, normalize: bool = False) -> SuccessiveProjection:
    """Find rows whose convex cone, or convex hull with zero, holds all others.

    Costs ``2 * n_components`` products of the matrix with a vector; a sparse matrix stays sparse.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The matrix; unknown entries are taken for zeros.
    n_components : int
        How many rows to find.
    normalize : bool, default=False
        Whether rows are compared after division by their sums of absolute values: for mixtures whose coefficients do
        not add up to one. It makes noise in faint rows loud.

    Returns
    -------
    SuccessiveProjection
        The rows.

    References
    ----------
    M. C. U. Araujo et al., "The successive projections algorithm for variable selection in spectroscopic
    multicomponent analysis", Chemometrics and Intelligent Laboratory Systems 57, 2001; N. Gillis and S. A. Vavasis,
    "Fast and robust recursive algorithms for separable nonnegative matrix factorization", IEEE Transactions on Pattern
    Analysis and Machine Intelligence 36, 2014 (exactness and robustness).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.observed_matrix import observe
    >>> from sparsemodels.solvers.successive_projection import successive_projection
    >>> mixtures = np.array([[0.5, 0.5], [0.0, 1.0], [0.2, 0.6], [2.0, 0.0]])
    >>> successive_projection(observe(mixtures), 2).indices
    array([3, 1])
    """
    X = _as_array(matrix)
    squares = _square_norms(X)
    scale = np.ones(X.shape[0])
    if normalize:
        sums = np.asarray(abs(X).sum(axis=1), dtype=np.float64).ravel()
        scale[sums > 0.0] = 1.0 / sums[sums > 0.0]
        squares = squares * scale**2
    whole = squares.copy()
    basis = np.empty((min(n_components, *X.shape), X.shape[1]))
    indices, norms = [], []
    for k in range(basis.shape[0]):
        best = int(np.argmax(squares))
        row = X[[best]].toarray()[0] if scipy.sparse.issparse(X) else X[best]
        direction = row * scale[best]
        for _ in range(2):  # the second pass removes the rounding of the first
            direction = direction - (basis[:k] @ direction) @ basis[:k]
        norm = float(np.sqrt(direction @ direction))
        if norm <= 1e2 * np.finfo(X.dtype).eps * np.sqrt(whole.max(initial=0.0)):
            break
        indices.append(best)
        norms.append(norm)
        basis[k] = direction / norm
        coordinates = np.asarray(X @ basis[k].astype(X.dtype), dtype=np.float64) * scale
        squares = np.maximum(squares - coordinates**2, 0.0)
        squares[best] = 0.0
    return SuccessiveProjection(np.array(indices, dtype=np.intp), np.array(norms))
