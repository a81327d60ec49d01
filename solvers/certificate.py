"""Certificates of composite problems: the duality gap and the KKT residual, written as sums of non-negative terms."""

from typing import Any

import numpy as np

from .kernel import kernel
from .penalties.functions import CONJUGATE, conjugate, conjugate_domain, subdifferential_distance, value


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
def model_gap(penalty, coef, slope, scale, features, loss_norm):
    r"""The duality gap of a quadratic model on its working set: a stopping test, not a certificate.

    Slopes that must vanish do so only up to rounding, and no multiple but zero of such a dual point is feasible. Here
    these coordinates are charged with what one step of each could gain, :math:`v_j^2 / (2 \|x_j\|^2)`; the
    certificate proper projects them away.
    """
    c, charge = 1.0, 0.0
    for k in range(slope.size):
        lower, upper = conjugate_domain(penalty, features[k])
        v = slope[k]
        if (v > 0.0 and upper == 0.0) or (v < 0.0 and lower == 0.0):
            charge += 0.5 * (v / scale[k]) ** 2 if scale[k] > 0.0 else 0.0
        elif v * c > upper:
            c = upper / v
        elif v * c < lower:
            c = lower / v
    return charge + 0.5 * (1.0 - c) ** 2 * loss_norm + penalty_gap(penalty, coef, slope, features, c)


@kernel
def stationarity(penalty, coef, slope, scale, features, loss_norm):
    r"""What one step of each coordinate could gain, :math:`\sum_j d_j^2 / (2 \|x_j\|^2)`, from its KKT distance d.

    It stands in for :func:`model_gap` where a penalty has no conjugate.
    """
    total = 0.0
    for k in range(coef.size):
        if scale[k] > 0.0:
            distance = subdifferential_distance(penalty, coef[k], slope[k], features[k])
            total += 0.5 * (distance / scale[k]) ** 2
    return total


def has_conjugate(penalty: Any) -> bool:
    """Whether a penalty registered its conjugate side, so that there is a duality gap."""
    return all(type(penalty) in function.registry for function in CONJUGATE.values())


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
def equation_coordinates(penalty, features):
    """Mark by 2 the coordinates whose slope must vanish at every dual point, by 1 those where it must on one side."""
    kind = np.zeros(features.size, dtype=np.int8)
    for k in range(features.size):
        lower, upper = conjugate_domain(penalty, features[k])
        kind[k] = int(lower == 0.0) + int(upper == 0.0)  # without int, NumPy's bools add up to True in plain Python
    return kind


@kernel
def undecided(penalty, coef, slope, reach, member):
    """The coordinates whose slope may have moved to where it matters.

    A slope known up to `reach` can be left as it is where the coefficient is zero and both ends of its range lie in
    the subdifferential at zero: wherever it is in between, the coordinate is optimal, and its term of the gap is zero.
    """
    chosen = np.empty(coef.size, dtype=np.int64)
    count = 0
    for j in range(coef.size):
        if reach[j] == 0.0:
            continue
        if not (
            coef[j] == 0.0
            and not member[j]
            and subdifferential_distance(penalty, 0.0, 0.0, j) == 0.0
            and subdifferential_distance(penalty, 0.0, slope[j] + reach[j], j) == 0.0
            and subdifferential_distance(penalty, 0.0, slope[j] - reach[j], j) == 0.0
        ):
            chosen[count] = j
            count += 1
    return chosen[:count]
