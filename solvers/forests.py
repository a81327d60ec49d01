r"""Linear systems on forests: exact elimination from the leaves, in time linear in the number of nodes.

Where the nonzero pattern of a symmetric matrix, restricted to a block, is a forest (a graph without cycles), Gaussian
elimination from the leaves to the roots fills in nothing: two numbers pass along each edge, up and down again. That is
belief propagation, which is exact on trees, in closed form. Blocks of this kind may be as large as half of a sparse
matrix, and still cost no more than a gradient step.
"""

from typing import Any

import numpy as np

from .columns import as_columns
from .kernel import kernel

_OUTSIDE, _WAITING = -2, -1


@kernel
def _elimination_order(H, block, place, order, parent, link):
    """A breadth-first order of a block, each node after its parent; False where the pattern has a cycle."""
    for k in range(block.size):
        place[block[k]] = _WAITING
    found = 0
    acyclic = True
    for k in range(block.size):
        if place[block[k]] != _WAITING:
            continue
        place[block[k]] = found
        order[found], parent[found], link[found] = block[k], -1, 0.0
        visit = found
        found += 1
        while visit < found:
            node = order[visit]
            for t in range(H.indptr[node], H.indptr[node + 1]):
                other = H.indices[t]
                if other == node or H.data[t] == 0.0 or place[other] == _OUTSIDE:
                    continue
                if place[other] == _WAITING:
                    place[other] = found
                    order[found], parent[found], link[found] = other, visit, H.data[t]
                    found += 1
                elif place[other] != parent[visit] and parent[place[other]] != visit:
                    acyclic = False
            visit += 1
    for k in range(block.size):
        place[block[k]] = _OUTSIDE
    return acyclic


@kernel
def eliminate(H, diagonal, block, right, place, order, parent, link, pivots, solution):
    """Solve the system of a block whose pattern is a forest.

    Parameters
    ----------
    H : SparseColumns of shape (p, p)
        The symmetric matrix.
    diagonal : ndarray of shape (p,)
        Its diagonal, to which a penalty's curvature may have been added.
    block : ndarray of shape (size,), int64
        The nodes.
    right : ndarray of shape (p,)
        The right side; read on the block.
    place : ndarray of shape (p,), int64
        Memory, -2 throughout, before and after.
    order, parent : ndarray of shape (>= size,), int64
        Memory.
    link, pivots : ndarray of shape (>= size,)
        Memory.
    solution : ndarray of shape (p,)
        Written on the block.

    Returns
    -------
    int
        0 if solved, 1 if the pattern has a cycle, 2 if a pivot is not positive.
    """
    if not _elimination_order(H, block, place, order, parent, link):
        return 1
    size = block.size
    for k in range(size):
        pivots[k] = diagonal[order[k]]
        solution[order[k]] = right[order[k]]
    for k in range(size - 1, -1, -1):
        if not pivots[k] > 0.0:
            return 2
        if parent[k] >= 0:
            ratio = link[k] / pivots[k]
            pivots[parent[k]] -= ratio * link[k]
            solution[order[parent[k]]] -= ratio * solution[order[k]]
    for k in range(size):
        if parent[k] >= 0:
            solution[order[k]] -= link[k] * solution[order[parent[k]]]
        solution[order[k]] /= pivots[k]
    return 0


@kernel
def _root(tree, node):
    while tree[node] != node:
        tree[node] = tree[tree[node]]  # halve the path on the way
        node = tree[node]
    return node


@kernel
def grow_forest(H, candidates, limit, tree, mark, block):
    """Take nodes in order as long as the pattern stays a forest: those with two neighbours in one tree are refused.

    Parameters
    ----------
    H : SparseColumns of shape (p, p)
        The symmetric matrix.
    candidates : ndarray of int64
        The nodes to try, best first.
    limit : int
        The largest size of the block.
    tree, mark : ndarray of shape (p,), int64
        Memory for the union-find structure, -1 throughout, before and after.
    block : ndarray of shape (>= limit,), int64
        Overwritten by the nodes taken.

    Returns
    -------
    int
        How many were taken.
    """
    count = 0
    for node in candidates:
        if count == limit:
            break
        first, last = H.indptr[node], H.indptr[node + 1]
        accepted = True
        for t in range(first, last):
            other = H.indices[t]
            if other == node or H.data[t] == 0.0 or tree[other] < 0:
                continue
            root = _root(tree, other)
            if mark[root] == node:
                accepted = False
                break
            mark[root] = node
        if not accepted:
            continue
        tree[node] = node
        for t in range(first, last):
            other = H.indices[t]
            if other != node and H.data[t] != 0.0 and tree[other] >= 0:
                tree[_root(tree, other)] = node
        block[count] = node
        count += 1
    for k in range(count):
        tree[block[k]] = mark[block[k]] = -1
    return count


def forest_solve(H: Any, block: np.ndarray, right: np.ndarray) -> np.ndarray:
    r"""Solve :math:`H_{bb} x = r` where the pattern of a symmetric matrix on a block is a forest.

    Parameters
    ----------
    H : sparse matrix or SparseColumns of shape (p, p)
        The symmetric matrix, positive definite on the block.
    block : array-like of shape (size,)
        Distinct indices.
    right : array-like of shape (size,)
        The right side, in the order of `block`.

    Returns
    -------
    ndarray of shape (size,)
        The solution, in the order of `block`.

    Raises
    ------
    ValueError
        If the pattern has a cycle, or the matrix is not positive definite on the block.

    Examples
    --------
    >>> import numpy as np
    >>> import scipy.sparse
    >>> from sparsemodels.solvers.forests import forest_solve
    >>> chain = scipy.sparse.diags_array([-1.0, 2.5, -1.0], offsets=[-1, 0, 1], shape=(5, 5))
    >>> x = forest_solve(chain, np.arange(5), np.ones(5))
    >>> np.allclose(chain @ x, 1.0)
    True
    """
    columns = as_columns(H)
    p = columns.n_rows
    block = np.asarray(block, dtype=np.int64)
    if block.ndim != 1 or np.unique(block).size != block.size or np.any((block < 0) | (block >= p)):
        raise ValueError(f"block must hold distinct indices in [0, {p}), got {block!r}.")
    full, solution = np.zeros(p), np.empty(p)
    full[block] = right
    order, parent = np.empty((2, block.size), dtype=np.int64)
    link, pivots = np.empty((2, block.size))
    place = np.full(p, _OUTSIDE, dtype=np.int64)
    failure = eliminate(columns, diagonal(columns), block, full, place, order, parent, link, pivots, solution)
    if failure == 1:
        raise ValueError("the pattern of H on the block must be a forest, and has a cycle.")
    if failure == 2:
        raise ValueError("H must be positive definite on the block, and is not.")
    return solution[block]


def forest_partition(H: Any, order: np.ndarray | None = None) -> list[np.ndarray]:
    """Split all nodes into blocks on which the pattern is a forest, each grown greedily from what the others left.

    Parameters
    ----------
    H : sparse matrix or SparseColumns of shape (p, p)
        The symmetric matrix.
    order : ndarray of shape (p,), optional
        In which order nodes are tried; ascending by default.

    Returns
    -------
    list of ndarray
        The blocks, few of them where H is very sparse: a lattice takes two.
    """
    columns = as_columns(H)
    rest = np.arange(columns.n_rows) if order is None else np.asarray(order, dtype=np.int64)
    tree, mark = np.full((2, columns.n_rows), -1, dtype=np.int64)
    taken, blocks = np.empty(columns.n_rows, dtype=np.int64), []
    while rest.size:
        block = taken[: grow_forest(columns, rest, rest.size, tree, mark, taken)].copy()
        blocks.append(block)
        rest = rest[~np.isin(rest, block)]
    return blocks


@kernel
def diagonal(H):
    """The diagonal of a square SparseColumns."""
    out = np.zeros(H.n_rows)
    for j in range(H.n_rows):
        for t in range(H.indptr[j], H.indptr[j + 1]):
            if H.indices[t] == j:
                out[j] = H.data[t]
    return out
