r"""Completion of a matrix by the nuclear norm, to a certified duality gap.

.. math:: \min_Z \; F(Z) = \tfrac12 \sum_{(i, j) \in \Omega} s_{ij} (x_{ij} - z_{ij})^2 + \lambda \|Z\|_*

Two steps take turns. The **proximal step** of softImpute, :math:`Z \leftarrow S_{\lambda/L}(Z + E/L)` with the
weighted residual E (zero where nothing is known), :math:`L = \max s` and the singular values shrunk, decides on the
rank: it drops directions and finds new ones. The **alternating ridge regressions** of
:mod:`~sparsemodels.solvers.alternating_ridge` move within that rank much faster, since
:math:`\lambda \|Z\|_*` is the minimum of :math:`\tfrac\lambda2 (\|W\|^2 + \|H\|^2)` over :math:`Z = W H`. Neither ever
forms a dense matrix: the argument of the proximal step is sparse plus low rank.

**The certificate.** For every Y that is zero outside :math:`\Omega`, with spectral norm :math:`\|Y\|_2 \le \lambda`,

.. math:: \min_Z F(Z) \ge D(Y) = \sum_\Omega y_{ij} x_{ij} - \tfrac12 \sum_\Omega y_{ij}^2 / s_{ij},

because :math:`\tfrac12 s (x - z)^2 \ge y (x - z) - \tfrac12 y^2 / s` and :math:`\lambda \|Z\|_* \ge \langle Y, Z
\rangle`. At a minimiser Y = E attains it; at any other point E is scaled into the ball, at the best length.

References
----------
R. Mazumder, T. Hastie and R. Tibshirani, "Spectral regularization algorithms for learning large incomplete matrices",
Journal of Machine Learning Research 11, 2010. T. Hastie, R. Mazumder, J. Lee and R. Zadeh, "Matrix completion and
low-rank SVD via fast alternating least squares", Journal of Machine Learning Research 16, 2015.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from threadpoolctl import threadpool_limits

from .alternating_ridge import alternate_ridge, data_norm
from .observed_matrix import SomeEntries, shape
from .row_ridge import residuals

_DENSE = 100  # up to this smaller side a norm is computed at once
_POWERS = 3  # power iterations that turn candidates towards the singular vectors of the residual
_SWEEPS = 5  # alternating sweeps after a proximal step


class SoftImputed(NamedTuple):
    """A completed matrix in factors, with its certificate.

    Attributes
    ----------
    U : ndarray of shape (n_rows, rank)
        The left singular vectors of Z.
    singular_values : ndarray of shape (rank,)
        Its singular values > 0, in decreasing order.
    Vt : ndarray of shape (rank, n_columns)
        The right singular vectors, the largest entry of each positive.
    objective : float
        The objective F(Z).
    null_objective : float
        The objective of the zero matrix: the scale of `tol`.
    dual_gap : float
        How far the objective can be above its minimum.
    objective_history : ndarray of shape (n_rounds,)
        The objective after each proximal step.
    n_iter : int
        Alternating sweeps and proximal steps together.
    status : str
        "converged", "rank_max" (nothing but the limit on the rank is in the way), "max_iter", "time_limit", "stopped"
        or "interrupted".
    """

    U: np.ndarray
    singular_values: np.ndarray
    Vt: np.ndarray
    objective: float
    null_objective: float
    dual_gap: float
    objective_history: np.ndarray
    n_iter: int
    status: str


def _norm(matrix: np.ndarray) -> float:
    """The spectral norm of a dense matrix with one short side."""
    return float(scipy.linalg.svdvals(matrix, check_finite=False)[0]) if matrix.size else 0.0


def _lanczos_norm(E: Any, U: np.ndarray, V: np.ndarray, accuracy: float) -> float:
    """The spectral norm of (I - U U^T) E (I - V V^T), rounded up by the accuracy of its square."""
    if E.shape[0] < E.shape[1]:
        E, U, V = E.T, V, U

    def squared(vector: np.ndarray) -> np.ndarray:
        vector = vector.ravel()
        image = E @ (vector - V @ (V.T @ vector))
        image = E.T @ (image - U @ (U.T @ image))
        return image - V @ (V.T @ image)

    start = np.random.default_rng(0).standard_normal(E.shape[1])
    gram = LinearOperator((E.shape[1],) * 2, matvec=squared, dtype=np.float64)
    try:
        value = eigsh(gram, k=1, v0=start, tol=accuracy, return_eigenvectors=False)[0]
    except ArpackError:  # it is not the largest one, or it is and is not separated from many others
        return np.inf
    return float(np.sqrt(max(value, 0.0) * (1.0 + accuracy)))


def spectral_norm(E: Any, U: np.ndarray | None = None, V: np.ndarray | None = None, accuracy: float = 1e-10) -> float:
    r"""An upper bound of the largest singular value of a sparse matrix, tight near a solution.

    At a solution the residual E has the largest singular value as many times as the rank, and no Lanczos process takes
    such a cluster apart. But its vectors are known: with the singular vectors U, V of Z the norm is at most that of the
    2 x 2 matrix of the norms of the blocks :math:`U^T E V`, :math:`U^T E (I - V V^T)`, :math:`(I - U U^T) E V`, all
    exact, and :math:`(I - U U^T) E (I - V V^T)`, the only one that is left to Lanczos.

    Parameters
    ----------
    E : scipy sparse array of shape (n_rows, n_columns)
        The matrix, float64.
    U, V : ndarray of shape (n_rows, rank) and (n_columns, rank), optional
        Orthonormal columns.
    accuracy : float, default=1e-10
        The relative accuracy of the square of the last norm.

    Returns
    -------
    float
        The bound.
    """
    if not E.nnz or not np.abs(E.data).max():
        return 0.0
    if min(E.shape) <= _DENSE:
        return _norm(E.toarray())
    if U is None or V is None:
        U, V = np.zeros((E.shape[0], 0)), np.zeros((E.shape[1], 0))
    if U.shape[1] >= min(E.shape):
        return _norm(E.toarray())
    rest = _lanczos_norm(E, U, V, accuracy)
    if U.shape[1] == 0:
        return rest
    EV, EtU = E @ V, E.T @ U
    inner = U.T @ EV
    return _norm(np.array([[_norm(inner), _norm(EtU - V @ inner.T)], [_norm(EV - U @ inner), rest]]))


class _Problem:
    """The known entries with everything that stays the same from one level to the next."""

    def __init__(self, matrix: SomeEntries):
        self.matrix = matrix
        self.shape = shape(matrix)
        self.weights = matrix.rows.weights
        self.lipschitz = float(self.weights.max()) if self.weights.size else 1.0
        self.null_objective = 0.5 * data_norm(matrix) ** 2

    def slopes(self, W: np.ndarray, Ht: np.ndarray) -> tuple[np.ndarray, Any]:
        """Residuals of the entries, and the weighted ones as a sparse matrix."""
        rows = self.matrix.rows
        errors = residuals(rows, W, Ht)
        weighted = errors * self.weights if self.weights.size else errors
        return errors, scipy.sparse.csr_array((weighted, rows.indices, rows.indptr), shape=self.shape)

    def certify(
        self, alpha: float, point: tuple[np.ndarray, np.ndarray, np.ndarray], errors: np.ndarray, E: Any, tol: float
    ) -> tuple[float, float]:
        """The objective and its duality gap, the norm in it to a fraction of the tolerance."""
        U, s, Vt = point
        loss = 0.5 * float(errors @ E.data)
        objective = loss + alpha * float(s.sum())
        norm = spectral_norm(E, U, Vt.T, min(1e-4, max(0.05 * tol, 1e-14)))
        if norm == 0.0:
            return objective, objective
        # Y = t E: D = t <E, X> - t^2 * loss, at its best t within the ball.
        slope = float(E.data @ self.matrix.rows.data.astype(np.float64, copy=False))
        best = slope / (2.0 * loss) if loss > 0.0 else 0.0
        t = min(max(best, 0.0), alpha / norm)
        return objective, objective - (t * slope - t * t * loss)


def _proximal_step(
    W: np.ndarray, Ht: np.ndarray, E: Any, threshold: float, step: float, limit: int, candidates: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, bool]:
    """Shrink the singular values of W H + step * E within the rows of H and the best new directions of E.

    The candidates are turned towards the largest singular vectors of E by a few power iterations. Within any subspace
    that holds the rows of H the step is a proximal step of its own, so the objective falls however good they are.
    Returned are the factors of the new matrix, candidates for the next step, and whether the limit cut anything off.
    """
    basis = scipy.linalg.qr(Ht.astype(np.float64), mode="economic", check_finite=False)[0]
    for _ in range(_POWERS):
        candidates = candidates - basis @ (basis.T @ candidates)
        candidates = E.T @ (E @ scipy.linalg.qr(candidates, mode="economic", check_finite=False)[0])
    Q = scipy.linalg.qr(np.hstack([basis, candidates]), mode="economic", check_finite=False)[0]
    moved = W.astype(np.float64) @ (Ht.astype(np.float64).T @ Q) + step * (E @ Q)
    U, s, rotation = scipy.linalg.svd(moved, full_matrices=False, check_finite=False)
    Vt = rotation @ Q.T
    above = int(np.count_nonzero(s > threshold))
    size = min(above, limit)
    return U[:, :size], s[:size] - threshold, Vt[:size], Vt[size:].T, above > limit


def alpha_max(matrix: SomeEntries) -> float:
    """The smallest level at which the answer is zero: the spectral norm of the known entries, zeros elsewhere.

    Parameters
    ----------
    matrix : SomeEntries
        The known entries.

    Returns
    -------
    float
        The level.
    """
    n_rows, n_columns = shape(matrix)
    nothing = np.zeros((n_rows, 1)), np.zeros((n_columns, 1))
    with threadpool_limits(1, "blas"):
        return spectral_norm(_Problem(matrix).slopes(*nothing)[1])


def _with_signs(U: np.ndarray, Vt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Singular vectors of which the largest entry on the right is positive."""
    signs = np.sign(Vt[np.arange(len(Vt)), np.abs(Vt).argmax(axis=1)])
    return U * signs, Vt * signs[:, np.newaxis]


def _complete(problem: _Problem, alpha: float, rank_max: int | None) -> SoftImputed:
    """The closed form where everything is known: one singular value decomposition, shrunk."""
    X = problem.matrix.rows.data.reshape(problem.shape).astype(np.float64, copy=False)
    U, s, Vt = scipy.linalg.svd(X, full_matrices=False, check_finite=False)
    shrunk = np.maximum(s - alpha, 0.0)
    rank = int(np.count_nonzero(shrunk))
    limit = rank if rank_max is None else min(rank, rank_max)
    # With all of the singular values at hand, the primal and the dual objective of the truncated matrix are sums.
    residual = s - np.where(np.arange(s.size) < limit, shrunk, 0.0)
    objective = 0.5 * float(residual @ residual) + alpha * float(shrunk[:limit].sum())
    t = min(1.0, alpha / residual.max()) if residual.any() else 1.0
    gap = max(objective - t * float(residual @ s) + 0.5 * t * t * float(residual @ residual), 0.0)
    status = "converged" if limit == rank else "rank_max"
    U, Vt = _with_signs(U, Vt)
    return SoftImputed(
        U[:, :limit], shrunk[:limit], Vt[:limit], objective, problem.null_objective, gap, np.array([objective]), 1,
        status,
    )  # fmt: skip


def soft_impute(
    matrix: SomeEntries,
    alpha: float,
    *,
    rank_max: int | None = None,
    start: tuple[np.ndarray, np.ndarray] | None = None,
    tol: float = 1e-4,
    max_iter: int = 500,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
    n_jobs: int | None = None,
) -> SoftImputed:
    r"""Complete a matrix at one level of the nuclear norm.

    Parameters
    ----------
    matrix : SomeEntries
        The known entries.
    alpha : float
        The level :math:`\lambda > 0`.
    rank_max : int, optional
        The largest rank allowed; the smaller side of the matrix if None.
    start : tuple of ndarray of shape (n_rows, rank) and (n_columns, rank), optional
        Factors to start from, such as those of a neighbouring level; not modified.
    tol : float, default=1e-4
        The duality gap to reach, relative to the objective of the zero matrix.
    max_iter : int, default=500
        The largest number of sweeps and proximal steps together.
    deadline : float, default=inf
        The time of :func:`time.monotonic` after which to return what there is.
    on_iteration : callable, optional
        Called with the number of iterations and the relative duality gap after each proximal step; True stops.
    n_jobs : int, optional
        Threads of the sweeps; the answer is the same for any number.

    Returns
    -------
    SoftImputed
        The completed matrix in factors and its certificate.
    """
    problem = _Problem(matrix)
    n_rows, n_columns = problem.shape
    if matrix.rows.data.size == n_rows * n_columns and not matrix.rows.weights.size:
        return _complete(problem, alpha, rank_max)
    limit = min(n_rows, n_columns) if rank_max is None else min(rank_max, n_rows, n_columns)
    dtype = matrix.rows.data.dtype
    W, Ht = (np.zeros((n_rows, 0), dtype), np.zeros((n_columns, 0), dtype)) if start is None else start
    step = 1.0 / problem.lipschitz
    history: list[float] = []
    n_iter, status, best, full = 0, "", None, False
    inner_tol = 0.1 * np.sqrt(tol)
    random, candidates = np.random.default_rng(0), np.zeros((n_columns, 0))
    with threadpool_limits(1, "blas"):
        try:
            while not status:
                wanted = min(max(5, W.shape[1] // 2), n_columns - W.shape[1])
                fresh = random.standard_normal((n_columns, max(wanted - candidates.shape[1], 0)))
                candidates = np.hstack([candidates[:, :wanted], fresh])
                _, E = problem.slopes(W, Ht)
                U, s, Vt, candidates, full = _proximal_step(W, Ht, E, alpha * step, step, limit, candidates)
                W = np.ascontiguousarray(U * np.sqrt(s), dtype=dtype)
                Ht = np.ascontiguousarray(Vt.T * np.sqrt(s), dtype=dtype)
                objective, gap = problem.certify(alpha, (U, s, Vt), *problem.slopes(W, Ht), tol)
                n_iter += 1
                history.append(objective)
                best = (U, s, Vt, objective, gap)
                if gap <= tol * problem.null_objective:
                    status = "converged"
                elif n_iter >= max_iter:
                    status = "max_iter"
                elif time.monotonic() > deadline:
                    status = "time_limit"
                elif on_iteration is not None and on_iteration(n_iter, gap / problem.null_objective):
                    status = "stopped"
                elif len(history) > 3 and full and history[-2] - objective <= 1e-3 * tol * problem.null_objective:
                    status = "rank_max"
                elif s.size:
                    ridge = np.full(n_rows, alpha), np.full(n_columns, alpha)
                    swept = alternate_ridge(
                        matrix, W, Ht, *ridge,
                        tol=inner_tol, max_iter=min(_SWEEPS, max_iter - n_iter - 1), deadline=deadline, n_jobs=n_jobs,
                    )  # fmt: skip
                    n_iter += swept.n_iter
                    if swept.status == "interrupted":
                        raise KeyboardInterrupt
                    if swept.n_iter < _SWEEPS:
                        inner_tol *= 0.3
        except KeyboardInterrupt:
            if best is None:
                raise
            status = "interrupted"
    assert best is not None
    U, s, Vt, objective, gap = best
    U, Vt = _with_signs(U, Vt)
    return SoftImputed(U, s, Vt, objective, problem.null_objective, gap, np.array(history), n_iter, status)
