r"""Best subsets proven best: branch and bound on the perspective relaxation of each node."""

import heapq
import time
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from .cardinality_relaxation import FREE, IN, OUT, Relaxed, fix, relax, shares
from .cholesky import append, solve_lower
from .kernel import kernel
from .subset_exchange import DEPENDENT

_PIVOT = np.sqrt(DEPENDENT)


class SubsetProof(NamedTuple):
    """What a branch and bound proved.

    Attributes
    ----------
    features : ndarray of shape (size,), int64
        The best subset known, sorted.
    objective : float
        Its objective.
    lower_bound : float
        A lower bound of the objective of all subsets.
    root_bound : float
        The bound of the relaxation before any branching.
    n_nodes : int
        How many relaxations were solved.
    status : {"optimal", "max_nodes", "time_limit"}
        Why it ended.
    """

    features: np.ndarray
    objective: float
    lower_bound: float
    root_bound: float
    n_nodes: int
    status: str


def split_curvature(gram: np.ndarray) -> np.ndarray:
    r"""How much of the curvature of each column alone may move from the loss to the ridge.

    For any diagonal :math:`D \ge 0` with :math:`G - D` positive semidefinite, :math:`\frac12 w^T G w` is
    :math:`\frac12 w^T (G - D) w` plus a ridge: the same problem, with a tighter relaxation. Here D is the smallest
    eigenvalue of the matrix of correlations times the diagonal of G, so that the units of the columns do not matter.
    (H. Dong, K. Chen and J. Linderoth, arXiv:1510.06083, find the best D by a semidefinite program: a little tighter,
    and dearer than the branching it saves.)

    Parameters
    ----------
    gram : ndarray of shape (n_columns, n_columns)
        The Gram matrix G, with a positive diagonal.

    Returns
    -------
    ndarray of shape (n_columns,)
        The diagonal of D; zero where the columns are dependent.
    """
    square = np.diag(gram)
    scale = np.sqrt(square)
    smallest = float(scipy.linalg.eigvalsh(gram / np.outer(scale, scale), subset_by_index=[0, 0])[0])
    # Down by more than the rounding of the eigenvalue, so that the matrix stays positive semidefinite.
    return max(smallest * (1.0 - 1e-9) - 1e-14 * square.size, 0.0) * square


@kernel
def subset_objective(gram, correlation, ridge, features, factor, solution, row):
    """The least objective on a subset, from zero at the empty one; inf if its columns are dependent."""
    for a in range(features.size):
        for b in range(a):
            row[b] = gram[features[a], features[b]]
        if append(factor, a, row, gram[features[a], features[a]] + ridge) < _PIVOT:
            return np.inf
        solution[a] = correlation[features[a]]
    solve_lower(factor, features.size, solution)
    total = 0.0
    for a in range(features.size):
        total += solution[a] * solution[a]
    return -0.5 * total


class GramRelaxation:
    r"""The relaxation on a Gram matrix, for :func:`branch_and_bound`.

    Parameters
    ----------
    gram : ndarray of shape (n_columns, n_columns)
        The Gram matrix G, without the ridge; positive semidefinite with a positive diagonal.
    correlation : ndarray of shape (n_columns,)
        The inner products c.
    ridge : float
        The ridge >= 0.
    size : int
        The largest size of a subset.

    Attributes
    ----------
    ridges : ndarray of shape (n_columns,)
        The ridge and the curvature that moved to it. Where it is zero, the relaxation bounds nothing.

    Notes
    -----
    Objectives are :math:`\frac12 w^T (G + \lambda I) w - c^T w`: without the constant of the loss.
    """

    def __init__(self, gram: np.ndarray, correlation: np.ndarray, ridge: float, size: int):
        self.gram, self.correlation, self.ridge = np.ascontiguousarray(gram), correlation, ridge
        moved = split_curvature(gram)
        self.hessian, self.ridges = self.gram - np.diag(moved), moved + ridge
        self._share, self._work = np.empty((2, correlation.size))
        self._factor, self._solution, self._row = np.empty((size, size)), np.empty(size), np.empty(size)

    def relax(self, status, features, room, coef, price, cutoff, tol) -> Relaxed:
        """Bound a node; see :class:`~sparsemodels.solvers.cardinality_relaxation.Relaxed`."""
        if price is None:
            terms = np.sort(0.5 * self.correlation**2 / self.ridges)[::-1]
            price = max(terms[min(room, terms.size - 1)], 1e-12 * terms[0], 1e-300)
        slope = self.correlation - self.hessian @ coef
        bound, last, price = relax(
            self.hessian, self.correlation, self.ridges, status, features, room, coef, slope, price, cutoff, tol,
            self._share, self._work,
        )  # fmt: skip
        shares(self.ridges, status, features, coef, price, self._share)
        return Relaxed(bound, last, price, coef, slope, self._share)

    def evaluate(self, features: np.ndarray) -> float:
        """The objective of a subset; inf if its columns are dependent."""
        return subset_objective(
            self.gram, self.correlation, self.ridge, features, self._factor, self._solution, self._row
        )


class _Tree:
    def __init__(self, relaxation, size, tol):
        self.relaxation, self.limit, self.tol = relaxation, size, tol
        self.work = np.empty(relaxation.ridges.size)
        self.seen: dict[bytes, float] = {}
        self.best, self.incumbent = np.inf, np.empty(0, dtype=np.int64)
        self.closed = np.inf  # the smallest bound of the nodes that were closed
        self.n_nodes = 0
        self.heap: list = []

    def try_subset(self, features: np.ndarray) -> float:
        features = np.sort(features)
        key = features.tobytes()
        if key not in self.seen:
            self.seen[key] = self.relaxation.evaluate(features)
            if self.seen[key] < self.best:
                self.best, self.incumbent = self.seen[key], features
        return self.seen[key]

    def open(self, status: np.ndarray, coef: np.ndarray, price: float | None, known: float) -> None:
        """Bound a node, and keep it if it may hold something better."""
        self.n_nodes += 1
        while True:
            features = np.flatnonzero(status != OUT)
            inside = features[status[features] == IN]
            room = self.limit - inside.size
            if room <= 0 or features.size <= self.limit:
                # One subset is left. If its columns are dependent, one that spans the same is met elsewhere. More than
                # the limit are in only if each other choice is worse than the best.
                if room >= 0:
                    value = self.try_subset(inside if room == 0 else features)
                    self.closed = min(self.closed, max(value, known))
                return
            coef = np.where(status == OUT, 0.0, coef)
            node = self.relaxation.relax(status, features, room, coef, price, self.best - self.tol, self.tol)
            coef, price, known = node.coef, node.price, max(known, node.bound)
            free = features[status[features] == FREE]
            if known < self.best - self.tol:
                order = free[np.argsort(-node.share[free], kind="stable")]
                self.try_subset(np.concatenate([inside, order[:room]]))
            if known >= self.best - self.tol:
                self.closed = min(self.closed, known)
                return
            ridges = self.relaxation.ridges
            if not fix(node.last, ridges, status, features, room, node.slope, self.best, self.work):
                break
        share = node.share[free]
        branch = int(free[np.argmax(np.minimum(share, 1.0 - share))])
        heapq.heappush(self.heap, (known, self.n_nodes, status, coef.copy(), price, branch))


def branch_and_bound(
    relaxation: Any,
    size: int,
    *,
    features: np.ndarray,
    tol: float,
    max_nodes: int,
    deadline: float = np.inf,
    coef: np.ndarray | None = None,
) -> SubsetProof:
    r"""Find the best subset of a size, or bound all of them from below.

    Best-first search. A node has some columns in and some out; its bound is that of the perspective relaxation
    (:mod:`~sparsemodels.solvers.cardinality_relaxation`), which also decides further columns; it is branched at the
    column whose share is the most undecided.

    Parameters
    ----------
    relaxation : GramRelaxation or DataRelaxation
        Bounds nodes and evaluates subsets.
    size : int
        The largest number of nonzeros, at least one.
    features : ndarray of int64
        A good subset to start from.
    tol : float
        How far the bound may stay below the objective, > 0.
    max_nodes : int
        The largest number of relaxations, at least one.
    deadline : float, default=inf
        The time of :func:`time.monotonic` after which to stop.
    coef : ndarray of shape (n_columns,), optional
        Where to start the first relaxation; zero by default.

    Returns
    -------
    SubsetProof
        The best subset and the lower bound. The bound is -inf where the relaxation has no ridge to live on.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.subset_branch_and_bound import GramRelaxation, branch_and_bound
    >>> relaxation = GramRelaxation(np.eye(4), np.array([1.0, -4.0, 0.5, 3.0]), 0.0, 2)
    >>> proof = branch_and_bound(relaxation, 2, features=np.array([0, 1]), tol=1e-9, max_nodes=100)
    >>> proof.features, proof.objective, proof.status
    (array([1, 3]), -12.5, 'optimal')
    """
    tree = _Tree(relaxation, size, tol)
    tree.try_subset(features)
    n_columns = relaxation.ridges.size
    if not np.all(relaxation.ridges > 0.0):
        return SubsetProof(tree.incumbent, tree.best, -np.inf, -np.inf, 0, "max_nodes")
    start = np.zeros(n_columns) if coef is None else coef
    tree.open(np.full(n_columns, FREE, dtype=np.int8), start, None, -np.inf)
    root = min(tree.heap[0][0] if tree.heap else np.inf, tree.closed, tree.best)
    reason = "optimal"
    while tree.heap:
        if tree.heap[0][0] >= tree.best - tol:
            break
        if tree.n_nodes >= max_nodes or time.monotonic() > deadline:
            reason = "max_nodes" if tree.n_nodes >= max_nodes else "time_limit"
            break
        known, _, status, coef, price, branch = heapq.heappop(tree.heap)
        for choice in (IN, OUT):
            child = status.copy()
            child[branch] = choice
            tree.open(child, coef, price, known)
    lower = min(tree.heap[0][0] if tree.heap else np.inf, tree.closed, tree.best)
    return SubsetProof(tree.incumbent, tree.best, float(lower), float(root), tree.n_nodes, reason)
