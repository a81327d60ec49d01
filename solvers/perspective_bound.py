r"""A lower bound over all subsets of a size, for any smooth convex loss with a ridge.

Weak duality: for *any* dual point :math:`\theta` (orthogonal to ones, with an intercept), with :math:`v = X^T \theta`,
every w with at most k nonzeros has

.. math:: f(X w + b) + \tfrac\rho2 \|w\|^2 \ge -f^*(-\theta) - \frac{1}{2 \rho} \sum_{j \in \mathrm{top}_k} v_j^2,

the sum running over the k largest. The best dual point is that of the perspective relaxation, in which
:math:`\frac\rho2 \sum_j w_j^2 / u_j` with :math:`0 \le u \le 1, \sum_j u_j \le k` stands for the ridge and the limit
(half the squared k-support norm). With a price in place of the limit it is a composite problem with the
:class:`~sparsemodels.solvers.penalties.perspective.Perspective` penalty; a search in one dimension finds the price.
"""

import time
from typing import Any, NamedTuple

import numpy as np

from .cardinality_relaxation import FREE, IN, OUT, Relaxed, next_price, sum_of_largest
from .composite import Composite
from .losses.functions import fenchel_young, loss_value
from .penalties.perspective import Perspective

_LOOSE, _TIGHT = 1e-3, 1e-7  # the gaps of single prices, relative to the loss without features


class RelaxationBound(NamedTuple):
    r"""A lower bound and the dual point that proves it.

    Attributes
    ----------
    lower_bound : float
        The bound.
    dual : ndarray of shape (n_samples,)
        The dual point :math:`\theta`.
    slope : ndarray of shape (n_features,)
        Its slopes :math:`X^T \theta`.
    price : float
        The price that goes with it.
    n_prices : int
        How many composite problems were solved.
    """

    lower_bound: float
    dual: np.ndarray
    slope: np.ndarray
    price: float
    n_prices: int


def cardinality_bound(problem: Composite, ridge: float, size: int, status: np.ndarray | None = None) -> float:
    """The lower bound that the present point of a problem proves, if its slopes are up to date.

    Parameters
    ----------
    problem : Composite
        The problem.
    ridge : float
        The ridge > 0.
    size : int
        The largest number of nonzeros among the free columns.
    status : ndarray of shape (n_features,), int8, optional
        ``FREE``, ``IN`` or ``OUT``; all free by default.

    Returns
    -------
    float
        The bound.
    """
    theta, terms = problem.theta, 0.5 * problem.slope**2 / ridge
    # At a loss' own gradient the conjugate is f*(-theta) = -theta z - f(z), but for what rounding leaves of the gap.
    value = float(loss_value(problem.loss, problem.predictor)) + float(theta @ problem.predictor)
    value -= max(float(fenchel_young(problem.loss, problem.predictor, theta)), 0.0)
    if status is not None:
        value -= float(terms[status == IN].sum())
        terms = terms[status == FREE]
    return value - float(sum_of_largest(terms, terms.size, min(size, terms.size)))


def perspective_bound(
    problem: Composite,
    ridge: float,
    size: int,
    *,
    cutoff: float,
    tol: float,
    status: np.ndarray | None = None,
    price: float | None = None,
    max_prices: int = 30,
    deadline: float = np.inf,
) -> RelaxationBound:
    r"""Bound the objective of all subsets of a size from below.

    Parameters
    ----------
    problem : Composite
        The problem; its present point is where to start, the best subset's coefficients are a good one.
    ridge : float
        The ridge :math:`\rho > 0`.
    size : int
        The size k of the subsets, at least one; with columns decided, of the free ones among them.
    cutoff : float
        A bound that is high enough.
    tol : float
        How much of a bound is nothing.
    status : ndarray of shape (n_features,), int8, optional
        Columns decided beforehand, ``FREE``, ``IN`` or ``OUT``.
    price : float, optional
        The price to start from; by default the one that fits the slopes of the present point.
    max_prices : int, default=30
        The largest number of composite problems to solve.
    deadline : float, default=inf
        The time of :func:`time.monotonic` after which to return what there is.

    Returns
    -------
    RelaxationBound
        The best bound met. The problem is left at the last point.
    """
    status = np.full(problem.n_features, FREE, dtype=np.int8) if status is None else status
    free = status == FREE
    weights = np.where(status == IN, 0.0, np.where(status == OUT, np.inf, 1.0))
    problem.refresh_all()
    best = cardinality_bound(problem, ridge, size, status)
    proof = problem.theta.copy(), problem.slope.copy()
    terms = np.sort(0.5 * problem.slope[free] ** 2 / ridge)[::-1]
    if terms.size <= size or terms[0] == 0.0:
        max_prices = min(max_prices, 1)  # no limit, no price
        price = 0.0
    elif price is None:
        price = max(float(np.sqrt(terms[size - 1] * terms[size])), 1e-9 * terms[0])
    bracket = np.array([0.0, np.inf, 0.0, 0.0])
    stale, n_prices, accuracy, best_price = 0, 0, _LOOSE, price
    while n_prices < max_prices and best < cutoff and time.monotonic() <= deadline:
        problem.solve(Perspective(price, ridge, weights), tol=accuracy, max_iter=100, deadline=deadline)
        problem.refresh_all()
        bound = cardinality_bound(problem, ridge, size, status)
        n_prices += 1
        stale = 0 if bound > best + 0.003 * max(cutoff - best, tol) else stale + 1
        if bound > best:
            best, best_price, proof = bound, price, (problem.theta.copy(), problem.slope.copy())
        if stale >= 3 or price == 0.0:
            break
        distance = (cutoff - best) / problem.null_objective
        accuracy = max(min(accuracy, 0.01 * distance), _TIGHT) if np.isfinite(distance) else _TIGHT
        total = float(np.minimum(np.abs(problem.coef[free]) * np.sqrt(0.5 * ridge / price), 1.0).sum())
        price = next_price(price, total, size, bracket)
        if price == 0.0:
            break
    return RelaxationBound(best, *proof, best_price, n_prices)


class DataRelaxation:
    """The relaxation on the data, for :func:`~sparsemodels.solvers.subset_branch_and_bound.branch_and_bound`.

    Parameters
    ----------
    problem : Composite
        The problem.
    ridge : float
        The ridge > 0.
    state : SquaredSearch or CurvedSearch
        Refits subsets.
    deadline : float
        When to stop.
    """

    def __init__(self, problem: Composite, ridge: float, state: Any, deadline: float):
        self.problem, self.state, self.deadline = problem, state, deadline
        self.ridges = np.full(problem.n_features, ridge)

    def relax(self, status, features, room, coef, price, cutoff, tol) -> Relaxed:
        """Bound a node; see :class:`Relaxed`."""
        problem, ridge = self.problem, self.ridges[0]
        problem.restart(coef)
        # The first node searches for its price; the others start from their parent's and need few.
        bound = perspective_bound(
            problem, ridge, room, cutoff=cutoff, tol=tol, status=status, price=price,
            max_prices=30 if price is None else 4, deadline=self.deadline,
        )  # fmt: skip
        share = np.ones(status.size)
        if bound.price > 0.0:
            share = np.minimum(np.abs(problem.coef) * np.sqrt(0.5 * ridge / bound.price), 1.0)
        return Relaxed(bound.lower_bound, bound.lower_bound, bound.price, problem.coef.copy(), bound.slope, share)

    def evaluate(self, features: np.ndarray) -> float:
        """The objective of a subset."""
        self.state.reset(features)
        return self.state.solution()[2]
