r"""The fused LASSO, :math:`p(w) = \alpha (\rho \sum_j |w_j| + (1 - \rho) \sum_j |w_{j+1} - w_j|)` ."""

from typing import NamedTuple

import numpy as np

from ..kernel import kernel
from ..total_variation import total_variation_prox
from .functions import with_alpha
from .vector_functions import (
    closure,
    dual_scale,
    equation_coordinates,
    kkt_distances,
    largest_critical_alpha,
    linear_pattern,
    penalty_gap,
    penalty_value,
    structure,
    vector_prox,
)


class Fused(NamedTuple):
    """The L1 norm of the coefficients and of their differences from one feature to the next.

    Attributes
    ----------
    alpha : float
        The level, >= 0.
    l1_ratio : float
        The share of the L1 norm of the coefficients, in (0, 1]; the rest is that of the differences.
    n_features : int
        The number of features. They are coupled all along, so that every working set holds them all, in order.

    References
    ----------
    R. Tibshirani, M. Saunders, S. Rosset, J. Zhu, K. Knight, "Sparsity and smoothness via the fused lasso", Journal of
    the Royal Statistical Society B 67(1), 2005.
    """

    alpha: float
    l1_ratio: float
    n_features: int


@structure.register(Fused)
def _(penalty):
    return "joint"


@with_alpha.register(Fused)
def _(penalty, alpha):
    return penalty._replace(alpha=float(alpha))


@closure.register(Fused)
def _(penalty, features):
    return np.arange(penalty.n_features) if features.size else features


@kernel
def _prox(point, flat, sparse):
    """The prox of both parts is that of the differences, then that of the L1 norm (Friedman et al., 2007)."""
    smooth = total_variation_prox(point, flat)
    for j in range(smooth.size):
        smooth[j] = np.sign(smooth[j]) * max(abs(smooth[j]) - sparse, 0.0)
    return smooth


@kernel
def _distances(coef, slope, flat, sparse, out):
    """The residual of projecting the slopes onto the subdifferential, one stretch of equal coefficients at a time.

    It is the prox of the directional derivative: linear across the jumps, and the penalty itself within a stretch.
    """
    begin, largest = 0, 0.0
    while begin < coef.size:
        end = begin + 1
        while end < coef.size and coef[end] == coef[begin]:
            end += 1
        zero = coef[begin] == 0.0
        rest = slope[begin:end] - sparse * np.sign(coef[begin])
        if begin > 0:
            rest[0] -= flat * np.sign(coef[begin] - coef[begin - 1])
        if end < coef.size:
            rest[-1] += flat * np.sign(coef[end] - coef[end - 1])
        rest = _prox(rest, flat, sparse if zero else 0.0)
        for j in range(begin, end):
            out[j] = abs(rest[j - begin])
            largest = max(largest, out[j])
        begin = end
    return largest


@kernel
def _flows(slope, flat, sparse, flow):
    r"""Flows z with :math:`|z_j| \le` `flat` and :math:`|v_j - z_{j-1} + z_j| \le` `sparse`; whether there are any.

    Interval propagation from left to right, then a choice from right to left.
    """
    n = slope.size
    lower, upper = np.empty(n), np.empty(n)
    low, high = 0.0, 0.0
    for j in range(n):
        bound = flat if j < n - 1 else 0.0
        low, high = max(low - slope[j] - sparse, -bound), min(high - slope[j] + sparse, bound)
        if low > high:
            return False
        lower[j], upper[j] = low, high
    flow[n - 1] = 0.0
    for j in range(n - 2, -1, -1):
        center = flow[j + 1] + slope[j + 1]
        flow[j] = min(max(center, lower[j]), upper[j])
    return True


@kernel
def _gauge(slope, l1_ratio):
    """The smallest level at which the slopes are feasible, from above, by bisection."""
    high = np.abs(slope).max() / l1_ratio
    low, flow = 0.0, np.empty(slope.size)
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle <= low or middle >= high or high - low <= 1e-15 * high:
            break
        if _flows(slope, middle * (1.0 - l1_ratio), middle * l1_ratio, flow):
            high = middle
        else:
            low = middle
    return high


@kernel
def _gap(coef, slope, flat, sparse):
    """The Fenchel-Young loss as a sum over coefficients and jumps, each term a product of non-negative numbers."""
    n = coef.size
    flow = np.zeros(n)
    _flows(slope, flat, sparse, flow)
    total = 0.0
    for j in range(n):
        inflow = flow[j - 1] if j > 0 else 0.0
        rest = slope[j] - inflow + flow[j]
        total += abs(coef[j]) * max(sparse - np.sign(coef[j]) * rest, 0.0)
        if j + 1 < n:
            jump = coef[j + 1] - coef[j]
            total += abs(jump) * max(flat - np.sign(jump) * flow[j], 0.0)
    return total


def _levels(penalty: Fused) -> tuple[float, float]:
    return penalty.alpha * (1.0 - penalty.l1_ratio), penalty.alpha * penalty.l1_ratio


@penalty_value.register(Fused)
def _(penalty, coef, features):
    flat, sparse = _levels(penalty)
    return float(sparse * np.abs(coef).sum() + flat * np.abs(np.diff(coef)).sum())


@vector_prox.register(Fused)
def _(penalty, point, step, features):
    flat, sparse = _levels(penalty)
    return _prox(point, flat * step, sparse * step)


@kkt_distances.register(Fused)
def _(penalty, coef, slope, features, out):
    flat, sparse = _levels(penalty)
    return _distances(coef, slope, flat, sparse, out)


@dual_scale.register(Fused)
def _(penalty, slope, features):
    if slope.size == 0 or _flows(slope, *_levels(penalty), np.empty(slope.size)):
        return 1.0
    return penalty.alpha / _gauge(slope, penalty.l1_ratio)


@penalty_gap.register(Fused)
def _(penalty, coef, slope, features, scale):
    return _gap(coef, scale * slope, *_levels(penalty)) if coef.size else 0.0


@equation_coordinates.register(Fused)
def _(penalty, features):
    return np.full(features.size, 2 if penalty.alpha == 0.0 else 0, dtype=np.int8)


@largest_critical_alpha.register(Fused)
def _(penalty, slope):
    return _gauge(slope, penalty.l1_ratio) if slope.any() else 0.0


@linear_pattern.register(Fused)
def _(penalty, coef, features):
    flat, sparse = _levels(penalty)
    jumps = np.sign(np.diff(coef, prepend=coef[:1], append=coef[-1:]))
    inside = coef != 0.0
    begins = inside & ((jumps[:-1] != 0.0) | (np.arange(coef.size) == 0))
    cluster = np.where(inside, np.cumsum(begins) - 1, -1)
    slope = sparse * np.sign(coef) + flat * (jumps[:-1] - jumps[1:])
    return cluster, np.ones(coef.size), np.bincount(cluster[inside], slope[inside])
