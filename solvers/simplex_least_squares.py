r"""Least squares with every row of one factor on a simplex: nonnegative and with a given sum.

With the other factor K fixed, each row f of F is a problem of its own,

.. math:: \min_{f \ge 0,\; \sum_a f_a = s_i} \; \tfrac12 f^\top (G_i + \rho_i I) f - (b_i + p_i)^\top f,

with :math:`G_i` and :math:`b_i` as in :mod:`~sparsemodels.solvers.row_update`. For spectra in the rows of X and
endmembers in K this is the fully constrained least squares of hyperspectral unmixing. A primal active set solves it
exactly: with the coordinates outside the support at zero, the best point of the support's hyperplane is one Cholesky
factorization away; the first coordinate that the way there makes negative leaves the support, and where none does,
the coordinate with the most negative reduced gradient enters it. The objective falls in every step.

**Certificate.** A row's duality gap is :math:`f \cdot g - s_i \min_a g_a` with the gradient g: no point of the simplex
is better by more.

**KKT residual.** With a sum to keep, the coordinates have no best steps of their own. What
:class:`~sparsemodels.solvers.row_update.RowsUpdate` measures is the step of the whole row instead, in the same units:
:math:`\sum_a c_a (f_a - z_a)^2` with the curvatures :math:`c_a = G_{aa} + \rho` and z the point of the simplex that
minimises :math:`\sum_a g_a (z_a - f_a) + \tfrac12 c_a (z_a - f_a)^2`. It is zero exactly at the solution, measures the
distance from the simplex as well, and without the constraint on the sum it is the residual of the other rows.

References
----------
D. C. Heinz and C.-I. Chang, "Fully constrained least squares linear spectral mixture analysis method for material
quantification in hyperspectral imagery", IEEE Transactions on Geoscience and Remote Sensing 39, 2001 (the problem).
J. Nocedal and S. J. Wright, "Numerical Optimization", 2006, section 16.5 (primal active sets).
"""

from typing import Any, NamedTuple

import numpy as np

from .kernel import kernel
from .observed_matrix import DenseMatrix, SparseMatrix, power_sum, shape
from .row_grams import row_grams
from .row_update import RowsUpdate, gram, in_blocks, products


@kernel
def nearest_on_simplex(point, curvature, total, out):
    """Project on the simplex in the metric of the curvatures, in place of `out`; return the multiplier of the sum.

    Minimises the sum of ``curvature * (out - point) ** 2`` over the nonnegative `out` with the sum `total`. The
    largest set of positive coordinates is reduced until it is consistent (C. Michelot, 1986, with weights).
    Coordinates without curvature cost nothing: they share what the others would lack, if there are any.

    Parameters
    ----------
    point, curvature : ndarray of shape (n,), float64
        What is projected, and the metric, >= 0.
    total : float
        The sum.
    out : ndarray of shape (n,), float64
        The projection.

    Returns
    -------
    float
        The number added to ``curvature * point`` before it is cut at zero and divided by the curvature.
    """
    n = point.size
    n_free = 0
    for a in range(n):
        out[a] = 1.0  # a mark: positive so far
        if curvature[a] <= 0.0:
            n_free += 1
    level = np.inf
    kept = n + 1
    while True:
        lacking, share, count = total, 0.0, 0
        for a in range(n):
            if curvature[a] > 0.0 and out[a] > 0.0:
                if level == np.inf or curvature[a] * point[a] + level > 0.0:
                    lacking -= point[a]
                    share += 1.0 / curvature[a]
                    count += 1
                else:
                    out[a] = 0.0
        if count == 0 or count == kept:
            break
        kept = count
        level = lacking / share
    if n_free > 0 and (level > 0.0 or count == 0):
        level = 0.0
    rest = total
    for a in range(n):
        if curvature[a] > 0.0:
            out[a] = max(point[a] + level / curvature[a], 0.0)
            rest -= out[a]
    for a in range(n):
        if curvature[a] <= 0.0:
            out[a] = max(rest, 0.0) / n_free
    return level


@kernel
def simplex_step(Q, gradient, f, total, point, curvature, out):
    """The squared length, in the metric of the curvatures, of the row's best step in that metric: the KKT residual."""
    r = f.size
    for a in range(r):
        curvature[a] = max(Q[a, a], 0.0)
        point[a] = f[a] - gradient[a] / curvature[a] if curvature[a] > 0.0 else f[a]
    nearest_on_simplex(point, curvature, total, out)
    square = 0.0
    for a in range(r):
        square += curvature[a] * (out[a] - f[a]) ** 2
    return square


@kernel
def _gradient(Q, c, f, out):
    for a in range(f.size):
        value = -c[a]
        for b in range(f.size):
            value += Q[a, b] * f[b]
        out[a] = value


@kernel
def _best_step(Q, shift, proximal, gradient, members, n_members, factor, first, second):
    """The step on the support to its best point with the same sum, into `first`; False where it cannot be solved.

    `shift` times the square of the sum is added to the objective: nothing changes, but the matrix need only be
    positive definite along the hyperplane. Half `proximal` times the squared step keeps it so where it is not.
    """
    for s in range(n_members):
        i = members[s]
        for t in range(s + 1):
            value = Q[i, members[t]] + shift
            if s == t:
                value += proximal
            for k in range(t):
                value -= factor[s, k] * factor[t, k]
            if s == t:
                if value <= 0.0:
                    return False
                factor[s, s] = np.sqrt(value)
            else:
                factor[s, t] = value / factor[t, t]
    for s in range(n_members):
        one, two = -gradient[members[s]], 1.0
        for k in range(s):
            one -= factor[s, k] * first[k]
            two -= factor[s, k] * second[k]
        first[s], second[s] = one / factor[s, s], two / factor[s, s]
    sum_first, sum_second = 0.0, 0.0
    for s in range(n_members - 1, -1, -1):
        one, two = first[s], second[s]
        for k in range(s + 1, n_members):
            one -= factor[k, s] * first[k]
            two -= factor[k, s] * second[k]
        first[s], second[s] = one / factor[s, s], two / factor[s, s]
        sum_first += first[s]
        sum_second += second[s]
    for s in range(n_members):
        first[s] -= sum_first / sum_second * second[s]
    return True


@kernel
def solve_simplex_row(Q, c, total, f, gradient, members, work):
    """Solve one row exactly, in place, from the support that it has; return its duality gap.

    Parameters
    ----------
    Q : ndarray of shape (n_components, n_components), float64
        The quadratic term, symmetric and positive semidefinite.
    c : ndarray of shape (n_components,), float64
        The linear term.
    total : float
        The sum to keep, >= 0.
    f : ndarray of shape (n_components,), float64
        The row, changed in place.
    gradient : ndarray of shape (n_components,), float64
        On return ``Q @ f - c``.
    members : ndarray of shape (n_components,), int64
        Scratch.
    work : ndarray of shape (n_components + 2, n_components), float64
        Scratch.

    Returns
    -------
    float
        The duality gap.
    """
    r = f.size
    factor, first, second = work[:r], work[r], work[r + 1]
    if total <= 0.0:
        f[:] = 0.0
        _gradient(Q, c, f, gradient)
        return 0.0
    size, shift, largest, scale = 0.0, 0.0, 0.0, 0.0
    for a in range(r):
        f[a] = f[a] if 0.0 < f[a] < np.inf else 0.0
        size += f[a]
        shift += max(Q[a, a], 0.0) / r
        largest = max(largest, Q[a, a])
        scale = max(scale, abs(c[a]))
    slack = 1e-14 * (scale + largest * total)
    n_members = 0
    for a in range(r):
        f[a] = total / r if not 0.0 < size < np.inf else f[a] * (total / size)
        if f[a] > 0.0:
            members[n_members] = a
            n_members += 1
    if shift <= 0.0:
        shift = 1.0
    entered, refinements = -1, 0
    _gradient(Q, c, f, gradient)
    for _ in range(20 + 10 * r):
        if not _best_step(Q, shift, 1e-13 * shift, gradient, members, n_members, factor, first, second):
            break
        length, blocking = 1.0, -1
        for s in range(n_members):
            if first[s] < 0.0 and f[members[s]] + length * first[s] < 0.0:
                length = max(-f[members[s]] / first[s], 0.0)
                blocking = s
        for s in range(n_members):
            f[members[s]] = max(f[members[s]] + length * first[s], 0.0)
        if blocking >= 0:
            leaving = members[blocking]
            f[leaving] = 0.0
            for s in range(blocking, n_members - 1):
                members[s] = members[s + 1]
            n_members -= 1
            if leaving == entered and length == 0.0:  # rounding: its gradient is zero to precision
                break
            entered = -1
            _gradient(Q, c, f, gradient)
            continue
        _gradient(Q, c, f, gradient)
        level = 0.0
        for s in range(n_members):
            level += f[members[s]] * gradient[members[s]]
        level /= total
        error = 0.0
        for s in range(n_members):
            error = max(error, abs(gradient[members[s]] - level))
        if error > slack and refinements < 2:  # the same step again, from the residual of the first
            refinements += 1
            continue
        # The most negative reduced gradient, each in the units of its own coordinate.
        entered, worst = -1, 0.0
        for a in range(r):
            if f[a] == 0.0 and gradient[a] - level < -slack:
                rate = (gradient[a] - level) / np.sqrt(max(Q[a, a], 1e-12 * largest) + 1e-300)
                inside = False
                for s in range(n_members):
                    inside = inside or members[s] == a
                if rate < worst and not inside:
                    entered, worst = a, rate
        if entered < 0:
            break
        members[n_members] = entered
        n_members += 1
        refinements = 0
    size = 0.0
    for a in range(r):
        size += f[a]
    lowest, level = np.inf, 0.0
    for a in range(r):
        f[a] *= total / size
    _gradient(Q, c, f, gradient)
    for a in range(r):
        lowest = min(lowest, gradient[a])
        level += f[a] * gradient[a]
    return max(level - total * lowest, 0.0)


@kernel
def solve_simplex_rows(G, B, F, ridge, pull, total, change, gaps, totals):
    """Measure, and if wanted solve, a block of rows.

    Parameters
    ----------
    G : ndarray of shape (1 or n_rows, n_components, n_components), float64
        The Gram matrix of the other factor: one for all rows, or one for each.
    B : ndarray of shape (n_rows, n_components)
        The right-hand sides.
    F : ndarray of shape (n_rows, n_components)
        The rows, changed in place.
    ridge : ndarray of shape (n_rows,), float64
        Weight of half the squared norm of each row.
    pull : ndarray of shape (n_rows or 0, n_components), float64
        A linear reward of the entries.
    total : ndarray of shape (n_rows,), float64
        The sum of each row.
    change : bool
        Whether to solve.
    gaps : ndarray of shape (n_rows,), float64
        Receives the duality gaps of the rows that are solved.
    totals : ndarray of shape (3,), float64
        Adds up: twice the loss after the update without the part of the data alone; the squared KKT residual before.
    """
    n_rows, r = F.shape
    Q, c, row, gradient = np.empty((r, r)), np.empty(r), np.empty(r), np.empty(r)
    members, work = np.empty(r, np.int64), np.empty((r + 3, r))
    for i in range(n_rows):
        plain = G[i if G.shape[0] > 1 else 0]
        for a in range(r):
            for b in range(r):
                Q[a, b] = plain[a, b]
            Q[a, a] += ridge[i]
            c[a] = B[i, a]
            if pull.shape[0] > 0:
                c[a] += pull[i, a]
            row[a] = F[i, a]
        _gradient(Q, c, row, gradient)
        totals[1] += simplex_step(Q, gradient, row, total[i], work[0], work[1], work[2])
        if change:
            gaps[i] = solve_simplex_row(Q, c, total[i], row, gradient, members, work)
            for a in range(r):
                F[i, a] = row[a]
                row[a] = F[i, a]  # as rounded: the loss is that of what is returned
        for a in range(r):
            value = -2.0 * np.float64(B[i, a])
            for b in range(r):
                value += plain[a, b] * row[b]
            totals[0] += row[a] * value


def update_simplex_rows(
    matrix: Any,
    F: np.ndarray,
    K: np.ndarray,
    total: np.ndarray,
    ridge: np.ndarray,
    pull: np.ndarray,
    *,
    change: bool = True,
    gaps: np.ndarray | None = None,
    n_jobs: int | None = None,
    energy: float | None = None,
) -> RowsUpdate:
    """Solve all rows of one factor exactly on their simplices, in place, the other factor fixed.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The matrix, seen so that its rows belong to the rows of `F`.
    F : ndarray of shape (n_rows, n_components), C order
        The factor, changed in place; its support is where the solver begins.
    K : ndarray of shape (n_columns, n_components), C order
        The other factor.
    total : ndarray of shape (n_rows,), float64
        The sum of each row, >= 0.
    ridge : ndarray of shape (n_rows,), float64
        The weight of half the squared norm of each row.
    pull : ndarray of shape (n_rows or 0, n_components)
        A linear reward of the entries; no rows for none.
    change : bool, default=True
        Whether to solve; otherwise only measure.
    gaps : ndarray of shape (n_rows,), float64, optional
        Receives the duality gap of each row.
    n_jobs : int, optional
        Threads; the answer does not depend on them.
    energy : float, optional
        The squared norm of the matrix where it is known already.

    Returns
    -------
    RowsUpdate
        Loss after the update, KKT residual before it.
    """
    shared = gram(K)[np.newaxis]
    gaps = np.empty(F.shape[0]) if gaps is None else gaps

    def work(start: int, stop: int) -> np.ndarray:
        block, totals = slice(start, stop), np.zeros(3)
        if isinstance(matrix, DenseMatrix | SparseMatrix):
            G, B = shared, products(matrix, K, start, stop)
        else:
            G, B = row_grams(matrix, K, np.arange(start, stop))
        edits = ridge[block], pull[block].astype(np.float64, copy=False), total[block]
        solve_simplex_rows(G, B, F[block], *edits, change, gaps[block], totals)
        totals[2] = float(change)
        return totals

    totals = in_blocks(F.shape[0], n_jobs, work)
    energy = power_sum(matrix, 2.0) if energy is None else energy
    loss = float(0.5 * (energy + totals[:, 0].sum()))
    return RowsUpdate(max(loss, 0.0), float(totals[:, 1].sum()), int(totals[:, 2].max()))


class SimplexLeastSquares(NamedTuple):
    """The least-squares coefficients of all rows on the simplex.

    Attributes
    ----------
    codes : ndarray of shape (n_rows, n_components)
        The coefficients: nonnegative, every row with the sum asked for.
    dual_gap : ndarray of shape (n_rows,)
        How far each row's half squared error can be above its minimum.
    loss : float
        Half the squared error of all rows.
    """

    codes: np.ndarray
    dual_gap: np.ndarray
    loss: float


def simplex_least_squares(
    matrix: Any, components: np.ndarray, *, total: float = 1.0, n_jobs: int | None = None
) -> SimplexLeastSquares:
    r"""Fit every row by a mixture of components: coefficients nonnegative and summing to one (FCLS).

    .. math:: \min_{w_i \ge 0,\; \sum_a w_{ia} = s} \; \tfrac12 \|x_i - w_i H\|^2 .

    Exact for every row, whatever the components: where they are affinely dependent one of the solutions is returned.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The rows to fit, of shape (n_rows, n_features); unknown entries do not count.
    components : ndarray of shape (n_components, n_features)
        What is mixed: the endmembers.
    total : float, default=1.0
        The sum s of the coefficients, >= 0.
    n_jobs : int, optional
        Threads; the answer does not depend on them.

    Returns
    -------
    SimplexLeastSquares
        The coefficients with a duality gap for each row.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.observed_matrix import observe
    >>> from sparsemodels.solvers.simplex_least_squares import simplex_least_squares
    >>> endmembers = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> simplex_least_squares(observe(np.array([[0.7, 0.3, 0.0], [2.0, 0.0, 1.0]])), endmembers).codes
    array([[0.7, 0.3],
           [1. , 0. ]])
    """
    n_rows = shape(matrix)[0]
    K = np.ascontiguousarray(components.T)
    codes = np.full((n_rows, K.shape[1]), total / K.shape[1], dtype=K.dtype)
    gaps, nothing = np.empty(n_rows), np.zeros(n_rows)
    update = update_simplex_rows(
        matrix,
        codes,
        K,
        np.full(n_rows, float(total)),
        nothing,
        np.empty((0, K.shape[1])),
        gaps=gaps,
        n_jobs=n_jobs,
    )
    return SimplexLeastSquares(codes, gaps, update.loss)
