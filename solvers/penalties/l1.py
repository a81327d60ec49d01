r"""The weighted L1 norm, :math:`p_j(w) = \alpha \omega_j |w|`."""

from typing import NamedTuple

import numpy as np

from ..kernel import kernel
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


class L1(NamedTuple):
    """The weighted L1 penalty.

    Attributes
    ----------
    alpha : float
        The level, >= 0.
    weights : ndarray of shape (n_features,)
        A factor for each feature in [0, inf]: 0 leaves a feature unpenalised, inf excludes it.
    """

    alpha: float
    weights: np.ndarray


@kernel
def level(penalty, j):
    """The threshold of coordinate `j`; an infinite weight stays infinite at ``alpha = 0``."""
    weight = penalty.weights[j]
    return weight if weight == np.inf else penalty.alpha * weight


@value.register(L1)
def _(penalty, coef, j):
    return level(penalty, j) * abs(coef) if coef != 0.0 else 0.0


@prox.register(L1)
def _(penalty, point, step, j):
    return np.sign(point) * max(abs(point) - level(penalty, j) * step, 0.0)


@subdifferential_distance.register(L1)
def _(penalty, coef, slope, j):
    if coef == 0.0:
        return max(abs(slope) - level(penalty, j), 0.0)
    return abs(slope - np.sign(coef) * level(penalty, j))


@conjugate.register(L1)
def _(penalty, slope, j):
    return 0.0 if abs(slope) <= level(penalty, j) else np.inf


@conjugate_maximizer.register(L1)
def _(penalty, slope, j):
    return 0.0 if abs(slope) <= level(penalty, j) else np.sign(slope) * np.inf


@conjugate_domain.register(L1)
def _(penalty, j):
    return -level(penalty, j), level(penalty, j)


@smooth_piece.register(L1)
def _(penalty, coef, j):
    threshold = level(penalty, j)
    if threshold == 0.0:
        return -np.inf, np.inf, 0.0, 0.0
    if coef > 0.0:
        return 0.0, np.inf, threshold, 0.0
    if coef < 0.0:
        return -np.inf, 0.0, -threshold, 0.0
    return 0.0, 0.0, 0.0, 0.0


@critical_alpha.register(L1)
def _(penalty, slope, j):
    return abs(slope) / penalty.weights[j] if penalty.weights[j] > 0.0 else 0.0


@with_alpha.register(L1)
def _(penalty, alpha):
    return penalty._replace(alpha=float(alpha))
