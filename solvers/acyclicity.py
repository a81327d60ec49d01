r"""Acyclic graphs: a smooth function of weights that is zero on them only, and the order of their nodes.

The function is :math:`h(W) = d \log s - \log\det(s I - W \circ W)` (Bello, Aragam and Ravikumar, NeurIPS 2022), for
weights whose squares have a spectral radius below s.
"""

import numpy as np

from .kernel import kernel

_REDUCTION = {"contract", "reassoc", "nsz", "arcp"}


@kernel(fastmath=_REDUCTION)
def invert_m_matrix(matrix):
    r"""Invert a non-singular M-matrix in place and return the logarithm of its determinant.

    Gauss-Jordan elimination without pivoting: a matrix with non-positive entries off the diagonal is a non-singular
    M-matrix if and only if every pivot is positive, and then elimination is stable. So the pivots are the test of
    :math:`s I - W \circ W` lying in the domain of the log-determinant.

    Parameters
    ----------
    matrix : ndarray of shape (d, d)
        Overwritten by the inverse.

    Returns
    -------
    float
        The logarithm of the determinant; -inf outside of the domain.
    """
    d = matrix.shape[0]
    total = 0.0
    for k in range(d):
        pivot = matrix[k, k]
        if not pivot > 1e-14:
            return -np.inf
        total += np.log(pivot)
        matrix[k, k] = 1.0
        row = matrix[k]
        for j in range(d):
            row[j] /= pivot
        for i in range(d):
            factor = matrix[i, k]
            if i == k or factor == 0.0:
                continue
            matrix[i, k] = 0.0
            other = matrix[i]
            for j in range(d):
                other[j] -= factor * row[j]
    return total


@kernel
def acyclicity(weights, radius, inverse):
    r"""The acyclicity function :math:`h = d \log s - \log\det(s I - W \circ W)`; inf outside of its domain.

    Parameters
    ----------
    weights : ndarray of shape (d, d)
        W.
    radius : float
        The radius s, larger than the spectral radius of :math:`W \circ W`.
    inverse : ndarray of shape (d, d)
        Overwritten by :math:`(s I - W \circ W)^{-1}`; the gradient is twice W times its transpose, entrywise.

    Returns
    -------
    float
        The value h, zero exactly if W is acyclic.
    """
    d = weights.shape[0]
    for i in range(d):
        for j in range(d):
            inverse[i, j] = -weights[i, j] * weights[i, j]
        inverse[i, i] += radius
    return d * np.log(radius) - invert_m_matrix(inverse)


@kernel
def topological_order(edges, order):
    """Order the nodes, each after its parents, the lowest index first; return how many could be ordered.

    Parameters
    ----------
    edges : ndarray of shape (d, d), bool
        Entry (i, j) says whether there is an edge from i to j.
    order : ndarray of shape (d,), int64
        Overwritten; complete if and only if the graph is acyclic.

    Returns
    -------
    int
        The number of nodes ordered.
    """
    d = edges.shape[0]
    parents = np.zeros(d, dtype=np.int64)
    for i in range(d):
        for j in range(d):
            parents[j] += edges[i, j]
    count = 0
    while count < d:
        node = -1
        for j in range(d):
            if parents[j] == 0:
                node = j
                break
        if node < 0:
            break
        order[count] = node
        count += 1
        parents[node] = -1
        for j in range(d):
            parents[j] -= edges[node, j]
    return count


def strongest_acyclic_edges(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop the weakest edges, in this order, until the graph is acyclic.

    Parameters
    ----------
    weights : ndarray of shape (d, d)
        Strengths of edges, by their absolute values; zero where there is none.

    Returns
    -------
    edges : ndarray of shape (d, d), bool
        What is left.
    causal_order : ndarray of shape (d,)
        The nodes, each after its parents.
    """
    strengths = np.abs(weights)
    np.fill_diagonal(strengths, 0.0)
    candidates = np.append(0.0, np.unique(strengths[strengths > 0.0]))
    order = np.empty(weights.shape[0], dtype=np.int64)
    low, high = 0, candidates.size - 1  # acyclic where all up to `high` are dropped: bisect
    while low < high:
        middle = (low + high) // 2
        if topological_order(strengths > candidates[middle], order) == order.size:
            high = middle
        else:
            low = middle + 1
    edges = strengths > candidates[low]
    topological_order(edges, order)
    return edges, order
