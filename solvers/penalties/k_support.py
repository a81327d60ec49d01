r"""The squared group k-support norm, the convex envelope of a ridge penalty on models of few groups.

.. math::

    p(w) = \frac{\alpha}{2} \min_u \Big\{\sum_g \|w_g\|^2 / u_g : 0 \le u \le 1, \sum_g d_g u_g \le k\Big\}
"""

from typing import NamedTuple

import numpy as np

from ..kernel import kernel
from .functions import with_alpha
from .vector_functions import (
    closure,
    dual_scale,
    equation_coordinates,
    kkt_distances,
    largest_critical_alpha,
    penalty_gap,
    penalty_value,
    structure,
    vector_prox,
)


class KSupport(NamedTuple):
    r"""The tightest convex bound of a ridge penalty over models of at most `k` features or groups.

    The convex envelope of :math:`\frac{\alpha}{2} \|w\|^2` restricted to groups of total weight k (the weighted group
    sparse envelope). For groups of one feature it is half the squared k-support norm; k = 1 gives the squared L1 norm.

    Attributes
    ----------
    alpha : float
        The level, > 0.
    k : float
        How much may be selected, in the units of `costs`.
    group : ndarray of shape (n_features,), int64
        The group of each feature, 0 to n_groups - 1.
    costs : ndarray of shape (n_groups,)
        What selecting each group costs, > 0.

    References
    ----------
    A. Argyriou, R. Foygel, N. Srebro, "Sparse prediction with the k-support norm", NIPS 2012.
    Y. Refael, I. Arbel, W. Huleihel, "Weighted group sparse envelope function", arXiv 2212.12921.
    """

    alpha: float
    k: float
    group: np.ndarray
    costs: np.ndarray


@structure.register(KSupport)
def _(penalty):
    return "joint"


@with_alpha.register(KSupport)
def _(penalty, alpha):
    return penalty._replace(alpha=float(alpha))


@closure.register(KSupport)
def _(penalty, features):
    chosen = np.zeros(penalty.costs.size, dtype=bool)
    chosen[penalty.group[features]] = True
    return np.flatnonzero(chosen[penalty.group])


def _norms(penalty: KSupport, vector: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The norms and costs of the groups present, and the position of each feature's group among them."""
    groups, position = np.unique(penalty.group[features], return_inverse=True)
    return np.sqrt(np.bincount(position, vector * vector, groups.size)), penalty.costs[groups], position


@kernel
def capped_shares(size, costs, k, shift):
    r"""Shares :math:`u_g = \mathrm{clip}(\eta\, s_g / \sqrt{d_g} - \lambda, 0, 1)` with :math:`\sum_g d_g u_g = k`.

    The budget is a piecewise linear function of eta: sort its breakpoints, walk up to where it reaches k. If all
    nonzero groups together cost no more than k, each gets the share one.

    Parameters
    ----------
    size : ndarray of shape (m,)
        The norms s of the groups.
    costs : ndarray of shape (m,)
        Their costs d.
    k : float
        The budget.
    shift : float
        The shift :math:`\lambda \ge 0`; zero for the value, the step for the prox.

    Returns
    -------
    shares : ndarray of shape (m,)
        The shares u.
    eta : float
        The multiplier; inf if the budget does not bind.
    """
    m = size.size
    shares = np.zeros(m)
    total = 0.0
    for g in range(m):
        if size[g] > 0.0:
            total += costs[g]
            shares[g] = 1.0
    if total <= k:
        return shares, np.inf
    points, rates, levels = np.empty(2 * m), np.empty(2 * m), np.empty(2 * m)
    count = 0
    for g in range(m):
        if size[g] > 0.0:
            scaled = size[g] / np.sqrt(costs[g])
            points[count], rates[count], levels[count] = shift / scaled, costs[g] * scaled, -costs[g] * shift
            count += 1
            points[count] = (1.0 + shift) / scaled
            rates[count], levels[count] = -costs[g] * scaled, costs[g] * (1.0 + shift)
            count += 1
    order = np.argsort(points[:count], kind="mergesort")
    rate, level, eta = 0.0, 0.0, 0.0
    for i in range(count):
        event = order[i]
        if rate > 0.0 and rate * points[event] + level >= k:
            break
        rate += rates[event]
        level += levels[event]
        eta = points[event]
    if rate > 0.0:
        eta = max((k - level) / rate, eta)
    for g in range(m):
        if size[g] > 0.0:
            shares[g] = min(max(eta * (size[g] / np.sqrt(costs[g])) - shift, 0.0), 1.0)
    return shares, eta


@kernel
def largest_energy(energy, costs, k):
    r"""The knapsack :math:`\max_u \{\sum_g u_g e_g : 0 \le u \le 1, \sum_g d_g u_g \le k\}` and its price."""
    order = np.argsort(-energy / costs, kind="mergesort")
    room, total, price = k, 0.0, 0.0
    for i in range(order.size):
        g = order[i]
        if room <= 0.0:
            break
        share = min(room / costs[g], 1.0)
        total += share * energy[g]
        room -= share * costs[g]
        price = energy[g] / costs[g]
    return total, price if room <= 0.0 else 0.0


@penalty_value.register(KSupport)
def _(penalty, coef, features):
    size, costs, _ = _norms(penalty, coef, features)
    shares, _ = capped_shares(size, costs, penalty.k, 0.0)
    inside = size > 0.0
    return float(0.5 * penalty.alpha * np.sum(size[inside] ** 2 / shares[inside]))


@vector_prox.register(KSupport)
def _(penalty, point, step, features):
    size, costs, position = _norms(penalty, point, features)
    shift = penalty.alpha * step
    shares, _ = capped_shares(size, costs, penalty.k, shift)
    return point * (shares / (shift + shares))[position]


@kkt_distances.register(KSupport)
def _(penalty, coef, slope, features, out):
    # On a nonzero group the penalty is differentiable in w for the optimal shares. A zero group may have the slope
    # that would earn as much per cost as what the budget is spent on: nothing, while there is budget left.
    size, costs, position = _norms(penalty, coef, features)
    shares, eta = capped_shares(size, costs, penalty.k, 0.0)
    inside = size > 0.0
    out[:] = slope - penalty.alpha * coef / np.where(inside, shares, 1.0)[position]
    if np.isinf(eta):
        full = np.isclose(costs[inside].sum(), penalty.k, rtol=1e-12)
        threshold = penalty.alpha * (size / np.sqrt(costs))[inside].min(initial=np.inf) if full else 0.0
        threshold = 0.0 if np.isinf(threshold) else threshold
    else:
        threshold = penalty.alpha / eta
    distance = np.sqrt(np.bincount(position, out * out, size.size))
    distance = np.where(inside, distance, np.maximum(distance - threshold * np.sqrt(costs), 0.0))
    out[:] = distance[position]
    return float(distance.max(initial=0.0))


@dual_scale.register(KSupport)
def _(penalty, slope, features):
    return 0.0 if penalty.alpha == 0.0 and slope.any() else 1.0


@penalty_gap.register(KSupport)
def _(penalty, coef, slope, features, scale):
    # p(w) + p*(v) - v'w, as squares and as products with the knapsack's price: nothing cancels. The conjugate is
    # 1 / (2 alpha) times the largest energy of the slopes within the budget.
    if penalty.alpha == 0.0:
        return 0.0
    slope = scale * slope
    size, costs, position = _norms(penalty, coef, features)
    shares, _ = capped_shares(size, costs, penalty.k, 0.0)
    energy = np.bincount(position, slope * slope, size.size)
    _, price = largest_energy(energy, costs, penalty.k)
    root = np.sqrt(shares)[position]
    inside = root > 0.0
    error = penalty.alpha * coef[inside] / root[inside] - root[inside] * slope[inside]
    # The energy that the shares of the coefficients leave on the table, group by group, at the knapsack's price.
    left = np.maximum(energy - price * costs, 0.0) * (1.0 - shares) + np.maximum(price * costs - energy, 0.0) * shares
    spare = price * max(penalty.k - costs @ shares, 0.0)
    return float((error @ error + left.sum() + spare) / (2.0 * penalty.alpha))


@equation_coordinates.register(KSupport)
def _(penalty, features):
    return np.full(features.size, 2 if penalty.alpha == 0.0 else 0, dtype=np.int8)


@largest_critical_alpha.register(KSupport)
def _(penalty, slope):
    return np.inf if slope.any() else 0.0
