"""A loss whose linear predictor has a known part, :math:`f(z + o)`: an exposure, or what another model predicts."""

from typing import Any, NamedTuple

import numpy as np

from .functions import (
    conjugate_scale,
    curvature,
    fenchel_young,
    is_quadratic,
    loss_value,
    negative_gradient,
    reweighted,
)


class Offset(NamedTuple):
    """Any loss with a constant added to its linear predictor, one a row.

    Attributes
    ----------
    loss : NamedTuple
        The record of the loss.
    offset : ndarray of shape (n_samples,)
        What is added to the predictor.
    """

    loss: Any
    offset: np.ndarray


@loss_value.register(Offset)
def _(loss, predictor):
    return loss_value(loss.loss, predictor + loss.offset)


@negative_gradient.register(Offset)
def _(loss, predictor):
    return negative_gradient(loss.loss, predictor + loss.offset)


@curvature.register(Offset)
def _(loss, predictor):
    return curvature(loss.loss, predictor + loss.offset)


@fenchel_young.register(Offset)
def _(loss, predictor, dual):
    # The conjugate gains dual'o, which is what the product with the predictor lacks.
    return fenchel_young(loss.loss, predictor + loss.offset, dual)


@conjugate_scale.register(Offset)
def _(loss, dual):
    return conjugate_scale(loss.loss, dual)


@is_quadratic.register(Offset)
def _(loss):
    return is_quadratic(loss.loss)


@reweighted.register(Offset)
def _(loss, weights):
    return loss._replace(loss=reweighted(loss.loss, weights))
