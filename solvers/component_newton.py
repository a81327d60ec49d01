r"""A Newton step on the evidence, jointly in the logarithms of the variances of components and of the noise.

Let :math:`f = d \log \sigma^2 + \log|C / \sigma^2| + \overline{y^H C^{-1} y}`, minus twice the log evidence of one
output (minus once for complex data), d being the degrees of freedom. With T and m of
:mod:`sparsemodels.solvers.component_deletion`, in units of the prior variances v, and with :math:`W = I - T` and
:math:`g_j = T_{jj} - \overline{|m_j|^2}`, the derivatives in :math:`\log v` and :math:`\log \sigma^2` are g and

.. math::
    f_\sigma &= d - \mathrm{tr}\, T - \overline{\|R\|^2} / \sigma^2, \qquad
    f_{jk} = -|T_{jk}|^2 + 2 \,\mathrm{Re}\, \overline{\bar m_j T_{jk} m_k} + \delta_{jk} g_j, \\
    f_{j \sigma} &= -(W - W^2)_{jj} + 2 \,\mathrm{Re}\, \overline{\bar m_j (W m)_j}, \\
    f_{\sigma\sigma} &= -(d - a + \mathrm{tr}\, W^2) + 2 \,
    \overline{\|R\|^2 / \sigma^2 - m^H W m} + f_\sigma

with the residual R and the number a of active columns. Where the Hessian is not positive definite, the average of
itself and of its expectation takes its place, with those gradients on the diagonal that are positive: the average
information of restricted maximum likelihood, which is positive semidefinite.

References
----------
A. R. Gilmour, R. Thompson and B. R. Cullis, "Average information REML: an efficient algorithm for variance parameter
estimation in linear mixed models", Biometrics 51, 1995.
"""

import numpy as np
import scipy.linalg

from .component_deletion import Fit
from .evidence import Noise
from .noise_estimate import pseudo_observations

LONGEST_STEP = 4.0  # in the logarithm of a variance
_RIDGE = 1e-10  # over the largest diagonal element: duplicate columns make the Hessian singular


def newton_step(fit: Fit, noise: Noise, learned: bool, is_complex: bool) -> tuple[np.ndarray, float, bool]:
    """The step.

    Parameters
    ----------
    fit : Fit
        The evidence at the current variances.
    noise : Noise
        The noise.
    learned : bool
        Whether the noise takes part: it does not at its floor.
    is_complex : bool
        Whether the noise is complex.

    Returns
    -------
    step : ndarray of shape (n_components,)
        In the logarithms of the variances of the components.
    noise_step : float
        In the logarithm of the variance of the noise; zero if that takes no part.
    convex : bool
        Whether the Hessian is positive definite, so that this is the step of Newton.
    """
    gradient, hessian, information = derivatives(fit, noise, is_complex)
    if not learned:
        gradient, hessian, information = gradient[:-1], hessian[:-1, :-1], information[:-1, :-1]
    step = _solution(hessian, gradient)
    convex = step is not None
    if step is None:
        each = np.arange(len(gradient) - 1 if learned else len(gradient))
        information[each, each] += np.maximum(gradient[each], 0.0)
        step = _solution(information, gradient)
    if step is None:  # the information is singular
        step = -np.sign(gradient)
    step = np.clip(step, -LONGEST_STEP, LONGEST_STEP)
    return (step[:-1], float(step[-1]), convex) if learned else (step, 0.0, convex)


def derivatives(fit: Fit, noise: Noise, is_complex: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradient, the Hessian and the average information, the noise last.

    Parameters
    ----------
    fit : Fit
        The evidence at the current variances.
    noise : Noise
        The noise.
    is_complex : bool
        Whether the noise is complex.

    Returns
    -------
    gradient : ndarray of shape (n_components + 1,)
        Of minus twice the log evidence over the number of outputs (minus once for complex data), and of the log prior
        of the noise on the same scale.
    hessian, information : ndarray of shape (n_components + 1, n_components + 1)
        The second derivatives, and what is positive semidefinite in their place.
    """
    T, m, parts = fit.covariance, fit.mean, fit.parts
    n_outputs = m.shape[1]
    diagonal = np.diag(T).real
    power = np.sum(np.abs(m) ** 2, axis=1) / n_outputs
    observed = fit.quadratic / n_outputs - power.sum()  # the squared residual over the noise variance
    image = m - T @ m  # W m
    both = np.sum((m.conj() * image).real, axis=1) / n_outputs
    squared = 1.0 - 2.0 * diagonal + np.einsum("ij,ij->i", T, T.conj()).real  # diag(W^2)
    free = noise.degrees_of_freedom - diagonal.sum()
    slope, noise_slope = diagonal - power, free - observed

    average = (T * (m.conj() @ m.T)).real / n_outputs
    full = 2.0 * average - (T * T.conj()).real
    cross = 2.0 * both - (1.0 - diagonal - squared)
    average_corner = observed - both.sum()
    corner = 2.0 * average_corner - (free + diagonal.sum() - len(m) + squared.sum()) + noise_slope

    count, scale = pseudo_observations(noise, is_complex)
    noise_slope += (count - scale / noise.variance) / n_outputs
    corner += scale / noise.variance / n_outputs
    average_corner += scale / noise.variance / n_outputs

    gradient = np.append(_pooled(slope, parts), noise_slope)
    hessian = _bordered(_pooled_pairs(full, parts), _pooled(cross, parts), corner)
    each = np.arange(len(gradient) - 1)
    hessian[each, each] += gradient[:-1]
    return gradient, hessian, _bordered(_pooled_pairs(average, parts), _pooled(both, parts), average_corner)


def _pooled(values, parts):
    """The sums over components of numbers of the columns."""
    return values if parts is None else values @ parts


def _pooled_pairs(matrix, parts):
    """The symmetric matrix of the components from that of the columns."""
    if parts is None or len(parts.data) == parts.shape[0] == parts.shape[1]:  # one column a component, in their order
        return matrix
    return parts.T @ (parts.T @ matrix).T


def _bordered(block, side, corner):
    count = len(side)
    matrix = np.empty((count + 1, count + 1))
    matrix[:count, :count] = block
    matrix[:count, count] = matrix[count, :count] = side
    matrix[count, count] = corner
    return matrix


def _solution(matrix, gradient):
    """The Newton step, or None if the matrix is not positive definite."""
    if len(gradient) == 0:  # which LAPACK refuses
        return np.empty(0)
    matrix = matrix.copy()
    diagonal = matrix.flat[:: len(matrix) + 1]
    matrix.flat[:: len(matrix) + 1] = diagonal + _RIDGE * np.max(np.abs(diagonal))
    _, solution, info = scipy.linalg.lapack.dposv(matrix, -gradient, lower=True)
    return None if info else solution
