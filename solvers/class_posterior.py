r"""The posterior of a linear classifier with a Gaussian prior, by the method of Laplace.

Scores are :math:`f_i = b + \sum_j x_{ij} w_j`, with one row :math:`w_j` a feature and one entry a contrast of the
classes, all of prior variance :math:`\gamma_j`, and a flat prior on b. Everything is computed in units of the prior,
:math:`w_j = \sqrt{\gamma_j} a_j`: minus the Hessian of the log posterior is then :math:`I + D^T W D`, whatever the
units of X, bordered by the intercepts.

The log evidence of the variances at the mode is

.. math:: \ell(\hat f) - \tfrac12 \|\hat a\|^2 - \tfrac12 \log |I + \tilde D^T W \tilde D|,

with the columns centred under the curvature W, which marginalises the intercepts. The determinant of their own
curvature is left out: under a prior that is flat everywhere the evidence of separable data has no maximum.

Its slopes are taken at fixed curvature, as those of the Gaussian model that touches the posterior at its mode: where
they vanish, that model is one of most evidence. The exact slopes, which follow the curvature too, lead to worse models:
on data that are nearly separable the determinant can be made small by certainty, and the variances run away.

References
----------
M. E. Tipping, "Sparse Bayesian learning and the relevance vector machine", Journal of Machine Learning Research 1,
2001. C. E. Rasmussen and C. K. I. Williams, "Gaussian processes for machine learning", MIT Press 2006, sections 3.4
and 5.5.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg

from .class_likelihood import ClassTargets, curvatures, log_likelihood, probabilities, slopes

_NEWTON_STEPS = 25
_CLOSE = 1e-9  # squared Newton decrement, in nats: the step after it is the last
_HALVINGS = 30


class ClassPosterior(NamedTuple):
    """A Gaussian at the mode of the posterior, in units of the prior.

    Attributes
    ----------
    D : ndarray of shape (n_samples, n_free + n_active)
        Ones if there are intercepts, then the active columns times the square roots of their variances.
    n_free : int
        One if there are intercepts, else zero.
    mode : ndarray of shape (n_free + n_active, n_contrasts)
        Intercepts and coefficients at the mode.
    chances : ndarray of shape (n_samples, n_classes)
        Probabilities at the mode.
    slopes : ndarray of shape (n_samples, n_contrasts)
        The gradient of the log likelihood in the scores.
    curvatures : ndarray of shape (n_contrasts, n_contrasts, n_samples)
        Minus its Hessian.
    inverse_factor : ndarray of shape (d, d)
        The inverse of the lower Cholesky factor of minus the Hessian of the log posterior, with
        ``d = (n_free + n_active) * n_contrasts``; contrasts vary fastest.
    log_evidence : float
        The log evidence.
    decrement : float
        The Newton decrement at the mode: the square root of twice what the log posterior is from its maximum.
    """

    D: np.ndarray
    n_free: int
    mode: np.ndarray
    chances: np.ndarray
    slopes: np.ndarray
    curvatures: np.ndarray
    inverse_factor: np.ndarray
    log_evidence: float
    decrement: float


class EvidenceSlopes(NamedTuple):
    """The log evidence at fixed curvature as a function of the logarithms of the active variances.

    Attributes
    ----------
    gradient : ndarray of shape (n_active,)
        The gradient.
    bend : ndarray of shape (n_active, n_active)
        Minus the Hessian.
    information : ndarray of shape (n_active,)
        The diagonal of its expectation.
    determined : ndarray of shape (n_active,)
        The share of the prior variance that the data explain, summed over contrasts.
    relevance : ndarray of shape (n_active,)
        One where the gradient is zero.
    relevance_alone : ndarray of shape (n_active,)
        The relevance that each column would have without itself, were the curvature the same.
    """

    gradient: np.ndarray
    bend: np.ndarray
    information: np.ndarray
    determined: np.ndarray
    relevance: np.ndarray
    relevance_alone: np.ndarray


def weighted_gram(left: np.ndarray, right: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """The matrix of all columns times contrasts under the curvature.

    Parameters
    ----------
    left, right : ndarray of shape (n_samples, n_left), (n_samples, n_right)
        Columns.
    blocks : ndarray of shape (n_contrasts, n_contrasts, n_samples)
        Symmetric blocks.

    Returns
    -------
    ndarray of shape (n_left * n_contrasts, n_right * n_contrasts)
        Contrasts vary fastest.
    """
    m = blocks.shape[0]
    out = np.empty((left.shape[1], m, right.shape[1], m))
    for k in range(m):
        for l in range(k + 1):
            out[:, k, :, l] = left.T @ (blocks[k, l][:, None] * right)
            out[:, l, :, k] = out[:, k, :, l]
    return out.reshape(left.shape[1] * m, right.shape[1] * m)


def _negative_hessian(D: np.ndarray, n_free: int, blocks: np.ndarray) -> np.ndarray:
    hessian = weighted_gram(D, D, blocks)
    diagonal = np.arange(n_free * blocks.shape[0], len(hessian))
    hessian[diagonal, diagonal] += 1.0
    return hessian


def class_posterior(
    targets: ClassTargets, D: np.ndarray, n_free: int, start: np.ndarray | None = None
) -> ClassPosterior:
    """The posterior at given variances.

    Parameters
    ----------
    targets : ClassTargets
        The labels.
    D : ndarray of shape (n_samples, n_free + n_active)
        Ones, if there are intercepts, and the columns times the square roots of their variances.
    n_free : int
        One if there are intercepts, else zero.
    start : ndarray of shape (n_free + n_active, n_contrasts), optional
        Where to start.

    Returns
    -------
    ClassPosterior
        The posterior; its mode by Newton's method, which halves steps that do not ascend.
    """
    n_contrasts = targets.contrasts.shape[1]
    mode = np.zeros((D.shape[1], n_contrasts)) if start is None else np.array(start, dtype=np.float64)

    def value_at(mode: np.ndarray) -> tuple[float, np.ndarray]:
        scores = D @ mode
        value = log_likelihood(targets, scores) - 0.5 * float(np.sum(mode[n_free:] ** 2))
        return (value, scores) if np.isfinite(value) else (-np.inf, scores)

    value, scores = value_at(mode)
    last = False
    for step_number in range(_NEWTON_STEPS + 1):
        chances = probabilities(targets, scores)
        slope = slopes(targets, chances)
        gradient = D.T @ slope
        gradient[n_free:] -= mode[n_free:]
        blocks = curvatures(targets, chances)
        hessian = _negative_hessian(D, n_free, blocks)
        factor = _factor(hessian)
        white = scipy.linalg.solve_triangular(factor, gradient.ravel(), lower=True, check_finite=False)
        squared = float(white @ white)
        if last or squared == 0.0 or step_number == _NEWTON_STEPS:
            break
        direction = scipy.linalg.solve_triangular(factor, white, lower=True, trans="T", check_finite=False)
        direction, t = direction.reshape(mode.shape), 1.0
        rounding = 4.0 * np.finfo(np.float64).eps * abs(value)
        for _ in range(_HALVINGS):
            trial, trial_scores = value_at(mode + t * direction)
            if trial >= value + 1e-4 * t * squared - rounding:
                mode, value, scores = mode + t * direction, trial, trial_scores
                break
            t *= 0.5
        else:
            break
        last = squared <= _CLOSE
    inverse = scipy.linalg.solve_triangular(factor, np.eye(len(factor)), lower=True, check_finite=False)
    log_determinant = 2.0 * float(np.log(np.diag(factor)[n_free * n_contrasts :]).sum())
    log_evidence = value - 0.5 * log_determinant
    return ClassPosterior(D, n_free, mode, chances, slope, blocks, inverse, log_evidence, float(np.sqrt(squared)))


def _factor(hessian: np.ndarray) -> np.ndarray:
    """The lower Cholesky factor. Where all samples are certain, intercepts have no curvature left but rounding."""
    diagonal = np.diag(hessian).copy()
    tiny = np.finfo(np.float64).tiny / np.finfo(np.float64).eps
    jitter = 0.0
    while True:
        try:
            return scipy.linalg.cholesky(hessian, lower=True, check_finite=False)
        except scipy.linalg.LinAlgError:
            jitter = max(10.0 * jitter, np.finfo(np.float64).eps)
            np.fill_diagonal(hessian, diagonal * (1.0 + jitter) + tiny)


def score_covariances(D: np.ndarray, inverse_factor: np.ndarray, n_contrasts: int) -> np.ndarray:
    """The posterior covariances of the scores of some rows.

    Parameters
    ----------
    D : ndarray of shape (n_rows, n_columns)
        Rows of the design.
    inverse_factor : ndarray of shape (n_any, n_columns * n_contrasts)
        A matrix H with :math:`H^T H` the covariance of the coefficients; contrasts vary fastest.
    n_contrasts : int
        The number of contrasts.

    Returns
    -------
    ndarray of shape (n_contrasts, n_contrasts, n_rows)
        The covariances, symmetric.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.class_posterior import score_covariances
    >>> score_covariances(np.array([[1.0, 2.0], [1.0, 0.0]]), np.array([[1.0, 1.0], [0.0, 2.0]]), 1)
    array([[[25.,  1.]]])
    """
    q, m = D.shape[1], n_contrasts
    covariance = (inverse_factor.T @ inverse_factor).reshape(q, m, q, m)
    out = np.empty((m, m, len(D)))
    for k in range(m):
        for l in range(k + 1):
            out[k, l] = out[l, k] = np.einsum("ij,ij->i", D @ covariance[:, k, :, l], D)
    return out


def evidence_slopes(posterior: ClassPosterior) -> EvidenceSlopes:
    """How the log evidence changes with the variances of the active columns, at fixed curvature.

    Parameters
    ----------
    posterior : ClassPosterior
        The posterior.

    Returns
    -------
    EvidenceSlopes
        Gradient, Hessian and relevances.
    """
    mean = posterior.mode[posterior.n_free :]
    a, m = mean.shape
    half = posterior.inverse_factor[:, posterior.n_free * m :]
    covariance = (half.T @ half).reshape(a, m, a, m)
    z = np.eye(a * m).reshape(a, m, a, m) - covariance  # in units of the prior
    own = np.einsum("jkjl->jkl", covariance)
    traces = m - np.einsum("jkk->j", own)
    power = np.einsum("jk,jk->j", mean, mean)
    gradient = 0.5 * (power - traces)
    fisher = 0.5 * np.einsum("jklm,jklm->jl", z, z)
    bend = np.einsum("jk,jklm,lm->jl", mean, z, mean, optimize=True) - fisher
    bend[np.diag_indices_from(bend)] -= gradient
    # Without column j its statistics grow by the inverse of one minus its share of the prior variance explained.
    alone = np.linalg.inv(own) if a else own
    mean_alone = np.einsum("jkl,jl->jk", alone, mean)
    power_alone = np.einsum("jk,jk->j", mean_alone, mean_alone)
    traces_alone = np.einsum("jkk->j", alone) - m
    relevances = _ratio(power, traces), _ratio(power_alone, traces_alone)
    return EvidenceSlopes(gradient, bend, np.diag(fisher).copy(), traces, *relevances)


def _ratio(power: np.ndarray, traces: np.ndarray) -> np.ndarray:
    return np.divide(power, traces, out=np.zeros_like(power), where=traces > 0.0)
