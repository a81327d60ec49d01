r"""The square-root loss, :math:`f(z) = \sqrt{\sum_i s_i (y_i - z_i)^2}` with weights that sum to one.

It is the root of the mean squared error, in the units of the targets; its level of penalty does not depend on the
noise. Where others write :math:`\|y - X w\|_2 + \kappa \|w\|_1`, the level here is
:math:`\alpha = \kappa / \sqrt{n}`.
"""

from typing import NamedTuple

import numpy as np

from .functions import conjugate_scale, curvature, fenchel_young, loss_value, negative_gradient, reweighted

# Rounding of a dual vector's norm, and of a residual that vanishes, relative to the targets.
_ROUNDING = 1e-14


class SquareRoot(NamedTuple):
    """The root of the weighted mean of the squared errors.

    Attributes
    ----------
    y : ndarray of shape (n_samples,)
        The targets.
    weights : ndarray of shape (n_samples,)
        Sample weights that sum to one.
    """

    y: np.ndarray
    weights: np.ndarray


def _norm(weights: np.ndarray, vector: np.ndarray) -> float:
    return float(np.sqrt(np.sum(weights * vector * vector)))


def dual_norm(weights: np.ndarray, dual: np.ndarray) -> float:
    r"""The norm :math:`\sqrt{\sum_i \theta_i^2 / s_i}` that a dual vector may not exceed one in; inf without weight.

    Parameters
    ----------
    weights : ndarray of shape (n_samples,)
        The sample weights s.
    dual : ndarray of shape (n_samples,)
        The dual vector.

    Returns
    -------
    float
        The norm.
    """
    weighted = weights > 0.0
    if np.any(dual[~weighted] != 0.0):
        return np.inf
    return float(np.sqrt(np.sum(dual * dual / np.where(weighted, weights, 1.0))))


@loss_value.register(SquareRoot)
def _(loss, predictor):
    return np.sqrt(np.sum(loss.weights * (loss.y - predictor) ** 2))


@negative_gradient.register(SquareRoot)
def _(loss, predictor):
    weighted = loss.weights * (loss.y - predictor)
    norm = np.sqrt(np.sum(weighted * (loss.y - predictor)))
    return weighted / norm if norm > 0.0 else weighted


@curvature.register(SquareRoot)
def _(loss, predictor):
    # Not the Hessian, which has a null direction, but that of a majoriser: |r| <= |r|^2 / (2 sigma) + sigma / 2.
    norm = np.sqrt(np.sum(loss.weights * (loss.y - predictor) ** 2))
    least = _ROUNDING * np.sqrt(np.sum(loss.weights * loss.y**2))
    norm = max(norm, least)
    return loss.weights / norm if norm > 0.0 else loss.weights * 1.0


@fenchel_young.register(SquareRoot)
def _(loss, predictor, dual):
    # |u| - u.v for |v| <= 1, as (|u| / 2) (|u/|u| - v|^2 + 1 - |v|^2): terms >= 0, no difference of large numbers.
    weighted = loss.weights > 0.0
    if np.any(dual[~weighted] != 0.0):
        return np.inf  # a row without weight has no dual variable
    root = np.sqrt(loss.weights)
    residual = root * (loss.y - predictor)
    scaled = dual / np.where(weighted, root, 1.0)
    size, norm = np.sqrt(np.sum(residual**2)), np.sqrt(np.sum(scaled**2))
    if norm > 1.0 + _ROUNDING:
        return np.inf
    if size == 0.0:
        return 0.0
    return 0.5 * size * (np.sum((residual / size - scaled) ** 2) + max(1.0 - norm, 0.0) * (1.0 + norm))


@conjugate_scale.register(SquareRoot)
def _(loss, dual):
    weighted = loss.weights > 0.0
    norm = np.sqrt(np.sum(dual * dual / np.where(weighted, loss.weights, 1.0)))
    return 1.0 / norm if norm > 1.0 else 1.0


@reweighted.register(SquareRoot)
def _(loss, weights):
    return loss._replace(weights=weights / weights.sum())
