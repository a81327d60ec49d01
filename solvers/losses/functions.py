"""What a loss can do: generic functions of the linear predictor :math:`z = X w + b`, one value a sample.

A loss :math:`f(z)` is smooth and convex; its record holds the targets and the sample weights.
"""

from ..generic import generic


@generic
def loss_value(loss, predictor):
    """The loss :math:`f(z)`."""
    raise TypeError(f"{type(loss).__name__} registers no loss_value")


@generic
def negative_gradient(loss, predictor):
    r"""The negative gradient :math:`-\nabla f(z)`: at the optimum, the dual solution."""
    raise TypeError(f"{type(loss).__name__} registers no negative_gradient")


@generic
def curvature(loss, predictor):
    """Weights h of a quadratic model of the loss: the diagonal of the Hessian, or a bound of it where it vanishes."""
    raise TypeError(f"{type(loss).__name__} registers no curvature")


@generic
def fenchel_young(loss, predictor, dual):
    r"""The Fenchel-Young loss :math:`f(z) + f^*(-\theta) + \theta^T z \ge 0`; inf if `dual` is infeasible."""
    raise TypeError(f"{type(loss).__name__} registers no fenchel_young")


@generic
def conjugate_scale(loss, dual):
    r"""The largest factor c <= 1, up to rounding, for which :math:`f^*(-c \theta)` is finite; 1 if it always is."""
    return 1.0


@generic
def reweighted(loss, weights):
    """The same loss under other sample weights, as given up to a factor; plain Python only."""
    raise TypeError(f"{type(loss).__name__} registers no reweighted")


@generic
def is_quadratic(loss):
    """Whether the quadratic model is the loss itself, so that no line search is needed."""
    return False


SMOOTH = {"loss_value": loss_value, "negative_gradient": negative_gradient, "curvature": curvature}
