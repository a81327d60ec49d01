r"""The relative entropy of two positive numbers, :math:`d(q, r) = q \log(q / r) - q + r \ge 0`.

It is what the duality gaps of logistic, Poisson and Gamma regression are made of: the Fenchel-Young loss of a
generalised linear model is the divergence of the mean that a dual point stands for from the mean that is predicted.
"""

import numpy as np

from ..kernel import kernel

_EPS = float(np.finfo(np.float64).eps)
_NEAR = 0.05  # up to here the series below is exact to rounding
_LARGEST = 600.0  # exponentials stay finite, also times a target


@kernel
def exponential(exponent):
    """The exponential function, flat where it would leave the range of floating-point numbers."""
    return np.exp(min(max(exponent, -_LARGEST), _LARGEST))


@kernel
def probability(logit):
    """The logistic function; ``probability(-logit)`` is one minus it, without cancellation."""
    if logit >= 0.0:
        return 1.0 / (1.0 + exponential(-logit))
    odds = exponential(logit)
    return odds / (1.0 + odds)


@kernel
def divergence(reference, difference):
    r"""The relative entropy of r + e to r > 0, given the difference e; inf where r + e < 0.

    With :math:`\delta = e / r` it is :math:`r ((1 + \delta) \log(1 + \delta) - \delta)`, whose terms cancel near zero;
    the series :math:`\sum_{k \ge 2} (-\delta)^k / (k (k - 1))` does not. So it is accurate relative to itself as long
    as `difference` is.
    """
    delta = difference / reference
    if abs(delta) < _NEAR:
        total = 0.0
        for k in range(13, 1, -1):
            total = 1.0 / (k * (k - 1)) - delta * total
        return reference * delta * delta * total
    if delta <= -1.0:
        return reference if delta >= -1.0 - 4.0 * _EPS else np.inf
    return reference * ((1.0 + delta) * np.log1p(delta) - delta)
