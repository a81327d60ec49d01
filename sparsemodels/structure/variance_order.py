"""Does the order of the variances give the graph away? A measure, and a baseline that uses nothing else."""

from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import validate_params
from sklearn.utils.validation import check_array

from sparsemodels._base import Interval
from sparsemodels.solvers.concomitant_scores import fit_edges

from .graph_comparison import check_graph

__all__ = ["variance_sorted_graph", "varsortability"]

_TIES = 1e-9  # variances this close, relatively, are equal


def varsortability(X: Any, adjacency_matrix: Any) -> float:
    r"""Measure how well the order of the variances agrees with the causal order of a graph.

    The share of directed paths, among all lengths, along which the variance grows from start to end. Simulated linear
    models with weights of ordinary size have values near one; then sorting by variance alone finds the causal order,
    and a method that does well has shown little. Standardised data has 0.5.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The data.
    adjacency_matrix : array-like of shape (n_features, n_features)
        The graph; entry (i, j) is not zero where there is an edge from i to j.

    Returns
    -------
    float
        A value in [0, 1]; nan for a graph without edges.

    References
    ----------
    A. Reisach, C. Seiler and S. Weichwald, "Beware of the simulated DAG! Causal discovery benchmarks may be easy to
    game", NeurIPS 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.structure import varsortability
    >>> rng = np.random.default_rng(0)
    >>> cause = rng.standard_normal(100)
    >>> X = np.column_stack([cause, 2.0 * cause + rng.standard_normal(100)])
    >>> varsortability(X, [[0, 1], [0, 0]])
    1.0
    """
    X = check_array(X, dtype=np.float64)
    edges = check_graph("adjacency_matrix", adjacency_matrix)
    if edges.shape[0] != X.shape[1]:
        raise ValueError(f"adjacency_matrix must have {X.shape[1]} rows, as many as X has columns, got {len(edges)}.")
    variances = X.var(axis=0)
    start, end = np.meshgrid(variances, variances, indexing="ij")
    tied = np.abs(start - end) <= _TIES * np.maximum(start, end)
    credit = np.where(tied, 0.5, np.where(start < end, 1.0, 0.0))
    n_paths, total, reached = 0.0, 0.0, edges
    for _ in range(edges.shape[0] - 1):
        n_paths += reached.sum()
        total += credit[reached].sum()
        reached = (reached.astype(np.int64) @ edges.astype(np.int64)) > 0
    return float(total / n_paths) if n_paths else float("nan")


@validate_params(
    {
        "X": ["array-like"],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "threshold": [Interval(Real, 0, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def variance_sorted_graph(X: Any, *, alpha: float = 0.02, threshold: float = 0.3) -> np.ndarray:
    r"""Estimate a graph from the order of the variances and nothing else: the baseline to beat.

    Each variable is regressed on all variables of smaller variance, by a square-root LASSO.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The data.
    alpha : float, default=0.02
        The level of the penalty :math:`\alpha \sum_{ij} \mathrm{sd}(x_i) |W_{ij}|`, as in :class:`ConcomitantDAG` with
        ``variance="unequal"``.
    threshold : float, default=0.3
        Weights of at most this size are no edges.

    Returns
    -------
    ndarray of shape (n_features, n_features)
        The weights; entry (i, j) is that of the edge from i to j.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.structure import variance_sorted_graph
    >>> rng = np.random.default_rng(0)
    >>> cause = rng.standard_normal(100)
    >>> X = np.column_stack([2.0 * cause + rng.standard_normal(100), cause])
    >>> variance_sorted_graph(X) != 0
    array([[False, False],
           [ True, False]])
    """
    X = check_array(X, dtype=np.float64, ensure_min_samples=2)
    covariance = np.atleast_2d(np.cov(X, rowvar=False, bias=True))
    deviations = np.sqrt(np.diag(covariance))
    rank = np.empty(deviations.size, dtype=np.int64)
    rank[np.argsort(deviations, kind="stable")] = np.arange(deviations.size)
    levels = np.repeat(alpha * deviations[:, None], deviations.size, axis=1)
    weights, _, _, _ = fit_edges(
        covariance, levels, rank[:, None] < rank[None, :], equal=False, floor=1e-3 * deviations.max()
    )
    return np.where(np.abs(weights) > threshold, weights, 0.0)
