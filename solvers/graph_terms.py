r"""A graph on the rows of a factor: neighbours' rows are drawn together.

The penalty of a factor F with the affinities S and the degrees :math:`D_{ii} = \sum_j S_{ij}` is

.. math:: \tfrac{\mu}{2} \operatorname{tr}(F^\top (D - S) F) = \tfrac{\mu}{4} \sum_{ij} S_{ij} \|f_i - f_j\|^2 .

It couples the rows, which all other terms leave apart. But :math:`2 D - (D - S) = D + S` is positive semidefinite, so
around the current rows :math:`f^0` the penalty lies below

.. math:: \sum_i \mu D_{ii} \|f_i\|^2 - \mu \sum_i \Bigl(D_{ii} f_i^0 + \sum_j S_{ij} f_j^0\Bigr) \cdot f_i
    + \text{constant},

touches it there and has the same gradient: a ridge and a pull for each row. Steps that lower the bound lower the
penalised objective, whatever the order or the number of threads, and a KKT residual taken at the current rows is that
of the penalty itself.

References
----------
D. Cai, X. He, J. Han and T. S. Huang, "Graph regularized nonnegative matrix factorization for data representation",
IEEE Transactions on Pattern Analysis and Machine Intelligence 33, 2011 (the penalty).
"""

from typing import Any

import numpy as np
import scipy.sparse

from .kernel import kernel


def check_graph(graph: Any, n_rows: int, name: str = "graph") -> scipy.sparse.csr_array:
    """Check the affinities of a factor's rows.

    Parameters
    ----------
    graph : array-like or sparse array of shape (n_rows, n_rows)
        Symmetric and nonnegative; the diagonal does not matter.
    n_rows : int
        How many rows the factor has.
    name : str, default="graph"
        What the caller calls it, for the messages.

    Returns
    -------
    scipy.sparse.csr_array of shape (n_rows, n_rows)
        The affinities without their diagonal, in float64.

    Raises
    ------
    ValueError
        If the shape is wrong, an affinity is negative or not finite, or they are not symmetric.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.graph_terms import check_graph
    >>> check_graph(np.array([[1, 2], [2, 0]]), 2).toarray()
    array([[0., 2.],
           [2., 0.]])
    """
    if np.shape(graph) != (n_rows, n_rows):
        raise ValueError(f"{name} must have shape ({n_rows}, {n_rows}), got {np.shape(graph)}.")
    affinity = scipy.sparse.coo_array(graph, dtype=np.float64)
    beside = affinity.row != affinity.col
    affinity = scipy.sparse.csr_array(
        (affinity.data[beside], (affinity.row[beside], affinity.col[beside])), shape=affinity.shape
    )
    if not (np.isfinite(affinity.data).all() and (affinity.data >= 0.0).all()):
        raise ValueError(f"{name} must be finite and nonnegative, got {affinity.data.min()}.")
    difference = abs(affinity - affinity.T)
    if difference.nnz and difference.data.max() > 1e-8 * affinity.data.max():
        raise ValueError(f"{name} must be symmetric, got entries that differ by {difference.data.max()}.")
    affinity = scipy.sparse.csr_array(0.5 * (affinity + affinity.T))
    affinity.eliminate_zeros()
    affinity.sort_indices()
    return affinity


@kernel(fastmath={"contract", "reassoc", "nsz"})
def _edge_energy(data, indices, indptr, F):
    total = 0.0
    for i in range(indptr.size - 1):
        for t in range(indptr[i], indptr[i + 1]):
            j = indices[t]
            if j > i:
                square = 0.0
                for a in range(F.shape[1]):
                    difference = np.float64(F[i, a]) - np.float64(F[j, a])
                    square += difference * difference
                total += data[t] * square
    return total


def graph_value(graph: scipy.sparse.csr_array, F: np.ndarray) -> float:
    """Half the trace of ``F.T @ (D - S) @ F``, summed edge by edge: exact also for nearly equal rows.

    Parameters
    ----------
    graph : scipy.sparse.csr_array of shape (n_rows, n_rows)
        The affinities S, symmetric.
    F : ndarray of shape (n_rows, n_components)
        The factor.

    Returns
    -------
    float
        The value, in float64.
    """
    return 0.5 * float(_edge_energy(graph.data, graph.indices, graph.indptr, F))


def graph_terms(graph: scipy.sparse.csr_array, strength: float, F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ridge and the pull by which the penalty is bounded around the current rows.

    Parameters
    ----------
    graph : scipy.sparse.csr_array of shape (n_rows, n_rows)
        The affinities S, symmetric.
    strength : float
        The factor of the penalty, the mu of the formulas above.
    F : ndarray of shape (n_rows, n_components)
        The current rows.

    Returns
    -------
    ridge : ndarray of shape (n_rows,)
        The weight of half the squared norm of each row: twice the strength times the degree.
    pull : ndarray of shape (n_rows, n_components)
        The linear reward of the entries; float64.
    """
    rows = F.astype(np.float64, copy=False)
    degrees = np.asarray(graph.sum(axis=1), dtype=np.float64).ravel()
    pull = graph @ rows
    pull += degrees[:, np.newaxis] * rows
    pull *= strength
    return 2.0 * strength * degrees, pull
