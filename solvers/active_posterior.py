"""The posterior of the active columns from their Gram matrix, and what it says about all other columns."""

from typing import NamedTuple

import numpy as np

from .evidence import posterior_factor, triangular_inverse

_BLOCK = 4096  # columns looked at together


class ActivePosterior(NamedTuple):
    """The posterior of the active columns.

    Attributes
    ----------
    half : ndarray of shape (n_active, n_active)
        Lower triangular H such that the posterior covariance is the variance of the noise times H^H H.
    mean : ndarray of shape (n_active, n_outputs)
        Posterior means.
    determined : ndarray of shape (n_active,)
        How well the data determine each coefficient: one less the posterior over the prior variance.
    log_determinant, quadratic : float
        As in :class:`~sparsemodels.solvers.evidence.EvidenceTerms`.
    squared_error : float
        Sum of the squared residuals of the posterior mean.
    variances : ndarray of shape (n_active,)
        The prior variances.
    noise_variance : float
        The variance of the noise.
    """

    half: np.ndarray
    mean: np.ndarray
    determined: np.ndarray
    log_determinant: float
    quadratic: float
    squared_error: float
    variances: np.ndarray
    noise_variance: float


def active_posterior(
    gram: np.ndarray, correlations: np.ndarray, power: float, variances: np.ndarray, noise_variance: float
) -> ActivePosterior:
    """The posterior at given variances.

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
    noise_variance : float
        The variance of the noise, > 0.

    Returns
    -------
    ActivePosterior
        The posterior.
    """
    root = np.sqrt(variances / noise_variance)
    factor = posterior_factor(gram, root)
    inverse = triangular_inverse(factor)
    shrinkage = np.einsum("ij,ij->j", inverse, inverse.conj()).real
    half = inverse * root
    image = half @ correlations
    mean = half.conj().T @ image
    residual_product = max(power - float(np.vdot(image, image).real), 0.0)
    # X^H (Y - X mean) = noise / variances * mean
    prior_part = noise_variance * float(np.sum(np.abs(mean) ** 2 / variances[:, None]))
    return ActivePosterior(
        half,
        mean,
        1.0 - np.minimum(shrinkage, 1.0),
        2.0 * float(np.log(np.diag(factor).real).sum()),
        residual_product / noise_variance,
        max(residual_product - prior_part, 0.0),
        variances,
        noise_variance,
    )


def column_terms(
    posterior: ActivePosterior,
    squared_norms: np.ndarray,
    correlations: np.ndarray,
    products: np.ndarray,
    active: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The numbers z and q of columns, from their inner products with the active ones.

    Parameters
    ----------
    posterior : ActivePosterior
        The posterior.
    squared_norms : ndarray of shape (n_columns,)
        Of the columns.
    correlations : ndarray of shape (n_columns, n_outputs)
        Their inner products with the targets.
    products : ndarray of shape (n_columns, n_active)
        Their inner products with the active columns.
    active : ndarray of int of shape (n_active,)
        Where the active columns stand among the columns.

    Returns
    -------
    z : ndarray of shape (n_columns,)
        Quadratic forms of the columns under the inverse covariance of the targets.
    q : ndarray of shape (n_columns, n_outputs)
        Inner products of columns and targets under it.
    """
    z = squared_norms.copy()
    for start in range(0, len(z), _BLOCK):
        part = products[start : start + _BLOCK] @ posterior.half.conj().T
        z[start : start + _BLOCK] -= np.einsum("ij,ij->i", part, part.conj()).real
    z = np.maximum(z, 0.0) / posterior.noise_variance
    q = (correlations - products @ posterior.mean) / posterior.noise_variance
    # Of an active column most cancels: what the posterior says of it is more precise.
    z[active] = posterior.determined / posterior.variances
    q[active] = posterior.mean / posterior.variances[:, None]
    return z, q
