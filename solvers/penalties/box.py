r"""Bounds on top of a convex penalty, :math:`p_j(w) + \delta(l_j \le w \le u_j)` with :math:`l_j \le 0 \le u_j`."""

from typing import Any, NamedTuple

import numpy as np

from .functions import (
    conjugate,
    conjugate_domain,
    conjugate_maximizer,
    critical_alpha,
    prox,
    smooth_piece,
    subdifferential_distance,
    value,
    with_alpha,
)


class Box(NamedTuple):
    """A convex separable penalty restricted to a box around zero.

    Attributes
    ----------
    penalty : NamedTuple
        The record of the penalty inside the box.
    lower, upper : ndarray of shape (n_features,)
        The bounds, ``lower <= 0 <= upper``; -inf and inf where there is none.
    """

    penalty: Any
    lower: np.ndarray
    upper: np.ndarray


@value.register(Box)
def _(penalty, coef, j):
    if coef < penalty.lower[j] or coef > penalty.upper[j]:
        return np.inf
    return value(penalty.penalty, coef, j)


@prox.register(Box)
def _(penalty, point, step, j):
    # In one dimension the prox of a convex function on an interval is the prox, clipped.
    return min(max(prox(penalty.penalty, point, step, j), penalty.lower[j]), penalty.upper[j])


@subdifferential_distance.register(Box)
def _(penalty, coef, slope, j):
    # At a bound the subdifferential gains the half-line that points out of the box. Slightly inside of the bound
    # the inner penalty's one-sided slope decides; it is the end of its subdifferential on the box's side.
    lower, upper = penalty.lower[j], penalty.upper[j]
    if lower == upper:
        return 0.0
    inside = subdifferential_distance(penalty.penalty, coef, slope, j)
    if inside == 0.0:
        return 0.0
    outward = 1.0 if coef >= upper else (-1.0 if coef <= lower else 0.0)
    # The distance vanishes if the slope points out of the box beyond the inner subdifferential.
    if outward != 0.0:
        _, _, center, _ = smooth_piece(penalty.penalty, coef, j)
        if outward * (slope - center) > 0.0:
            return 0.0
    return inside


@conjugate_maximizer.register(Box)
def _(penalty, slope, j):
    return min(max(conjugate_maximizer(penalty.penalty, slope, j), penalty.lower[j]), penalty.upper[j])


@conjugate.register(Box)
def _(penalty, slope, j):
    best = min(max(conjugate_maximizer(penalty.penalty, slope, j), penalty.lower[j]), penalty.upper[j])
    if best == 0.0:
        return 0.0
    if abs(best) == np.inf:
        return np.inf
    return slope * best - value(penalty.penalty, best, j)


@conjugate_domain.register(Box)
def _(penalty, j):
    lower, upper = conjugate_domain(penalty.penalty, j)
    return (
        -np.inf if penalty.lower[j] > -np.inf else lower,
        np.inf if penalty.upper[j] < np.inf else upper,
    )


@smooth_piece.register(Box)
def _(penalty, coef, j):
    lower, upper, slope, curvature = smooth_piece(penalty.penalty, coef, j)
    if coef <= penalty.lower[j] or coef >= penalty.upper[j]:
        return coef, coef, slope, curvature
    return max(lower, penalty.lower[j]), min(upper, penalty.upper[j]), slope, curvature


@critical_alpha.register(Box)
def _(penalty, slope, j):
    # Zero on a bound: a slope that points out of the box asks for nothing.
    if (slope > 0.0 and penalty.upper[j] == 0.0) or (slope < 0.0 and penalty.lower[j] == 0.0):
        return 0.0
    return critical_alpha(penalty.penalty, slope, j)


@with_alpha.register(Box)
def _(penalty, alpha):
    return penalty._replace(penalty=with_alpha(penalty.penalty, alpha))
