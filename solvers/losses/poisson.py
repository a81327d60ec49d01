r"""Half the Poisson deviance under a log link, :math:`\sum_i s_i (e^{z_i} - y_i - y_i (z_i - \log y_i))`."""

from typing import NamedTuple

import numpy as np

from ..kernel import kernel
from .divergence import divergence, exponential
from .functions import conjugate_scale, curvature, fenchel_young, loss_value, negative_gradient, reweighted

_INSIDE = 1.0 - 1e-9  # of the way to the edge of the domain, where rounding could decide
_FLATTEST = 1e-4  # curvature of a row, at least, in units of its gradient: a Newton step ends somewhere


class Poisson(NamedTuple):
    """Half the mean Poisson deviance of counts with expectation exp(z); zero for a perfect fit.

    Attributes
    ----------
    y : ndarray of shape (n_samples,)
        The targets, >= 0.
    weights : ndarray of shape (n_samples,)
        Sample weights that sum to one.
    """

    y: np.ndarray
    weights: np.ndarray


@kernel
def _value(y, weights, predictor):
    total = 0.0
    for i in range(y.size):
        mean = exponential(predictor[i])
        total += weights[i] * divergence(mean, y[i] - mean) if weights[i] > 0.0 else 0.0
    return total


@kernel
def _negative_gradient(y, weights, predictor):
    out = np.empty(y.size)
    for i in range(y.size):
        out[i] = weights[i] * (y[i] - exponential(predictor[i]))
    return out


@kernel
def _curvature(y, weights, predictor):
    out = np.empty(y.size)
    for i in range(y.size):
        mean = exponential(predictor[i])
        out[i] = weights[i] * max(mean, _FLATTEST * (y[i] - mean))
    return out


@kernel
def _fenchel_young(y, weights, predictor, dual):
    # The dual point stands for the mean y - dual / s; the gap is its divergence from the predicted one.
    total = 0.0
    for i in range(y.size):
        if weights[i] > 0.0:
            mean = exponential(predictor[i])
            total += weights[i] * divergence(mean, y[i] - mean - dual[i] / weights[i])
        elif dual[i] != 0.0:
            return np.inf  # a row without weight has no dual variable
    return total


@kernel
def _conjugate_scale(y, weights, dual):
    scale = 1.0
    for i in range(y.size):
        if dual[i] > 0.0 and scale * dual[i] > y[i] * weights[i]:
            scale = _INSIDE * y[i] * weights[i] / dual[i]
    return scale


@loss_value.register(Poisson)
def _(loss, predictor):
    return _value(loss.y, loss.weights, predictor)


@negative_gradient.register(Poisson)
def _(loss, predictor):
    return _negative_gradient(loss.y, loss.weights, predictor)


@curvature.register(Poisson)
def _(loss, predictor):
    return _curvature(loss.y, loss.weights, predictor)


@fenchel_young.register(Poisson)
def _(loss, predictor, dual):
    return _fenchel_young(loss.y, loss.weights, predictor, dual)


@conjugate_scale.register(Poisson)
def _(loss, dual):
    return _conjugate_scale(loss.y, loss.weights, dual)


@reweighted.register(Poisson)
def _(loss, weights):
    return loss._replace(weights=weights / weights.sum())
