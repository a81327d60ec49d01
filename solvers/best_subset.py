r"""Best subset selection with a lower bound: :math:`\min f(X w + b) + \frac\rho2 \|w\|^2`, :math:`\|w\|_0 \le k`."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .columns import shape
from .generic import require
from .losses.functions import SMOOTH
from .subset_certificate import SubsetCertificate
from .subset_search import SubsetSearch


class BestSubset(NamedTuple):
    """Subsets by size, each with its lower bound.

    Attributes
    ----------
    sizes : ndarray of shape (n_sizes,), int64
        The largest numbers of nonzero coefficients, increasing.
    supports : list of ndarray of int64
        The features of each subset, sorted; fewer than the size where more gain nothing.
    coefs : ndarray of shape (n_features, n_sizes)
        The coefficients.
    intercepts : ndarray of shape (n_sizes,)
        The intercepts; zero without one.
    objectives : ndarray of shape (n_sizes,)
        The objectives.
    lower_bounds : ndarray of shape (n_sizes,)
        What no subset of the size can go below.
    null_objective : float
        The objective of the empty subset: the scale of the tolerance.
    n_moves : int
        How many features the search added and removed.
    n_nodes : ndarray of shape (n_sizes,), int64
        How many relaxations the proofs took.
    statuses : list of str
        For each size "optimal" (proven, to the tolerance); or why it is not proven: "max_nodes" or "time_limit" of the
        branch and bound; "unproven" where there was nothing to branch on; "not_certified" if no proof was asked for;
        "max_swaps" or "time_limit" for a search that was cut short; "stopped" and "interrupted".
    """

    sizes: np.ndarray
    supports: list[np.ndarray]
    coefs: np.ndarray
    intercepts: np.ndarray
    objectives: np.ndarray
    lower_bounds: np.ndarray
    null_objective: float
    n_moves: int
    n_nodes: np.ndarray
    statuses: list[str]


def best_subset(
    X: Any,
    loss: Any,
    sizes: Any,
    *,
    fit_intercept: bool = True,
    ridge: float = 0.0,
    max_swaps: int = 1000,
    certify: Any = True,
    max_nodes: int = 1000,
    tol: float = 1e-6,
    deadline: float = np.inf,
    on_size: Callable[[int, float, float], Any] | None = None,
) -> BestSubset:
    r"""Search for the best subsets of given sizes, and prove how good they are.

    The search is heuristic (:class:`~sparsemodels.solvers.subset_search.SubsetSearch`): forward selection, swaps with
    their exact gains until none is left, excursions to larger and smaller subsets. The proof is not
    (:class:`~sparsemodels.solvers.subset_certificate.SubsetCertificate`): whatever it says, no subset is below the
    bound; and where branch and bound meets a better subset, that one is returned.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n_rows, n_features)
        The design.
    loss : NamedTuple
        The record of a smooth loss.
    sizes : sequence of int
        The largest numbers of nonzero coefficients k >= 0.
    fit_intercept : bool, default=True
        Whether an intercept is fitted, which counts as no feature.
    ridge : float, default=0.0
        The factor :math:`\rho` of half the squared norm of the coefficients.
    max_swaps : int, default=1000
        The largest number of swaps of one descent.
    certify : bool or collection of int, default=True
        Whether to look for lower bounds other than zero, or for which sizes.
    max_nodes : int, default=1000
        The largest number of nodes of the branch and bound, for each size.
    tol : float, default=1e-6
        Relative to the objective of the empty subset: how far the bound may be below the objective of a subset that
        counts as proven.
    deadline : float, default=inf
        The time of :func:`time.monotonic` after which to return what there is.
    on_size : callable, optional
        Called with the size, the objective and the lower bound of each result; a true one stops.

    Returns
    -------
    BestSubset
        The subsets, their models and their bounds.

    Raises
    ------
    ValueError
        If a size is negative or there is none.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.best_subset import best_subset
    >>> from sparsemodels.solvers.losses import Squared
    >>> loss = Squared(np.array([1.0, -4.0, 0.5, 3.0]), np.full(4, 0.25))
    >>> fit = best_subset(np.eye(4), loss, [1, 2], fit_intercept=False)
    >>> fit.supports, fit.statuses
    ([array([1]), array([1, 3])], ['optimal', 'optimal'])
    """
    require(loss, SMOOTH, "the loss")
    n_features = shape(X)[1]
    wanted = np.unique(np.asarray(sizes, dtype=np.int64))
    certified = (wanted.tolist() if certify else []) if isinstance(certify, bool) else certify
    if wanted.size == 0 or wanted[0] < 0:
        raise ValueError(f"sizes must hold at least one number >= 0, got {sizes!r}")
    search = SubsetSearch(X, loss, np.minimum(wanted, n_features), fit_intercept, ridge, max_swaps, deadline)
    stopped = ""
    try:
        search.run()
    except KeyboardInterrupt:
        if not search.found:
            raise
        stopped = "interrupted"
    state = search.state
    scale = search.null_objective
    certificate = SubsetCertificate(X, loss, fit_intercept, ridge, state)
    lowers, n_nodes = np.zeros(wanted.size), np.zeros(wanted.size, dtype=np.int64)
    coefs, intercepts = np.zeros((n_features, wanted.size), order="F"), np.zeros(wanted.size)
    supports: list[np.ndarray] = []
    statuses: list[str] = []
    objectives: list[float] = []
    # From the largest size down: what bounds the larger subsets bounds the smaller ones, too.
    for k in range(wanted.size - 1, -1, -1):
        size = int(min(wanted[k], n_features))
        features, status = search.found[size][1], stopped or ("" if wanted[k] in certified else "not_certified")
        if not status and time.monotonic() > deadline:
            status = "time_limit"
        if not status:
            try:
                verdict = certificate.prove(size, features, tol * scale, max_nodes, deadline)
                features, lowers[k], n_nodes[k], status = verdict
            except KeyboardInterrupt:
                stopped = status = "interrupted"
        if k + 1 < wanted.size:
            lowers[k] = max(lowers[k], lowers[k + 1])
        features = np.sort(features)
        state.reset(features)
        values, intercepts[k], objective = state.solution()
        coefs[features, k] = values
        lowers[k] = min(lowers[k], objective)
        if not stopped and objective - lowers[k] <= tol * scale:
            status = "optimal"
        elif status in ("unproven", "not_certified") and not search.settled[size]:
            status = "max_swaps" if time.monotonic() <= deadline else "time_limit"
        supports.insert(0, features)
        objectives.insert(0, objective)
        statuses.insert(0, status)
        if not stopped and on_size is not None and on_size(int(wanted[k]), objective, float(lowers[k])):
            stopped = "stopped"
    return BestSubset(
        wanted, supports, coefs, intercepts, np.array(objectives), lowers, scale, state.n_moves, n_nodes, statuses
    )
