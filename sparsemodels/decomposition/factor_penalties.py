"""The penalties of both factors, from the parameters of an estimator."""

from typing import Any

import numpy as np

from sparsemodels.solvers.factor_penalty import RowPenalty
from sparsemodels.solvers.graph_terms import check_graph
from sparsemodels.solvers.observed_matrix import ObservedMatrix, shape, total_weight
from sparsemodels.solvers.simplex_factors import SimplexColumns, SimplexRows


def code_penalty(estimator: Any, known_per_row: float, graph: Any = None) -> Any:
    """The penalty of W.

    Parameters
    ----------
    estimator : NMF
        Whose parameters count.
    known_per_row : float
        The known weight per row of the training data, by which `alpha_W` is scaled.
    graph : scipy.sparse.csr_array of shape (n_samples, n_samples), optional
        Affinities of the samples.

    Returns
    -------
    RowPenalty or SimplexRows
        The record.
    """
    scale = estimator.alpha_W * known_per_row
    if estimator.simplex == "codes":
        return SimplexRows(1.0, scale * (1.0 - estimator.l1_ratio), graph, _strength(estimator, graph))
    return _row_penalty(estimator, scale, graph)


def component_penalty(estimator: Any, known_per_column: float, graph: Any = None) -> Any:
    """The penalty of the transposed H.

    Parameters
    ----------
    estimator : NMF
        Whose parameters count.
    known_per_column : float
        The known weight per column, by which `alpha_H` is scaled.
    graph : scipy.sparse.csr_array of shape (n_features, n_features), optional
        Affinities of the features.

    Returns
    -------
    RowPenalty or SimplexColumns
        The record.
    """
    scale = (estimator.alpha_W if estimator.alpha_H == "same" else estimator.alpha_H) * known_per_column
    if estimator.simplex == "components":  # the rows of H are the columns of its transpose
        return SimplexColumns(1.0, scale * (1.0 - estimator.l1_ratio), graph, _strength(estimator, graph))
    return _row_penalty(estimator, scale, graph)


def penalties(estimator: Any, matrix: ObservedMatrix) -> tuple[Any, Any]:
    """The penalties of W and of the transposed H.

    Parameters
    ----------
    estimator : NMF
        Whose parameters count.
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        What is to be factorized.

    Returns
    -------
    tuple of two records
        The penalties.

    Raises
    ------
    ValueError
        If a graph does not fit, or the penalty of one factor is evaded through the other.
    """
    n_rows, n_columns = shape(matrix)
    graph_W = None if estimator.graph_W is None else check_graph(estimator.graph_W, n_rows, "graph_W")
    graph_H = None if estimator.graph_H is None else check_graph(estimator.graph_H, n_columns, "graph_H")
    penalty_W = code_penalty(estimator, total_weight(matrix) / n_rows, graph_W)
    penalty_H = component_penalty(estimator, total_weight(matrix) / n_columns, graph_H)
    for name, penalty, other_name, other in (("W", penalty_W, "H", penalty_H), ("H", penalty_H, "W", penalty_W)):
        # A component can be scaled down where that costs less, and its partner up where that costs nothing.
        if _costs_more_when_larger(penalty) and _can_grow_for_free(other):
            raise ValueError(
                f"A penalty of {name} alone is evaded by scaling {name} down and {other_name} up; penalise "
                f"{other_name} as well (alpha_{other_name}), or bound it by upper_bound or simplex."
            )
    return penalty_W, penalty_H


def _row_penalty(estimator: Any, scale: float, graph: Any) -> RowPenalty:
    bound = np.inf if estimator.upper_bound is None else float(estimator.upper_bound)
    l1, l2 = scale * estimator.l1_ratio, scale * (1.0 - estimator.l1_ratio)
    return RowPenalty(l1, l2, bound, graph, _strength(estimator, graph))


def _strength(estimator: Any, graph: Any) -> float:
    return 0.0 if graph is None else float(estimator.graph_strength)


def _costs_more_when_larger(penalty: Any) -> bool:
    return isinstance(penalty, RowPenalty) and penalty.l1 + penalty.l2 + penalty.graph_strength > 0.0


def _can_grow_for_free(penalty: Any) -> bool:
    return isinstance(penalty, RowPenalty) and penalty.l1 + penalty.l2 == 0.0 and np.isinf(penalty.upper_bound)
