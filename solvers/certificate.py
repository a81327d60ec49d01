"""Certificates of a quadratic model on a working set, and which slopes a certificate needs."""

from typing import Any

import numpy as np

from .kernel import kernel
from .penalties.functions import conjugate_domain, subdifferential_distance
from .penalties.vector_functions import (
    closure,
    dual_scale,
    equation_coordinates,
    kkt_distances,
    penalty_gap,
    separable_penalty_gap,
    structure,
)

_ROUNDING = 4.0 * np.finfo(float).eps
_TIE = 1e-3  # relative difference of gaps that are as good as equal


@kernel
def separable_model_gap(penalty, coef, slope, scale, features, loss_norm):
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
    return charge + 0.5 * (1.0 - c) ** 2 * loss_norm + separable_penalty_gap(penalty, coef, slope, features, c)


def model_gap(
    penalty: Any, coef: np.ndarray, slope: np.ndarray, scale: np.ndarray, features: np.ndarray, loss_norm: float
) -> float:
    """The duality gap of a quadratic model on its working set, for any convex penalty: a stopping test."""
    if structure(penalty) == "separable":
        return separable_model_gap(penalty, coef, slope, scale, features, loss_norm)
    charge, vanishing = 0.0, equation_coordinates(penalty, features) > 0
    if vanishing.any():
        steps = np.divide(slope, scale, out=np.zeros_like(scale), where=vanishing & (scale > 0.0))
        charge, slope = 0.5 * float(steps @ steps), np.where(vanishing, 0.0, slope)
    c = dual_scale(penalty, slope, features)
    return charge + 0.5 * (1.0 - c) ** 2 * loss_norm + penalty_gap(penalty, coef, slope, features, c)


@kernel
def separable_stationarity(penalty, coef, slope, scale, features, loss_norm):
    r"""What one step of each coordinate could gain, :math:`\sum_j d_j^2 / (2 \|x_j\|^2)`, from its KKT distance d.

    It stands in for :func:`model_gap` where a penalty has no conjugate.
    """
    total = 0.0
    for k in range(coef.size):
        if scale[k] > 0.0:
            distance = subdifferential_distance(penalty, coef[k], slope[k], features[k])
            total += 0.5 * (distance / scale[k]) ** 2
    return total


def stationarity(
    penalty: Any, coef: np.ndarray, slope: np.ndarray, scale: np.ndarray, features: np.ndarray, loss_norm: float
) -> float:
    """What one step of each coordinate could gain, for any penalty."""
    if structure(penalty) == "separable":
        return separable_stationarity(penalty, coef, slope, scale, features, loss_norm)
    distances = np.empty(coef.size)
    kkt_distances(penalty, coef, slope, features, distances)
    return 0.5 * float(np.sum(np.divide(distances, scale, out=np.zeros_like(scale), where=scale > 0.0) ** 2))


def slope_rounding(coef: np.ndarray, scale: np.ndarray) -> float:
    """How large a slope of a unit column may be by rounding alone, from coefficients and the norms of their columns."""
    return _ROUNDING * float(np.abs(coef) @ scale)


def no_worse(gap: float, known: float, coef: np.ndarray, scale: np.ndarray) -> bool:
    """Whether a step did not widen the gap of a model, as far as rounding can tell.

    A step along a direction in which the objective is level changes slopes by their rounding only. That must not decide
    whether it is taken, or the answer would be another one for the same samples in another order.
    """
    return bool(gap <= (1.0 + _TIE) * known + 0.5 * coef.size * slope_rounding(coef, scale) ** 2)


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


def undecided_groups(
    penalty: Any, coef: np.ndarray, slope: np.ndarray, reach: np.ndarray, member: np.ndarray
) -> np.ndarray:
    """The features of the groups whose slopes may have moved to where they matter.

    As :func:`undecided`, for a penalty of the norms of groups: the subdifferential at zero is symmetric in each slope
    and convex, so that all slopes within reach lie in it if the largest ones do.
    """
    outside = np.flatnonzero((coef != 0.0) & ~member)
    if outside.size:
        member = member.copy()
        member[closure(penalty, outside)] = True
    distances = np.empty(coef.size)
    kkt_distances(penalty, np.zeros(coef.size), np.abs(slope) + reach, np.arange(coef.size), distances)
    return np.flatnonzero((reach > 0.0) & (member | (distances > 0.0)))
