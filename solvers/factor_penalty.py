"""Penalties and constraints of one factor of a factorization, and what alternating solvers ask of them.

A penalty is a record; four generic functions say what it does: its value, the nearest feasible factor, one improvement
of all rows, and the edits of every row's least squares. A new constraint is a new record that registers with them.
"""

from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np

from . import downdated_rows, observed_rows  # noqa: F401 (they register the updates of matrices with unknown entries)
from .graph_terms import graph_terms, graph_value
from .observed_matrix import DenseMatrix, ObservedMatrix, SparseMatrix, power_sum
from .row_update import RowsUpdate, RowTerms, update_rows, with_products

_GRAPH_PASSES, _GRAPH_DELTA = 20, 0.1  # sweeps over rows that a graph couples, and when they have done enough


class RowPenalty(NamedTuple):
    """Penalty of one factor: lasso, ridge, upper bound and the smoothness of its rows over a graph.

    Attributes
    ----------
    l1 : float
        Weight of the sum of all entries.
    l2 : float
        Weight of half the sum of their squares.
    upper_bound : float
        Upper bound of every entry; can be infinite.
    graph : scipy.sparse.csr_array of shape (n_rows, n_rows), or None
        Symmetric affinities >= 0 between the rows, with a zero diagonal.
    graph_strength : float
        Weight of half the sum, over all pairs of rows once, of affinity times squared distance.
    """

    l1: float = 0.0
    l2: float = 0.0
    upper_bound: float = np.inf
    graph: Any = None
    graph_strength: float = 0.0


@singledispatch
def penalty_value(penalty: Any, F: np.ndarray) -> float:
    """The value of a factor's penalty."""
    raise TypeError(f"not a penalty of a factor: {type(penalty).__name__}")


@singledispatch
def improve(
    penalty: Any, matrix: ObservedMatrix, F: np.ndarray, K: np.ndarray, *, max_sweeps: int, exact: bool, **options: Any
) -> RowsUpdate:
    """Improve all rows of a factor under its penalty, in place, the other factor fixed."""
    raise TypeError(f"not a penalty of a factor: {type(penalty).__name__}")


@singledispatch
def make_feasible(penalty: Any, F: np.ndarray) -> np.ndarray:
    """The nearest factor that obeys the penalty's constraints, in place."""
    raise TypeError(f"not a penalty of a factor: {type(penalty).__name__}")


@penalty_value.register
def _(penalty: RowPenalty, F: np.ndarray) -> float:
    total = 0.0
    if penalty.l1 > 0.0:
        total += penalty.l1 * float(F.sum(dtype=np.float64))
    if penalty.l2 > 0.0:
        total += 0.5 * penalty.l2 * float(np.sum(np.square(F, dtype=np.float64)))
    if penalty.graph_strength > 0.0:
        total += penalty.graph_strength * graph_value(penalty.graph, F)
    return total


@make_feasible.register
def _(penalty: RowPenalty, F: np.ndarray) -> np.ndarray:
    return np.clip(F, 0.0, penalty.upper_bound, out=F)


def row_terms(penalty: RowPenalty, F: np.ndarray) -> RowTerms:
    """The edits of every row's least squares that a penalty makes at the present factor.

    The graph couples the rows; :mod:`~sparsemodels.solvers.graph_terms` bounds its quadratic form by a separable one.
    """
    n_rows, r = F.shape
    ridge, pull = np.full(n_rows, penalty.l2), np.empty((0, r))
    if penalty.graph_strength > 0.0:
        more, pull = graph_terms(penalty.graph, penalty.graph_strength, F)
        ridge += more
    return RowTerms(np.full(n_rows, penalty.l1), ridge, np.full(n_rows, penalty.upper_bound), pull)


@improve.register
def _(
    penalty: RowPenalty, matrix: Any, F: np.ndarray, K: np.ndarray, *, max_sweeps: int, exact: bool, **options: Any
) -> RowsUpdate:
    if penalty.graph_strength == 0.0 or max_sweeps == 0:
        return update_rows(matrix, F, K, row_terms(penalty, F), max_sweeps=max_sweeps, exact=exact, **options)
    # Each bound of the graph's form is good for a short way only: one sweep each, the products with the data kept.
    if isinstance(matrix, DenseMatrix | SparseMatrix):
        if options.get("energy") is None:
            options["energy"] = power_sum(matrix, 2.0)
        matrix = with_products(matrix, K)
    update = update_rows(matrix, F, K, row_terms(penalty, F), max_sweeps=1, exact=exact, **options)
    for _ in range(max(max_sweeps, _GRAPH_PASSES) - 1):
        after = update_rows(matrix, F, K, row_terms(penalty, F), max_sweeps=1, exact=exact, **options)
        update = RowsUpdate(after.loss, update.kkt_squared, update.n_sweeps + 1)
        if after.kkt_squared <= _GRAPH_DELTA**2 * update.kkt_squared:
            break
    return update
