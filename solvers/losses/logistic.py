r"""The logistic loss, :math:`\sum_i s_i (\log(1 + e^{z_i}) - y_i z_i)`, less its value at a perfect fit."""

from typing import NamedTuple

import numpy as np

from ..kernel import kernel
from .divergence import divergence, probability
from .functions import conjugate_scale, curvature, fenchel_young, loss_value, negative_gradient, reweighted

_INSIDE = 1.0 - 1e-9  # of the way to the edge of the domain, where rounding could decide
_FLATTEST = 1e-3  # curvature of a row, at least, in units of its gradient: a Newton step ends somewhere


class Logistic(NamedTuple):
    r"""The mean relative entropy of labels to their probabilities :math:`1 / (1 + e^{-z})`.

    For the labels 0 and 1 that is the log loss; a label in between is a probability, or a pair of rows with these
    weights, and its own entropy is taken off so that a perfect fit has loss zero.

    Attributes
    ----------
    y : ndarray of shape (n_samples,)
        The labels, in [0, 1].
    weights : ndarray of shape (n_samples,)
        Sample weights that sum to one.
    """

    y: np.ndarray
    weights: np.ndarray


@kernel
def _difference(label, predictor):
    """The label minus its probability, without cancellation for labels 0 and 1."""
    return label * probability(-predictor) - (1.0 - label) * probability(predictor)


@kernel
def _value(y, weights, predictor):
    total = 0.0
    for i in range(y.size):
        z = predictor[i]
        if weights[i] == 0.0:
            continue
        if y[i] == 0.0 or y[i] == 1.0:
            margin = z if y[i] == 1.0 else -z
            total += weights[i] * (np.log1p(np.exp(-abs(margin))) + max(-margin, 0.0))
        else:
            difference = _difference(y[i], z)
            entropy = divergence(probability(z), difference) + divergence(probability(-z), -difference)
            total += weights[i] * entropy
    return total


@kernel
def _negative_gradient(y, weights, predictor):
    out = np.empty(y.size)
    for i in range(y.size):
        out[i] = weights[i] * _difference(y[i], predictor[i])
    return out


@kernel
def _curvature(y, weights, predictor):
    out = np.empty(y.size)
    for i in range(y.size):
        z = predictor[i]
        variance = probability(z) * probability(-z)
        out[i] = weights[i] * max(variance, _FLATTEST * abs(_difference(y[i], z)))
    return out


@kernel
def _fenchel_young(y, weights, predictor, dual):
    # The dual point stands for the probability y - dual / s; the gap is its divergence from the predicted one.
    total = 0.0
    for i in range(y.size):
        if weights[i] > 0.0:
            z = predictor[i]
            difference = _difference(y[i], z) - dual[i] / weights[i]
            entropy = divergence(probability(z), difference) + divergence(probability(-z), -difference)
            total += weights[i] * entropy
        elif dual[i] != 0.0:
            return np.inf  # a row without weight has no dual variable
    return total


@kernel
def _conjugate_scale(y, weights, dual):
    scale = 1.0
    for i in range(y.size):
        reach = (y[i] if dual[i] > 0.0 else 1.0 - y[i]) * weights[i]
        if scale * abs(dual[i]) > reach:
            scale = _INSIDE * reach / abs(dual[i])
    return scale


@loss_value.register(Logistic)
def _(loss, predictor):
    return _value(loss.y, loss.weights, predictor)


@negative_gradient.register(Logistic)
def _(loss, predictor):
    return _negative_gradient(loss.y, loss.weights, predictor)


@curvature.register(Logistic)
def _(loss, predictor):
    return _curvature(loss.y, loss.weights, predictor)


@fenchel_young.register(Logistic)
def _(loss, predictor, dual):
    return _fenchel_young(loss.y, loss.weights, predictor, dual)


@conjugate_scale.register(Logistic)
def _(loss, dual):
    return _conjugate_scale(loss.y, loss.weights, dual)


@reweighted.register(Logistic)
def _(loss, weights):
    return loss._replace(weights=weights / weights.sum())
