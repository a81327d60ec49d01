r"""What a penalty can do as a whole: functions of a vector of coefficients and the features they belong to.

Each is a generic function whose default is the sum over the coordinates of a separable penalty. A penalty that couples
coordinates, by groups or by their order, is a record that registers these functions itself::

    @penalty_value.register(GroupNorm)
    def _(penalty, coef, features): ...

They are called from plain Python; `features` holds the index of each coordinate, all of them or a working set (always
a union of whole groups, see :func:`closure`).
"""

import functools
from typing import Any

import numpy as np

from ..kernel import kernel
from .functions import (
    CONJUGATE,
    PATH,
    SEPARABLE,
    conjugate,
    conjugate_domain,
    critical_alpha,
    prox,
    subdifferential_distance,
    value,
)


@functools.singledispatch
def structure(penalty: Any) -> str:
    """How a penalty couples coordinates: "separable", "groups" (of disjoint features) or "joint"."""
    return "separable"


@functools.singledispatch
def vector_prox(penalty: Any, point: np.ndarray, step: float, features: np.ndarray) -> np.ndarray:
    r"""The proximal operator :math:`\arg\min_u \|u - v\|^2 / (2 t) + p(u)` at `point` v with `step` t > 0."""
    return separable_vector_prox(penalty, point, step, features)


@functools.singledispatch
def linear_pattern(
    penalty: Any, coef: np.ndarray, features: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    r"""The linear piece of a penalty around a point: what moves together, and at which price.

    Returns the cluster of each coordinate (-1 where it stays zero), its sign, and the derivative of the penalty with
    respect to each cluster's value c, where :math:`w_j = \pm c`. None where a penalty has no such pieces.
    """
    return None


@functools.singledispatch
def closure(penalty: Any, features: np.ndarray) -> np.ndarray:
    """The features with all that share a group with them, each group contiguous; the features for a separable one."""
    return features


@kernel
def separable_vector_prox(penalty, point, step, features):
    """The proximal operator, coordinate by coordinate."""
    result = np.empty(point.size)
    for k in range(point.size):
        result[k] = prox(penalty, point[k], step, features[k])
    return result


@kernel
def separable_kkt_distances(penalty, coef, slope, features, out):
    """The distance of each slope to its subdifferential, and the largest of them."""
    largest = 0.0
    for k in range(coef.size):
        out[k] = subdifferential_distance(penalty, coef[k], slope[k], features[k])
        largest = max(largest, out[k])
    return largest


@functools.singledispatch
def kkt_distances(penalty: Any, coef: np.ndarray, slope: np.ndarray, features: np.ndarray, out: np.ndarray) -> float:
    """The distance of each slope to its subdifferential, written to `out`, and the largest of them."""
    return separable_kkt_distances(penalty, coef, slope, features, out)


@kernel
def separable_penalty_value(penalty, coef, features):
    """The penalty of a whole coefficient vector."""
    total = 0.0
    for k in range(coef.size):
        if coef[k] != 0.0:
            total += value(penalty, coef[k], features[k])
    return total


@functools.singledispatch
def penalty_value(penalty: Any, coef: np.ndarray, features: np.ndarray) -> float:
    """The penalty of a whole coefficient vector."""
    return separable_penalty_value(penalty, coef, features)


@kernel
def separable_dual_scale(penalty, slope, features):
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


@functools.singledispatch
def dual_scale(penalty: Any, slope: np.ndarray, features: np.ndarray) -> float:
    """The largest factor c <= 1 for which the conjugate is finite at c times the slopes."""
    return separable_dual_scale(penalty, slope, features)


@kernel
def separable_penalty_gap(penalty, coef, slope, features, scale):
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


@functools.singledispatch
def penalty_gap(penalty: Any, coef: np.ndarray, slope: np.ndarray, features: np.ndarray, scale: float) -> float:
    r"""The penalty's part of the duality gap, :math:`p(w) + p^*(c v) - c v^T w \ge 0`."""
    return separable_penalty_gap(penalty, coef, slope, features, scale)


@kernel
def separable_equation_coordinates(penalty, features):
    """Mark by 2 the coordinates whose slope must vanish at every dual point, by 1 those where it must on one side."""
    kind = np.zeros(features.size, dtype=np.int8)
    for k in range(features.size):
        lower, upper = conjugate_domain(penalty, features[k])
        kind[k] = int(lower == 0.0) + int(upper == 0.0)  # without int, NumPy's bools add up to True in plain Python
    return kind


@functools.singledispatch
def equation_coordinates(penalty: Any, features: np.ndarray) -> np.ndarray:
    """Mark by 2 the coordinates whose slope must vanish at every dual point, by 1 those where it must on one side."""
    return separable_equation_coordinates(penalty, features)


@kernel
def separable_largest_critical_alpha(penalty, slope):
    """The largest critical level of any coordinate."""
    largest = 0.0
    for j in range(slope.size):
        largest = max(largest, critical_alpha(penalty, slope[j], j))
    return largest


@functools.singledispatch
def largest_critical_alpha(penalty: Any, slope: np.ndarray) -> float:
    """The smallest level at which zero is optimal against the slopes of all features; inf if there is none."""
    return separable_largest_critical_alpha(penalty, slope)


@functools.singledispatch
def has_conjugate(penalty: Any) -> bool:
    """Whether a penalty registered its conjugate side, so that there is a duality gap."""
    if structure(penalty) == "separable":
        inner = getattr(penalty, "penalty", None)  # a box has one where the penalty inside does
        return all(type(penalty) in function.registry for function in CONJUGATE.values()) and (
            inner is None or has_conjugate(inner)
        )
    return type(penalty) in penalty_gap.registry


def required(penalty: Any) -> dict[str, Any]:
    """The generic functions a penalty's record must register, by the way it couples coordinates."""
    if structure(penalty) == "separable":
        return SEPARABLE
    return {"kkt_distances": kkt_distances, "penalty_value": penalty_value, "vector_prox": vector_prox}


def required_of_paths(penalty: Any) -> dict[str, Any]:
    """The generic functions that a path needs on top."""
    if structure(penalty) == "separable":
        return PATH
    return {"largest_critical_alpha": largest_critical_alpha, "with_alpha": PATH["with_alpha"]}
