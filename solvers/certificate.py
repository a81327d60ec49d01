"""Certificates of composite problems: the duality gap and the KKT residual, written as sums of non-negative terms."""

import numpy as np

from .kernel import kernel
from .penalties.functions import conjugate, conjugate_domain, subdifferential_distance, value


@kernel
def dual_scale(penalty, slope, features):
    """The largest factor c <= 1 for which every conjugate :math:`p_j^*(c v_j)` is finite."""
    scale = 1.0
    for k in range(slope.size):
        lower, upper = conjugate_domain(penalty, features[k])
        v = slope[k]
        if v * scale > upper:
            scale = upper / v
        elif v * scale < lower:
            scale = lower / v
    return scale


@kernel
def penalty_gap(penalty, coef, slope, features, scale):
    r"""The penalty's part of the duality gap, :math:`\sum_j p_j(w_j) + p_j^*(c v_j) - c v_j w_j \ge 0`.

    Every term is a Fenchel-Young loss, so the sum is accurate relative to the gap itself and not only relative to
    the objective: gaps far below 1e-16 of the objective still mean what they say.
    """
    total = 0.0
    for k in range(coef.size):
        j = features[k]
        lower, upper = conjugate_domain(penalty, j)
        v = min(max(scale * slope[k], lower), upper)  # rounding of c must not make the dual point infeasible
        term = conjugate(penalty, v, j)
        if coef[k] != 0.0:
            term += value(penalty, coef[k], j) - v * coef[k]
        total += max(term, 0.0)
    return total


@kernel
def kkt_distances(penalty, coef, slope, features, out):
    """The distance of each slope to its subdifferential, and the largest of them."""
    largest = 0.0
    for k in range(coef.size):
        out[k] = subdifferential_distance(penalty, coef[k], slope[k], features[k])
        largest = max(largest, out[k])
    return largest


@kernel
def penalty_value(penalty, coef, features):
    """The penalty of a whole coefficient vector."""
    total = 0.0
    for k in range(coef.size):
        if coef[k] != 0.0:
            total += value(penalty, coef[k], features[k])
    return total


@kernel
def equation_coordinates(penalty, n_features):
    """Mark by 2 the coordinates whose slope must vanish at every dual point, by 1 those where it must on one side."""
    kind = np.zeros(n_features, dtype=np.int8)
    for j in range(n_features):
        lower, upper = conjugate_domain(penalty, j)
        kind[j] = (lower == 0.0) + (upper == 0.0)
    return kind
