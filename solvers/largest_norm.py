r"""The largest Euclidean norm over a polytope of the plane :math:`e^T x = 1`.

For rows :math:`a_j` with unit sums let :math:`P = \{x : a_j^T x \ge 0,\; e^T x = 1\}`. Maximising the convex function
:math:`\|x\|^2` over P is NP-hard in general: local maxima are vertices, and there can be many. Two halves answer it:

- :func:`ascend` climbs: :math:`x \leftarrow \arg\max_{y \in P} x^T y` is a linear program and never lowers the norm, so
  that every point it meets is a lower bound with a witness;
- :func:`largest_norm` proves: over a box :math:`l \le x \le u` the square :math:`x_k^2` lies under its secant
  :math:`(l_k + u_k) x_k - l_k u_k`, so that one linear program bounds the norm over P and the box, and boxes are split
  until the bounds meet what is to be proved.
"""

import heapq
import time
from typing import NamedTuple

import numpy as np
import scipy.optimize

_HIGHS = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


class LargestNorm(NamedTuple):
    """What is known of the largest squared norm.

    Attributes
    ----------
    point : ndarray of shape (n_dimensions,)
        The point of the polytope with the largest norm that was met.
    value : float
        Its squared norm: a lower bound.
    bound : float
        An upper bound over the part of the polytope inside the box.
    n_nodes : int
        The boxes that were bounded.
    status : str
        "proved" if the bound is at most the threshold, "exceeded" if a point lies above it, "time_limit" or
        "max_nodes" if neither could be shown in time.
    """

    point: np.ndarray
    value: float
    bound: float
    n_nodes: int
    status: str


def maximise_linear(
    rows: np.ndarray, direction: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray] | None:
    r"""Maximise a linear function over the polytope and a box.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_dimensions)
        The rows :math:`a_j`.
    direction : ndarray of shape (n_dimensions,)
        The gradient g of the function.
    lower, upper : ndarray of shape (n_dimensions,)
        The box, finite.

    Returns
    -------
    tuple of (ndarray of shape (n_dimensions,), float, ndarray of shape (n_dimensions,)) or None
        A maximiser, an upper bound of the maximum, and the reduced costs c: everywhere in the polytope and the box the
        function is at most the bound less ``sum(max(c, 0) * (upper - x) + max(-c, 0) * (x - lower))``. None if nothing
        of the polytope lies in the box.

    Notes
    -----
    The bound does not rest on the tolerances of the linear programming solver. For any multipliers
    :math:`\lambda \ge 0` and :math:`\mu`, with :math:`c = g + \sum_j \lambda_j a_j - \mu e`, weak duality gives
    :math:`g^T x \le \mu + \sum_k \max(c_k l_k, c_k u_k)`: it is evaluated at the multipliers that the solver returns.
    """
    size = direction.size
    solution = scipy.optimize.linprog(
        -direction, A_ub=-rows, b_ub=np.zeros(rows.shape[0]), A_eq=np.ones((1, size)), b_eq=np.ones(1),
        bounds=np.column_stack([lower, upper]), method="highs", options=_HIGHS,
    )  # fmt: skip
    if solution.status == 2:
        return None
    if solution.x is None:  # the solver gave up: the box alone still bounds
        return np.full(size, 1.0 / size), float(np.maximum(direction * lower, direction * upper).sum()), direction
    multipliers, level = np.maximum(-solution.ineqlin.marginals, 0.0), -float(solution.eqlin.marginals[0])
    reduced = direction + multipliers @ rows - level
    bound = level + np.maximum(reduced * lower, reduced * upper).sum()
    return solution.x, float(bound), reduced


def into_polytope(rows: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Move a point that violates the inequalities by rounding inside, towards the centre ``1 / n_dimensions``.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_dimensions)
        Rows with unit sums: all are positive at the centre.
    point : ndarray of shape (n_dimensions,)
        The point.

    Returns
    -------
    ndarray of shape (n_dimensions,)
        A point with ``rows @ point >= 0`` and unit sum.
    """
    size = point.size
    point = point / point.sum()
    violation = max(0.0, -float((rows @ point).min()))
    if violation == 0.0:
        return point
    share = min(1.0, (1.0 + 1e-3) * size * violation / (1.0 + size * violation) + 4.0 * np.finfo(np.float64).eps)
    return (1.0 - share) * point + share / size


def ascend(rows: np.ndarray, point: np.ndarray, lower: np.ndarray, upper: np.ndarray, max_iter: int = 20) -> np.ndarray:
    """Climb from a point to a vertex whose neighbours are not longer, by linear programs.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_dimensions)
        The rows of the polytope.
    point : ndarray of shape (n_dimensions,)
        Where to start; it need not lie in the polytope.
    lower, upper : ndarray of shape (n_dimensions,)
        A box around the polytope, or the part of it to stay in.
    max_iter : int, default=20
        The largest number of linear programs.

    Returns
    -------
    ndarray of shape (n_dimensions,)
        The last point.
    """
    best = -np.inf
    for _ in range(max_iter):
        step = maximise_linear(rows, point, lower, upper)
        if step is None:
            break
        reached = float(step[0] @ step[0])
        if reached <= best * (1.0 + 1e-12):
            break
        point, best = step[0], reached
    return point


def largest_norm(
    rows: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    threshold: float,
    *,
    deadline: float = np.inf,
    max_nodes: int | None = None,
) -> LargestNorm:
    """Decide whether the squared norm exceeds a threshold anywhere in the polytope and a box.

    Branch and bound on boxes, the largest bound first. Boxes are split in the coordinate whose secant is the loosest at
    the maximiser of the bound: at zero while zero lies inside, because coordinates of the unit vectors are then at the
    ends of their intervals, where secants are exact; otherwise at the maximiser, or in the middle where that is close
    to an end.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_dimensions)
        The rows of the polytope, with unit sums.
    lower, upper : ndarray of shape (n_dimensions,)
        The box, finite.
    threshold : float
        What is to be proved or exceeded.
    deadline : float, default=inf
        The time of :func:`time.monotonic` after which to return what is known.
    max_nodes : int, optional
        The largest number of boxes; no limit by default.

    Returns
    -------
    LargestNorm
        The longest point met, the bound and what was decided.
    """
    centre = np.full(lower.size, 1.0 / lower.size)
    best, value = centre, 1.0 / lower.size
    n_nodes, proved, order = 0, -np.inf, 0
    waiting: list[tuple[float, int, np.ndarray, np.ndarray, np.ndarray]] = []
    fresh = [(lower, upper)]
    while True:
        for low, high in fresh:
            n_nodes += 1
            if not tighten(rows, low, high):
                continue
            relaxed = maximise_linear(rows, low + high, low, high)
            if relaxed is None:
                continue
            point, linear, reduced = relaxed
            bound = linear - float(low @ high)
            if float(point @ point) > value * (1.0 + 1e-12):
                best = ascend(rows, point, lower, upper)
                value = float(best @ best)
            if bound <= threshold:
                proved = max(proved, bound)
            else:
                # Where the secants are at most the threshold there is nothing to find.
                proved = max(proved, threshold)
                reach = (bound - threshold) / np.maximum(np.abs(reduced), 1e-300)
                low, high = (
                    np.where(reduced > 0.0, np.maximum(low, high - reach), low),
                    np.where(reduced < 0.0, np.minimum(high, low + reach), high),
                )
                order += 1
                heapq.heappush(waiting, (-bound, order, low, high, point))
        if value > threshold:
            status = "exceeded"
            break
        if not waiting:
            status = "proved"
            break
        if time.monotonic() > deadline:
            status = "time_limit"
            break
        if max_nodes is not None and n_nodes >= max_nodes:
            status = "max_nodes"
            break
        _, _, low, high, point = heapq.heappop(waiting)
        k = int(np.argmax((high - point) * (point - low)))
        split = _split(low[k], high[k], point[k])
        left, right = high.copy(), low.copy()
        left[k] = right[k] = split
        fresh = [(low, left), (right, high)]
    open_bound = -waiting[0][0] if waiting else -np.inf
    return LargestNorm(best, value, max(proved, open_bound, value), n_nodes, status)


def tighten(rows: np.ndarray, lower: np.ndarray, upper: np.ndarray, n_rounds: int = 3) -> bool:
    r"""Shrink a box around a part of the polytope, each inequality on its own; in place.

    Where :math:`a_{jk} > 0`, :math:`a_j^T x \ge 0` gives :math:`x_k \ge u_k - a_j^T u / a_{jk}`, and the unit sum gives
    :math:`x_k \le 1 - \sum_{i \ne k} l_i` and :math:`x_k \ge 1 - \sum_{i \ne k} u_i`.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_dimensions)
        The rows of the polytope, nonnegative.
    lower, upper : ndarray of shape (n_dimensions,)
        The box; shrunk.
    n_rounds : int, default=3
        How often.

    Returns
    -------
    bool
        False if nothing of the polytope lies in the box.
    """
    slack = 1e-12  # rounding must not cut off a point on the boundary
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(rows > 0.0, 1.0 / rows, np.inf)
    for _ in range(n_rounds):
        largest = rows @ upper
        if largest.min(initial=0.0) < -slack:
            return False
        reach = (np.maximum(largest, slack)[:, np.newaxis] * inverse).min(axis=0, initial=np.inf)
        np.maximum(lower, upper - reach - slack, out=lower)
        np.maximum(lower, 1.0 - upper.sum() + upper - slack, out=lower)
        np.minimum(upper, 1.0 - lower.sum() + lower + slack, out=upper)
        if (lower > upper + 4.0 * slack).any():
            return False
        np.maximum(upper, lower, out=upper)
    return True


def _split(low: float, high: float, wanted: float) -> float:
    """Where to split an interval: at zero, at a wanted place well inside, or in the middle."""
    if low < 0.0 < high:
        return 0.0
    margin = 0.05 * (high - low)
    return wanted if low + margin < wanted < high - margin else 0.5 * (low + high)
