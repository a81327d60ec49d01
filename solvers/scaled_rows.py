r"""A factor stored with each of its rows multiplied by a number, as weights of rows or columns need it.

.. math:: \tfrac12 \sum_{ij} v_j (x_{ij} - w_i \cdot h_j)^2
    = \tfrac12 \sum_{ij} (\sqrt{v_j}\, x_{ij} - w_i \cdot \sqrt{v_j}\, h_j)^2

Least squares with one weight for each column of the matrix are plain least squares of scaled columns, with the rows
of the second factor scaled alike: one Gram matrix for all rows, as without weights. Only the penalty of that factor
has to know.
"""

from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np

from .factor_penalty import RowPenalty, improve, make_feasible, penalty_value, row_terms
from .observed_matrix import DenseMatrix, MostEntries, ObservedMatrix, SomeEntries, SparseMatrix, SparseRows
from .row_update import RowsUpdate, update_rows
from .simplex_factors import SimplexColumns, SimplexRows, improve_simplex_columns, improve_simplex_rows


class ScaledRows(NamedTuple):
    """The penalty of a factor for which each row was multiplied by a number.

    Attributes
    ----------
    penalty : RowPenalty or another record of a penalty
        The penalty of the factor itself.
    scale : ndarray of shape (n_rows,), float64
        The numbers, > 0.
    """

    penalty: Any
    scale: np.ndarray


@penalty_value.register
def _(penalty: ScaledRows, F: np.ndarray) -> float:
    return penalty_value(penalty.penalty, F / penalty.scale[:, np.newaxis])


@make_feasible.register
def _(penalty: ScaledRows, F: np.ndarray) -> np.ndarray:
    scale = penalty.scale[:, np.newaxis]
    F[:] = make_feasible(penalty.penalty, F / scale) * scale
    return F


@improve.register
def _(penalty: ScaledRows, matrix: Any, F: np.ndarray, K: np.ndarray, **options: Any) -> RowsUpdate:
    return improve_scaled(penalty.penalty, penalty.scale, matrix, F, K, **options)


@singledispatch
def improve_scaled(
    penalty: Any, scale: np.ndarray, matrix: ObservedMatrix, F: np.ndarray, K: np.ndarray, **options: Any
) -> RowsUpdate:
    """Improve all rows of a factor that is stored with each row multiplied by a number, in place.

    Parameters
    ----------
    penalty : RowPenalty, SimplexRows, SimplexColumns or another record of a penalty
        The penalty of the factor itself.
    scale : ndarray of shape (n_rows,), float64
        The numbers, > 0.
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The matrix.
    F : ndarray of shape (n_rows, n_components)
        The multiplied rows.
    K : ndarray of shape (n_columns, n_components)
        The other factor.
    **options
        Those of :func:`~sparsemodels.solvers.alternating_factorization.improve`.

    Returns
    -------
    RowsUpdate
        Loss after the update, KKT residual before it.
    """
    raise TypeError(f"the rows of a factor with the penalty {type(penalty).__name__} cannot be scaled")


@improve_scaled.register
def _(
    penalty: RowPenalty,
    scale: np.ndarray,
    matrix: Any,
    F: np.ndarray,
    K: np.ndarray,
    *,
    max_sweeps: int,
    exact: bool,
    **options: Any,
) -> RowsUpdate:
    terms = row_terms(penalty, F / scale[:, np.newaxis] if penalty.graph_strength > 0.0 else F)
    pull = terms.pull / scale[:, np.newaxis] if terms.pull.shape[0] > 0 else terms.pull
    terms = terms._replace(l1=terms.l1 / scale, ridge=terms.ridge / scale**2, upper=terms.upper * scale, pull=pull)
    return update_rows(matrix, F, K, terms, max_sweeps=max_sweeps, exact=exact, **options)


@improve_scaled.register
def _(
    penalty: SimplexRows,
    scale: np.ndarray,
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
    return improve_simplex_rows(penalty, scale, matrix, F, K, change=max_sweeps > 0, n_jobs=n_jobs, energy=energy)


@improve_scaled.register
def _(
    penalty: SimplexColumns,
    scale: np.ndarray,
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
    return improve_simplex_columns(penalty, scale, matrix, F, K, max_sweeps=max_sweeps, delta=delta, energy=energy)


@singledispatch
def scale_columns(matrix: Any, scale: np.ndarray) -> ObservedMatrix:
    """The matrix with every column multiplied by a number: a copy of its values.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The matrix.
    scale : ndarray of shape (n_columns,), of the type of the matrix
        The numbers, > 0.

    Returns
    -------
    DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The record of the scaled matrix; weights of entries stay.
    """
    raise TypeError(f"not an observed matrix: {type(matrix).__name__}")


@scale_columns.register(DenseMatrix)
@scale_columns.register(MostEntries)
def _(matrix: Any, scale: np.ndarray) -> ObservedMatrix:
    return matrix._replace(X=matrix.X * scale)


@scale_columns.register(SparseMatrix)
@scale_columns.register(SomeEntries)
def _(matrix: Any, scale: np.ndarray) -> ObservedMatrix:
    rows, columns = matrix.rows, matrix.columns
    scaled_rows: SparseRows = rows._replace(data=rows.data * scale[rows.indices])
    scaled_columns: SparseRows = columns._replace(data=columns.data * np.repeat(scale, np.diff(columns.indptr)))
    return matrix._replace(rows=scaled_rows, columns=scaled_columns)
