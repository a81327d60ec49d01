r"""Nonnegative factorization of a matrix by alternating half-steps, extrapolated.

.. math:: \min_{W, H \ge 0} \; \tfrac12 \sum_{ij} m_{ij} \bigl(x_{ij} - (W H)_{ij}\bigr)^2 + p(W) + q(H)

Each half-step improves all rows of one factor (:func:`~sparsemodels.solvers.row_update.update_rows`), H standing
transposed. Between half-steps both factors are pushed on along their last change, as long as the objective falls; where
it does not, the push is taken back and made smaller. The objective of the pairs that are kept never rises.

**Certificate.** At a stationary point no entry can improve on its own. The residual sums the squares of every entry's
own best step, each in the units of the data, :math:`\sqrt{c}\,|f - \min(\max(f - g / c, 0), u)|` with g the
gradient and c the curvature along the entry, and divides by the norm of the data: it stays the same when the data, or
a component against its codes, are scaled.

References
----------
A. M. S. Ang and N. Gillis, "Accelerating nonnegative matrix factorization algorithms using extrapolation", Neural
Computation 31, 2019. N. Gillis and F. Glineur, "Accelerated multiplicative updates and hierarchical ALS algorithms for
nonnegative matrix factorization", Neural Computation 24, 2012.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .component_scales import best_scales
from .extrapolation import Push
from .factor_penalty import RowPenalty, improve, make_feasible, penalty_value
from .observed_matrix import DenseMatrix, ObservedMatrix, SomeEntries, SparseMatrix, power_sum, shape, transposed
from .row_update import squared_error, with_products

_CANCELLATION = 1e-7  # relative error below which the loss is summed entry by entry
_REVIVAL, _WORTHWHILE = 5, 1e-9  # iterations of a component that is tried again, and the share it must gain
_SWEEPS_OF_OWN_GRAMS = 10
_ROUNDING = 1e-14  # relative: a step by which the objective seems to rise no more than this is kept
_SINGLE_PRECISION = 1e-3  # the residual, and the share of the loss, from which on float64 is needed
_LARGE = 100_000  # entries, from which on a copy in float32 pays
_EXTREME = 1e6  # largest entries beyond this, or below its inverse, are left in float64
_CONFIRM = 3.0  # the true residual is measured once that of the extrapolated factors is so near to `tol`


class Factorization(NamedTuple):
    """Two factors with their certificate.

    Attributes
    ----------
    W : ndarray of shape (n_rows, n_components)
        The first factor.
    Ht : ndarray of shape (n_columns, n_components)
        The second factor, transposed.
    objective : float
        The objective, with all penalties.
    objective_history : ndarray of shape (n_iter + 1,)
        The objective at the start and after every iteration.
    kkt : float
        The relative natural residual of the optimality conditions at the returned pair.
    n_iter : int
        Iterations; each improves both factors.
    status : str
        Why the solver returned: ``"converged"`` (`kkt` <= `tol`), ``"max_iter"``, ``"time_limit"``, ``"stopped"`` by
        `on_iteration`, or ``"interrupted"``.
    """

    W: np.ndarray
    Ht: np.ndarray
    objective: float
    objective_history: np.ndarray
    kkt: float
    n_iter: int
    status: str


def in_single_precision(matrix: ObservedMatrix, W: np.ndarray, Ht: np.ndarray) -> ObservedMatrix:
    """A large dense matrix copied to float32; any other one, and one of extreme numbers, as it is."""
    if not isinstance(matrix, DenseMatrix) or matrix.X.dtype != np.float64 or matrix.X.size < _LARGE:
        return matrix
    # Within this range neither the entries, nor the factors on the way, nor their products leave that of float32.
    largest = np.concatenate([[matrix.X.max()], W.max(axis=0), Ht.max(axis=0)])
    if largest.max() > _EXTREME or largest[largest > 0.0].min(initial=1.0) < 1.0 / _EXTREME:
        return matrix
    return DenseMatrix(matrix.X.astype(np.float32))


def without_cost(penalty: Any) -> Any:
    """The same constraints, and no penalty."""
    return RowPenalty(upper_bound=penalty.upper_bound) if isinstance(penalty, RowPenalty) else penalty


def sweeps_worth_their_cost(matrix: ObservedMatrix, n_components: int) -> int:
    """How many sweeps over the rows cost half of what the products before them cost."""
    if isinstance(matrix, SomeEntries):  # a Gram matrix for each row: sweeps are cheap beside it
        return _SWEEPS_OF_OWN_GRAMS
    n_rows, n_columns = shape(matrix)
    entries = matrix.rows.data.size if isinstance(matrix, SparseMatrix) else n_rows * n_columns
    ratio = 1.0 + (entries + n_columns * n_components) // (n_rows * (n_components + 1))
    return int(1.0 + 0.5 * ratio)


def certify(
    matrix: ObservedMatrix,
    W: np.ndarray,
    Ht: np.ndarray,
    penalty_W: Any,
    penalty_H: Any,
    *,
    rows: Any = None,
    **options: Any,
) -> tuple[float, float]:
    """The objective of a pair of factors and the relative residual of its optimality conditions.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The matrix.
    W, Ht : ndarray of shape (n_rows, n_components), (n_columns, n_components)
        The factors; not changed.
    penalty_W, penalty_H : RowPenalty or another record of a penalty
        Their penalties.
    rows : NormalEquations, optional
        The least squares of the rows of W, where they are at hand.
    **options
        Passed to :func:`improve`.

    Returns
    -------
    objective : float
        Half the squared error plus the penalties.
    kkt : float
        The residual.
    """
    options = {"exact": False, "max_sweeps": 0, "energy": None, **options}
    energy = options["energy"] = power_sum(matrix, 2.0) if options["energy"] is None else options["energy"]
    first = improve(penalty_W, matrix if rows is None else rows, W, Ht, **options)
    second = improve(penalty_H, transposed(matrix), Ht, W, **options)
    loss = first.loss if first.loss >= _CANCELLATION * energy else 0.5 * squared_error(matrix, W, Ht)
    objective = loss + penalty_value(penalty_W, W) + penalty_value(penalty_H, Ht)
    squared = first.kkt_squared + second.kkt_squared
    return objective, float(np.sqrt(squared / energy)) if energy > 0.0 else float(np.sqrt(squared))


def alternate(
    matrix: ObservedMatrix,
    W: np.ndarray,
    Ht: np.ndarray,
    penalty_W: Any = RowPenalty(),
    penalty_H: Any = RowPenalty(),
    *,
    solver: str = "hals",
    tol: float = 1e-4,
    max_iter: int = 200,
    extrapolate: bool = True,
    exact_codes: bool = False,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
    n_jobs: int | None = None,
) -> Factorization:
    """Factorize a matrix into nonnegative factors under squared error.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        What is known of the matrix, from :func:`~sparsemodels.solvers.observed_matrix.observe`.
    W : ndarray of shape (n_rows, n_components)
        Where to start; not changed.
    Ht : ndarray of shape (n_columns, n_components)
        The other factor, transposed; not changed.
    penalty_W, penalty_H : RowPenalty or another record of a penalty
        Penalties and constraints of the two factors.
    solver : {"hals", "bpp"}, default="hals"
        How rows are improved: by a few sweeps of coordinate descent, or exactly by block principal pivoting.
    tol : float, default=1e-4
        Stop once the relative residual of the optimality conditions is at most this.
    max_iter : int, default=200
        The most iterations.
    extrapolate : bool, default=True
        Whether to push the factors on along their last change.
    exact_codes : bool, default=False
        Whether to solve the rows of W exactly for the H that was found, before both are certified.
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

    Notes
    -----
    Of a large dense matrix in float64 the first iterations use a copy in float32, half its size. Everything that is
    returned is computed from the matrix itself.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.alternating_factorization import alternate
    >>> from sparsemodels.solvers.observed_matrix import observe
    >>> X = np.outer([1.0, 2.0, 3.0], [4.0, 5.0])
    >>> solution = alternate(observe(X), np.ones((3, 1)), np.ones((2, 1)), tol=1e-9)
    >>> bool(np.allclose(solution.W @ solution.Ht.T, X)), solution.status
    (True, 'converged')
    """
    energy = power_sum(matrix, 2.0)
    # Far from a solution the products with the data need no more than single precision.
    precise, matrix = matrix, in_single_precision(matrix, W, Ht)
    flipped = transposed(matrix)
    scale = energy if energy > 0.0 else 1.0
    exact = solver == "bpp"
    n_components = W.shape[1]
    common: dict[str, Any] = {"exact": exact, "n_jobs": n_jobs, "energy": energy}
    sweeps_W = sweeps_worth_their_cost(matrix, n_components)
    sweeps_H = sweeps_worth_their_cost(flipped, n_components)

    def objective_of(loss: float, W: np.ndarray, Ht: np.ndarray) -> float:
        if loss < _CANCELLATION * energy:
            loss = 0.5 * squared_error(precise, W, Ht)
        return loss + penalty_value(penalty_W, W) + penalty_value(penalty_H, Ht)

    def revived(W: np.ndarray, Ht: np.ndarray) -> tuple[np.ndarray, np.ndarray, float] | None:
        """The pair with its dead components alive again, if that lowers the objective.

        A component of which both factors are zero is stationary, and alternating never leaves it: a penalty may kill
        one early that later would pay.
        """
        dead = ~(W.any(axis=0) & Ht.any(axis=0))
        if not dead.any():
            return None
        W, Ht = W.copy(), Ht.copy()
        W[:, dead] = 0.0
        level = np.sqrt(np.mean(np.square(Ht, dtype=np.float64))) or 1.0
        Ht[:, dead] = level * np.random.default_rng(0).random((Ht.shape[0], int(dead.sum())))
        make_feasible(penalty_H, Ht)
        # Without penalties it turns towards what the others leave; then it has to earn what it costs.
        for p, q in ((without_cost(penalty_W), without_cost(penalty_H)), (penalty_W, penalty_H)):
            for _ in range(_REVIVAL):
                improve(p, matrix, W, Ht, max_sweeps=sweeps_W, **common)
                improve(q, flipped, Ht, W, max_sweeps=sweeps_H, **common)
            scales = best_scales(penalty_W, penalty_H, W, Ht)
            if scales is not None:
                W *= scales.astype(W.dtype)
                Ht /= scales.astype(W.dtype)
        value = objective_of(0.0, W, Ht)
        return (W, Ht, value) if value < objective * (1.0 - _WORTHWHILE) else None

    def finished(W: np.ndarray, Ht: np.ndarray) -> tuple[np.ndarray, float, float]:
        """The first factor as it is returned, with objective and residual of the pair."""
        options: dict[str, Any] = {"n_jobs": n_jobs, "energy": energy}
        rows = with_products(precise, Ht) if isinstance(penalty_W, RowPenalty) else precise
        if exact_codes:
            W = W.copy()
            improve(penalty_W, rows, W, Ht, max_sweeps=1, exact=True, **options)
        return W, *certify(precise, W, Ht, penalty_W, penalty_H, rows=rows, **options)

    W, Ht = (np.array(F, order="C") for F in (W, Ht))
    make_feasible(penalty_W, W)
    make_feasible(penalty_H, Ht)
    best_W, best_H = W.copy(), Ht.copy()
    pushed_W, pushed_H = W.copy(), Ht.copy()
    start = with_products(flipped, W) if isinstance(penalty_H, RowPenalty) else flipped
    objective = objective_of(improve(penalty_H, start, Ht, W, max_sweeps=0, **common).loss, W, Ht)
    history = [objective]
    push = Push(extrapolate, *((1.1, 1.05) if exact else (1.01, 1.005)))
    kkt, n_iter, status = np.inf, 0, "max_iter"
    revivable = True
    try:
        while n_iter < max_iter:
            # The second factor first: the push of a nonnegative point along its change is projected, so that
            # (W, pushed H) is a pair whose objective comes with the update of W.
            H_new = pushed_H.copy()
            columns = start if n_iter == 0 else flipped  # at the start the products are known already
            seen_H = improve(penalty_H, columns, H_new, pushed_W, max_sweeps=sweeps_H, **common)
            pushed_H = make_feasible(penalty_H, H_new + push.length * (H_new - Ht))
            W_new = pushed_W.copy()
            make_feasible(penalty_W, W_new)
            seen_W = improve(penalty_W, matrix, W_new, pushed_H, max_sweeps=sweeps_W, **common)
            reached = objective_of(seen_W.loss, W_new, pushed_H)
            n_iter += 1
            noise = energy if seen_W.loss >= _CANCELLATION * energy else abs(objective)  # what the sums are taken of
            if reached <= objective + _ROUNDING * noise:
                objective = min(reached, objective)
                np.copyto(best_W, W_new)
                np.copyto(best_H, pushed_H)
                pushed_W = make_feasible(penalty_W, W_new + push.length * (W_new - W))
                W, Ht = W_new, H_new
                scales = best_scales(penalty_W, penalty_H, best_W, best_H)
                if scales is not None:
                    objective -= penalty_value(penalty_W, best_W) + penalty_value(penalty_H, best_H)
                    scales = scales.astype(W.dtype)
                    for first in (best_W, pushed_W, W):
                        first *= scales
                    for second in (best_H, pushed_H, Ht):
                        second /= scales
                    objective += penalty_value(penalty_W, best_W) + penalty_value(penalty_H, best_H)
                push.keep()
            else:
                push.take_back()
                pushed_W, pushed_H = best_W.copy(), best_H.copy()
                W, Ht = best_W.copy(), best_H.copy()
            history.append(objective)
            seen = np.sqrt((seen_W.kkt_squared + seen_H.kkt_squared) / scale)
            if matrix is not precise and (seen <= _SINGLE_PRECISION or reached < _SINGLE_PRECISION * energy):
                matrix, flipped = precise, transposed(precise)
                objective, _ = certify(precise, best_W, best_H, penalty_W, penalty_H, n_jobs=n_jobs, energy=energy)
                history[-1] = objective = min(objective, history[-1])
            near = seen <= _CONFIRM * tol
            if near and revivable:
                trial = revived(best_W, best_H)
                revivable = trial is not None
                if trial is not None:
                    best_W, best_H, objective = trial
                    W, Ht, pushed_W, pushed_H = best_W.copy(), best_H.copy(), best_W.copy(), best_H.copy()
                    history[-1], near = objective, False
            if near:
                candidate = finished(best_W, best_H)
                if candidate[2] <= tol:
                    best_W, objective, kkt = candidate
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
    if status != "converged":
        best_W, objective, kkt = finished(best_W, best_H)
        status = "converged" if kkt <= tol and status == "max_iter" else status
    history[-1] = objective
    return Factorization(best_W, best_H, objective, np.array(history), kkt, n_iter, status)
