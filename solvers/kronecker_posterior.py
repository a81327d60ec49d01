r"""The Gaussian posterior of a tensor of coefficients behind a Kronecker product, by one decomposition a mode.

.. math:: y = (H_1 \otimes \dots \otimes H_d)\, x + e, \qquad
    x \sim N(0, \mathrm{diag}(\gamma_1 \otimes \dots \otimes \gamma_d)), \quad e \sim N(0, \sigma^2 I)

With the singular value decompositions :math:`H_i \Gamma_i^{1/2} = U_i S_i V_i^H` the covariance of y is diagonal in the
basis :math:`\bigotimes_i U_i`, with eigenvalues :math:`D = \sigma^2 + S_1^2 \otimes \dots \otimes S_d^2`. All that a
fit needs follows from tensors of the size of y and of x:

.. math:: q = \bigotimes_i (H_i^H U_i)\, \frac{c}{D}, \quad z = \bigotimes_i |H_i^H U_i|^2\, \frac{1}{D},
    \quad c = \bigotimes_i U_i^H\, y,

the posterior mean :math:`\mu = \gamma q`, its variances :math:`\gamma - \gamma^2 z`, and minus twice the log evidence
:math:`\sum \log D + \sum |c|^2 / D`. The cost is :math:`O(\sum_i m_i^2 n_i)` for the decompositions and mode products
beside, where dense matrices take :math:`O((\prod_i m_i)^2 \prod_i n_i)`. Arrays of any library stay on their device.

References
----------
Y. He and G. Joseph, "Bayesian algorithms for Kronecker-structured sparse vector recovery with application to
IRS-MIMO channel estimation", IEEE Transactions on Signal Processing, 2024. The diagonal form is classical for Gaussian
processes on grids: Y. Saatci, "Scalable inference for structured Gaussian process models", 2011.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from .mode_products import is_complex, mode_products, namespace, outer_product

__all__ = [
    "KroneckerData",
    "KroneckerPosterior",
    "KroneckerStatistics",
    "compressed",
    "kronecker_posterior",
    "kronecker_statistics",
]


class KroneckerPosterior(NamedTuple):
    """The posterior of the coefficients of one or several measurements.

    Attributes
    ----------
    mean : array of shape (n_measurements, n_1, ..., n_d)
        The posterior means.
    variance : array of shape (n_1, ..., n_d)
        The posterior variances, the same for all measurements.
    log_evidence : float
        The log evidence of all measurements together, in nats, with all constants.
    """

    mean: Any
    variance: Any
    log_evidence: float


class KroneckerData(NamedTuple):
    """Measurements and factors, brought to as few rows as there are columns.

    Attributes
    ----------
    tensor : array of shape (n_measurements, m_1, ..., m_d)
        The measurements, within the range of the factors where these were tall.
    factors : list of arrays of shape (m_i, n_i)
        The factors.
    outside : float
        The squared norm of the measurements outside that range.
    n_values : int
        The values of one measurement as they were before, ``prod(m_i)`` where nothing was compressed.
    """

    tensor: Any
    factors: list[Any]
    outside: float
    n_values: int


class KroneckerStatistics(NamedTuple):
    r"""What the evidence and its gradient need.

    Attributes
    ----------
    q : array of shape (n_measurements, n_1, ..., n_d)
        Inner products of the columns with :math:`C^{-1} y`.
    z : array of shape (n_1, ..., n_d)
        The quadratic forms :math:`h_j^H C^{-1} h_j`.
    cost : float
        :math:`\log|C| + \sum_s y_s^H C^{-1} y_s`: minus twice the log evidence without its constant.
    noise_square : float
        :math:`\sum_s \|C^{-1} y_s\|^2`.
    noise_trace : float
        The trace of :math:`C^{-1}`.
    largest : float
        The largest variance of the signal along an eigenvector, without the noise.
    """

    q: Any
    z: Any
    cost: float
    noise_square: float
    noise_trace: float
    largest: float


def squared_size(values: Any) -> Any:
    """The squared absolute values, real."""
    if not is_complex(values):
        return values * values
    xp = namespace(values)
    return xp.real(values) ** 2 + xp.imag(values) ** 2


def conjugate_transpose(matrix: Any) -> Any:
    """The adjoint of a matrix."""
    return namespace(matrix).conj(matrix).T if is_complex(matrix) else matrix.T


def compressed(data: KroneckerData) -> KroneckerData:
    """The same problem with no factor taller than wide: rotated into the ranges of tall factors.

    Parameters
    ----------
    data : KroneckerData
        Measurements and factors.

    Returns
    -------
    KroneckerData
        Data with the same posterior, the same evidence and the same statistics.
    """
    xp, tensor, factors, outside = namespace(data.tensor), data.tensor, list(data.factors), data.outside
    for mode, factor in enumerate(factors):
        if factor.shape[0] <= factor.shape[1]:
            continue
        basis, factors[mode] = xp.linalg.qr(factor, mode="reduced")
        alone: list[Any] = [None] * len(factors)
        alone[mode] = conjugate_transpose(basis)
        inside = mode_products(tensor, alone)
        alone[mode] = basis
        # The rest itself and not a difference of squares, which would lose it where there is little noise.
        outside += float(xp.sum(squared_size(tensor - mode_products(inside, alone))))
        tensor = inside
    return KroneckerData(tensor, factors, outside, data.n_values)


def kronecker_statistics(data: KroneckerData, variances: Sequence[Any], noise_variance: float) -> KroneckerStatistics:
    """The statistics of the evidence at given variances.

    Parameters
    ----------
    data : KroneckerData
        Measurements and factors, none taller than wide; several measurements carry the square roots of their weights,
        which sum to one.
    variances : sequence of arrays of shape (n_i,)
        Variances of the modes, >= 0.
    noise_variance : float
        The variance of the noise, > 0.

    Returns
    -------
    KroneckerStatistics
        The statistics of all columns, those of variance zero included.
    """
    xp = namespace(data.tensor)
    bases, spectra = [], []
    for factor, variance in zip(data.factors, variances, strict=True):
        # Singular values have small squares that are accurate relative to themselves; eigenvalues would not.
        basis, singular_values, _ = xp.linalg.svd(factor * xp.sqrt(variance), full_matrices=False)
        bases.append(basis)
        spectra.append(singular_values * singular_values)
    signal = outer_product(spectra)
    spread = signal + noise_variance
    precision = 1.0 / spread
    rotated = mode_products(data.tensor, [conjugate_transpose(basis) for basis in bases])
    energy = xp.sum(squared_size(rotated), axis=0) * precision
    loads = [conjugate_transpose(factor) @ basis for factor, basis in zip(data.factors, bases, strict=True)]
    n_outside = data.n_values - math.prod(spread.shape)
    cost = float(xp.sum(xp.log(spread))) + n_outside * math.log(noise_variance)
    return KroneckerStatistics(
        mode_products(rotated * precision, loads),
        mode_products(precision, [squared_size(load) for load in loads]),
        cost + float(xp.sum(energy)) + data.outside / noise_variance,
        float(xp.sum(energy * precision)) + data.outside / noise_variance**2,
        float(xp.sum(precision)) + n_outside / noise_variance,
        float(xp.max(signal)),
    )


def log_evidence(cost: float, n_values: int, n_measurements: float, of_complex: bool) -> float:
    """The log evidence in nats, with its constant, from the mean cost of a measurement."""
    if of_complex:
        return -n_measurements * (n_values * math.log(math.pi) + cost)
    return -0.5 * n_measurements * (n_values * math.log(2.0 * math.pi) + cost)


def kronecker_posterior(
    tensor: Any, factors: Sequence[Any], variances: Sequence[Any], noise_variance: float
) -> KroneckerPosterior:
    """The posterior of coefficients behind a Kronecker product.

    Parameters
    ----------
    tensor : array of shape (n_measurements, m_1, ..., m_d)
        The measurements, real or complex, in double precision.
    factors : sequence of d arrays of shape (m_i, n_i)
        The factors, of the library and type of `tensor`.
    variances : sequence of d arrays of shape (n_i,)
        Variances of the modes, >= 0; the prior variance of a coefficient is the product of d of them.
    noise_variance : float
        The variance of the noise, > 0.

    Returns
    -------
    KroneckerPosterior
        Means, variances and the log evidence.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.kronecker_posterior import kronecker_posterior
    >>> rng = np.random.default_rng(0)
    >>> H = [rng.standard_normal((3, 4)), rng.standard_normal((2, 5))]
    >>> variances = [rng.random(4), rng.random(5)]
    >>> y = rng.standard_normal((1, 3, 2))
    >>> found = kronecker_posterior(y, H, variances, 0.5)
    >>> X, prior = np.kron(*H), np.diag(np.kron(*variances))
    >>> C = X @ prior @ X.T + 0.5 * np.eye(6)
    >>> bool(np.allclose(found.mean.ravel(), prior @ X.T @ np.linalg.solve(C, y.ravel())))
    True
    """
    xp, n_measurements = namespace(tensor), tensor.shape[0]
    n_values = math.prod(tensor.shape[1:])
    data = compressed(KroneckerData(tensor / math.sqrt(n_measurements), list(factors), 0.0, n_values))
    found = kronecker_statistics(data, variances, noise_variance)
    prior = outer_product(list(variances))
    variance = prior * (1.0 - prior * found.z)
    return KroneckerPosterior(
        math.sqrt(n_measurements) * prior * found.q + 0.0,  # no negative zeros
        xp.where(variance > 0.0, variance, xp.zeros_like(variance)),
        log_evidence(found.cost, n_values, n_measurements, is_complex(tensor)),
    )
