r"""Steps that improve the variances of a Kronecker-structured prior, given one look at the posterior.

A prior variance is a product of d numbers, one a mode: :math:`v_j = \prod_i \gamma_{i, j_i}`. Optionally neighbours
share: :math:`\gamma_i = C_i \theta_i` with nonnegative parameters :math:`\theta_i` and a tridiagonal :math:`C_i`, ones
on its diagonal and the coupling beside it. With the posterior mean and variance of each coefficient,
:math:`\Lambda_j = |\mu_j|^2 + \Sigma_{jj}`, and q, z of :mod:`.kronecker_posterior`, there are four steps:

``alternating_variances``
    The M-step of expectation maximisation, :math:`\min \sum_j \log v_j + \Lambda_j / v_j`: convex in the logarithms,
    solved by one mode after the other. The evidence never falls, without coupling.
``rank_one_variances``
    The tensor of rank one next to :math:`\Lambda`, mode by mode. No step of a likelihood, but a fast one.
``majorized_variances``
    :math:`\log|C| \le \sum_j v_j z_j + \text{const}` by concavity and :math:`y^H C^{-1} y \le \sum_j |\mu_j|^2 / v_j
    + \text{const}`, the cost of one particular explanation of y. One sweep over the modes minimises the sum of both
    bounds, again convex in the logarithms: :math:`\gamma_{i,k} \leftarrow \gamma_{i,k} \sqrt{\sum v |q|^2 / \sum v z}`
    over slice k, whose sums the next mode sees updated. The evidence never falls, with any coupling.
``fixed_point_variances``
    The same without the root, the rule of MacKay, all modes at once with their common scale corrected once. It has the
    same fixed points; the evidence may fall.

References
----------
Y. He and G. Joseph, IEEE Transactions on Signal Processing, 2024, for the first two. D. Wipf and S. Nagarajan, "A new
view of automatic relevance determination", NeurIPS 2007, for the bounds, which hold for a Kronecker product because
the covariance of the data is linear in the variances of each single mode.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import nnls

from .dense_codes import like, to_host
from .mode_products import namespace, outer_product, weighted_slice_sums

__all__ = [
    "alternating_variances",
    "coupled",
    "coupling_matrix",
    "fixed_point_variances",
    "majorized_variances",
    "rank_one_variances",
    "slice_ratios",
    "unit_modes",
]

_SWEEPS, _SETTLED = 50, 1e-5  # of the alternating M-step: the most, and the relative change that ends it
_POWER_STEPS = 5  # a positive matrix of which the first singular value dominates needs few


def coupling_matrix(n_atoms: int, coupling: float) -> np.ndarray:
    """What turns the parameters of a mode into its variances: each atom gives a share to its two neighbours.

    Parameters
    ----------
    n_atoms : int
        The number of atoms.
    coupling : float
        The share, in [0, 1].

    Returns
    -------
    ndarray of shape (n_atoms, n_atoms)
        The tridiagonal matrix.

    Examples
    --------
    >>> from sparsemodels.solvers.kronecker_variances import coupling_matrix
    >>> coupling_matrix(3, 0.5)
    array([[1. , 0.5, 0. ],
           [0.5, 1. , 0.5],
           [0. , 0.5, 1. ]])
    """
    return np.eye(n_atoms) + coupling * (np.eye(n_atoms, k=1) + np.eye(n_atoms, k=-1))


def coupled(couplings: Sequence[Any], parameters: Sequence[Any]) -> list[Any]:
    """The variances of all modes from their parameters; a coupling of None leaves them as they are."""
    pairs = zip(couplings, parameters, strict=True)
    return [theta if matrix is None else matrix @ theta for matrix, theta in pairs]


def unit_modes(couplings: Sequence[Any], parameters: Sequence[Any]) -> list[Any]:
    """Parameters of the same prior with variances of norm one in every mode but the last, which has the scale."""
    scaled = list(parameters)
    for mode, variances in enumerate(coupled(couplings, parameters)[:-1]):
        xp = namespace(variances)
        size = float(xp.linalg.vector_norm(variances))
        scaled[mode] = scaled[mode] / size
        scaled[-1] = scaled[-1] * size
    return scaled


def slice_ratios(couplings: Sequence[Any], variances: Sequence[Any], square: Any, z: Any) -> list[Any]:
    r"""The two sides of stationarity for every parameter, divided: one where it is stationary.

    Parameters
    ----------
    couplings : sequence of arrays of shape (n_i, k_i), or None
        The coupling of each mode.
    variances : sequence of arrays of shape (n_i,)
        The variances of the modes, >= 0.
    square : array of shape (n_1, ..., n_d)
        The tensor of :math:`\sum_s |q_s|^2`.
    z : array of shape (n_1, ..., n_d)
        The tensor z.

    Returns
    -------
    list of arrays of shape (k_i,)
        Derivatives of :math:`y^H C^{-1} y` over those of :math:`\log|C|`, signs dropped: above one where a larger
        parameter would raise the evidence, below where it would lower it, for parameters of zero too. One where both
        vanish.
    """
    both, ratios = namespace(z).stack([square, z]), []
    for mode, matrix in enumerate(couplings):
        sums = weighted_slice_sums(both, variances, mode)
        ratios.append(_quotient(*_shares(matrix, sums[0, :], sums[1, :])))
    return ratios


def _shares(matrix: Any, *of_atoms: Any) -> list[Any]:
    """What atoms add up to for the parameters behind them."""
    return [values if matrix is None else matrix.T @ values for values in of_atoms]


def _quotient(numerator: Any, denominator: Any) -> Any:
    xp = namespace(numerator)
    void = denominator <= 0.0
    return xp.where(void, xp.ones_like(numerator), numerator / xp.where(void, xp.ones_like(denominator), denominator))


def fixed_point_variances(parameters: Sequence[Any], ratios: Sequence[Any], common: float) -> list[Any]:
    """One step of the fixed-point iteration, every parameter by its ratio.

    Parameters
    ----------
    parameters : sequence of arrays of shape (k_i,)
        The parameters.
    ratios : sequence of arrays of shape (k_i,)
        Their :func:`slice_ratios`.
    common : float
        The ratio of the sums over all coefficients: that of the scale of the whole prior.

    Returns
    -------
    list of arrays of shape (k_i,)
        New parameters.
    """
    if common == 0.0:
        return [0.0 * theta for theta in parameters]
    # All modes see the misfit of the scale that they share: each is freed of it, and it is set right once.
    new = [theta * (ratio / common) for theta, ratio in zip(parameters, ratios, strict=True)]
    return [*new[:-1], new[-1] * common]


def majorized_variances(couplings: Sequence[Any], parameters: Sequence[Any], square: Any, z: Any) -> list[Any]:
    """One sweep over the modes that lowers the sum of both bounds, and with it raises the evidence.

    Parameters
    ----------
    couplings : sequence of arrays of shape (n_i, k_i), or None
        The coupling of each mode.
    parameters : sequence of arrays of shape (k_i,)
        The parameters, >= 0.
    square, z : array of shape (n_1, ..., n_d)
        As for :func:`slice_ratios`.

    Returns
    -------
    list of arrays of shape (k_i,)
        New parameters.
    """
    parameters = list(parameters)
    variances = coupled(couplings, parameters)
    xp = namespace(z)
    explained = outer_product(variances) ** 2 * square
    for mode, matrix in enumerate(couplings):
        inverses = [_quotient(xp.ones_like(v), v) for v in variances]
        gains = weighted_slice_sums(explained, inverses, mode) * inverses[mode] ** 2
        costs = weighted_slice_sums(z, variances, mode)
        parameters[mode] = parameters[mode] * xp.sqrt(_quotient(*_shares(matrix, gains, costs)))
        variances[mode] = parameters[mode] if matrix is None else matrix @ parameters[mode]
    return parameters


def alternating_variances(
    couplings: Sequence[Any],
    parameters: Sequence[Any],
    moments: Any,
    *,
    max_sweeps: int = _SWEEPS,
    tol: float = _SETTLED,
) -> list[Any]:
    """The variances that maximise the expected log prior, one mode after the other.

    Parameters
    ----------
    couplings : sequence of arrays of shape (n_i, k_i), or None
        The coupling of each mode.
    parameters : sequence of arrays of shape (k_i,)
        Where to start.
    moments : array of shape (n_1, ..., n_d)
        The posterior second moments.
    max_sweeps : int, default=50
        The most sweeps over the modes.
    tol : float, default=1e-5
        The relative change of a sweep that ends them.

    Returns
    -------
    list of arrays of shape (k_i,)
        New parameters. In a coupled mode those whose variances come nearest to the maximiser.
    """
    parameters = list(parameters)
    variances = coupled(couplings, parameters)
    xp, n_entries = namespace(moments), math.prod(moments.shape)
    for _ in range(max_sweeps):
        change = 0.0
        for mode, matrix in enumerate(couplings):
            old = variances[mode]
            inverses = [_quotient(xp.ones_like(v), v) for v in variances]
            target = weighted_slice_sums(moments, inverses, mode) * (old.shape[0] / n_entries)
            parameters[mode] = _nearest(matrix, target)
            variances[mode] = target if matrix is None else matrix @ parameters[mode]
            change = max(change, float(xp.max(xp.abs(variances[mode] - old)) / xp.max(variances[mode])))
        if change <= tol:
            break
    return parameters


def rank_one_variances(couplings: Sequence[Any], moments: Any) -> list[Any]:
    """The outer product next to the posterior second moments, found by taking off one mode after the other.

    Parameters
    ----------
    couplings : sequence of arrays of shape (n_i, k_i), or None
        The coupling of each mode.
    moments : array of shape (n_1, ..., n_d)
        The posterior second moments, >= 0.

    Returns
    -------
    list of arrays of shape (k_i,)
        New parameters. In a coupled mode those whose variances come nearest to the singular vector.
    """
    xp, parameters = namespace(moments), []
    for matrix in couplings[:-1]:
        unfolded = xp.reshape(moments, (moments.shape[0], -1))
        left = xp.sum(unfolded, axis=1)
        for _ in range(_POWER_STEPS):
            right = left @ unfolded
            right = right / xp.linalg.vector_norm(right)
            left = unfolded @ right
            size = xp.linalg.vector_norm(left)
            left = left / size
        parameters.append(_nearest(matrix, left))
        moments = xp.reshape(size * right, moments.shape[1:])
    return [*parameters, _nearest(couplings[-1], moments)]


def _nearest(matrix: Any, variances: Any) -> Any:
    """The nonnegative parameters whose variances come nearest to given ones."""
    if matrix is None:
        return variances
    return like(nnls(to_host(matrix), to_host(variances))[0], variances)
