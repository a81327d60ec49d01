r"""The weighted minimax concave penalty: the L1 norm near zero, flat beyond :math:`\gamma \alpha \omega_j`."""

from typing import NamedTuple

import numpy as np

from ..kernel import kernel
from .functions import critical_alpha, prox, smooth_piece, subdifferential_distance, value, with_alpha


class MCP(NamedTuple):
    r"""The weighted minimax concave penalty.

    With :math:`\lambda = \alpha \omega_j`,

    .. math::

        p_j(w) = \begin{cases}
            \lambda |w| - w^2 / (2 \gamma) & |w| \le \gamma \lambda \\
            \gamma \lambda^2 / 2 & \text{otherwise.}
        \end{cases}

    Attributes
    ----------
    alpha : float
        The level, >= 0: the slope at zero.
    gamma : float
        The concavity, > 0: the penalty curves downwards by ``1 / gamma`` near zero, in the units of the squared norms
        of the columns. For inf it is the L1 norm.
    weights : ndarray of shape (n_features,)
        A factor of the level for each feature in [0, inf]: 0 leaves a feature unpenalised, inf excludes it. The
        concavity stays: a weighted feature has another slope at zero and another width, and the same curvature.

    References
    ----------
    C.-H. Zhang, "Nearly unbiased variable selection under minimax concave penalty", Annals of Statistics 38, 2010.
    """

    alpha: float
    gamma: float
    weights: np.ndarray


@kernel
def level(penalty, j):
    """The slope at zero of coordinate `j`; an infinite weight stays infinite at ``alpha = 0``."""
    weight = penalty.weights[j]
    return weight if weight == np.inf else penalty.alpha * weight


@value.register(MCP)
def _(penalty, coef, j):
    threshold, size = level(penalty, j), abs(coef)
    if coef == 0.0 or threshold == 0.0:
        return 0.0
    if size > penalty.gamma * threshold:
        return 0.5 * penalty.gamma * threshold * threshold
    return size * (threshold - size / (2.0 * penalty.gamma))


@prox.register(MCP)
def _(penalty, point, step, j):
    threshold, size = level(penalty, j), abs(point)
    if threshold == 0.0:
        return point
    if step >= penalty.gamma:
        # The objective is concave between zero and the flat part: one of the two ends, whichever is lower.
        return point if size > threshold * np.sqrt(penalty.gamma) * np.sqrt(step) else 0.0
    if size > penalty.gamma * threshold:
        return point
    return np.sign(point) * max(size - threshold * step, 0.0) / (1.0 - step / penalty.gamma)


@subdifferential_distance.register(MCP)
def _(penalty, coef, slope, j):
    threshold = level(penalty, j)
    if coef == 0.0:
        return max(abs(slope) - threshold, 0.0)
    return abs(slope - np.sign(coef) * max(threshold - abs(coef) / penalty.gamma, 0.0))


@smooth_piece.register(MCP)
def _(penalty, coef, j):
    threshold, size = level(penalty, j), abs(coef)
    if threshold == 0.0:
        return -np.inf, np.inf, 0.0, 0.0
    if coef == 0.0:
        return 0.0, 0.0, 0.0, 0.0
    edge = penalty.gamma * threshold
    if size < edge:
        lower, upper = 0.0, edge
        slope, curvature = threshold - size / penalty.gamma, -1.0 / penalty.gamma
    else:
        # The edge is no kink. A coefficient on it belongs to the flat piece, which begins one rounding below, so
        # that a step can leave the edge to either side.
        lower, upper = np.nextafter(edge, 0.0), np.inf
        slope, curvature = 0.0, 0.0
    if coef > 0.0:
        return lower, upper, slope, curvature
    return -upper, -lower, -slope, curvature


@critical_alpha.register(MCP)
def _(penalty, slope, j):
    return abs(slope) / penalty.weights[j] if penalty.weights[j] > 0.0 else 0.0


@with_alpha.register(MCP)
def _(penalty, alpha):
    return penalty._replace(alpha=float(alpha))
