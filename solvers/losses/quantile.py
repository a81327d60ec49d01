r"""The quantile loss, :math:`f(z) = \sum_i s_i \max(\tau r_i, (\tau - 1) r_i)` of residuals :math:`r = y - z`.

With it come the functions of every piecewise-linear loss: it is the support function of a box of dual vectors,
:math:`f(z) = \max_{l \le \theta \le u} \theta^T (y - z)`.
"""

from typing import Any, NamedTuple

import numpy as np

from ..generic import generic
from ..kernel import kernel
from .functions import conjugate_scale, fenchel_young, loss_value, reweighted


class Quantile(NamedTuple):
    r"""The weighted mean of the pinball loss, whose minimiser is a conditional quantile.

    Attributes
    ----------
    y : ndarray of shape (n_samples,)
        The targets.
    weights : ndarray of shape (n_samples,)
        Sample weights that sum to one.
    quantile : float
        The level :math:`\tau` in (0, 1); 0.5 for the median, half of the absolute loss.
    """

    y: np.ndarray
    weights: np.ndarray
    quantile: float


@generic
def dual_box(loss):
    """The box (lower, upper) of the dual vectors of a piecewise-linear loss, one interval a sample."""
    raise TypeError(f"the loss {type(loss).__name__} is not piecewise linear: it registers no dual_box")


@dual_box.register(Quantile)
def _(loss):
    return (loss.quantile - 1.0) * loss.weights, loss.quantile * loss.weights


@kernel
def _value(y, low, high, predictor):
    total = 0.0
    for i in range(y.size):
        residual = y[i] - predictor[i]
        total += residual * (high[i] if residual > 0.0 else low[i])
    return total


@kernel
def _fenchel_young(y, low, high, predictor, dual):
    total = 0.0
    for i in range(y.size):
        if not low[i] <= dual[i] <= high[i]:
            return np.inf
        residual = y[i] - predictor[i]
        total += residual * ((high[i] if residual > 0.0 else low[i]) - dual[i])
    return total


@kernel
def _scale(low, high, dual):
    scale = 1.0
    for i in range(dual.size):
        if scale * dual[i] > high[i]:
            scale = high[i] / dual[i]
        elif scale * dual[i] < low[i]:
            scale = low[i] / dual[i]
    return scale


def register_piecewise_linear(cls: Any) -> None:
    """Register what follows from the box of dual vectors, for the class of a loss with targets and weights."""

    @loss_value.register(cls)
    def _(loss, predictor):
        low, high = dual_box(loss)
        return _value(loss.y, low, high, predictor)

    @fenchel_young.register(cls)
    def _(loss, predictor, dual):
        low, high = dual_box(loss)
        return _fenchel_young(loss.y, low, high, predictor, dual)

    @conjugate_scale.register(cls)
    def _(loss, dual):
        low, high = dual_box(loss)
        return _scale(low, high, dual)

    @reweighted.register(cls)
    def _(loss, weights):
        return loss._replace(weights=weights / weights.sum())


register_piecewise_linear(Quantile)
