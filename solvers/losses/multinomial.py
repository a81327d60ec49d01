r"""The multinomial loss, :math:`\sum_i s_i (\log \sum_k e^{z_{ik}} - z_{i y_i})`, of several predictors a row."""

from typing import NamedTuple

import numpy as np

from ..kernel import kernel
from .divergence import divergence, exponential
from .functions import conjugate_scale, curvature, fenchel_young, loss_value, negative_gradient, reweighted

_INSIDE = 1.0 - 1e-9  # of the way to the edge of the domain, where rounding could decide


class Multinomial(NamedTuple):
    r"""The mean negative log likelihood of classes whose probabilities are proportional to :math:`e^{z_k}`.

    Vectors of predictors and dual points have ``n_classes * n_samples`` entries, one class after the other.

    Attributes
    ----------
    y : ndarray of shape (n_samples,)
        The class of each row, as a whole number from 0.
    weights : ndarray of shape (n_samples,)
        Sample weights that sum to one.
    n_classes : int
        The number of classes.
    """

    y: np.ndarray
    weights: np.ndarray
    n_classes: int


@kernel
def _exponentials(predictor, i, out):
    """The logarithm of the sum of exponentials of row `i`; the probabilities go to `out`."""
    count, n = out.size, predictor.size // out.size
    largest = -np.inf
    for k in range(count):
        largest = max(largest, predictor[k * n + i])
    total = 0.0
    for k in range(count):
        out[k] = exponential(predictor[k * n + i] - largest)
        total += out[k]
    for k in range(count):
        out[k] /= total
    return largest + np.log(total)


@kernel
def _rest(probabilities, k):
    """One minus a probability, without cancellation."""
    total = 0.0
    for m in range(probabilities.size):
        if m != k:
            total += probabilities[m]
    return total


@kernel
def _value(y, weights, n_classes, predictor):
    probabilities = np.empty(n_classes)
    total = 0.0
    for i in range(y.size):
        norm = _exponentials(predictor, i, probabilities)
        label = int(y[i])
        rest = _rest(probabilities, label)
        # -log(1 - rest), accurate for a row that fits well
        loss = -np.log1p(-rest) if rest < 0.5 else norm - predictor[label * y.size + i]
        total += weights[i] * loss
    return total


@kernel
def _negative_gradient(y, weights, n_classes, predictor):
    probabilities, out = np.empty(n_classes), np.empty(predictor.size)
    for i in range(y.size):
        _exponentials(predictor, i, probabilities)
        for k in range(n_classes):
            residual = _rest(probabilities, k) if k == int(y[i]) else -probabilities[k]
            out[k * y.size + i] = weights[i] * residual
    return out


@kernel
def _curvature(y, weights, n_classes, predictor):
    probabilities, out = np.empty(n_classes), np.empty(predictor.size)
    for i in range(y.size):
        _exponentials(predictor, i, probabilities)
        for k in range(n_classes):
            out[k * y.size + i] = weights[i] * probabilities[k]
    return out


@kernel
def _fenchel_young(y, weights, n_classes, predictor, dual):
    # The dual point stands for probabilities; the gap is their divergence from the predicted ones.
    probabilities = np.empty(n_classes)
    total = 0.0
    for i in range(y.size):
        _exponentials(predictor, i, probabilities)
        for k in range(n_classes):
            theta = dual[k * y.size + i]
            if weights[i] > 0.0:
                residual = _rest(probabilities, k) if k == int(y[i]) else -probabilities[k]
                total += weights[i] * divergence(probabilities[k], residual - theta / weights[i])
            elif theta != 0.0:
                return np.inf  # a row without weight has no dual variable
    return total


@kernel
def _conjugate_scale(y, weights, n_classes, dual):
    scale = 1.0
    for i in range(y.size):
        for k in range(n_classes):
            theta = dual[k * y.size + i]
            reach = weights[i] if (k == int(y[i])) == (theta > 0.0) else 0.0
            if scale * abs(theta) > reach:
                scale = _INSIDE * reach / abs(theta)
    return scale


@loss_value.register(Multinomial)
def _(loss, predictor):
    return _value(loss.y, loss.weights, loss.n_classes, predictor)


@negative_gradient.register(Multinomial)
def _(loss, predictor):
    return _negative_gradient(loss.y, loss.weights, loss.n_classes, predictor)


@curvature.register(Multinomial)
def _(loss, predictor):
    # Not the diagonal of the Hessian S (diag(p) - p p'), but its diagonal part: a bound of it, and on the rows of a
    # gradient, which sum to zero, its inverse.
    return _curvature(loss.y, loss.weights, loss.n_classes, predictor)


@fenchel_young.register(Multinomial)
def _(loss, predictor, dual):
    # Where a sample's dual variables do not sum to zero the conjugate is infinite: they always do here.
    return _fenchel_young(loss.y, loss.weights, loss.n_classes, predictor, dual)


@conjugate_scale.register(Multinomial)
def _(loss, dual):
    return _conjugate_scale(loss.y, loss.weights, loss.n_classes, dual)


@reweighted.register(Multinomial)
def _(loss, weights):
    return loss._replace(weights=weights / weights.sum())
