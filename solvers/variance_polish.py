"""The variances of the active columns, and of the noise, made stationary together by Newton steps."""

import numpy as np

from .active_posterior import ActivePosterior, active_posterior
from .component_deletion import Fit
from .component_newton import LONGEST_STEP, newton_step
from .evidence import Noise, log_evidence
from .noise_estimate import log_noise_prior, noise_violation

_HALVINGS, _LENGTHENINGS = 6, 4
_ROUNDING = 1e-12
_TINY = 1e-300


def objective(posterior: ActivePosterior, noise: Noise, is_complex: bool) -> float:
    """The log evidence plus the log prior of the noise.

    Parameters
    ----------
    posterior : ActivePosterior
        The posterior.
    noise : Noise
        With the variance that the posterior was computed with.
    is_complex : bool
        Whether the data are complex.

    Returns
    -------
    float
        The objective.
    """
    n_outputs = posterior.mean.shape[1]
    value = log_evidence(
        posterior.log_determinant,
        posterior.quadratic,
        noise.variance,
        noise.degrees_of_freedom,
        n_outputs,
        is_complex,
    )
    return value + (log_noise_prior(noise, noise.variance) if noise.learned else 0.0)


def violation_of_noise(posterior: ActivePosterior, noise: Noise, is_complex: bool) -> float:
    """The violation of the condition in the variance of the noise; see :mod:`sparsemodels.solvers.noise_estimate`.

    Parameters
    ----------
    posterior : ActivePosterior
        The posterior.
    noise : Noise
        With the variance that the posterior was computed with.
    is_complex : bool
        Whether the data are complex.

    Returns
    -------
    float
        The violation; zero for a noise that is not learned.
    """
    determined = float(posterior.determined.sum())
    return noise_violation(noise, posterior.squared_error, determined, posterior.mean.shape[1], is_complex)


def polished(
    gram: np.ndarray,
    correlations: np.ndarray,
    power: float,
    variances: np.ndarray,
    noise: Noise,
    threshold: float,
    tol: float,
    max_steps: int,
) -> tuple[np.ndarray, Noise, int]:
    """Variances of the active columns, and of the noise if it is learned, at a stationary point of the evidence.

    Parameters
    ----------
    gram : ndarray of shape (n_active, n_active)
        Gram matrix of the active standardized columns.
    correlations : ndarray of shape (n_active, n_outputs)
        Their inner products with the targets.
    power : float
        The sum of the squared magnitudes of the targets.
    variances : ndarray of shape (n_active,)
        Their prior variances, > 0.
    noise : Noise
        With the variance to start from.
    threshold : float
        The relevance that a column needs without itself: where one has less, nothing more is done.
    tol : float
        Largest violation of the conditions, at which to stop.
    max_steps : int
        The most steps.

    Returns
    -------
    variances : ndarray of shape (n_active,)
        Prior variances.
    noise : Noise
        With the new variance.
    n_steps : int
        Steps taken; the evidence never falls.
    """
    is_complex = np.iscomplexobj(gram) or np.iscomplexobj(correlations)
    n_active = len(variances)
    posterior = active_posterior(gram, correlations, power, variances, noise.variance)
    value = objective(posterior, noise, is_complex)
    for n_steps in range(max_steps):
        mean = posterior.mean / np.sqrt(variances)[:, None]
        power_of_mean = np.mean(np.abs(mean) ** 2, axis=1)
        determined = np.maximum(posterior.determined, _TINY)
        of_noise = violation_of_noise(posterior, noise, is_complex)
        error = max(float(np.max(np.abs(power_of_mean / determined - 1.0), initial=0.0)), of_noise)
        alone = power_of_mean / np.maximum(determined * (1.0 - determined), _TINY)
        if error <= tol or np.any(alone <= threshold):
            return variances, noise, n_steps
        half = posterior.half * np.sqrt(noise.variance / variances)
        covariance = -(half.conj().T @ half)
        covariance[np.diag_indices(n_active)] = posterior.determined
        fit = Fit(covariance, mean, None, posterior.log_determinant, posterior.quadratic)
        step, noise_step, convex = newton_step(fit, noise, noise.learned and of_noise > 0.0, is_complex)
        start = (variances, noise, step, noise_step)
        accepted = None
        for halving in range(_HALVINGS):
            trial = _moved(*start, 0.5**halving)
            proposal, reached = _valued(gram, correlations, power, trial[0], trial[1], is_complex)
            if reached >= value - _ROUNDING * max(abs(value), 1.0):
                accepted = (*trial, proposal, reached)
                break
        if accepted is None:
            return variances, noise, n_steps
        if not convex and halving == 0:
            # Away from a maximum the safe step is short where the evidence is nearly flat, as between columns alike.
            for lengthening in range(1, _LENGTHENINGS):
                trial = _moved(*start, 4.0**lengthening)
                proposal, reached = _valued(gram, correlations, power, trial[0], trial[1], is_complex)
                if not reached > accepted[3]:
                    break
                accepted = (*trial, proposal, reached)
        variances, noise, posterior, value = accepted
    return variances, noise, max_steps


def _moved(variances, noise, step, noise_step, length):
    """The variances after a step of some length."""
    trial = variances * np.exp(np.clip(length * step, -LONGEST_STEP, LONGEST_STEP))
    if not noise_step:
        return trial, noise
    changed = noise.variance * float(np.exp(np.clip(length * noise_step, -LONGEST_STEP, LONGEST_STEP)))
    return trial, noise._replace(variance=max(changed, noise.floor))


def _valued(gram, correlations, power, variances, noise, is_complex):
    """The posterior at some variances with the objective."""
    posterior = active_posterior(gram, correlations, power, variances, noise.variance)
    return posterior, objective(posterior, noise, is_complex)
