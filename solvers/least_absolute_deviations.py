r"""Exact least absolute deviations, with the dual vector that proves them.

The problem is :math:`\min_z \sum_i s_i |y_i - (A z)_i|`.

The solution is a vertex: it interpolates as many rows as there are columns, and those rows are the *basis*.
From a basis the algorithm lets go of one row at a time and moves along the edge of the other rows to the
weighted median of the residuals' zeros, where the next row is caught: a simplex method whose line search
passes over many vertices at once (P. Bloomfield and W. L. Steiger, "Least Absolute Deviations", 1983). When a
column is appended the old basis still holds, and a few steps suffice.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog

from .kernel import kernel
from .weighted_median import weighted_median


class LeastAbsoluteDeviations(NamedTuple):
    r"""A solution of :math:`\min_z \sum_i s_i |y_i - (A z)_i|` with its certificate.

    Attributes
    ----------
    coef : ndarray of shape (n_columns,)
        The solution z.
    residual : ndarray of shape (n_rows,)
        :math:`y - A z`, exactly zero on the basis.
    basis : ndarray of shape (n_columns,), int64, or None
        The rows that are interpolated, the start for the next problem; None from the linear program.
    dual : ndarray of shape (n_rows,)
        :math:`\theta` with :math:`|\theta_i| \le s_i` and :math:`A^T \theta = 0` to rounding.
    objective : float
        :math:`\sum_i s_i |r_i|`.
    dual_gap : float
        :math:`\sum_i (s_i |r_i| - \theta_i r_i) \ge 0`: for a feasible dual vector, at least the distance of
        the objective from its minimum.
    kkt : float
        How feasible the dual vector is, :math:`\max_j |a_j^T \theta| / \sum_i s_i |a_{ij}|`.
    n_iter : int
        The number of vertices visited.
    converged : bool
        Whether both are at the level of rounding.
    """

    coef: np.ndarray
    residual: np.ndarray
    basis: np.ndarray | None
    dual: np.ndarray
    objective: float
    dual_gap: float
    kkt: float
    n_iter: int
    converged: bool


@kernel
def _at_basis(columns, y, weights, basis, inverse, coef, residual, dual, slope):
    # The vertex of a basis, and the only dual vector that could prove it optimal.
    n_columns, n_rows = columns.shape
    for j in range(n_columns):
        coef[j] = 0.0
        for i in range(n_columns):
            coef[j] += inverse[j, i] * y[basis[i]]
    residual[:] = y
    for j in range(n_columns):
        value = coef[j]
        for i in range(n_rows):
            residual[i] -= value * columns[j, i]
    for i in range(n_columns):
        residual[basis[i]] = 0.0
    for i in range(n_rows):
        dual[i] = weights[i] * np.sign(residual[i])
    for j in range(n_columns):
        total = 0.0
        for i in range(n_rows):
            total += dual[i] * columns[j, i]
        slope[j] = total
    for i in range(n_columns):
        total = 0.0
        for j in range(n_columns):
            total -= inverse[j, i] * slope[j]
        dual[basis[i]] = total


@kernel
def _descend(columns, y, weights, basis, inverse, coef, residual, dual, slope, change, ratios, masses, n_steps):
    # Returns the number of steps, and whether to come again: 0 optimal, 1 out of steps, 2 stuck at a vertex
    # where more rows are interpolated than there are columns.
    n_columns, n_rows = columns.shape
    for step in range(n_steps):
        _at_basis(columns, y, weights, basis, inverse, coef, residual, dual, slope)
        leaving, excess = -1, 0.0
        for i in range(n_columns):
            row = basis[i]
            over = abs(dual[row]) - weights[row] * (1.0 + 1e-11)
            if over > excess:
                leaving, excess = i, over
        if leaving < 0:
            return step, 0
        sign = -np.sign(dual[basis[leaving]])
        change[:] = 0.0
        for j in range(n_columns):
            scale = sign * inverse[j, leaving]
            for i in range(n_rows):
                change[i] += scale * columns[j, i]
        for i in range(n_columns):
            change[basis[i]] = 0.0
        size = 1
        ratios[0], masses[0] = 0.0, weights[basis[leaving]]
        for i in range(n_rows):
            if change[i] != 0.0:
                ratios[size] = residual[i] / change[i]
                masses[size] = weights[i] * abs(change[i])
                size += 1
        length = weighted_median(ratios, masses, size)
        if not length > 0.0:
            return step, 2
        entering, pivot = -1, 0.0
        for i in range(n_rows):
            if change[i] != 0.0 and residual[i] / change[i] == length and abs(change[i]) > pivot:
                entering, pivot = i, abs(change[i])
        # One row of the basis matrix is replaced: the inverse changes by rank one.
        for j in range(n_columns):
            slope[j] = 0.0
        for k in range(n_columns):
            for j in range(n_columns):
                slope[j] += columns[k, entering] * inverse[k, j]
        divisor = slope[leaving]
        slope[leaving] -= 1.0
        for j in range(n_columns):
            scale = inverse[j, leaving] / divisor
            for k in range(n_columns):
                inverse[j, k] -= scale * slope[k]
        basis[leaving] = entering
    _at_basis(columns, y, weights, basis, inverse, coef, residual, dual, slope)
    return n_steps, 1


def _extended(columns, y, weights, basis):
    """A basis with one row more for each column beyond the old ones, by a line search along each."""
    for k in range(basis.size, len(columns)):
        change = columns[k].copy()
        residual = y.copy()
        if k:
            inner = columns[:k, basis]
            change -= np.linalg.solve(inner.T, columns[k, basis]) @ columns[:k]
            residual -= np.linalg.solve(inner.T, y[basis]) @ columns[:k]
            change[basis] = 0.0
        moving = np.flatnonzero(np.abs(change) > 1e-12 * np.abs(columns[k]).max())
        if not moving.size:
            return None
        ratios = residual[moving] / change[moving]
        masses = weights[moving] * np.abs(change[moving])
        length = weighted_median(ratios.copy(), masses, moving.size)
        caught = moving[ratios == length]
        basis = np.append(basis, caught[np.argmax(np.abs(change[caught]))])
    return basis


def _by_vertices(columns, y, weights, basis, target):
    """The vertex method on given targets (those of the problem, or perturbed ones)."""
    n_columns, n_rows = columns.shape
    coef, slope = np.empty((2, n_columns))
    residual, dual, change = np.empty((3, n_rows))
    ratios, masses = np.empty((2, n_rows + 1))
    n_iter = 0
    for _ in range(20):
        # A fresh inverse now and then: rank-one changes lose digits.
        inverse = np.linalg.inv(columns[:, basis].T)
        steps, state = _descend(
            columns, target, weights, basis, inverse, coef, residual, dual, slope, change, ratios, masses, 50
        )
        n_iter += steps
        if state != 1:
            break
    inverse = np.linalg.inv(columns[:, basis].T)
    _at_basis(columns, target, weights, basis, inverse, coef, residual, dual, slope)
    if target is not y:
        coef = inverse @ y[basis]
        residual = y - coef @ columns
        residual[basis] = 0.0
    return _certified(columns, weights, coef, residual, basis, dual, n_iter, y)


def _certified(columns, weights, coef, residual, basis, dual, n_iter, y):
    dual = np.clip(dual, -weights, weights)
    gap = float(np.sum(weights * np.abs(residual) - dual * residual))
    scale = np.abs(columns) @ weights
    kkt = float(np.max(np.abs(columns @ dual) / np.where(scale > 0.0, scale, 1.0), initial=0.0))
    objective = float(weights @ np.abs(residual))
    size = float(weights @ np.abs(y)) + float(np.abs(coef) @ scale)
    converged = gap <= 1e-10 * objective + 1e-14 * size and kkt <= 1e-10
    return LeastAbsoluteDeviations(coef, residual, basis, dual, objective, gap, kkt, n_iter, bool(converged))


def _by_linear_program(columns, y, weights):
    """The dual linear program, for what the vertex method cannot finish: dependent columns, cycling."""
    scale = np.abs(y).max() or 1.0
    program = linprog(
        -y / scale,
        A_eq=columns,
        b_eq=np.zeros(len(columns)),
        bounds=np.column_stack([-weights, weights]),
        method="highs-ds",
    )
    coef = -scale * program.eqlin.marginals
    return _certified(columns, weights, coef, y - coef @ columns, None, program.x, int(program.nit), y)


def least_absolute_deviations(
    columns: np.ndarray,
    y: np.ndarray,
    sample_weight: np.ndarray | None = None,
    *,
    basis: np.ndarray | None = None,
) -> LeastAbsoluteDeviations:
    r"""Solve :math:`\min_z \sum_i s_i |y_i - (A z)_i|` exactly.

    Parameters
    ----------
    columns : ndarray of shape (n_columns, n_rows), float64
        The columns of A, one a row of this array; no more columns than rows.
    y : ndarray of shape (n_rows,), float64
        The targets.
    sample_weight : ndarray of shape (n_rows,), optional
        Row weights :math:`s_i > 0`; ones by default.
    basis : ndarray of int64, optional
        The basis of the solution for the first ``basis.size`` columns, where to start. Not modified.

    Returns
    -------
    LeastAbsoluteDeviations
        The solution and its certificate.

    Notes
    -----
    Tied data make vertices with more interpolated rows than columns, where an edge can lead nowhere. The
    targets are then perturbed by some 1e-10 of their size to find an optimal basis, which is evaluated, and
    certified, on the targets as given. What is not certified after that (dependent columns) goes to the HiGHS
    linear program.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.least_absolute_deviations import least_absolute_deviations
    >>> line = least_absolute_deviations(np.array([[1.0, 1, 1, 1], [0, 1, 2, 3]]), np.array([1.0, 3, 50, 7]))
    >>> line.coef, line.objective, line.dual_gap
    (array([1., 2.]), 45.0, 0.0)
    """
    columns = np.ascontiguousarray(columns, dtype=np.float64)
    y = np.asarray(y, dtype=np.float64)
    n_columns, n_rows = columns.shape
    weights = np.ones(n_rows) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if n_columns == 0:
        return _certified(columns, weights, np.empty(0), y.copy(), np.empty(0, np.int64), weights * np.sign(y), 0, y)
    start = np.empty(0, dtype=np.int64) if basis is None else np.asarray(basis, dtype=np.int64)
    best = None
    try:
        basis = _extended(columns, y, weights, start)
        if basis is not None:
            best = _by_vertices(columns, y, weights, basis, y)
            if not best.converged:
                size = 1e-10 * (np.abs(y).max() + np.abs(best.coef) @ np.abs(columns).max(axis=1))
                perturbation = np.random.default_rng(0).uniform(0.5, 1.0, n_rows) * size
                perturbation[1::2] *= -1.0
                best = _by_vertices(columns, y, weights, best.basis.copy(), y + perturbation)
    except np.linalg.LinAlgError:
        best = None
    if best is not None and best.converged:
        return best
    return _by_linear_program(columns, y, weights)
