r"""The weighted elastic net, :math:`p_j(w) = \alpha \omega_j (\rho |w| + (1 - \rho) w^2 / 2)`."""

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


class ElasticNet(NamedTuple):
    """The weighted elastic-net penalty.

    Attributes
    ----------
    alpha : float
        The level, >= 0.
    l1_ratio : float
        The share of the L1 norm, in [0, 1]; the rest is half the squared Euclidean norm.
    weights : ndarray of shape (n_features,)
        A factor for each feature in [0, inf], on both parts: 0 leaves a feature unpenalised, inf excludes it.
    """

    alpha: float
    l1_ratio: float
    weights: np.ndarray


@kernel
def levels(penalty, j):
    """The threshold and the ridge level of coordinate `j`."""
    weight = penalty.weights[j]
    if weight == np.inf:
        return np.inf, 0.0
    return penalty.alpha * penalty.l1_ratio * weight, penalty.alpha * (1.0 - penalty.l1_ratio) * weight


@value.register(ElasticNet)
def _(penalty, coef, j):
    threshold, ridge = levels(penalty, j)
    return threshold * abs(coef) + 0.5 * ridge * coef * coef if coef != 0.0 else 0.0


@prox.register(ElasticNet)
def _(penalty, point, step, j):
    threshold, ridge = levels(penalty, j)
    return np.sign(point) * max(abs(point) - threshold * step, 0.0) / (1.0 + ridge * step)


@subdifferential_distance.register(ElasticNet)
def _(penalty, coef, slope, j):
    threshold, ridge = levels(penalty, j)
    if coef == 0.0:
        return max(abs(slope) - threshold, 0.0)
    return abs(slope - np.sign(coef) * threshold - ridge * coef)


@conjugate_maximizer.register(ElasticNet)
def _(penalty, slope, j):
    threshold, ridge = levels(penalty, j)
    excess = max(abs(slope) - threshold, 0.0)
    if excess == 0.0:
        return 0.0
    return np.sign(slope) * (excess / ridge if ridge > 0.0 else np.inf)


@conjugate.register(ElasticNet)
def _(penalty, slope, j):
    threshold, ridge = levels(penalty, j)
    excess = max(abs(slope) - threshold, 0.0)
    if excess == 0.0:
        return 0.0
    return 0.5 * excess * excess / ridge if ridge > 0.0 else np.inf


@conjugate_domain.register(ElasticNet)
def _(penalty, j):
    threshold, ridge = levels(penalty, j)
    if ridge > 0.0:
        return -np.inf, np.inf
    return -threshold, threshold


@smooth_piece.register(ElasticNet)
def _(penalty, coef, j):
    threshold, ridge = levels(penalty, j)
    if threshold == 0.0:
        return -np.inf, np.inf, ridge * coef, ridge
    if coef > 0.0:
        return 0.0, np.inf, threshold + ridge * coef, ridge
    if coef < 0.0:
        return -np.inf, 0.0, ridge * coef - threshold, ridge
    return 0.0, 0.0, 0.0, 0.0


@critical_alpha.register(ElasticNet)
def _(penalty, slope, j):
    weight = penalty.weights[j]
    if slope == 0.0 or weight == 0.0 or weight == np.inf:
        return 0.0
    return abs(slope) / (penalty.l1_ratio * weight) if penalty.l1_ratio > 0.0 else np.inf


@with_alpha.register(ElasticNet)
def _(penalty, alpha):
    return penalty._replace(alpha=float(alpha))
