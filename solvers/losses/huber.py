r"""The Huber loss, :math:`\sum_i s_i h_\delta(y_i - z_i)`: quadratic up to :math:`\delta`, linear beyond."""

from typing import NamedTuple

import numpy as np

from ..kernel import kernel
from .functions import conjugate_scale, curvature, fenchel_young, loss_value, negative_gradient, reweighted

_EPS = float(np.finfo(np.float64).eps)
# The curvature of an outlier in units of that of its majoriser, which converges slowly; its own is zero, with which a
# Newton step could be endless.
_SHARE = 0.01


class Huber(NamedTuple):
    r"""The weighted mean of the Huber losses of the errors.

    That of an error r is :math:`r^2 / 2` for :math:`|r| \le \delta` and :math:`\delta |r| - \delta^2 / 2` beyond.

    Attributes
    ----------
    y : ndarray of shape (n_samples,)
        The targets.
    weights : ndarray of shape (n_samples,)
        Sample weights that sum to one.
    delta : float
        Where the loss turns linear, > 0, in the units of the targets.
    """

    y: np.ndarray
    weights: np.ndarray
    delta: float


@kernel
def _value(y, weights, delta, predictor):
    total = 0.0
    for i in range(y.size):
        size = abs(y[i] - predictor[i])
        total += weights[i] * (0.5 * size * size if size <= delta else delta * (size - 0.5 * delta))
    return total


@kernel
def _negative_gradient(y, weights, delta, predictor):
    out = np.empty(y.size)
    for i in range(y.size):
        out[i] = weights[i] * min(max(y[i] - predictor[i], -delta), delta)
    return out


@kernel
def _curvature(y, weights, delta, predictor):
    out = np.empty(y.size)
    for i in range(y.size):
        size = abs(y[i] - predictor[i])
        out[i] = weights[i] * (1.0 if size <= delta else _SHARE * delta / size)
    return out


@kernel
def _fenchel_young(y, weights, delta, predictor, dual):
    total = 0.0
    for i in range(y.size):
        if weights[i] > 0.0:
            residual, clipped = y[i] - predictor[i], dual[i] / weights[i]
            if abs(clipped) > delta * (1.0 + 4.0 * _EPS):
                return np.inf
            if abs(residual) <= delta:
                total += 0.5 * weights[i] * (residual - clipped) ** 2
            else:
                clipped *= np.sign(residual)
                rest = max(delta - clipped, 0.0)
                total += weights[i] * rest * (abs(residual) - 0.5 * (delta + clipped))
        elif dual[i] != 0.0:
            return np.inf  # a row without weight has no dual variable
    return total


@kernel
def _conjugate_scale(weights, delta, dual):
    scale = 1.0
    for i in range(weights.size):
        if scale * abs(dual[i]) > delta * weights[i]:
            scale = delta * weights[i] / abs(dual[i])
    return scale


@loss_value.register(Huber)
def _(loss, predictor):
    return _value(loss.y, loss.weights, loss.delta, predictor)


@negative_gradient.register(Huber)
def _(loss, predictor):
    return _negative_gradient(loss.y, loss.weights, loss.delta, predictor)


@curvature.register(Huber)
def _(loss, predictor):
    return _curvature(loss.y, loss.weights, loss.delta, predictor)


@fenchel_young.register(Huber)
def _(loss, predictor, dual):
    return _fenchel_young(loss.y, loss.weights, loss.delta, predictor, dual)


@conjugate_scale.register(Huber)
def _(loss, dual):
    return _conjugate_scale(loss.weights, loss.delta, dual)


@reweighted.register(Huber)
def _(loss, weights):
    return loss._replace(weights=weights / weights.sum())
