"""Codes of new rows for components that stay fixed, under each family of losses."""

from typing import Any

import numpy as np

from .beta_factorization import improve_rows
from .factor_penalty import RowPenalty, improve
from .half_quadratic_losses import LOSSES, robust_weight
from .observed_matrix import ObservedMatrix, power_sum, shape, values
from .robust_factorization import Reweighted


def least_squares_codes(
    matrix: ObservedMatrix, Ht: np.ndarray, penalty: Any = RowPenalty(), *, n_jobs: int | None = None
) -> np.ndarray:
    """Solve every row's penalised nonnegative least squares exactly.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The rows.
    Ht : ndarray of shape (n_columns, n_components)
        The components, transposed.
    penalty : RowPenalty or another record of a penalty
        The penalty of the codes.
    n_jobs : int, optional
        Threads over blocks of rows; the answer does not depend on them.

    Returns
    -------
    ndarray of shape (n_rows, n_components)
        The codes.
    """
    W = np.zeros((shape(matrix)[0], Ht.shape[1]), dtype=values(matrix).dtype)
    improve(penalty, matrix, W, Ht, max_sweeps=1, exact=True, n_jobs=n_jobs)
    return W


def divergence_codes(
    matrix: ObservedMatrix,
    Ht: np.ndarray,
    beta: float,
    penalty: RowPenalty = RowPenalty(),
    *,
    tol: float = 1e-8,
    max_iter: int = 1000,
    n_jobs: int | None = None,
) -> np.ndarray:
    """Minimise every row's beta-divergence by Newton steps.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The rows.
    Ht : ndarray of shape (n_columns, n_components)
        The components, transposed.
    beta : float
        Which divergence.
    penalty : RowPenalty
        The penalty of the codes.
    tol : float, default=1e-8
        Stop once the relative residual of the optimality conditions is at most this.
    max_iter : int, default=1000
        The most steps.
    n_jobs : int, optional
        Threads over blocks of rows; the answer does not depend on them.

    Returns
    -------
    ndarray of shape (n_rows, n_components)
        The codes.
    """
    energy = power_sum(matrix, beta)
    # Every row begins at the multiple of the sum of all components that has its own sum.
    start = np.sqrt(max(power_sum(matrix, 1.0), 1e-300) / max(float(Ht.sum(dtype=np.float64)), 1e-300))
    W = np.full((shape(matrix)[0], Ht.shape[1]), start, dtype=values(matrix).dtype)
    improve_rows(matrix, W, Ht, beta, penalty, solver="mu", n_jobs=n_jobs)
    for _ in range(max_iter):
        seen = improve_rows(matrix, W, Ht, beta, penalty, solver="cd", want_loss=False, n_jobs=n_jobs)
        if seen.kkt_squared <= tol**2 * energy:
            break
    return W


def robust_codes(
    matrix: ObservedMatrix,
    Ht: np.ndarray,
    loss: str,
    axis: str,
    sigma: float,
    feature_weights: Any = None,
    penalty: Any = RowPenalty(),
    *,
    tol: float = 1e-8,
    max_iter: int = 1000,
    n_jobs: int | None = None,
) -> np.ndarray:
    """Minimise the robust loss of new rows by reweighted least squares, each solved exactly.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The rows.
    Ht : ndarray of shape (n_columns, n_components)
        The components, transposed.
    loss : {"correntropy", "cauchy", "huber", "l21"}
        The loss.
    axis : {"features", "samples", "elements"}
        Whether it is that of the residual norms of columns, rows or single entries. The weights of columns are those of
        the fit: a column is not judged anew by a few rows.
    sigma : float
        The width of the loss.
    feature_weights : ndarray of shape (n_columns,), optional
        The weights of the columns, for the axis "features".
    penalty : RowPenalty or another record of a penalty
        The penalty of the codes.
    tol : float, default=1e-8
        Stop once the relative residual of the optimality conditions is at most this.
    max_iter : int, default=1000
        The most times that the weights are taken anew.
    n_jobs : int, optional
        Threads over blocks of rows; the answer does not depend on them.

    Returns
    -------
    ndarray of shape (n_rows, n_components)
        The codes.
    """
    problem = Reweighted(matrix, axis, penalty, RowPenalty())
    if axis == "features":
        W = np.zeros((shape(matrix)[0], Ht.shape[1]), dtype=values(matrix).dtype)
        weighted, _, scaled_Ht, *_ = problem.weighted(np.asarray(feature_weights), W, Ht)
        return least_squares_codes(weighted, scaled_Ht, penalty, n_jobs=n_jobs)
    W = least_squares_codes(matrix, Ht, penalty, n_jobs=n_jobs)
    for _ in range(max_iter):
        weights = robust_weight(LOSSES[loss](sigma), problem.squares(W, Ht))
        weighted, scaled, _, weighted_penalty, _, scale, _ = problem.weighted(weights, W, Ht)
        scaled = np.ascontiguousarray(scaled)
        seen = improve(weighted_penalty, weighted, scaled, Ht, max_sweeps=1, exact=True, n_jobs=n_jobs)
        W = scaled / scale
        if seen.kkt_squared <= tol**2 * power_sum(weighted, 2.0):
            break
    return W
