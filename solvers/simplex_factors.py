"""Factors on the simplex: the rows, or the columns, of a factor are nonnegative and sum to one.

Two records for the place of a penalty in :mod:`~sparsemodels.solvers.alternating_factorization`. The codes of an
unmixing are :class:`SimplexRows` of W; components that sum to one are :class:`SimplexColumns` of the transposed H.
"""

from typing import Any, NamedTuple

import numpy as np

from .factor_penalty import improve, make_feasible, penalty_value
from .graph_terms import graph_terms, graph_value
from .kernel import kernel
from .observed_matrix import DenseMatrix, ObservedMatrix, SparseMatrix, power_sum
from .projections import project_simplex
from .row_grams import row_grams
from .row_update import RowsUpdate, gram, products
from .simplex_least_squares import nearest_on_simplex, update_simplex_rows


class SimplexRows(NamedTuple):
    """Every row of the factor is nonnegative with a given sum: a lasso penalty would be constant.

    Attributes
    ----------
    total : float
        The sum of each row, > 0.
    l2 : float
        Weight of half the sum of the squares of all entries.
    graph : scipy.sparse.csr_array of shape (n_rows, n_rows), or None
        Symmetric affinities >= 0 between the rows, with a zero diagonal.
    graph_strength : float
        Weight of half the sum, over all pairs of rows once, of affinity times squared distance.
    """

    total: float = 1.0
    l2: float = 0.0
    graph: Any = None
    graph_strength: float = 0.0


class SimplexColumns(NamedTuple):
    """Every column of the factor is nonnegative with a given sum; the fields are those of :class:`SimplexRows`.

    Attributes
    ----------
    total : float
        The sum of each column, > 0.
    l2 : float
        Weight of half the sum of the squares of all entries.
    graph : scipy.sparse.csr_array of shape (n_rows, n_rows), or None
        Symmetric affinities >= 0 between the rows, with a zero diagonal.
    graph_strength : float
        Weight of half the sum, over all pairs of rows once, of affinity times squared distance.
    """

    total: float = 1.0
    l2: float = 0.0
    graph: Any = None
    graph_strength: float = 0.0


@penalty_value.register(SimplexRows)
@penalty_value.register(SimplexColumns)
def _(penalty: Any, F: np.ndarray) -> float:
    total = 0.0
    if penalty.l2 > 0.0:
        total += 0.5 * penalty.l2 * float(np.sum(np.square(F, dtype=np.float64)))
    if penalty.graph_strength > 0.0:
        total += penalty.graph_strength * graph_value(penalty.graph, F)
    return total


@make_feasible.register
def _(penalty: SimplexRows, F: np.ndarray) -> np.ndarray:
    F[:] = project_simplex(F, penalty.total)
    return F


@make_feasible.register
def _(penalty: SimplexColumns, F: np.ndarray) -> np.ndarray:
    F[:] = project_simplex(np.ascontiguousarray(F.T), penalty.total).T
    return F


def _ridge_and_pull(penalty: Any, F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ridge, pull = np.full(F.shape[0], float(penalty.l2)), np.empty((0, F.shape[1]))
    if penalty.graph_strength > 0.0:
        more, pull = graph_terms(penalty.graph, penalty.graph_strength, F)
        ridge += more
    return ridge, pull


def improve_simplex_rows(
    penalty: SimplexRows,
    scale: np.ndarray,
    matrix: ObservedMatrix,
    F: np.ndarray,
    K: np.ndarray,
    *,
    change: bool,
    n_jobs: int | None = None,
    energy: float | None = None,
) -> RowsUpdate:
    """Solve the rows of a factor that is stored with each row multiplied by a number.

    Parameters
    ----------
    penalty : SimplexRows
        What holds for the rows divided by their numbers.
    scale : ndarray of shape (n_rows,), float64
        The numbers, > 0.
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The matrix.
    F : ndarray of shape (n_rows, n_components)
        The multiplied rows, changed in place.
    K : ndarray of shape (n_columns, n_components)
        The other factor.
    change : bool
        Whether to solve; otherwise only measure.
    n_jobs : int, optional
        Threads; the answer does not depend on them.
    energy : float, optional
        The squared norm of the matrix where it is known already.

    Returns
    -------
    RowsUpdate
        Loss after the update, KKT residual before it.
    """
    ridge, pull = _ridge_and_pull(penalty, F / scale[:, np.newaxis] if penalty.graph_strength > 0.0 else F)
    if pull.shape[0] > 0:
        pull = pull / scale[:, np.newaxis]
    total = penalty.total * scale
    return update_simplex_rows(matrix, F, K, total, ridge / scale**2, pull, change=change, n_jobs=n_jobs, energy=energy)


@improve.register
def _(
    penalty: SimplexRows,
    matrix: Any,
    F: np.ndarray,
    K: np.ndarray,
    *,
    max_sweeps: int,
    exact: bool,
    n_jobs: int | None = None,
    energy: float | None = None,
    **options: Any,
) -> RowsUpdate:
    scale = np.ones(F.shape[0])
    return improve_simplex_rows(penalty, scale, matrix, F, K, change=max_sweeps > 0, n_jobs=n_jobs, energy=energy)


@kernel(fastmath={"contract", "nsz"})
def _sweep_columns(G, B, F, ridge, pull, scale, total, max_sweeps, delta, totals):
    """Move one column after the other to its best point on the simplex, the others fixed; F is float64.

    `G` holds one Gram matrix or one for each row. A column's entries divided by `scale` have the sum `total`.
    `totals` receives the loss without the part of the data alone, twice; the squared KKT residual; the sweeps.
    """
    n_rows, r = F.shape
    one = G.shape[0] == 1
    gradient = np.empty((n_rows, r))
    point, curvature, out = np.empty(n_rows), np.empty(n_rows), np.empty(n_rows)
    for i in range(n_rows):
        plain = G[0 if one else i]
        for a in range(r):
            value = ridge[i] * F[i, a] - B[i, a]
            if pull.shape[0] > 0:
                value -= pull[i, a]
            for b in range(r):
                value += plain[a, b] * F[i, b]
            gradient[i, a] = value
    sweeps, first_decrease = 0, 0.0
    while True:
        decrease = 0.0
        for a in range(r):
            for i in range(n_rows):
                plain = G[0 if one else i]
                bend = plain[a, a] + ridge[i]
                value = F[i, a] - gradient[i, a] / bend if bend > 0.0 else F[i, a]
                point[i] = value / scale[i]
                curvature[i] = bend * scale[i] * scale[i]
            nearest_on_simplex(point, curvature, total, out)
            for i in range(n_rows):
                move = out[i] * scale[i] - F[i, a]
                plain = G[0 if one else i]
                decrease += (plain[a, a] + ridge[i]) * move * move
                if move != 0.0 and sweeps > 0:
                    F[i, a] += move
                    for b in range(r):
                        gradient[i, b] += plain[a, b] * move
                    gradient[i, a] += ridge[i] * move
        if sweeps == 0:  # only measured: every column's step from the same point
            totals[1] = decrease
        elif sweeps == 1:
            first_decrease = decrease
        if sweeps >= max_sweeps or (sweeps >= 1 and decrease <= delta * delta * first_decrease):
            break
        sweeps += 1
    totals[2] = sweeps
    for i in range(n_rows):
        plain = G[0 if one else i]
        for a in range(r):
            value = -2.0 * B[i, a]
            for b in range(r):
                value += plain[a, b] * F[i, b]
            totals[0] += F[i, a] * value


def improve_simplex_columns(
    penalty: SimplexColumns,
    scale: np.ndarray,
    matrix: ObservedMatrix,
    F: np.ndarray,
    K: np.ndarray,
    *,
    max_sweeps: int,
    delta: float = 0.1,
    energy: float | None = None,
) -> RowsUpdate:
    """Improve the columns of a factor that is stored with each row multiplied by a number.

    Where not all entries of the matrix are known, the Gram matrices of all rows are held at once.

    Parameters
    ----------
    penalty : SimplexColumns
        What holds for the rows divided by their numbers.
    scale : ndarray of shape (n_rows,), float64
        The numbers, > 0.
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The matrix.
    F : ndarray of shape (n_rows, n_components)
        The multiplied rows, changed in place.
    K : ndarray of shape (n_columns, n_components)
        The other factor.
    max_sweeps : int
        The most sweeps over the columns; 0 only measures.
    delta : float, default=0.1
        Sweeps stop once one brings less than this share (of the length of the step) of the first.
    energy : float, optional
        The squared norm of the matrix where it is known already.

    Returns
    -------
    RowsUpdate
        Loss after the update, KKT residual before it.
    """
    n_rows = F.shape[0]
    ridge, pull = _ridge_and_pull(penalty, F / scale[:, np.newaxis] if penalty.graph_strength > 0.0 else F)
    if pull.shape[0] > 0:
        pull = pull / scale[:, np.newaxis]
    if isinstance(matrix, DenseMatrix | SparseMatrix):
        G, B = gram(K)[np.newaxis], products(matrix, K, 0, n_rows).astype(np.float64, copy=False)
    else:
        G, B = row_grams(matrix, K, np.arange(n_rows))
    wide, totals = F.astype(np.float64), np.zeros(3)
    _sweep_columns(G, B, wide, ridge / scale**2, pull, scale, float(penalty.total), max_sweeps, delta, totals)
    if max_sweeps > 0:
        F[:] = wide
    energy = power_sum(matrix, 2.0) if energy is None else energy
    return RowsUpdate(max(0.5 * (energy + totals[0]), 0.0), float(totals[1]), int(totals[2]))


@improve.register
def _(
    penalty: SimplexColumns,
    matrix: Any,
    F: np.ndarray,
    K: np.ndarray,
    *,
    max_sweeps: int,
    exact: bool,
    delta: float = 0.1,
    energy: float | None = None,
    **options: Any,
) -> RowsUpdate:
    return improve_simplex_columns(
        penalty, np.ones(F.shape[0]), matrix, F, K, max_sweeps=max_sweeps, delta=delta, energy=energy
    )
