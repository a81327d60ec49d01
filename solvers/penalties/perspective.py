r"""The perspective penalty, the convex face of "few features and a ridge".

:math:`p_j(w) = \min_{0 \le u \le 1} \alpha \omega_j u + \rho w^2 / (2 u)`.

For a weight of one and the threshold :math:`\tau = \sqrt{2 \alpha \rho}` it is :math:`\tau |w|` up to
:math:`|w| = \tau / \rho` and :math:`\alpha + \rho w^2 / 2` from there on: the largest convex function below the price
:math:`\alpha` of a nonzero plus the ridge, also called the reverse Huber penalty.
"""

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


class Perspective(NamedTuple):
    r"""The perspective relaxation of a price for each nonzero, plus a ridge.

    Attributes
    ----------
    alpha : float
        The price of a nonzero coefficient, >= 0.
    ridge : float
        The factor :math:`\rho > 0` of half the squared norm; :func:`with_alpha` keeps it.
    weights : ndarray of shape (n_features,)
        A factor for each feature in [0, inf], on the price alone: 0 leaves a feature its ridge only, inf excludes it.

    References
    ----------
    H. Dong, K. Chen, J. Linderoth, "Regularization vs. relaxation: a conic optimization perspective of statistical
    variable selection", arXiv:1510.06083, section 2.
    """

    alpha: float
    ridge: float
    weights: np.ndarray


@kernel
def price(penalty, j):
    """The price of coordinate `j`; an infinite weight stays infinite at ``alpha = 0``."""
    weight = penalty.weights[j]
    return weight if weight == np.inf else penalty.alpha * weight


@value.register(Perspective)
def _(penalty, coef, j):
    cost = price(penalty, j)
    if coef == 0.0:
        return 0.0
    if cost == np.inf:
        return np.inf
    threshold = np.sqrt(2.0 * cost * penalty.ridge)
    if penalty.ridge * abs(coef) <= threshold:
        return threshold * abs(coef)
    return cost + 0.5 * penalty.ridge * coef * coef


@prox.register(Perspective)
def _(penalty, point, step, j):
    cost = price(penalty, j)
    if cost == np.inf:
        return 0.0
    threshold = np.sqrt(2.0 * cost * penalty.ridge)
    beyond = abs(point) - threshold * step
    if beyond <= 0.0:
        return 0.0
    if penalty.ridge * beyond <= threshold:
        return np.sign(point) * beyond
    return point / (1.0 + penalty.ridge * step)


@subdifferential_distance.register(Perspective)
def _(penalty, coef, slope, j):
    cost = price(penalty, j)
    if cost == np.inf:
        return 0.0
    threshold = np.sqrt(2.0 * cost * penalty.ridge)
    if coef == 0.0:
        return max(abs(slope) - threshold, 0.0)
    return abs(slope - np.sign(coef) * max(threshold, penalty.ridge * abs(coef)))


@conjugate.register(Perspective)
def _(penalty, slope, j):
    cost = price(penalty, j)
    if cost == np.inf:
        return 0.0
    return max(0.5 * slope * slope / penalty.ridge - cost, 0.0)


@conjugate_maximizer.register(Perspective)
def _(penalty, slope, j):
    cost = price(penalty, j)
    if cost == np.inf or slope * slope <= 2.0 * cost * penalty.ridge:
        return 0.0
    return slope / penalty.ridge


@conjugate_domain.register(Perspective)
def _(penalty, j):
    return -np.inf, np.inf


@smooth_piece.register(Perspective)
def _(penalty, coef, j):
    cost = price(penalty, j)
    if cost == np.inf:
        return 0.0, 0.0, 0.0, 0.0
    if cost == 0.0:
        return -np.inf, np.inf, penalty.ridge * coef, penalty.ridge
    threshold = np.sqrt(2.0 * cost * penalty.ridge)
    end = threshold / penalty.ridge  # of the linear piece; the slope is continuous there
    if coef > 0.0:
        if coef < end:
            return 0.0, end, threshold, 0.0
        return end, np.inf, penalty.ridge * coef, penalty.ridge
    if coef < 0.0:
        if coef > -end:
            return -end, 0.0, -threshold, 0.0
        return -np.inf, -end, penalty.ridge * coef, penalty.ridge
    return 0.0, 0.0, 0.0, 0.0


@critical_alpha.register(Perspective)
def _(penalty, slope, j):
    weight = penalty.weights[j]
    if slope == 0.0 or weight == 0.0 or weight == np.inf:
        return 0.0
    return 0.5 * slope * slope / (penalty.ridge * weight)


@with_alpha.register(Perspective)
def _(penalty, alpha):
    return penalty._replace(alpha=float(alpha))
