r"""The evidence of a linear model with a Gaussian prior: what every solver of sparse Bayesian learning reads.

The model is :math:`Y = X W + E` with independent coefficients of prior variance :math:`\gamma_j`, the same for all
outputs, and noise of variance :math:`\sigma^2`. With :math:`C = \sigma^2 I + X \,\mathrm{diag}(\gamma)\, X^H`, the
evidence and its derivatives follow from two numbers a column,

.. math:: z_j = x_j^H C^{-1} x_j, \qquad q_j = x_j^H C^{-1} Y :

the posterior mean is :math:`\gamma_j q_j`, the posterior variance :math:`\gamma_j - \gamma_j^2 z_j`, and the evidence
is stationary in :math:`\gamma_j` where the **relevance** :math:`r_j = \overline{|q_j|^2} / z_j`, the mean being over
outputs, is one. It falls with :math:`\gamma_j` at zero if :math:`r_j \le 1`. These conditions have no units: their
largest violation is the certificate of all solvers.

Two factorizations give the same numbers: the **dual** one of :math:`C`, of order n, and the **primal** one of
:math:`I + \Gamma^{1/2} X^H X \Gamma^{1/2} / \sigma^2`, of the order of the number of active columns.

References
----------
M. E. Tipping, "Sparse Bayesian learning and the relevance vector machine", Journal of Machine Learning Research 1,
2001. A. C. Faul and M. E. Tipping, "Analysis of sparse Bayesian learning", NIPS 14, 2002.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg

from .standardized_design import StandardizedDesign, columns, cross, squared_norms

_FAINT = 1e-3  # prior variance of a column, over that of the noise, below which z is taken from the Gram matrix
_CANCELLATION = 1e-4  # share of a column outside the span of the active ones, below which it is measured anew
_REFINEMENTS = 1


class Noise(NamedTuple):
    r"""What is known of the variance of the noise.

    Attributes
    ----------
    variance : float
        The variance, or where to start.
    learned : bool
        Whether it is estimated.
    floor : float
        The smallest variance that an estimate may have.
    prior_shape, prior_scale : float
        The inverse gamma prior :math:`p(\sigma^2) \propto (\sigma^2)^{-a-1} e^{-b/\sigma^2}`; zeros for none, which
        then also leaves out the factor :math:`1 / \sigma^2`.
    degrees_of_freedom : float
        Observations of one output: the sum of the weights of the rows, less one if there is an intercept.
    """

    variance: float
    learned: bool
    floor: float
    prior_shape: float
    prior_scale: float
    degrees_of_freedom: float


class EvidencePosterior(NamedTuple):
    """A local maximum of the evidence, in the units of the standardized design and targets.

    Attributes
    ----------
    active : ndarray of int of shape (n_active,)
        Columns of positive prior variance, increasing.
    variances : ndarray of shape (n_active,)
        Their prior variances.
    mean : ndarray of shape (n_active, n_outputs)
        Their posterior means.
    covariance : ndarray of shape (n_active, n_active)
        Their posterior covariance, the same for every output.
    noise_variance : float
        The variance of the noise.
    log_evidence : float
        The logarithm of the evidence, all constants included but for the flat prior of an intercept.
    log_evidences : ndarray of shape (n_history,)
        The same along the way.
    kkt : float
        The largest violation of the conditions of the evidence in the prior variances; see `evidence_violation`.
    n_iter : int
        Iterations, or actions of a greedy solver.
    status : str
        ``"converged"``, ``"max_iter"``, ``"stalled"``, ``"time_limit"``, ``"stopped"`` or ``"interrupted"``.
    """

    active: np.ndarray
    variances: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    noise_variance: float
    log_evidence: float
    log_evidences: np.ndarray
    kkt: float
    n_iter: int
    status: str


class EvidenceTerms(NamedTuple):
    r"""The evidence and its derivatives at given variances, for the columns that were handed over.

    Attributes
    ----------
    z : ndarray of shape (n_columns,)
        Quadratic forms of the columns under the inverse covariance of the targets.
    q : ndarray of shape (n_columns, n_outputs)
        Inner products of columns and targets under it.
    log_determinant : float
        Of the covariance of the targets, over its noise variance: :math:`\log |C / \sigma^2|`.
    quadratic : float
        Of the targets under the inverse covariance, summed over outputs.
    """

    z: np.ndarray
    q: np.ndarray
    log_determinant: float
    quadratic: float


def dual_terms(X: np.ndarray, Y: np.ndarray, variances: np.ndarray, noise_variance: float) -> EvidenceTerms:
    """The terms by a Cholesky factor of order n_samples: for fewer rows than columns.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_columns)
        Standardized columns.
    Y : ndarray of shape (n_samples, n_outputs)
        Targets.
    variances : ndarray of shape (n_columns,)
        Prior variances, >= 0.
    noise_variance : float
        The variance of the noise, > 0.

    Returns
    -------
    EvidenceTerms
        The terms.
    """
    covariance = _outer_product(X * np.sqrt(variances / noise_variance))
    covariance[np.diag_indices_from(covariance)] += 1.0
    factor = scipy.linalg.cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
    white = scipy.linalg.solve_triangular(factor, X, lower=True, check_finite=False)
    targets = scipy.linalg.solve_triangular(factor, Y, lower=True, check_finite=False)
    z = np.einsum("ij,ij->j", white, white.conj()).real / noise_variance
    log_determinant = 2.0 * float(np.log(np.diag(factor).real).sum())
    quadratic = float(np.vdot(targets, targets).real) / noise_variance
    return EvidenceTerms(z, white.conj().T @ targets / noise_variance, log_determinant, quadratic)


def primal_terms(
    gram: np.ndarray, correlations: np.ndarray, power: float, variances: np.ndarray, noise_variance: float
) -> EvidenceTerms:
    """The terms by a Cholesky factor of the order of the number of columns: for fewer columns than rows.

    Parameters
    ----------
    gram : ndarray of shape (n_columns, n_columns)
        Gram matrix of the standardized columns.
    correlations : ndarray of shape (n_columns, n_outputs)
        Their inner products with the targets.
    power : float
        The sum of the squared magnitudes of the targets.
    variances : ndarray of shape (n_columns,)
        Prior variances, >= 0.
    noise_variance : float
        The variance of the noise, > 0.

    Returns
    -------
    EvidenceTerms
        The terms.
    """
    root = np.sqrt(variances / noise_variance)
    factor = posterior_factor(gram, root)
    inverse = triangular_inverse(factor)
    image = inverse @ (root[:, None] * correlations)
    scaled_mean = inverse.conj().T @ image  # the posterior mean over root
    # The shrinkage Sigma_jj / gamma_j gives z with an error of eps / gamma, the difference from the Gram matrix with
    # one of eps * g / sigma^2: the one is right for columns that the data determine, the other for faint ones.
    shrinkage = np.einsum("ij,ij->j", inverse, inverse.conj()).real
    norms = np.diag(gram).real
    faint = root * root * norms < _FAINT
    z, q = np.empty_like(root), np.empty_like(scaled_mean)
    z[~faint] = (1.0 - np.minimum(shrinkage[~faint], 1.0)) / variances[~faint]
    q[~faint] = scaled_mean[~faint] / (root[~faint, None] * noise_variance)
    half = inverse @ (root[:, None] * gram[:, faint])
    z[faint] = (norms[faint] - np.einsum("ij,ij->j", half, half.conj()).real) / noise_variance
    q[faint] = (correlations[faint] - half.conj().T @ image) / noise_variance
    quadratic = (power - float(np.vdot(image, image).real)) / noise_variance
    return EvidenceTerms(z, q, 2.0 * float(np.log(np.diag(factor).real).sum()), quadratic)


def _outer_product(half: np.ndarray) -> np.ndarray:
    """The lower triangle of a matrix times its conjugate transpose, at half the cost of a product."""
    rank_update = scipy.linalg.blas.zherk if np.iscomplexobj(half) else scipy.linalg.blas.dsyrk
    if half.size == 0:  # which BLAS refuses
        return np.zeros((half.shape[0], half.shape[0]), dtype=half.dtype)
    return rank_update(1.0, half, lower=True)


def triangular_inverse(factor: np.ndarray) -> np.ndarray:
    """The inverse of a lower triangular matrix.

    Parameters
    ----------
    factor : ndarray of shape (n, n)
        Zero above the diagonal.

    Returns
    -------
    ndarray of shape (n, n)
        Its inverse, lower triangular.
    """
    if factor.size == 0:  # which LAPACK refuses
        return factor.copy()
    invert = scipy.linalg.lapack.ztrtri if np.iscomplexobj(factor) else scipy.linalg.lapack.dtrtri
    return invert(factor, lower=True)[0]


def posterior_factor(gram: np.ndarray, root: np.ndarray) -> np.ndarray:
    r"""The lower Cholesky factor of :math:`I + R G R`, the posterior precision in units of the prior.

    Parameters
    ----------
    gram : ndarray of shape (n_columns, n_columns)
        The Gram matrix G.
    root : ndarray of shape (n_columns,)
        The diagonal R: square roots of prior variances over the noise variance.

    Returns
    -------
    ndarray of shape (n_columns, n_columns)
        The factor.
    """
    precision = root[:, None] * gram * root
    if precision.size == 0:  # which LAPACK refuses
        return precision
    precision.flat[:: len(precision) + 1] += 1.0
    # Called for matrices of a few rows many times: SciPy's own function would take longer than the work.
    factorize = scipy.linalg.lapack.zpotrf if np.iscomplexobj(precision) else scipy.linalg.lapack.dpotrf
    factor, info = factorize(precision, lower=True, clean=True, overwrite_a=True)
    if info:
        raise np.linalg.LinAlgError("the posterior precision is not positive definite")
    return factor


def log_evidence(
    log_determinant: float,
    quadratic: float,
    noise_variance: float,
    degrees_of_freedom: float,
    n_outputs: int,
    is_complex: bool,
) -> float:
    """The logarithm of the evidence from its terms.

    Parameters
    ----------
    log_determinant, quadratic : float
        As in `EvidenceTerms`.
    noise_variance : float
        The variance of the noise.
    degrees_of_freedom : float
        Observations of one output.
    n_outputs : int
        The number of outputs.
    is_complex : bool
        Whether the noise is complex: then there is no factor of a half.

    Returns
    -------
    float
        The logarithm of the density of the targets.
    """
    half, circle = (1.0, np.pi) if is_complex else (0.5, 2.0 * np.pi)
    constant = degrees_of_freedom * np.log(circle * noise_variance) + log_determinant
    return -half * (n_outputs * constant + quadratic)


def relevance(z: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The mean of the squared magnitude of q over outputs, over z; zero for columns of zeros.

    Parameters
    ----------
    z : ndarray of shape (n_columns,)
        As in `EvidenceTerms`.
    q : ndarray of shape (n_columns, n_outputs)
        As in `EvidenceTerms`.

    Returns
    -------
    ndarray of shape (n_columns,)
        One where the evidence is stationary; at most one where a column does best at zero.
    """
    power = np.mean(np.abs(q) ** 2, axis=1)
    return np.divide(power, z, out=np.zeros_like(power), where=z > 0.0)


def full_terms(
    design: StandardizedDesign, Y: np.ndarray, active: np.ndarray, variances: np.ndarray, noise_variance: float
) -> tuple[EvidenceTerms, np.ndarray, np.ndarray]:
    """The terms for all columns of a design, with the posterior of the active ones.

    Parameters
    ----------
    design : StandardizedDesign
        The design.
    Y : ndarray of shape (n_samples, n_outputs)
        Weighted, centred targets.
    active : ndarray of int of shape (n_active,)
        Columns of positive prior variance.
    variances : ndarray of shape (n_active,)
        Their prior variances.
    noise_variance : float
        The variance of the noise, > 0.

    Returns
    -------
    terms : EvidenceTerms
        For all columns.
    mean : ndarray of shape (n_active, n_outputs)
        Posterior means.
    covariance : ndarray of shape (n_active, n_active)
        Posterior covariance.
    """
    chosen = columns(design, active)
    root = np.sqrt(variances / noise_variance)
    factor = posterior_factor(chosen.conj().T @ chosen, root)
    inverse = triangular_inverse(factor) * root  # L^-1 R
    mean = inverse.conj().T @ (inverse @ (chosen.conj().T @ Y))
    for _ in range(_REFINEMENTS):  # the normal equations lose digits that their residual gives back
        gradient = chosen.conj().T @ (Y - chosen @ mean) - mean * (noise_variance / variances)[:, None]
        mean += inverse.conj().T @ (inverse @ gradient)
    residual = Y - chosen @ mean
    half = cross(design, chosen @ inverse.conj().T)  # X^H X_A R L^-H, n_features x n_active
    norms = squared_norms(design)
    z = norms - np.einsum("ij,ij->i", half, half.conj()).real
    near = np.flatnonzero(z < _CANCELLATION * norms)
    for start in range(0, len(near), max(len(active), 1)):
        # Nearly in the span of the active columns: the least of |x - X_A m|^2 + |m / R|^2, which does not cancel.
        part = near[start : start + max(len(active), 1)]
        block = columns(design, part)
        image = inverse @ (chosen.conj().T @ block)
        coefficients = inverse.conj().T @ image
        left = block - chosen @ coefficients
        z[part] = np.einsum("ij,ij->j", left, left.conj()).real
        z[part] += np.sum(np.abs(coefficients / root[:, None]) ** 2, axis=0)
    z /= noise_variance
    q = cross(design, residual) / noise_variance
    quadratic = float(np.vdot(residual, residual).real) / noise_variance
    quadratic += float(np.sum(np.abs(mean) ** 2 / variances[:, None]))
    log_determinant = 2.0 * float(np.log(np.diag(factor).real).sum())
    covariance = noise_variance * (inverse.conj().T @ inverse)
    # Where the data determine a column its own share cancels: take it from the posterior instead.
    shrinkage = np.minimum(np.diag(covariance).real / variances, 1.0)
    sure = root * root * norms[active] >= 1.0
    z[active[sure]] = (1.0 - shrinkage[sure]) / variances[sure]
    q[active[sure]] = mean[sure] / variances[sure, None]
    return EvidenceTerms(z, q, log_determinant, quadratic), mean, covariance


def evidence_violation(
    terms: EvidenceTerms, active: np.ndarray, variances: np.ndarray, threshold: float = 1.0
) -> float:
    r"""The largest violation of the optimality conditions of the evidence, without units.

    Parameters
    ----------
    terms : EvidenceTerms
        Of all columns.
    active : ndarray of int of shape (n_active,)
        Columns of positive prior variance.
    variances : ndarray of shape (n_active,)
        Their prior variances.
    threshold : float, default=1.0
        The relevance that a column needs, measured without itself, to be active.

    Returns
    -------
    float
        The maximum over active columns of :math:`|r_j - 1|` and over the others of :math:`r_j / \tau - 1`, at least
        zero. With a `threshold` :math:`\tau > 1` also of :math:`1 - \bar r_j / \tau` over active columns, with the
        relevance :math:`\bar r_j` as it is without the column.
    """
    ratio = relevance(terms.z, terms.q)
    inactive = np.ones(len(ratio), dtype=bool)
    inactive[active] = False
    violation = max(
        float(np.max(np.abs(ratio[active] - 1.0), initial=0.0)),
        float(np.max(ratio[inactive] / threshold - 1.0, initial=0.0)),
    )
    if threshold > 1.0 and len(active):
        # Without column j: s = z / (1 - gamma z) and q in the same way, so that their ratio gains 1 / (1 - gamma z).
        alone = ratio[active] / np.maximum(1.0 - variances * terms.z[active], np.finfo(np.float64).tiny)
        violation = max(violation, float(np.max(1.0 - alone / threshold, initial=0.0)))
    return violation


def certified_posterior(
    design: StandardizedDesign,
    Y: np.ndarray,
    active: np.ndarray,
    variances: np.ndarray,
    noise: Noise,
    threshold: float,
    log_evidences: list[float],
    n_iter: int,
    status: str,
) -> EvidencePosterior:
    """The posterior at given variances with its certificate, both computed anew from the data.

    Parameters
    ----------
    design : StandardizedDesign
        The design.
    Y : ndarray of shape (n_samples, n_outputs)
        Weighted, centred targets.
    active : ndarray of int of shape (n_active,)
        Columns of positive prior variance.
    variances : ndarray of shape (n_active,)
        Their prior variances.
    noise : Noise
        With the final variance.
    threshold : float
        As in `evidence_violation`.
    log_evidences : list of float
        The history.
    n_iter : int
        Iterations that were made.
    status : str
        Why the solver returned.

    Returns
    -------
    EvidencePosterior
        The posterior.
    """
    order = np.argsort(active)
    active, variances = np.asarray(active, dtype=np.intp)[order], np.asarray(variances)[order]
    terms, mean, covariance = full_terms(design, Y, active, variances, noise.variance)
    value = log_evidence(
        terms.log_determinant,
        terms.quadratic,
        noise.variance,
        noise.degrees_of_freedom,
        Y.shape[1],
        np.iscomplexobj(mean),
    )
    kkt = evidence_violation(terms, active, variances, threshold)
    history = np.asarray(log_evidences, dtype=np.float64)
    return EvidencePosterior(active, variances, mean, covariance, noise.variance, value, history, kkt, n_iter, status)
