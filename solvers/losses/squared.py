r"""The squared loss, :math:`f(z) = \frac12 \sum_i s_i (y_i - z_i)^2` with weights that sum to one."""

from typing import NamedTuple

import numpy as np

from .functions import curvature, fenchel_young, is_quadratic, loss_value, negative_gradient, reweighted


class Squared(NamedTuple):
    """The weighted mean of the squared errors, halved.

    Attributes
    ----------
    y : ndarray of shape (n_samples,)
        The targets.
    weights : ndarray of shape (n_samples,)
        Sample weights that sum to one, so that a weight of two is a row that stands twice.
    """

    y: np.ndarray
    weights: np.ndarray


@loss_value.register(Squared)
def _(loss, predictor):
    return 0.5 * np.sum(loss.weights * (loss.y - predictor) ** 2)


@negative_gradient.register(Squared)
def _(loss, predictor):
    return loss.weights * (loss.y - predictor)


@curvature.register(Squared)
def _(loss, predictor):
    return loss.weights


@fenchel_young.register(Squared)
def _(loss, predictor, dual):
    # A sum of squares (s (y - z) - theta)^2 / s: no difference of large numbers, exact near the optimum.
    error = loss.weights * (loss.y - predictor) - dual
    weighted = loss.weights > 0.0
    if np.any(error[~weighted] != 0.0):
        return np.inf  # a row without weight is linear in its dual variable
    return 0.5 * np.sum(error * error / np.where(weighted, loss.weights, 1.0))


@is_quadratic.register(Squared)
def _(loss):
    return True


@reweighted.register(Squared)
def _(loss, weights):
    return loss._replace(weights=weights / weights.sum())
