r"""The sorted L1 norm (SLOPE), :math:`p(w) = \alpha \sum_i \lambda_i |w|_{(i)}`, magnitudes and weights decreasing."""

from typing import NamedTuple

import numpy as np

from ..isotonic import decreasing_isotonic
from ..kernel import kernel
from .functions import with_alpha
from .vector_functions import (
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


class Slope(NamedTuple):
    """The sorted L1 penalty.

    On a working set that holds the support, the largest of the weights apply: the zeros outside rank last.

    Attributes
    ----------
    alpha : float
        The level, >= 0.
    weights : ndarray of shape (n_features,)
        The weights by rank, non-increasing and >= 0.

    References
    ----------
    M. Bogdan, E. van den Berg, C. Sabatti, W. Su, E. Candes, "SLOPE - adaptive variable selection via convex
    optimization", Annals of Applied Statistics 9(3), 2015.
    """

    alpha: float
    weights: np.ndarray


@structure.register(Slope)
def _(penalty):
    return "joint"


@with_alpha.register(Slope)
def _(penalty, alpha):
    return penalty._replace(alpha=float(alpha))


@kernel
def sorted_l1_prox(point, thresholds):
    """The prox of the sorted L1 norm with non-increasing `thresholds`: sort, subtract, pool, cut at zero."""
    size = np.abs(point)
    order = np.argsort(-size, kind="mergesort")
    pooled = size[order] - thresholds
    decreasing_isotonic(pooled, pooled)
    result = np.empty(point.size)
    for i in range(point.size):
        result[order[i]] = np.sign(point[order[i]]) * max(pooled[i], 0.0)
    return result


@kernel
def _distances(coef, slope, thresholds, out):
    """The residual of projecting the slopes onto the subdifferential, one cluster of equal magnitudes at a time.

    The subdifferential of a cluster of nonzero coefficients is the permutahedron of its thresholds, that of the zeros
    the dual ball of theirs; both residuals are isotonic regressions, the latter cut at zero.
    """
    size = np.abs(coef)
    order = np.argsort(-size, kind="mergesort")
    begin = 0
    largest = 0.0
    while begin < coef.size:
        end = begin + 1
        while end < coef.size and size[order[end]] == size[order[begin]]:
            end += 1
        members = order[begin:end]
        zero = size[members[0]] == 0.0
        signs = np.sign(slope[members]) if zero else np.sign(coef[members])
        reach = signs * slope[members]
        inner = np.argsort(-reach, kind="mergesort")
        excess = reach[inner] - thresholds[begin:end]
        decreasing_isotonic(excess, excess)
        for i in range(members.size):
            distance = max(excess[i], 0.0) if zero else abs(excess[i])
            out[members[inner[i]]] = distance
            largest = max(largest, distance)
        begin = end
    return largest


@kernel
def _gap(coef, slope, thresholds):
    """The Fenchel-Young loss by summation over ranks: every term is a product of non-negative numbers."""
    size = np.abs(coef)
    # Ties are free to be ordered: by slope, so that the bound of every partial sum is the tightest.
    order = np.argsort(-size, kind="mergesort")
    total, room = 0.0, 0.0
    for i in range(coef.size):
        j = order[i]
        room += thresholds[i] - np.sign(coef[j]) * slope[j]
        following = size[order[i + 1]] if i + 1 < coef.size else 0.0
        total += (size[j] - following) * max(room, 0.0)
    return total


@kernel
def _ratio(slope, thresholds):
    """The dual norm, and where it is attained: the largest ratio of partial sums of sorted slopes and thresholds."""
    size = np.sort(np.abs(slope))[::-1]
    top, bottom, largest = 0.0, 0.0, 0.0
    for i in range(slope.size):
        top += size[i]
        bottom += thresholds[i]
        if top > 0.0:
            largest = max(largest, top / bottom if bottom > 0.0 else np.inf)
    return largest


@penalty_value.register(Slope)
def _(penalty, coef, features):
    return float(penalty.alpha * (penalty.weights[: coef.size] @ np.sort(np.abs(coef))[::-1]))


@vector_prox.register(Slope)
def _(penalty, point, step, features):
    return sorted_l1_prox(point, penalty.alpha * step * penalty.weights[: point.size])


@kkt_distances.register(Slope)
def _(penalty, coef, slope, features, out):
    return _distances(coef, slope, penalty.alpha * penalty.weights[: coef.size], out)


@dual_scale.register(Slope)
def _(penalty, slope, features):
    ratio = _ratio(slope, penalty.alpha * penalty.weights[: slope.size])
    return min(1.0, 1.0 / ratio) if ratio > 0.0 else 1.0


@penalty_gap.register(Slope)
def _(penalty, coef, slope, features, scale):
    return _gap(coef, scale * slope, penalty.alpha * penalty.weights[: coef.size])


@equation_coordinates.register(Slope)
def _(penalty, features):
    free = penalty.alpha == 0.0 or penalty.weights[0] == 0.0
    return np.full(features.size, 2 if free else 0, dtype=np.int8)


@largest_critical_alpha.register(Slope)
def _(penalty, slope):
    return _ratio(slope, penalty.weights)


@linear_pattern.register(Slope)
def _(penalty, coef, features):
    size = np.abs(coef)
    values, cluster = np.unique(size, return_inverse=True)
    cluster = np.where(size > 0.0, cluster - (values[0] == 0.0), -1)
    rank = np.argsort(np.argsort(-size, kind="stable"), kind="stable")
    inside = cluster >= 0
    cost = np.bincount(cluster[inside], penalty.alpha * penalty.weights[rank[inside]])
    return cluster, np.sign(coef), cost
