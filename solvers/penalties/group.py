r"""Norms of disjoint groups of features, :math:`p(w) = \sum_g \varphi_g(\|w_g\|) + \sum_j t_j |w_j|`.

The function :math:`\varphi_g` of a group's Euclidean norm is any record of a penalty of one variable: the absolute
value makes the group lasso, MCP and SCAD its concave relatives. With the L1 norm on top the groups are sparse within.

Everything rests on one fact: minimised over the directions of :math:`u` at a given length, :math:`-v^T u + \sum_j t_j
|u_j|` leaves :math:`-\|S(v, t)\| \|u\|`, with S the soft threshold. So the prox, the conjugate and the dual norm of the
sum are those of :math:`\varphi_g` at :math:`\|S(v_g, t_g)\|`, and the prox points along :math:`S(v_g, t_g)`.
"""

from typing import Any, NamedTuple

import numpy as np

from ..kernel import kernel
from .functions import (
    conjugate,
    conjugate_domain,
    prox,
    smooth_piece,
    subdifferential_distance,
    value,
    with_alpha,
)
from .l1 import L1, level
from .vector_functions import (
    closure,
    dual_scale,
    equation_coordinates,
    has_conjugate,
    kkt_distances,
    largest_critical_alpha,
    penalty_gap,
    penalty_value,
    structure,
    vector_prox,
)

_NEWTON = 100  # steps; a handful is usual


class GroupNorm(NamedTuple):
    r"""A penalty of the Euclidean norms of disjoint groups, plus a weighted L1 norm.

    With the level :math:`\alpha`, the L1 share :math:`\rho`, and :class:`~sparsemodels.solvers.penalties.L1` for the
    norms, it is the sparse group lasso,
    :math:`\alpha ((1 - \rho) \sum_g \omega_g \|w_g\| + \rho \sum_j \omega_j |w_j|)`.

    Attributes
    ----------
    norm : NamedTuple
        The record that penalises the norm of each group: L1, MCP or SCAD at the level :math:`(1 - \rho) \alpha`, whose
        weights are those of the groups, in [0, inf]: 0 leaves a group's norm unpenalised, inf excludes the group.
    l1 : L1
        The L1 norm of the features, at the level :math:`\rho \alpha`; a weight inf excludes a feature.
    l1_ratio : float
        The share :math:`\rho` of the L1 norm, in [0, 1].
    group_of : ndarray of shape (n_features,), int64
        The group of each feature.
    members : ndarray of shape (n_features,), int64
        The features, group after group.
    starts : ndarray of shape (n_groups + 1,), int64
        Where each group starts in `members`.

    References
    ----------
    M. Yuan and Y. Lin, "Model selection and estimation in regression with grouped variables", JRSS B 68, 2006. The
    sparse group: N. Simon, J. Friedman, T. Hastie and R. Tibshirani, "A sparse-group lasso", JCGS 22(2), 2013. Concave
    norms: P. Breheny and J. Huang, "Group descent algorithms for nonconvex penalized linear and logistic regression
    models with grouped predictors", Statistics and Computing 25, 2015.
    """

    norm: Any
    l1: L1
    l1_ratio: float
    group_of: np.ndarray
    members: np.ndarray
    starts: np.ndarray


def group_norm(norm: Any, group_of: np.ndarray, *, l1_ratio: float = 0.0, weights: np.ndarray | None = None) -> Any:
    """The record of a group penalty at the level of `norm`, from the group of each feature.

    Parameters
    ----------
    norm : NamedTuple
        The record that penalises the norms, L1, MCP or SCAD; its weights are those of the groups, its level is that of
        the whole penalty.
    group_of : ndarray of shape (n_features,), int
        The group of each feature, from 0 to ``n_groups - 1``.
    l1_ratio : float, default=0.0
        The share of the L1 norm, in [0, 1].
    weights : ndarray of shape (n_features,), optional
        Weights of the L1 norm in [0, inf]; one by default.

    Returns
    -------
    GroupNorm
        The penalty.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.penalties import L1, group_norm
    >>> from sparsemodels.solvers.penalties.vector_functions import penalty_value
    >>> penalty = group_norm(L1(0.5, np.ones(2)), np.array([0, 0, 1]))
    >>> penalty_value(penalty, np.array([3.0, 4.0, 0.0]), np.arange(3))
    2.5
    """
    group_of = np.ascontiguousarray(group_of, dtype=np.int64)
    sizes = np.bincount(group_of, minlength=norm.weights.size)
    penalty = GroupNorm(
        norm,
        L1(1.0, np.ones(group_of.size) if weights is None else np.asarray(weights, dtype=float)),
        float(l1_ratio),
        group_of,
        np.argsort(group_of, kind="stable"),
        np.concatenate([[0], np.cumsum(sizes)]),
    )
    return with_alpha(penalty, norm.alpha)


@kernel
def blocks(penalty, features):
    """The positions of the features, group after group, and where each group starts.

    In a working set the groups are contiguous; all features come in their own order.
    """
    m = features.size
    starts = np.empty(m + 1, dtype=np.int64)
    count, k = 0, 0
    while k < m:
        g = penalty.group_of[features[k]]
        last = k + penalty.starts[g + 1] - penalty.starts[g]
        starts[count] = k
        count += 1
        k += 1
        while k < last:
            if k >= m or penalty.group_of[features[k]] != g:
                return penalty.members, penalty.starts
            k += 1
    starts[count] = m
    return np.arange(m), starts[: count + 1]


@kernel
def soft_norm(penalty, vector, factor, features, order, first, last):
    """The norm of a group of a vector times a factor, soft-thresholded by the L1 part."""
    total = 0.0
    for i in range(first, last):
        k = order[i]
        excess = abs(factor * vector[k]) - level(penalty.l1, features[k])
        if excess > 0.0:
            total += excess * excess
    return np.sqrt(total)


@kernel
def length(vector, order, first, last):
    """The norm of a group of a vector."""
    total = 0.0
    for i in range(first, last):
        total += vector[order[i]] * vector[order[i]]
    return np.sqrt(total)


@kernel
def group_distance(penalty, coef, slope, features, order, first, last):
    """The Euclidean distance of the slopes of a group to its subdifferential."""
    g = penalty.group_of[features[order[first]]]
    radius = length(coef, order, first, last)
    if radius == 0.0:
        return subdifferential_distance(
            penalty.norm, 0.0, soft_norm(penalty, slope, 1.0, features, order, first, last), g
        )
    _, _, radial, _ = smooth_piece(penalty.norm, radius, g)
    total = 0.0
    for i in range(first, last):
        k = order[i]
        total += subdifferential_distance(penalty.l1, coef[k], slope[k] - radial * coef[k] / radius, features[k]) ** 2
    return np.sqrt(total)


@kernel
def group_dual_scale(penalty, slope, features, order, first, last, scale):
    r"""The largest factor c <= `scale` with :math:`\|S(c v_g, t_g)\|` in the domain of the norm's conjugate.

    The soft-thresholded norm is convex in c, so that Newton's method from the right stays there.
    """
    g = penalty.group_of[features[order[first]]]
    _, radius = conjugate_domain(penalty.norm, g)
    if radius == np.inf:
        return scale
    for _ in range(_NEWTON):
        total, cross = 0.0, 0.0
        for i in range(first, last):
            k = order[i]
            excess = abs(scale * slope[k]) - level(penalty.l1, features[k])
            if excess > 0.0:
                total += excess * excess
                cross += excess * abs(slope[k])
        norm = np.sqrt(total)
        if norm <= radius:
            break
        new = max(scale - (norm - radius) * norm / cross, 0.0)
        if not new < scale:
            break
        scale = new
    return scale


@kernel
def group_gap(penalty, coef, slope, features, order, first, last, scale):
    """A group's part of the duality gap, a sum of terms >= 0.

    With the slopes split into what the L1 norm absorbs and the rest u, these are the Fenchel-Young losses of the
    absolute values, that of the norm, and Cauchy-Schwarz's inequality between u and the coefficients.
    """
    g = penalty.group_of[features[order[first]]]
    _, radius = conjugate_domain(penalty.norm, g)
    rest = soft_norm(penalty, slope, scale, features, order, first, last)
    bounded = min(rest, radius)  # rounding of the scale must not make the dual point infeasible
    size = length(coef, order, first, last)
    total = conjugate(penalty.norm, bounded, g)
    if size == 0.0:
        return max(total, 0.0)
    total = max(total + value(penalty.norm, size, g) - bounded * size, 0.0)
    angle = 0.0
    for i in range(first, last):
        k = order[i]
        threshold, v = level(penalty.l1, features[k]), scale * slope[k]
        kept = min(max(v, -threshold), threshold)
        if coef[k] != 0.0:
            total += max(threshold * abs(coef[k]) - kept * coef[k], 0.0)
        if rest > 0.0:
            angle += ((v - kept) / rest - coef[k] / size) ** 2
    return total + 0.5 * bounded * size * angle if rest > 0.0 else total


@kernel
def _vector_prox(penalty, point, step, features):
    order, starts = blocks(penalty, features)
    out = np.zeros(point.size)
    for b in range(starts.size - 1):
        first, last = starts[b], starts[b + 1]
        if first == last:
            continue
        # The soft threshold comes first; the norm's prox then acts on the length.
        norm = 0.0
        for i in range(first, last):
            k = order[i]
            out[k] = prox(penalty.l1, point[k], step, features[k])
            norm += out[k] * out[k]
        norm = np.sqrt(norm)
        if norm > 0.0:
            factor = prox(penalty.norm, norm, step, penalty.group_of[features[order[first]]]) / norm
            for i in range(first, last):
                out[order[i]] *= factor
    return out


@kernel
def _kkt_distances(penalty, coef, slope, features, out):
    order, starts = blocks(penalty, features)
    largest = 0.0
    for b in range(starts.size - 1):
        first, last = starts[b], starts[b + 1]
        if first == last:
            continue
        distance = group_distance(penalty, coef, slope, features, order, first, last)
        largest = max(largest, distance)
        for i in range(first, last):
            out[order[i]] = distance
    return largest


@kernel
def _penalty_value(penalty, coef, features):
    order, starts = blocks(penalty, features)
    total = 0.0
    for b in range(starts.size - 1):
        first, last = starts[b], starts[b + 1]
        if first == last:
            continue
        total += value(penalty.norm, length(coef, order, first, last), penalty.group_of[features[order[first]]])
    for k in range(coef.size):
        if coef[k] != 0.0:
            total += value(penalty.l1, coef[k], features[k])
    return total


@kernel
def _dual_scale(penalty, slope, features):
    order, starts = blocks(penalty, features)
    scale = 1.0
    for b in range(starts.size - 1):
        if starts[b] < starts[b + 1]:
            scale = group_dual_scale(penalty, slope, features, order, starts[b], starts[b + 1], scale)
    return scale


@kernel
def _penalty_gap(penalty, coef, slope, features, scale):
    order, starts = blocks(penalty, features)
    total = 0.0
    for b in range(starts.size - 1):
        if starts[b] < starts[b + 1]:
            total += group_gap(penalty, coef, slope, features, order, starts[b], starts[b + 1], scale)
    return total


@kernel
def _equation_coordinates(penalty, features):
    kind = np.zeros(features.size, dtype=np.int8)
    for k in range(features.size):
        _, radius = conjugate_domain(penalty.norm, penalty.group_of[features[k]])
        if radius == 0.0 and level(penalty.l1, features[k]) == 0.0:
            kind[k] = 2
    return kind


@kernel
def _largest_critical_alpha(penalty, slope):
    """The root of the convex function ||S(v, a t)|| - a r of the level a, by Newton's method from the left."""
    share, largest = penalty.l1_ratio, 0.0
    for g in range(penalty.starts.size - 1):
        radius = penalty.norm.weights[g]
        if radius == np.inf:
            continue
        radius *= 1.0 - share
        alpha = 0.0
        for _ in range(_NEWTON):
            total, cross = 0.0, 0.0
            for i in range(penalty.starts[g], penalty.starts[g + 1]):
                j = penalty.members[i]
                threshold = penalty.l1.weights[j]
                threshold = threshold if threshold == np.inf else share * threshold
                if radius == 0.0 and threshold == 0.0:
                    continue  # unpenalised
                excess = abs(slope[j]) - (alpha * threshold if threshold < np.inf else np.inf)
                if excess > 0.0:
                    total += excess * excess
                    cross += excess * threshold
            norm = np.sqrt(total)
            distance = norm - alpha * radius
            if norm == 0.0 or distance <= 0.0:
                break
            new = alpha + distance / (cross / norm + radius)
            if not new > alpha:
                break
            alpha = new
        largest = max(largest, alpha)
    return largest


@kernel
def _closure(penalty, features):
    wanted = np.zeros(penalty.starts.size - 1, dtype=np.bool_)
    size = 0
    for j in features:
        g = penalty.group_of[j]
        if not wanted[g]:
            wanted[g] = True
            size += penalty.starts[g + 1] - penalty.starts[g]
    out = np.empty(size, dtype=np.int64)
    size = 0
    for g in range(wanted.size):
        if wanted[g]:
            for i in range(penalty.starts[g], penalty.starts[g + 1]):
                out[size] = penalty.members[i]
                size += 1
    return out


@structure.register(GroupNorm)
def _(penalty):
    return "groups"


@has_conjugate.register(GroupNorm)
def _(penalty):
    return has_conjugate(penalty.norm)


@closure.register(GroupNorm)
def _(penalty, features):
    return _closure(penalty, features)


@vector_prox.register(GroupNorm)
def _(penalty, point, step, features):
    return _vector_prox(penalty, point, step, features)


@kkt_distances.register(GroupNorm)
def _(penalty, coef, slope, features, out):
    # Each feature of a group shows the distance of the whole: the largest entry is a residual, and a choice of the
    # largest entries is one of groups.
    return _kkt_distances(penalty, coef, slope, features, out)


@penalty_value.register(GroupNorm)
def _(penalty, coef, features):
    return _penalty_value(penalty, coef, features)


@dual_scale.register(GroupNorm)
def _(penalty, slope, features):
    return _dual_scale(penalty, slope, features)


@penalty_gap.register(GroupNorm)
def _(penalty, coef, slope, features, scale):
    return _penalty_gap(penalty, coef, slope, features, scale)


@equation_coordinates.register(GroupNorm)
def _(penalty, features):
    return _equation_coordinates(penalty, features)


@largest_critical_alpha.register(GroupNorm)
def _(penalty, slope):
    alpha = _largest_critical_alpha(penalty, slope)
    # At this level zero must be optimal in the arithmetic of the certificate, too.
    features, zero, distances = np.arange(slope.size), np.zeros(slope.size), np.empty(slope.size)
    penalised = np.where(_unpenalised(penalty), 0.0, slope)
    for _ in range(_NEWTON):
        if _kkt_distances(with_alpha(penalty, alpha), zero, penalised, features, distances) == 0.0:
            break
        alpha *= 1.0 + 2.0**-52
    return alpha


def _unpenalised(penalty: GroupNorm) -> np.ndarray:
    """Which features no level penalises."""
    no_norm = (penalty.norm.weights == 0.0) | (penalty.l1_ratio == 1.0)
    return no_norm[penalty.group_of] & ((penalty.l1.weights == 0.0) | (penalty.l1_ratio == 0.0))


@with_alpha.register(GroupNorm)
def _(penalty, alpha):
    share = penalty.l1_ratio
    return penalty._replace(
        norm=with_alpha(penalty.norm, (1.0 - share) * alpha), l1=with_alpha(penalty.l1, share * alpha)
    )
