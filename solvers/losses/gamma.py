r"""Half the Gamma deviance under a log link, :math:`\sum_i s_i (y_i e^{-z_i} - 1 - \log(y_i e^{-z_i}))`."""

from typing import NamedTuple

import numpy as np

from ..kernel import kernel
from .divergence import divergence, exponential
from .functions import conjugate_scale, curvature, fenchel_young, loss_value, negative_gradient, reweighted

_INSIDE = 1.0 - 1e-9  # of the way to the edge of the domain, where rounding could decide
_FLATTEST = 1e-4  # curvature of a row, at least, in units of its gradient: a Newton step ends somewhere


class Gamma(NamedTuple):
    """Half the mean Gamma deviance of positive targets with expectation exp(z); zero for a perfect fit.

    Attributes
    ----------
    y : ndarray of shape (n_samples,)
        The targets, > 0.
    weights : ndarray of shape (n_samples,)
        Sample weights that sum to one.
    """

    y: np.ndarray
    weights: np.ndarray


@kernel
def _ratio(y, predictor):
    """The target in units of its expectation."""
    return y * exponential(-predictor)


@kernel
def _value(y, weights, predictor):
    total = 0.0
    for i in range(y.size):
        ratio = _ratio(y[i], predictor[i])
        total += weights[i] * divergence(ratio, 1.0 - ratio) if weights[i] > 0.0 else 0.0
    return total


@kernel
def _negative_gradient(y, weights, predictor):
    out = np.empty(y.size)
    for i in range(y.size):
        out[i] = weights[i] * (_ratio(y[i], predictor[i]) - 1.0)
    return out


@kernel
def _curvature(y, weights, predictor):
    out = np.empty(y.size)
    for i in range(y.size):
        out[i] = weights[i] * max(_ratio(y[i], predictor[i]), _FLATTEST)
    return out


@kernel
def _fenchel_young(y, weights, predictor, dual):
    # The dual point stands for the ratio 1 + dual / s; the gap is its divergence from the one at the predictor.
    total = 0.0
    for i in range(y.size):
        if weights[i] > 0.0:
            ratio = _ratio(y[i], predictor[i])
            total += weights[i] * divergence(ratio, dual[i] / weights[i] - (ratio - 1.0))
        elif dual[i] != 0.0:
            return np.inf  # a row without weight has no dual variable
    return total


@kernel
def _conjugate_scale(weights, dual):
    scale = 1.0
    for i in range(weights.size):
        if -scale * dual[i] > weights[i]:
            scale = -_INSIDE * weights[i] / dual[i]
    return scale


@loss_value.register(Gamma)
def _(loss, predictor):
    return _value(loss.y, loss.weights, predictor)


@negative_gradient.register(Gamma)
def _(loss, predictor):
    return _negative_gradient(loss.y, loss.weights, predictor)


@curvature.register(Gamma)
def _(loss, predictor):
    return _curvature(loss.y, loss.weights, predictor)


@fenchel_young.register(Gamma)
def _(loss, predictor, dual):
    return _fenchel_young(loss.y, loss.weights, predictor, dual)


@conjugate_scale.register(Gamma)
def _(loss, dual):
    return _conjugate_scale(loss.weights, dual)


@reweighted.register(Gamma)
def _(loss, weights):
    return loss._replace(weights=weights / weights.sum())
