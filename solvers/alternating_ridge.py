r"""Low-rank completion by alternating least squares: ridge regressions of the rows of one factor on the other's.

.. math:: \min_{W,\, H} \; \tfrac12 \sum_{(i, j) \in \Omega} s_{ij} (x_{ij} - w_i \cdot h_j)^2
    + \tfrac12 \sum_i \rho_i \|w_i\|^2 + \tfrac12 \sum_j \sigma_j \|h_j\|^2,

where with biases the last entries of :math:`w_i` and :math:`h_j` are added to the product instead of being multiplied.
Every update is exact or a descent step, so the objective never rises. Between the sweeps the two factors are
*balanced*: among all pairs with the same product the one of smallest penalty is taken, and what biases could express as
well goes where it costs least. Sweeps alone find both only slowly: nothing but the penalty tells these pairs apart.

References
----------
Y. Zhou, D. Wilkinson, R. Schreiber and R. Pan, "Large-scale parallel collaborative filtering for the Netflix prize",
AAIM 2008. T. Hastie, R. Mazumder, J. Lee and R. Zadeh, "Matrix completion and low-rank SVD via fast alternating least
squares", Journal of Machine Learning Research 16, 2015.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from threadpoolctl import threadpool_limits

from .observed_matrix import SomeEntries
from .row_ridge import solve_rows


class AlternatingRidge(NamedTuple):
    """Two factors with the certificate of a stationary point.

    Attributes
    ----------
    W : ndarray of shape (n_rows, rank)
        The factor of the rows.
    Ht : ndarray of shape (n_columns, rank)
        The factor of the columns.
    objective : float
        The penalised objective.
    objective_history : ndarray of shape (n_iter + 1,)
        The objective at the start and after each sweep; it never rises.
    kkt : float
        The root of the sum over all coordinates of squared gradient over curvature, relative to the norm of the data:
        how far single coordinates still want to move.
    n_iter : int
        Sweeps, each an update of both factors.
    status : str
        "converged", "max_iter", "time_limit", "stopped" or "interrupted".
    """

    W: np.ndarray
    Ht: np.ndarray
    objective: float
    objective_history: np.ndarray
    kkt: float
    n_iter: int
    status: str


def balance(W: np.ndarray, Ht: np.ndarray, ridge_W: np.ndarray, ridge_H: np.ndarray) -> np.ndarray:
    r"""Replace two factors, in place, by the pair with the same product and the smallest penalty.

    With the penalties as weights, :math:`\sqrt\rho W = Q_1 R_1`, :math:`\sqrt\sigma H^T = Q_2 R_2` and the singular
    value decomposition :math:`R_1 R_2^T = U D V^T`, that pair is :math:`Q_1 U D^{1/2}`, :math:`Q_2 V D^{1/2}`, and its
    penalty is the nuclear norm of the product.

    Parameters
    ----------
    W : ndarray of shape (n_rows, rank)
        The factor of the rows.
    Ht : ndarray of shape (n_columns, rank)
        The factor of the columns.
    ridge_W, ridge_H : ndarray of shape (n_rows,) and (n_columns,)
        The penalties of the rows of each, >= 0. Rows without penalty make every pair equal or let one factor grow
        without bound: nothing is done if one of them is not zero.

    Returns
    -------
    ndarray of shape (<= rank,)
        The singular values D of the product, in decreasing order, with the penalties as weights; empty if nothing was
        done.
    """
    free_W, free_H = ridge_W == 0.0, ridge_H == 0.0
    if W[free_W].any() or Ht[free_H].any():
        return np.empty(0)
    root_W, root_H = np.sqrt(ridge_W)[:, np.newaxis], np.sqrt(ridge_H)[:, np.newaxis]
    Q1, R1 = scipy.linalg.qr(root_W * W, mode="economic", check_finite=False)
    Q2, R2 = scipy.linalg.qr(root_H * Ht, mode="economic", check_finite=False)
    U, D, Vt = scipy.linalg.svd(R1 @ R2.T, full_matrices=False, check_finite=False)
    W[:, D.size :], Ht[:, D.size :] = 0.0, 0.0  # a side shorter than the rank
    with np.errstate(divide="ignore", invalid="ignore"):
        W[:, : D.size] = np.where(root_W > 0.0, Q1 @ (U * np.sqrt(D)) / root_W, 0.0)
        Ht[:, : D.size] = np.where(root_H > 0.0, Q2 @ (Vt.T * np.sqrt(D)) / root_H, 0.0)
    return D


def share_biases(W: np.ndarray, Ht: np.ndarray, ridge_W: np.ndarray, ridge_H: np.ndarray) -> None:
    r"""Move what biases and factors can both express to where it is penalised least, in place.

    Adding c to every row of H and taking W c from the biases of the rows changes no fitted value, nor does the same on
    the other side, nor a constant moved from one kind of bias to the other. Alternating updates follow these flat
    directions by tiny steps; here each of the three is minimised exactly.

    Parameters
    ----------
    W : ndarray of shape (n_rows, rank + 1)
        The factor of the rows, their biases in the last column.
    Ht : ndarray of shape (n_columns, rank + 1)
        The factor of the columns, likewise.
    ridge_W, ridge_H : ndarray of shape (n_rows,) and (n_columns,)
        The penalties of the rows of each, >= 0. Rows without penalty, which have no entries, become zero.
    """
    total_W, total_H = float(ridge_W.sum()), float(ridge_H.sum())
    if not (total_W > 0.0 and total_H > 0.0):
        return
    for F, K, ridge_F, ridge_K, total_K in ((W, Ht, ridge_W, ridge_H, total_H), (Ht, W, ridge_H, ridge_W, total_W)):
        factor, bias = F[:, :-1].astype(np.float64), F[:, -1].astype(np.float64)
        weighted = ridge_F[:, np.newaxis] * factor
        system = weighted.T @ factor + total_K * np.eye(factor.shape[1])
        shift = np.linalg.solve(system, weighted.T @ bias - K[:, :-1].T @ ridge_K)
        K[:, :-1] += shift.astype(K.dtype)
        F[:, -1] -= (factor @ shift).astype(F.dtype)
    constant = (ridge_H @ Ht[:, -1] - ridge_W @ W[:, -1]) / (total_W + total_H)
    W[:, -1] += W.dtype.type(constant)
    Ht[:, -1] -= W.dtype.type(constant)
    W[ridge_W == 0.0] = 0.0
    Ht[ridge_H == 0.0] = 0.0


def penalty(factor: np.ndarray, ridge: np.ndarray) -> float:
    """Half the weighted sum of squared rows, in float64.

    Parameters
    ----------
    factor : ndarray of shape (n_rows, rank)
        The factor.
    ridge : ndarray of shape (n_rows,)
        The weights.

    Returns
    -------
    float
        The penalty.
    """
    return 0.5 * float(ridge @ np.einsum("ir,ir->i", factor, factor, dtype=np.float64))


def data_norm(matrix: SomeEntries) -> float:
    """The root of the weighted sum of squares of the known entries, in float64.

    Parameters
    ----------
    matrix : SomeEntries
        The known entries.

    Returns
    -------
    float
        The norm.
    """
    squares = np.square(matrix.rows.data, dtype=np.float64)
    weights = matrix.rows.weights
    return float(np.sqrt(squares @ weights if weights.size else squares.sum()))


def alternate_ridge(
    matrix: SomeEntries,
    W: np.ndarray,
    Ht: np.ndarray,
    ridge_W: np.ndarray,
    ridge_H: np.ndarray,
    *,
    biased: bool = False,
    solver: str = "cholesky",
    n_steps: int = 3,
    tol: float = 1e-4,
    max_iter: int = 100,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
    n_jobs: int | None = None,
) -> AlternatingRidge:
    """Minimise by alternating updates of the two factors, that of the columns first.

    Parameters
    ----------
    matrix : SomeEntries
        The known entries, their mean taken off if the factors have biases.
    W : ndarray of shape (n_rows, rank)
        Where the factor of the rows starts, in C order; changed in place.
    Ht : ndarray of shape (n_columns, rank)
        Where the factor of the columns starts, of the same type; changed in place.
    ridge_W, ridge_H : ndarray of shape (n_rows,) and (n_columns,)
        The penalty of each row of the factors.
    biased : bool, default=False
        Whether the last columns of the factors are biases.
    solver : {"cholesky", "cg", "coordinate_descent"}, default="cholesky"
        How a row is updated, as in :func:`~sparsemodels.solvers.row_ridge.solve_rows`.
    n_steps : int, default=3
        Steps or sweeps of an inexact update.
    tol : float, default=1e-4
        The `kkt` to reach.
    max_iter : int, default=100
        The largest number of sweeps.
    deadline : float, default=inf
        The time of :func:`time.monotonic` after which to return what there is.
    on_iteration : callable, optional
        Called with the number of sweeps and the objective after each; True stops.
    n_jobs : int, optional
        Threads.

    Returns
    -------
    AlternatingRidge
        The factors and their certificate.
    """
    options: dict[str, Any] = {"biased": biased, "n_jobs": n_jobs}
    product = slice(0, W.shape[1] - 1 if biased else W.shape[1])
    scale = data_norm(matrix)
    history: list[float] = []

    def measure() -> float:
        at_W = solve_rows(matrix.rows, W, Ht, ridge_W, n_steps=0, **options)
        at_H = solve_rows(matrix.columns, Ht, W, ridge_H, n_steps=0, **options)
        history.append(at_W.loss + penalty(W, ridge_W) + penalty(Ht, ridge_H))
        return float(np.sqrt(at_W.kkt_squared + at_H.kkt_squared))

    with threadpool_limits(1, "blas"):
        kkt, n_iter, status = measure(), 0, ""
        try:
            while not status:
                if kkt <= tol * scale:
                    status = "converged"
                elif n_iter == max_iter:
                    status = "max_iter"
                elif time.monotonic() > deadline:
                    status = "time_limit"
                elif n_iter and on_iteration is not None and on_iteration(n_iter, history[-1]):
                    status = "stopped"
                else:
                    n_iter += 1
                    solve_rows(matrix.columns, Ht, W, ridge_H, solver=solver, n_steps=n_steps, **options)
                    if biased:
                        share_biases(W, Ht, ridge_W, ridge_H)
                        W[np.diff(matrix.rows.indptr) == 0] = 0.0  # without entries there is nothing to fit
                        Ht[np.diff(matrix.columns.indptr) == 0] = 0.0
                    balance(W[:, product], Ht[:, product], ridge_W, ridge_H)
                    solve_rows(matrix.rows, W, Ht, ridge_W, solver=solver, n_steps=n_steps, **options)
                    kkt = measure()
        except KeyboardInterrupt:  # in the middle of a sweep the factors are no worse than before it: measure them
            status = "interrupted"
            del history[n_iter:]
            kkt = measure()
    return AlternatingRidge(W, Ht, history[-1], np.array(history), kkt / scale if scale > 0.0 else 0.0, n_iter, status)
