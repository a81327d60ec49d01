r"""Nonnegative factorization under a robust loss, by reweighted least squares.

.. math:: \min_{W, H} \; \sum_g \rho(e_g) + p(W) + q(H)

where :math:`e_g` is the norm of the residual of a column, of a row or of one entry, and :math:`\rho` a loss of
:mod:`~sparsemodels.solvers.half_quadratic_losses`. Each :math:`\rho` lies below the parabola that touches it at the
current residual, so that a few iterations of least squares with the weights of the current residuals
(:func:`~sparsemodels.solvers.alternating_factorization.alternate`) lower the robust objective; then the weights
are taken anew. Weights of columns or rows are put into the matrix and the factor beside it: the Gram matrix stays one
for all rows. Weights of entries cost a Gram matrix for each row.

The width of the loss, unless it is given, follows the median of the residuals as these fall, never growing, and is
fixed once it changes no more; the objective falls throughout.

**Certificate.** At the current residuals the gradient of the robust objective is that of the weighted least squares.
The residual of the optimality conditions is taken with the weights of the final residuals, relative to the norm of
the data with the same weights.

References
----------
Y. Wang, C. Pan, S. Xiang and F. Zhu, "Robust hyperspectral unmixing with correntropy-based metric", IEEE Transactions
on Image Processing 24, 2015. D. Kong, C. Ding and H. Huang, "Robust nonnegative matrix factorization using
L21-norm", CIKM 2011.
"""

import time
from collections.abc import Callable
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from .alternating_factorization import Factorization, alternate
from .factor_penalty import RowPenalty, improve, make_feasible, penalty_value
from .half_quadratic_losses import LOSSES, automatic_width, robust_value, robust_weight
from .kernel import kernel
from .observed_matrix import (
    DenseMatrix,
    MostEntries,
    ObservedMatrix,
    SomeEntries,
    SparseMatrix,
    SparseRows,
    power_sum,
    shape,
    total_weight,
    transposed,
)
from .scaled_rows import ScaledRows, scale_columns

_ROUNDING = 1e-14  # relative: a rise of the objective that means nothing
_BLOCK = 1024  # rows of the dense matrix whose residuals are held at once
_INNER = 5  # iterations of least squares before the weights are taken anew
_WIDTHS = 30  # at most so often the width follows the residuals
_SETTLED = 0.99  # the width is fixed once it would fall by less ...
_NEARLY = 10.0  # ... and the fit with it is as near to converged as this


class RobustFactorization(NamedTuple):
    """Two factors with their weights and their certificate.

    Attributes
    ----------
    factorization : Factorization
        The factors; objective, history and KKT residual are those of the robust objective.
    weights : ndarray of shape (n_columns,), (n_rows,) or (n_rows, n_columns)
        The weights of the columns, rows or entries at the solution, at most one except for the loss "l21"; sparse if
        entries are unknown, which have none.
    sigma : float
        The width of the loss.
    """

    factorization: Factorization
    weights: Any
    sigma: float


@singledispatch
def column_squares(matrix: Any, F: np.ndarray, K: np.ndarray) -> np.ndarray:
    """The weighted squared residuals summed over the known entries of every column, in float64.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The matrix.
    F : ndarray of shape (n_rows, n_components)
        The factor of its rows.
    K : ndarray of shape (n_columns, n_components)
        The factor of its columns.

    Returns
    -------
    ndarray of shape (n_columns,)
        The sums.
    """
    raise TypeError(f"not an observed matrix: {type(matrix).__name__}")


@column_squares.register
def _(matrix: DenseMatrix, F: np.ndarray, K: np.ndarray) -> np.ndarray:
    total = np.zeros(K.shape[0])
    for start in range(0, F.shape[0], _BLOCK):
        residual = matrix.X[start : start + _BLOCK] - F[start : start + _BLOCK] @ K.T
        total += np.einsum("ij,ij->j", residual, residual, dtype=np.float64)
    return total


@column_squares.register
def _(matrix: MostEntries, F: np.ndarray, K: np.ndarray) -> np.ndarray:
    total, unknown = np.zeros(K.shape[0]), matrix.unknown_rows
    for start in range(0, F.shape[0], _BLOCK):
        stop = min(start + _BLOCK, F.shape[0])
        residual = matrix.X[start:stop] - F[start:stop] @ K.T
        listed = slice(unknown.indptr[start], unknown.indptr[stop])
        of_rows = np.repeat(np.arange(stop - start), np.diff(unknown.indptr[start : stop + 1]))
        residual[of_rows, unknown.indices[listed]] = 0.0
        total += np.einsum("ij,ij->j", residual, residual, dtype=np.float64)
    return total


@column_squares.register(SparseMatrix)
@column_squares.register(SomeEntries)
def _(matrix: Any, F: np.ndarray, K: np.ndarray) -> np.ndarray:
    columns, total = matrix.columns, np.zeros(K.shape[0])
    others = isinstance(matrix, SparseMatrix)
    G = (F.T @ F).astype(np.float64)
    _listed_squares(columns.data, columns.indices, columns.indptr, columns.weights, K, F, G, others, total, np.empty(0))
    return total


@kernel(fastmath={"contract", "reassoc", "nsz"})
def _listed_squares(data, indices, indptr, weights, K, F, G, others, total, each):
    """Squared residuals of the listed entries: summed for each row of K, and one by one where there is room.

    With `others` the entries that are not listed are zeros, and count in the sums.
    """
    r = K.shape[1]
    for j in range(indptr.size - 1):
        row = K[j]
        for t in range(indptr[j], indptr[j + 1]):
            other = F[indices[t]]
            fit = 0.0
            for a in range(r):
                fit += np.float64(row[a]) * np.float64(other[a])
            square = (data[t] - fit) ** 2
            if each.size:
                each[t] = square
            if others:
                square -= fit * fit
            total[j] += weights[t] * square if weights.size else square
        if others:
            for a in range(r):
                for b in range(r):
                    total[j] += np.float64(row[a]) * np.float64(row[b]) * G[a, b]
            total[j] = max(total[j], 0.0)


class _Entries:
    """Every known entry of a matrix listed by itself, to be weighted."""

    def __init__(self, matrix: ObservedMatrix):
        n_rows, n_columns = shape(matrix)
        if isinstance(matrix, SomeEntries):
            self.rows = matrix.rows
        else:
            known = np.ones((n_rows, n_columns), dtype=bool)
            if isinstance(matrix, SparseMatrix):
                stored = matrix.rows
                X = scipy.sparse.csr_array((stored.data, stored.indices, stored.indptr), shape=known.shape).toarray()
            else:
                X = matrix.X
            if isinstance(matrix, MostEntries):
                unknown = matrix.unknown_rows
                known[np.repeat(np.arange(n_rows), np.diff(unknown.indptr)), unknown.indices] = False
            columns = np.broadcast_to(np.arange(n_columns), known.shape)[known]
            indptr = np.concatenate([[0], np.cumsum(np.count_nonzero(known, axis=1))])
            self.rows = SparseRows(X[known], columns, indptr, n_columns, np.empty(0, dtype=X.dtype))
        order = scipy.sparse.csr_array(
            (np.arange(self.rows.data.size), self.rows.indices, self.rows.indptr), shape=(n_rows, n_columns)
        ).tocsc()
        self.order = order.data  # the place in the list by rows of each entry of the list by columns
        self.columns = SparseRows(
            self.rows.data[self.order], order.indices, order.indptr, n_rows, self.rows.weights[:0]
        )
        self.base = self.rows.weights.astype(np.float64)

    def squares(self, W: np.ndarray, Ht: np.ndarray) -> np.ndarray:
        rows, each = self.rows, np.empty(self.rows.data.size)
        nothing, sums = np.empty(0, dtype=rows.data.dtype), np.zeros(W.shape[0])
        G = np.empty((W.shape[1], W.shape[1]))
        _listed_squares(rows.data, rows.indices, rows.indptr, nothing, W, Ht, G, False, sums, each)
        return each

    def weighted(self, weights: np.ndarray) -> SomeEntries:
        together = (weights * self.base if self.base.size else weights).astype(self.rows.data.dtype)
        return SomeEntries(self.rows._replace(weights=together), self.columns._replace(weights=together[self.order]))


class WeightedLeastSquares(NamedTuple):
    """The least squares of one choice of weights, scaled so that columns or rows need none.

    Attributes
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The scaled matrix, or the matrix with weights of its entries.
    W, Ht : ndarray of shape (n_rows, n_components), (n_columns, n_components)
        The scaled factors.
    penalty_W, penalty_H : RowPenalty or another record of a penalty
        Their penalties.
    scale_W, scale_H : ndarray or float
        By what the factors were multiplied.
    """

    matrix: Any
    W: np.ndarray
    Ht: np.ndarray
    penalty_W: Any
    penalty_H: Any
    scale_W: Any
    scale_H: Any


class Reweighted:
    """The robust problem: its residuals, and its least squares for given weights."""

    def __init__(self, matrix: ObservedMatrix, axis: str, penalty_W: Any, penalty_H: Any):
        self.matrix, self.axis = matrix, axis
        self.penalty_W, self.penalty_H = penalty_W, penalty_H
        self.entries = _Entries(matrix) if axis == "elements" else None
        self.flipped = transposed(matrix)

    def squares(self, W: np.ndarray, Ht: np.ndarray) -> np.ndarray:
        """The squared norms of the residuals, by `axis`."""
        if self.entries is not None:
            return self.entries.squares(W, Ht)
        return column_squares(self.matrix, W, Ht) if self.axis == "features" else column_squares(self.flipped, Ht, W)

    def value(self, loss: Any, squares: np.ndarray, W: np.ndarray, Ht: np.ndarray) -> float:
        """The robust objective."""
        values = robust_value(loss, squares)
        if self.entries is not None and self.entries.base.size:
            values = values * self.entries.base
        return float(values.sum()) + penalty_value(self.penalty_W, W) + penalty_value(self.penalty_H, Ht)

    def weighted(self, weights: np.ndarray, W: np.ndarray, Ht: np.ndarray) -> WeightedLeastSquares:
        """The least squares with these weights."""
        # A weight below the square of the rounding has no influence; zero would leave a row of the factor undefined.
        weights = np.maximum(weights, np.finfo(W.dtype).eps ** 2 * weights.max(initial=0.0))
        if self.entries is not None:
            weighted = self.entries.weighted(weights)
            return WeightedLeastSquares(weighted, W, Ht, self.penalty_W, self.penalty_H, 1.0, 1.0)
        root = np.sqrt(weights)
        short = root.astype(W.dtype)
        scale = short.astype(np.float64)
        if self.axis == "features":
            matrix, penalty = scale_columns(self.matrix, short), ScaledRows(self.penalty_H, scale)
            return WeightedLeastSquares(matrix, W, Ht * short[:, None], self.penalty_W, penalty, 1.0, short[:, None])
        matrix, penalty = transposed(scale_columns(self.flipped, short)), ScaledRows(self.penalty_W, scale)
        return WeightedLeastSquares(matrix, W * short[:, None], Ht, penalty, self.penalty_H, short[:, None], 1.0)

    def shaped(self, weights: np.ndarray) -> Any:
        """The weights in the shape of what they weigh."""
        if self.entries is None:
            return weights
        rows = self.entries.rows
        listed = scipy.sparse.csr_array((weights, rows.indices, rows.indptr), shape=shape(self.matrix))
        return listed.toarray() if weights.size == shape(self.matrix)[0] * shape(self.matrix)[1] else listed


def _residual(problem: WeightedLeastSquares, n_jobs: int | None) -> float:
    """The relative residual of the optimality conditions of penalised least squares."""
    matrix, W, Ht, penalty_W, penalty_H, _, _ = problem
    energy = power_sum(matrix, 2.0)
    options: dict[str, Any] = {"max_sweeps": 0, "exact": False, "n_jobs": n_jobs, "energy": energy}
    squared = improve(penalty_W, matrix, W, Ht, **options).kkt_squared
    squared += improve(penalty_H, transposed(matrix), Ht, W, **options).kkt_squared
    return float(np.sqrt(squared / energy)) if energy > 0.0 else float(np.sqrt(squared))


def _begin(
    problem: Reweighted, W: np.ndarray, Ht: np.ndarray, n_steps: int, deadline: float, options: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray, int, bool]:
    """A few iterations in which every column (or row) of the data counts alike, however large its entries.

    Otherwise a column of loud noise can win a component for itself before the weights are known; its residual is then
    zero, and it never loses its weight.
    """
    energies = problem.squares(np.zeros_like(W), np.zeros_like(Ht))
    smallest = energies[energies > 0.0].min(initial=np.inf)
    if not smallest < np.inf:
        return W, Ht, 0, False
    weights = smallest / np.maximum(energies, smallest)
    weighted = problem.weighted(weights, W, Ht)
    start = alternate(*weighted[:5], tol=0.0, max_iter=n_steps, deadline=deadline, **options)
    return start.W / weighted.scale_W, start.Ht / weighted.scale_H, start.n_iter, start.status == "interrupted"


def factorize_robust(
    matrix: ObservedMatrix,
    W: np.ndarray,
    Ht: np.ndarray,
    loss: str,
    axis: str,
    sigma: float | str = "auto",
    penalty_W: Any = RowPenalty(),
    penalty_H: Any = RowPenalty(),
    *,
    solver: str = "hals",
    tol: float = 1e-4,
    max_iter: int = 200,
    extrapolate: bool = True,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
    n_jobs: int | None = None,
) -> RobustFactorization:
    """Factorize a matrix into nonnegative factors under a robust loss.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        What is known of the matrix, from :func:`~sparsemodels.solvers.observed_matrix.observe`.
    W : ndarray of shape (n_rows, n_components)
        Where to start; not changed.
    Ht : ndarray of shape (n_columns, n_components)
        The other factor, transposed; not changed.
    loss : {"correntropy", "cauchy", "huber", "l21"}
        The loss.
    axis : {"features", "samples", "elements"}
        Whether it is that of the residual norms of columns, rows or single entries. "elements" holds all known
        entries of the matrix with their positions and weights, twice, and a sparse matrix with all its zeros.
    sigma : float or "auto", default="auto"
        The width of the loss in the units of those norms, > 0, or chosen by their median.
    penalty_W, penalty_H : RowPenalty or another record of a penalty
        Penalties and constraints of the two factors.
    solver : {"hals", "bpp"}, default="hals"
        How rows are improved.
    tol : float, default=1e-4
        Stop once the relative residual of the optimality conditions is at most this.
    max_iter : int, default=200
        The most iterations of least squares.
    extrapolate : bool, default=True
        Whether to push the factors on along their last change.
    deadline : float, default=inf
        When to stop, in seconds of ``time.monotonic()``.
    on_iteration : callable, optional
        Called with the number of iterations and the robust objective after each choice of weights; stops the fit by
        returning True.
    n_jobs : int, optional
        Threads over blocks of rows; the answer does not depend on them.

    Returns
    -------
    RobustFactorization
        The factors, the weights and the certificate. The history has the objective before the first choice of weights
        and after each; it never rises. With an automatic width of columns or rows, a few iterations precede it in which
        all of them count alike.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.observed_matrix import observe
    >>> from sparsemodels.solvers.robust_factorization import factorize_robust
    >>> X = np.outer([1.0, 2.0, 3.0, 4.0], [4.0, 5.0, 6.0, 7.0, 8.0])
    >>> X[:, 2] = [9.0, 0.0, 7.0, 0.0]
    >>> solution = factorize_robust(observe(X), np.ones((4, 1)), np.ones((5, 1)), "cauchy", "features", 1.0)
    >>> solution.weights.round(2)
    array([1.  , 1.  , 0.01, 1.  , 1.  ])
    """
    problem = Reweighted(matrix, axis, penalty_W, penalty_H)
    W, Ht = (np.array(F, order="C") for F in (W, Ht))
    make_feasible(penalty_W, W)
    make_feasible(penalty_H, Ht)
    options: dict[str, Any] = {"solver": solver, "extrapolate": extrapolate, "n_jobs": n_jobs}
    n_iter, interrupted = 0, False
    if sigma == "auto" and axis != "elements" and max_iter > 0:
        W, Ht, n_iter, interrupted = _begin(problem, W, Ht, min(_INNER, max_iter), deadline, options)
    squares = problem.squares(W, Ht)
    # A fit without error has no width: never less than the rounding of the data.
    smallest = 10.0 * np.finfo(W.dtype).eps * np.sqrt(power_sum(matrix, 2.0) / max(total_weight(matrix), 1.0))
    smallest = max(float(smallest), 1e-100)
    width = max(automatic_width(loss, squares, axis == "elements"), smallest) if sigma == "auto" else float(sigma)
    settled = sigma != "auto"
    robust = LOSSES[loss](width)
    objective = problem.value(robust, squares, W, Ht)
    history, status, kkt, n_widths = [objective], "max_iter", np.inf, 0
    while True:
        weights = robust_weight(robust, squares)
        least_squares = problem.weighted(weights, W, Ht)
        kkt = _residual(least_squares, n_jobs)
        if kkt <= tol and settled:
            status = "converged"
        elif interrupted:
            status = "interrupted"
        elif n_iter >= max_iter:
            status = "max_iter"
        elif time.monotonic() > deadline:
            status = "time_limit"
        elif n_iter > 0 and on_iteration is not None and on_iteration(n_iter, objective):
            status = "stopped"
        else:
            status = ""
        if status:
            break
        try:
            steps = min(_INNER, max_iter - n_iter)
            inner = alternate(*least_squares[:5], tol=0.1 * tol, max_iter=steps, deadline=deadline, **options)
            interrupted = inner.status == "interrupted"
            n_iter += inner.n_iter
            new_W, new_H = inner.W / least_squares.scale_W, inner.Ht / least_squares.scale_H
            new_squares = problem.squares(new_W, new_H)
            value = problem.value(robust, new_squares, new_W, new_H)
            if value <= objective * (1.0 + _ROUNDING):
                W, Ht, squares, objective = new_W, new_H, new_squares, value
            if not settled:
                n_widths += 1
                width = max(automatic_width(loss, squares, axis == "elements"), smallest)
                settled = (width > _SETTLED * robust.sigma and kkt <= _NEARLY * tol) or n_widths >= _WIDTHS
                if not settled and width < robust.sigma:
                    robust = LOSSES[loss](width)
                    objective = problem.value(robust, squares, W, Ht)
        except KeyboardInterrupt:
            interrupted = True
        history.append(objective)
    factorization = Factorization(W, Ht, objective, np.array(history), kkt, n_iter, status)
    return RobustFactorization(factorization, problem.shaped(weights), robust.sigma)
