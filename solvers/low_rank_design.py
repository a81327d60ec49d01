r"""Designs of numerically low rank, such as smooth kernels, in coordinates of their range.

A kernel of n samples is a design of n columns, but smooth kernels fill a space of few dimensions r only: that of 2000
samples of one feature is, to rounding, of rank 30 to 80. A partial Cholesky factorization :math:`K = L L^T` finds the
space from r columns of K, in O(n r^2). With the thin factorization :math:`Q T` of the weighted, centred L,

.. math:: \tilde K = Q \, (T L^T) :

every quantity of the evidence depends on inner products alone, and those of the n x n design with itself and with
the targets are those of the r x n design :math:`T L^T` with itself and with :math:`Q^T Y`. What Y has outside the
range is noise for every model: its power becomes one more row, in which the design is zero. The problem is the same,
not an approximation, up to the rounding at which the factorization ends.

References
----------
S. Fine and K. Scheinberg, "Efficient SVM training using low-rank kernel representations", Journal of Machine Learning
Research 2, 2001: the factorization. F. R. Bach and M. I. Jordan, "Predictive low-rank decomposition for kernel
methods", ICML 2005.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.linalg

from .standardized_design import StandardizedDesign

_CONSTANT = 1e-13  # relative: below it the spread of a column of a factor is rounding


class LowRankDesign(NamedTuple):
    """A design and targets in coordinates of the range of the design.

    Attributes
    ----------
    design : StandardizedDesign
        The design T L' with a last row of zeros, for the solvers.
    Y : ndarray of shape (rank + 1, n_outputs)
        The targets for them: their last row is of the power outside the range.
    means : ndarray of shape (n_columns,) or None
        The weighted means of the columns of the whole design.
    """

    design: StandardizedDesign
    Y: np.ndarray
    means: np.ndarray | None


def partial_cholesky(
    column: Callable[[int], np.ndarray], diagonal: np.ndarray, most: int, tol: float = 1e-14
) -> np.ndarray | None:
    """A Cholesky factor with pivots of a positive semidefinite matrix of low rank.

    Parameters
    ----------
    column : callable
        Column j of the matrix; called for the pivots only.
    diagonal : ndarray of shape (n,)
        The diagonal of the matrix, >= 0.
    most : int
        The largest rank.
    tol : float, default=1e-14
        The error of each diagonal entry, relative to the entry; that of the others is no larger.

    Returns
    -------
    ndarray of shape (n, rank) or None
        The factor L, with the matrix L L'; None if more than `most` columns are needed.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.low_rank_design import partial_cholesky
    >>> K = np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 9.0]])
    >>> L = partial_cholesky(lambda j: K[:, j], np.diag(K), 2)
    >>> (L @ L.T).round(12)
    array([[1., 2., 0.],
           [2., 4., 0.],
           [0., 0., 9.]])
    """
    n = len(diagonal)
    size = np.sqrt(diagonal)
    unit = np.divide(1.0, size, out=np.zeros(n), where=size > 0.0)
    left = (size > 0.0).astype(np.float64)  # what is left of a diagonal of ones
    factor = np.empty((n, min(most, n)), order="F")
    for rank in range(factor.shape[1] + 1):
        pivot = int(np.argmax(left))
        if left[pivot] <= tol:
            return factor[:, :rank] * size[:, None]
        if rank == factor.shape[1]:
            break
        new = column(pivot) * (unit * unit[pivot])
        new -= factor[:, :rank] @ factor[pivot, :rank]
        new /= np.sqrt(left[pivot])
        factor[:, rank] = new
        left -= new * new
        left[pivot] = 0.0
    return None


def low_rank_design(
    factor: np.ndarray, Y: np.ndarray, weights: np.ndarray | None = None, *, center: bool = True
) -> LowRankDesign:
    """The design L L' and targets in coordinates of the range of L.

    Parameters
    ----------
    factor : ndarray of shape (n_samples, rank)
        The factor L.
    Y : ndarray of shape (n_samples, n_outputs)
        Weighted, centred targets.
    weights : ndarray of shape (n_samples,), optional
        Weights >= 0 of the rows, not all zero.
    center : bool, default=True
        Whether the weighted means of the columns are taken out.

    Returns
    -------
    LowRankDesign
        The problem of one row more than the rank.
    """
    n_samples = factor.shape[0]
    total = float(n_samples) if weights is None else float(weights.sum())
    rows, means = factor, None
    if center:
        mean = np.average(factor, axis=0, weights=weights)
        rows, means = factor - mean, factor @ mean
    if weights is not None:
        rows = rows * np.sqrt(weights)[:, None]
    basis, triangle = scipy.linalg.qr(rows, mode="economic", overwrite_a=rows is not factor, check_finite=False)
    inside = basis.T @ Y
    outside = Y - basis @ inside
    targets = np.zeros((len(triangle) + 1, Y.shape[1]))
    targets[:-1] = inside
    targets[-1, 0] = np.sqrt(np.vdot(outside, outside))
    X = np.zeros((len(triangle) + 1, n_samples), order="F")
    X[:-1] = triangle @ factor.T
    norms = np.sqrt(np.einsum("ij,ij->j", X, X))
    # Before centring, a column of L L' is at most this long.
    longest = np.sqrt(np.einsum("ij,ij->i", factor, factor)) * np.sqrt(
        np.max(np.einsum("ij,ij->i", factor, factor)) * total
    )
    norms = np.where(norms > _CONSTANT * longest, norms, np.inf)
    return LowRankDesign(StandardizedDesign(X, None, None, norms), targets, means)
