r"""The absolute loss, :math:`f(z) = \sum_i s_i |y_i - z_i|` with weights that sum to one."""

from typing import NamedTuple

import numpy as np

from .quantile import dual_box, register_piecewise_linear


class Absolute(NamedTuple):
    """The weighted mean of the absolute errors: twice the quantile loss of the median.

    Attributes
    ----------
    y : ndarray of shape (n_samples,)
        The targets.
    weights : ndarray of shape (n_samples,)
        Sample weights that sum to one.
    """

    y: np.ndarray
    weights: np.ndarray


@dual_box.register(Absolute)
def _(loss):
    return -loss.weights, loss.weights


register_piecewise_linear(Absolute)
