r"""The variance of the noise of a linear model by its evidence: three updates, a prior, a floor.

With d degrees of freedom, L outputs, the residual :math:`R = Y - X \mu` and the number of well-determined coefficients
:math:`e = \sum_j v_j z_j`, the evidence is stationary in :math:`\sigma^2` where

.. math:: \frac{\|R\|^2 + \kappa b}{\sigma^2} = L (d - e) + \kappa (a + 1)

with the inverse gamma prior of shape a and scale b; :math:`\kappa` is 2 for real and 1 for complex data.

- ``em``: :math:`(\|R\|^2 + L \sigma^2 e + \kappa b) / (L d + \kappa (a + 1))`. The evidence never falls.
- ``mackay``: :math:`(\|R\|^2 + \kappa b) / (L (d - e) + \kappa (a + 1))`. Faster, not monotone.
- ``mm``: :math:`\log|C|` lies below its tangent, :math:`y^H C^{-1} y` below
  :math:`\|R\|^2 / \sigma^2 + \sum_j |\mu_j|^2 / v_j`; the least of the sum is at the positive root x of
  :math:`L (d - e) x^2 / \sigma^2 + \kappa (a + 1) x = \|R\|^2 + \kappa b`. The bounds are joint ones in the variances
  of coefficients and noise, so that with the ``mm`` update of the former the evidence never falls.

**Collapse.** With at least as many columns as rows the targets can be fitted without residual, and the evidence has no
maximum: it grows without bound as :math:`\sigma^2 \to 0` if fewer than d columns are enough, and else has spurious
local maxima at many columns and next to no noise. A floor, a prior with b > 0 or a threshold of relevance, by which few
columns stay active, keep the estimate away from zero.
"""

import math

import numpy as np

from .evidence import Noise


def log_noise_prior(noise: Noise, variance: float) -> float:
    """The logarithm of the inverse gamma prior, up to a constant; zero if there is none.

    Parameters
    ----------
    noise : Noise
        With the prior.
    variance : float
        Where, > 0.

    Returns
    -------
    float
        The logarithm of the density.
    """
    if not _has_prior(noise):
        return 0.0
    return -(noise.prior_shape + 1.0) * math.log(variance) - noise.prior_scale / variance


def _has_prior(noise: Noise) -> bool:
    return noise.prior_shape > 0.0 or noise.prior_scale > 0.0


def pseudo_observations(noise: Noise, is_complex: bool) -> tuple[float, float]:
    """What the prior adds to the degrees of freedom and to the power of the residual, of all outputs."""
    if not _has_prior(noise):
        return 0.0, 0.0
    kappa = 1.0 if is_complex else 2.0
    return kappa * (noise.prior_shape + 1.0), kappa * noise.prior_scale


def updated_noise(
    rule: str, noise: Noise, residual_power: float, determined: float, n_outputs: int, is_complex: bool
) -> float:
    r"""The variance of the noise after a step.

    Parameters
    ----------
    rule : {"em", "mm", "mackay"}
        The update.
    noise : Noise
        With the current variance, the prior, the floor and the degrees of freedom.
    residual_power : float
        The squared norm of the targets less the posterior mean, over all outputs.
    determined : float
        The number of well-determined coefficients, :math:`\sum_j v_j z_j`.
    n_outputs : int
        The number of outputs.
    is_complex : bool
        Whether the noise is complex.

    Returns
    -------
    float
        The new variance; the old one if it is not learned.

    Examples
    --------
    >>> from sparsemodels.solvers.evidence import Noise
    >>> from sparsemodels.solvers.noise_estimate import updated_noise
    >>> updated_noise("mackay", Noise(1.0, True, 1e-6, 0.0, 0.0, 10.0), 4.0, 2.0, 1, False)
    0.5
    """
    if not noise.learned:
        return noise.variance
    count, power = pseudo_observations(noise, is_complex)
    power += max(residual_power, 0.0)
    free = n_outputs * max(noise.degrees_of_freedom - determined, 0.0)
    if rule == "em" or (rule == "mackay" and free + count <= 0.0):
        # Without free observations, as with weights that sum to less than the rank, only this update is defined.
        known = n_outputs * min(determined, noise.degrees_of_freedom) * noise.variance
        estimate = (power + known) / (n_outputs * noise.degrees_of_freedom + count)
    elif rule == "mackay":
        estimate = power / (free + count)
    else:
        root = math.sqrt(count * count + 4.0 * free * power / noise.variance)
        estimate = 2.0 * power / (count + root) if count + root > 0.0 else noise.variance
    return max(estimate, noise.floor)


def noise_violation(noise: Noise, residual_power: float, determined: float, n_outputs: int, is_complex: bool) -> float:
    r"""The violation of the optimality condition in the variance of the noise, without units.

    Parameters
    ----------
    noise, residual_power, determined, n_outputs, is_complex : Noise, float, float, int, bool
        As in :func:`updated_noise`.

    Returns
    -------
    float
        The difference of the two sides of the condition over their larger one; zero if the variance is not learned,
        or if it is at its floor and the condition would have it lower.
    """
    if not noise.learned:
        return 0.0
    count, power = pseudo_observations(noise, is_complex)
    observed = (max(residual_power, 0.0) + power) / noise.variance
    expected = n_outputs * max(noise.degrees_of_freedom - determined, 0.0) + count
    if observed <= expected and noise.variance <= noise.floor * (1.0 + 8.0 * np.finfo(np.float64).eps):
        return 0.0
    largest = max(observed, expected)
    return abs(observed - expected) / largest if largest > 0.0 else 0.0
