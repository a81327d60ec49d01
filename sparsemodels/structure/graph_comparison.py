"""How far an estimated graph is from the true one."""

from typing import Any

import numpy as np

__all__ = ["structural_hamming_distance"]


def check_graph(name: str, graph: Any) -> np.ndarray:
    """The edges of a graph, from a square matrix of weights."""
    matrix = np.asarray(graph)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{name} must be a square matrix, got shape {matrix.shape}.")
    edges = matrix != 0
    if np.any(np.diag(edges)):
        raise ValueError(f"{name} must have zeros on its diagonal, got an edge from a node to itself.")
    return edges


def structural_hamming_distance(true: Any, estimated: Any) -> int:
    """Count the edges to add, remove or turn around until two directed graphs agree.

    Parameters
    ----------
    true, estimated : array-like of shape (n_features, n_features)
        The graphs. Entry (i, j) is not zero where there is an edge from i to j.

    Returns
    -------
    int
        The number of pairs of nodes that the graphs join differently; an edge turned around counts once.

    Examples
    --------
    >>> from sparsemodels.structure import structural_hamming_distance
    >>> structural_hamming_distance([[0, 1, 0], [0, 0, 1], [0, 0, 0]], [[0, 1, 1], [0, 0, 0], [0, 1, 0]])
    2
    """
    first, second = check_graph("true", true), check_graph("estimated", estimated)
    if first.shape != second.shape:
        raise ValueError(f"the graphs must have as many nodes, got {first.shape[0]} and {second.shape[0]}.")
    differ = first != second
    return int(np.triu(differ | differ.T).sum())
