r"""Nonnegative factorization under a beta-divergence, with penalties, missing entries and weights.

.. math:: \min_{W, H \ge 0} \; \sum_{ij} w_{ij} \, d_\beta\bigl(x_{ij} \mid (W H)_{ij}\bigr) + p(W) + q(H)

over the known entries, :math:`d_\beta` as in :mod:`~sparsemodels.solvers.beta_divergence`. Half-steps improve all rows
of one factor, H standing transposed: by multiplicative updates, or by a Newton step of every row
(:mod:`~sparsemodels.solvers.divergence_newton`), which costs a few times as much and takes a small part of the
iterations. Between half-steps the factors are pushed on along their last change while the objective falls.

**Certificate.** The residual of the optimality conditions sums over all entries f of both factors the product
:math:`g\,(f - \min(\max(f - g / c, 0), u))` of the gradient and the entry's own Newton step to within its bounds,
:math:`c = \sum_j w_j k_j^2 c_\beta(x_j, y_j) + \rho` being the curvature of the convex part, takes the root, and
divides by that of :math:`\sum_{ij} w_{ij} x_{ij}^\beta`: it does not change with the scale of the data, or of a
component against its codes. Under squared error :math:`c` times the square of the step is summed, the measure of
:mod:`~sparsemodels.solvers.alternating_factorization`; the two differ only where the step ends at a bound.

References
----------
C. Févotte and J. Idier, "Algorithms for nonnegative matrix factorization with the beta-divergence", Neural Computation
23, 2011. A. M. S. Ang and N. Gillis, "Accelerating nonnegative matrix factorization algorithms using extrapolation",
Neural Computation 31, 2019.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from .alternating_factorization import Factorization
from .beta_divergence import (
    curvature_coefficients,
    mean_entry,
    rows_per_block,
    smallest_approximation,
    stays_sparse,
)
from .dense_divergence import block_scratch, pairwise_products, update_dense_rows
from .extrapolation import Push
from .factor_penalty import RowPenalty, penalty_value
from .listed_divergence import update_listed_rows
from .multiplicative_updates import lift_zeros, monotone_exponent
from .observed_matrix import ObservedMatrix, SparseMatrix, power_sum, transposed

_LISTED_BLOCK = 1024
_SWEEPS, _DELTA = 10, 0.1  # of coordinate descent on a row's quadratic model
_SAFE_SHARE = 0.1  # what a push leaves of an entry at least: the approximation stays positive where it has to be
_CONFIRM, _PATIENCE = 3.0, 5  # when the residual of the kept pair is measured: how near, and how often
_FIRST_MULTIPLICATIVE = 9  # iterations before the Newton steps
_MEASURE_EVERY = 10  # multiplicative updates do not need the residual: it is measured now and then


class RowsImproved(NamedTuple):
    """What a half-step measured.

    Attributes
    ----------
    loss : float
        The divergence after it, without penalties; NaN where it was not asked for.
    kkt_squared : float
        The squared KKT residual of the rows before it; NaN where it was not measured.
    """

    loss: float
    kkt_squared: float


def improve_rows(
    matrix: ObservedMatrix,
    F: np.ndarray,
    K: np.ndarray,
    beta: float,
    penalty: RowPenalty = RowPenalty(),
    *,
    solver: str = "cd",
    repeats: int = 1,
    measure: bool = True,
    want_loss: bool = True,
    mean: float | None = None,
    n_jobs: int | None = None,
) -> RowsImproved:
    """Improve all rows of one factor under a beta-divergence, in place, the other factor fixed.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The matrix, seen so that its rows belong to the rows of `F`.
    F : ndarray of shape (n_rows, n_components), C order
        The factor, changed in place; positive wherever the objective would otherwise be infinite.
    K : ndarray of shape (n_columns, n_components), C order
        The other factor.
    beta : float
        Which divergence.
    penalty : RowPenalty
        The penalty of `F`, without a graph.
    solver : {"cd", "mu"}, default="cd"
        A Newton step of every row, or multiplicative updates.
    repeats : int, default=1
        Updates of every row; 0 changes nothing and only measures.
    measure : bool, default=True
        Whether to measure the KKT residual; Newton steps always do.
    want_loss : bool, default=True
        Whether to return the divergence after the update.
    mean : float, optional
        The mean of the known entries where it is known already.
    n_jobs : int, optional
        Threads; the answer does not depend on them.

    Returns
    -------
    RowsImproved
        Divergence after the update, KKT residual before it.
    """
    newton = solver == "cd" and repeats > 0
    mean = mean_entry(matrix) if mean is None else mean
    floor = smallest_approximation(mean, beta, F.dtype)
    exponent = monotone_exponent(beta, penalty.l2)
    n_rows, r = F.shape
    column_sums = K.sum(axis=0, dtype=np.float64)
    work: Callable[[int, int], np.ndarray]
    if stays_sparse(matrix, beta):
        rows, shared = matrix.rows, isinstance(matrix, SparseMatrix)  # type: ignore[union-attr]
        slope = column_sums if shared and beta == 1.0 else np.zeros(r)
        gram = (K.T @ K).astype(np.float64) if shared and beta == 2.0 else np.zeros((r, r))
        size = _LISTED_BLOCK

        def work(start: int, stop: int) -> np.ndarray:
            totals = np.zeros(2)
            update_listed_rows(
                rows.data, rows.indices, rows.indptr, rows.weights, K, F, start, stop, beta,
                curvature_coefficients(beta), shared, slope, gram, float(penalty.l1), float(penalty.l2),
                float(penalty.upper_bound), floor, newton, exponent, repeats, _SWEEPS, _DELTA, measure, want_loss,
                totals,
            )  # fmt: skip
            return totals
    else:
        size = rows_per_block(matrix)
        column_sums = column_sums.astype(F.dtype)
        scales, pairs = pairwise_products(K) if newton else (np.empty(0), np.empty((0, 0)))

        def work(start: int, stop: int) -> np.ndarray:
            return update_dense_rows(
                matrix, F, K, start, stop, block_scratch(matrix, stop - start, K, newton), beta=beta,
                penalty=penalty, floor=floor, mean=mean, newton=newton, exponent=exponent, max_repeats=repeats,
                max_sweeps=_SWEEPS, delta=_DELTA, measure=measure, want_loss=want_loss, column_sums=column_sums,
                scales=scales, all_pairs=pairs,
            )  # fmt: skip

    starts = range(0, n_rows, size)
    if effective_n_jobs(n_jobs) == 1 or len(starts) == 1:
        totals = np.array([work(start, min(start + size, n_rows)) for start in starts])
    else:
        tasks = (delayed(work)(start, min(start + size, n_rows)) for start in starts)
        totals = np.array(Parallel(n_jobs=n_jobs, backend="threading")(tasks))
    loss, kkt_squared = totals.sum(axis=0)
    return RowsImproved(float(loss) if want_loss else np.nan, float(kkt_squared) if newton or measure else np.nan)


def certify_beta(
    matrix: ObservedMatrix,
    W: np.ndarray,
    Ht: np.ndarray,
    beta: float,
    penalty_W: RowPenalty = RowPenalty(),
    penalty_H: RowPenalty = RowPenalty(),
    *,
    n_jobs: int | None = None,
) -> tuple[float, float]:
    """The objective of a pair of factors and the relative residual of its optimality conditions.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The matrix.
    W, Ht : ndarray of shape (n_rows, n_components), (n_columns, n_components)
        The factors; not changed.
    beta : float
        Which divergence.
    penalty_W, penalty_H : RowPenalty
        Their penalties.
    n_jobs : int, optional
        Threads.

    Returns
    -------
    objective : float
        The divergence plus the penalties.
    kkt : float
        The residual.
    """
    first = improve_rows(matrix, W, Ht, beta, penalty_W, repeats=0, n_jobs=n_jobs)
    second = improve_rows(transposed(matrix), Ht, W, beta, penalty_H, repeats=0, want_loss=False, n_jobs=n_jobs)
    objective = first.loss + penalty_value(penalty_W, W) + penalty_value(penalty_H, Ht)
    return objective, float(np.sqrt((first.kkt_squared + second.kkt_squared) / _energy(matrix, beta)))


def _energy(matrix: ObservedMatrix, beta: float) -> float:
    energy = power_sum(matrix, beta)
    return energy if energy > 0.0 else 1.0


def _pushed(new: np.ndarray, old: np.ndarray, push: float, upper: float) -> np.ndarray:
    """A factor moved on along its last change, no entry losing more than a fixed part of itself."""
    if push == 0.0:
        return new.copy()
    moved = new + new.dtype.type(push) * (new - old)
    np.maximum(moved, new.dtype.type(_SAFE_SHARE) * new, out=moved)
    return np.minimum(moved, upper, out=moved)


def _fix_scales(new: np.ndarray, old: np.ndarray, other: np.ndarray) -> None:
    """Give the components of `new` the norms that they have in `old`, in place, and `other` the inverse.

    A factor can grow while the other shrinks, at no cost: a push would go on along this direction for ever.
    """
    norms, before = (np.sqrt(np.square(F, dtype=np.float64).sum(axis=0)) for F in (new, old))
    ratio = np.where((norms > 0.0) & (before > 0.0), norms / np.where(before > 0.0, before, 1.0), 1.0)
    ratio = ratio.astype(new.dtype)
    new /= ratio
    other *= ratio


def factorize_beta(
    matrix: ObservedMatrix,
    W: np.ndarray,
    Ht: np.ndarray,
    beta: float,
    penalty_W: RowPenalty = RowPenalty(),
    penalty_H: RowPenalty = RowPenalty(),
    *,
    solver: str = "cd",
    tol: float = 1e-4,
    max_iter: int = 200,
    extrapolate: bool = True,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
    n_jobs: int | None = None,
) -> Factorization:
    """Factorize a matrix into nonnegative factors under a beta-divergence.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        What is known of the matrix, from :func:`~sparsemodels.solvers.observed_matrix.observe`; inside the domain of
        the divergence (:func:`~sparsemodels.solvers.beta_divergence.check_domain`).
    W : ndarray of shape (n_rows, n_components)
        Where to start; not changed. Its zeros, and those of `Ht`, are lifted by a thousandth of the mean.
    Ht : ndarray of shape (n_columns, n_components)
        The other factor, transposed; not changed.
    beta : float
        Which divergence: 2 squared error, 1 Kullback-Leibler, 0 Itakura-Saito, or any other number in [-1, 3].
    penalty_W, penalty_H : RowPenalty
        Penalties of the factors; graphs are not supported.
    solver : {"cd", "mu"}, default="cd"
        How rows are improved: by a Newton step whose quadratic model is minimised by coordinate descent, or by a
        multiplicative update.
    tol : float, default=1e-4
        Stop once the relative residual of the optimality conditions is at most this.
    max_iter : int, default=200
        The most iterations.
    extrapolate : bool, default=True
        Whether to push the factors on along their last change.
    deadline : float, default=inf
        When to stop, in seconds of ``time.monotonic()``.
    on_iteration : callable, optional
        Called with the number of iterations and the objective; stops the fit by returning True.
    n_jobs : int, optional
        Threads over blocks of rows; the answer does not depend on them.

    Returns
    -------
    Factorization
        The best pair and its certificate.

    Raises
    ------
    ValueError
        If a penalty has a graph.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.beta_factorization import factorize_beta
    >>> from sparsemodels.solvers.observed_matrix import observe
    >>> X = np.array([[1.0, 3.0], [2.0, 2.0]])
    >>> solution = factorize_beta(observe(X), np.ones((2, 1)), np.ones((2, 1)), 1.0, tol=1e-9)
    >>> bool(np.allclose(solution.W @ solution.Ht.T, np.outer(X.sum(axis=1), X.sum(axis=0)) / X.sum()))
    True
    """
    if penalty_W.graph_strength > 0.0 or penalty_H.graph_strength > 0.0:
        raise ValueError(f"graph_strength needs squared error, got a beta-divergence with beta={beta:g}.")
    flipped = transposed(matrix)
    mean, energy = mean_entry(matrix), _energy(matrix, beta)
    common: dict[str, Any] = {"mean": mean, "n_jobs": n_jobs}

    def objective_of(loss: float, W: np.ndarray, Ht: np.ndarray) -> float:
        return loss + penalty_value(penalty_W, W) + penalty_value(penalty_H, Ht)

    W, Ht = (lift_zeros(np.array(F, order="C")) for F in (W, Ht))
    np.minimum(W, penalty_W.upper_bound, out=W)
    np.minimum(Ht, penalty_H.upper_bound, out=Ht)
    best_W, best_H = W.copy(), Ht.copy()
    pushed_W, pushed_H = W.copy(), Ht.copy()
    objective = objective_of(improve_rows(matrix, W, Ht, beta, repeats=0, measure=False, **common).loss, W, Ht)
    history = [objective]
    push = Push(extrapolate, 1.05, 1.01)
    scale_free = extrapolate and not any(p.l1 or p.l2 or p.upper_bound < np.inf for p in (penalty_W, penalty_H))
    kkt, n_iter, status, last_check = np.inf, 0, "max_iter", -_PATIENCE
    try:
        while n_iter < max_iter:
            # The first iterations are multiplicative. Wherever the start is, they find the scale of every row; and
            # Newton steps from a random start run into poor local minima more often.
            rule = solver if n_iter >= _FIRST_MULTIPLICATIVE else "mu"
            measure = n_iter % _MEASURE_EVERY == _MEASURE_EVERY - 1
            if measure and extrapolate:
                # Now and then a Newton step: it sets entries to zero and takes them off zero again.
                rule = "cd"
            H_new = pushed_H.copy()
            seen_H = improve_rows(
                flipped, H_new, pushed_W, beta, penalty_H, solver=rule, measure=measure, want_loss=False, **common
            )
            if scale_free:
                _fix_scales(H_new, Ht, pushed_W)
            pushed_H = _pushed(H_new, Ht, push.length, penalty_H.upper_bound)
            W_new = pushed_W.copy()
            seen_W = improve_rows(matrix, W_new, pushed_H, beta, penalty_W, solver=rule, measure=measure, **common)
            reached = objective_of(seen_W.loss, W_new, pushed_H)
            n_iter += 1
            if reached <= objective:
                objective = reached
                np.copyto(best_W, W_new)
                np.copyto(best_H, pushed_H)
                pushed_W = _pushed(W_new, W, push.length, penalty_W.upper_bound)
                W, Ht = W_new, H_new
                push.keep()
            else:
                push.take_back()
                pushed_W, pushed_H = best_W.copy(), best_H.copy()
                W, Ht = best_W.copy(), best_H.copy()
            history.append(objective)
            near = np.sqrt((seen_W.kkt_squared + seen_H.kkt_squared) / energy) <= _CONFIRM * tol
            if near and n_iter >= last_check + _PATIENCE:
                last_check = n_iter
                _, kkt = certify_beta(matrix, best_W, best_H, beta, penalty_W, penalty_H, n_jobs=n_jobs)
                if kkt <= tol:
                    status = "converged"
                    break
            if time.monotonic() > deadline:
                status = "time_limit"
                break
            if on_iteration is not None and on_iteration(n_iter, objective):
                status = "stopped"
                break
    except KeyboardInterrupt:
        status = "interrupted"
    objective, kkt = certify_beta(matrix, best_W, best_H, beta, penalty_W, penalty_H, n_jobs=n_jobs)
    if status == "max_iter" and kkt <= tol:
        status = "converged"
    return Factorization(best_W, best_H, objective, np.array(history), kkt, n_iter, status)
