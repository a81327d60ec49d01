r"""Targets as sparse Bayesian learning reads them, and its answers back in the units of the data.

Targets are weighted, centred and divided by one scale, the same for all outputs, that makes their mean power one: noise
variances and floors are relative to the variance of the data. Integer weights stand for repeated rows: the sum of the
weights is the number of observations, less one if an intercept with a flat prior is integrated out.
"""

from typing import NamedTuple

import numpy as np

from .evidence import EvidencePosterior, Noise
from .standardized_design import StandardizedDesign


class StandardizedTargets(NamedTuple):
    """Targets in standard units.

    Attributes
    ----------
    Y : ndarray of shape (n_samples, n_outputs)
        Weighted, centred and scaled, float64 or complex128.
    means : ndarray of shape (n_outputs,)
        The weighted means; zeros without an intercept.
    scale : float
        The root of the mean power; one if the targets are constant.
    degrees_of_freedom : float
        Observations of one output.
    is_constant : bool
        Whether nothing but rounding is left of the targets.
    """

    Y: np.ndarray
    means: np.ndarray
    scale: float
    degrees_of_freedom: float
    is_constant: bool


class LinearPosterior(NamedTuple):
    """A posterior in the units of the data.

    Attributes
    ----------
    coef : ndarray of shape (n_active, n_outputs)
        Posterior means of the active coefficients.
    intercept : ndarray of shape (n_outputs,)
        Posterior means of the intercepts.
    prior_variances : ndarray of shape (n_active,)
        Prior variances of the active coefficients.
    covariance : ndarray of shape (n_active, n_active)
        Their posterior covariance.
    noise_variance : float
        The variance of the noise of a row of weight one.
    log_evidence : float
        The logarithm of the evidence.
    log_evidences : ndarray of shape (n_history,)
        The same along the way.
    """

    coef: np.ndarray
    intercept: np.ndarray
    prior_variances: np.ndarray
    covariance: np.ndarray
    noise_variance: float
    log_evidence: float
    log_evidences: np.ndarray


def standardize_targets(
    y: np.ndarray, weights: np.ndarray | None = None, *, center: bool = True
) -> StandardizedTargets:
    """Bring targets to standard units.

    Parameters
    ----------
    y : ndarray of shape (n_samples, n_outputs)
        Targets, real or complex.
    weights : ndarray of shape (n_samples,), optional
        Weights >= 0 of the rows, not all zero.
    center : bool, default=True
        Whether there is an intercept.

    Returns
    -------
    StandardizedTargets
        The targets with what was taken out of them.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.standardized_targets import standardize_targets
    >>> targets = standardize_targets(np.array([[1.0], [3.0], [5.0]]))
    >>> targets.scale, targets.degrees_of_freedom
    (2.0, 2.0)
    """
    y = y.astype(np.result_type(y.dtype, np.float64))
    total = float(y.shape[0]) if weights is None else float(np.sum(weights))
    magnitude = np.abs(y).max(initial=0.0)
    means = np.zeros(y.shape[1], dtype=y.dtype)
    if center:
        means = np.average(y, axis=0, weights=weights)
        y -= means
    if weights is not None:
        y *= np.sqrt(weights)[:, None]
    degrees = total - 1.0 if center else total
    largest = np.abs(y).max(initial=0.0)
    is_constant = not largest > 10.0 * np.finfo(np.float64).eps * magnitude
    if is_constant:
        return StandardizedTargets(np.zeros_like(y), means, 1.0, max(degrees, 0.0), True)
    y /= largest  # squares of extreme numbers would leave the range of float64
    root = np.sqrt(np.vdot(y, y).real / (max(degrees, np.finfo(np.float64).tiny) * y.shape[1]))
    return StandardizedTargets(y / root, means, float(largest * root), degrees, False)


def noise_in_standard_units(
    targets: StandardizedTargets,
    noise_variance: float | None,
    prior: tuple[float, float] | None = None,
    floor: float = 1e-6,
) -> Noise:
    """What a user knows of the noise, in standard units.

    Parameters
    ----------
    targets : StandardizedTargets
        The targets.
    noise_variance : float or None
        The variance in the units of the data squared; None if it is to be learned.
    prior : (shape, scale), optional
        An inverse gamma prior, its scale in the units of the data squared.
    floor : float, default=1e-6
        The smallest variance to be learned, relative to the variance of the targets.

    Returns
    -------
    Noise
        The record for the solvers.
    """
    power = targets.scale**2
    shape, scale = (0.0, 0.0) if prior is None else prior
    start = 0.1 if noise_variance is None else noise_variance / power
    return Noise(start, noise_variance is None, floor, shape, scale / power, targets.degrees_of_freedom)


def original_units(
    posterior: EvidencePosterior, design: StandardizedDesign, targets: StandardizedTargets
) -> LinearPosterior:
    """A posterior of the standardized problem in the units of the data.

    Parameters
    ----------
    posterior : EvidencePosterior
        The answer of a solver.
    design : StandardizedDesign
        The design that it was given.
    targets : StandardizedTargets
        The targets that it was given.

    Returns
    -------
    LinearPosterior
        The same in the units of the data.
    """
    factor, scale = targets.scale / design.norms[posterior.active], targets.scale
    coef = posterior.mean * factor[:, None]
    intercept = targets.means.astype(coef.dtype)
    if design.means is not None:
        intercept = targets.means - design.means[posterior.active] @ coef
    exponent = targets.degrees_of_freedom * targets.Y.shape[1] * (2.0 if np.iscomplexobj(posterior.mean) else 1.0)
    shift = exponent * np.log(scale)
    return LinearPosterior(
        coef,
        intercept,
        posterior.variances * factor**2,
        posterior.covariance * (factor**2 if posterior.covariance.ndim == 1 else np.outer(factor, factor)),
        posterior.noise_variance * scale**2,
        posterior.log_evidence - shift,
        posterior.log_evidences - shift,
    )
