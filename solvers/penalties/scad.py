r"""The weighted smoothly clipped absolute deviation: the L1 norm up to :math:`\alpha \omega_j`, flat far out."""

from typing import NamedTuple

import numpy as np

from ..kernel import kernel
from .functions import critical_alpha, prox, smooth_piece, subdifferential_distance, value, with_alpha


class SCAD(NamedTuple):
    r"""The weighted smoothly clipped absolute deviation penalty.

    With :math:`\lambda = \alpha \omega_j`,

    .. math::

        p_j(w) = \begin{cases}
            \lambda |w| & |w| \le \lambda \\
            (2 \gamma \lambda |w| - w^2 - \lambda^2) / (2 (\gamma - 1)) & \lambda < |w| \le \gamma \lambda \\
            (\gamma + 1) \lambda^2 / 2 & \text{otherwise.}
        \end{cases}

    Attributes
    ----------
    alpha : float
        The level, >= 0: the slope at zero.
    gamma : float
        The concavity, > 2: the penalty curves downwards by ``1 / (gamma - 1)`` between its linear and its flat part,
        in the units of the squared norms of the columns. For inf it is the L1 norm.
    weights : ndarray of shape (n_features,)
        A factor of the level for each feature in [0, inf]: 0 leaves a feature unpenalised, inf excludes it. The
        concavity stays.

    References
    ----------
    J. Fan and R. Li, "Variable selection via nonconcave penalized likelihood and its oracle properties", Journal of
    the American Statistical Association 96, 2001.
    """

    alpha: float
    gamma: float
    weights: np.ndarray


@kernel
def level(penalty, j):
    """The slope at zero of coordinate `j`; an infinite weight stays infinite at ``alpha = 0``."""
    weight = penalty.weights[j]
    return weight if weight == np.inf else penalty.alpha * weight


@value.register(SCAD)
def _(penalty, coef, j):
    threshold, size, gamma = level(penalty, j), abs(coef), penalty.gamma
    if coef == 0.0 or threshold == 0.0:
        return 0.0
    if size <= threshold:
        return threshold * size
    if size > gamma * threshold:
        return 0.5 * (gamma + 1.0) * threshold * threshold
    return threshold * size - 0.5 * (size - threshold) * (size - threshold) / (gamma - 1.0)


@prox.register(SCAD)
def _(penalty, point, step, j):
    threshold, size, gamma = level(penalty, j), abs(point), penalty.gamma
    if threshold == 0.0:
        return point
    soft = np.sign(point) * max(size - threshold * step, 0.0)
    if step < gamma - 1.0:
        if size <= threshold * (1.0 + step):
            return soft
        if size <= gamma * threshold:
            return np.sign(point) * (size - threshold * step / (1.0 - 1.0 / gamma)) / (1.0 - step / (gamma - 1.0))
        return point
    # The objective is concave between the linear and the flat part: a minimum of one of the two, whichever is lower.
    crossing = 0.5 * (gamma + 1.0 + step) if step < gamma + 1.0 else np.sqrt(gamma + 1.0) * np.sqrt(step)
    return point if size > threshold * crossing else soft


@subdifferential_distance.register(SCAD)
def _(penalty, coef, slope, j):
    threshold, size = level(penalty, j), abs(coef)
    if coef == 0.0:
        return max(abs(slope) - threshold, 0.0)
    excess = max(size - threshold, 0.0) / (penalty.gamma - 1.0)
    return abs(slope - np.sign(coef) * max(threshold - excess, 0.0))


@smooth_piece.register(SCAD)
def _(penalty, coef, j):
    threshold, size, gamma = level(penalty, j), abs(coef), penalty.gamma
    if threshold == 0.0:
        return -np.inf, np.inf, 0.0, 0.0
    if coef == 0.0:
        return 0.0, 0.0, 0.0, 0.0
    # The ends of the linear and of the flat part are no kinks. A coefficient on one belongs to the piece beyond, which
    # begins one rounding below, so that a step can leave the end to either side.
    edge = gamma * threshold
    if size < threshold:
        lower, upper = 0.0, threshold
        slope, curvature = threshold, 0.0
    elif size < edge:
        lower, upper = np.nextafter(threshold, 0.0), edge
        slope, curvature = threshold - (size - threshold) / (gamma - 1.0), -1.0 / (gamma - 1.0)
    else:
        lower, upper = np.nextafter(edge, 0.0), np.inf
        slope, curvature = 0.0, 0.0
    if coef > 0.0:
        return lower, upper, slope, curvature
    return -upper, -lower, -slope, curvature


@critical_alpha.register(SCAD)
def _(penalty, slope, j):
    return abs(slope) / penalty.weights[j] if penalty.weights[j] > 0.0 else 0.0


@with_alpha.register(SCAD)
def _(penalty, alpha):
    return penalty._replace(alpha=float(alpha))
