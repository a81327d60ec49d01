r"""The weighted count of nonzeros plus a ridge, :math:`p_j(w) = \omega_j (\alpha 1\{w \ne 0\} + \rho w^2 / 2)`."""

from typing import NamedTuple

import numpy as np

from ..kernel import kernel
from .functions import critical_alpha, prox, smooth_piece, subdifferential_distance, value, with_alpha


class L0(NamedTuple):
    r"""The weighted L0 penalty with a ridge.

    Zero is a local minimum of every coordinate at every level, so the KKT conditions alone say little, and a critical
    level is always 0: coordinate descent, which looks for the minimum of a coordinate over the whole line, moves
    only the features that a caller puts into its working set (`candidates`).

    Attributes
    ----------
    alpha : float
        The level, >= 0: what a nonzero coefficient costs.
    ridge : float
        The factor of half the squared norm, >= 0; :func:`with_alpha` keeps it.
    weights : ndarray of shape (n_features,)
        A factor for each feature in [0, inf], on both parts: 0 leaves a feature unpenalised, inf excludes it.
    """

    alpha: float
    ridge: float
    weights: np.ndarray


@kernel
def levels(penalty, j):
    """The price of a nonzero and the ridge of coordinate `j`."""
    weight = penalty.weights[j]
    if weight == np.inf:
        return np.inf, 0.0
    return penalty.alpha * weight, penalty.ridge * weight


@value.register(L0)
def _(penalty, coef, j):
    price, ridge = levels(penalty, j)
    return price + 0.5 * ridge * coef * coef if coef != 0.0 else 0.0


@prox.register(L0)
def _(penalty, point, step, j):
    price, ridge = levels(penalty, j)
    shrinkage = 1.0 + ridge * step
    # Roots one by one: at extreme steps the product would leave the range of numbers.
    if abs(point) <= np.sqrt(2.0 * price) * np.sqrt(step) * np.sqrt(shrinkage):
        return 0.0
    return point / shrinkage


@subdifferential_distance.register(L0)
def _(penalty, coef, slope, j):
    price, ridge = levels(penalty, j)
    # The limiting subdifferential of the jump at zero is the whole line.
    if coef == 0.0 and price > 0.0:
        return 0.0
    return abs(slope - ridge * coef)


@smooth_piece.register(L0)
def _(penalty, coef, j):
    price, ridge = levels(penalty, j)
    if price == 0.0:
        return -np.inf, np.inf, ridge * coef, ridge
    if coef > 0.0:
        return 0.0, np.inf, ridge * coef, ridge
    if coef < 0.0:
        return -np.inf, 0.0, ridge * coef, ridge
    return 0.0, 0.0, 0.0, 0.0


@critical_alpha.register(L0)
def _(penalty, slope, j):
    return 0.0


@with_alpha.register(L0)
def _(penalty, alpha):
    return penalty._replace(alpha=float(alpha))
