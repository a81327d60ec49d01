"""Whether a stationary point is a strict local minimum: the smallest curvature of the objective on its support."""

from typing import Any

import numpy as np
import scipy.linalg

from .newton import _free_coordinates
from .unit_columns import gather_normalized


def smallest_curvature(X: Any, curvature: np.ndarray, penalty: Any, coef: np.ndarray, *, fit_intercept: bool) -> float:
    r"""The smallest curvature of loss plus penalty among the directions on the support.

    The smallest eigenvalue of :math:`\tilde X_A^T \tilde X_A + D`, where A holds the coordinates that can move within
    a smooth piece of their penalty, :math:`\tilde X_A` are their columns, weighted by the loss' curvature, centred
    and scaled to unit norm, and D the penalty's second derivatives in these units, negative where it is concave. If
    it is positive, and the slopes of all other coordinates lie inside of their thresholds, a stationary point is a
    strict local minimum: no other one is near. If it is negative, the point is a saddle on its own support.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n_samples, n_features)
        The design.
    curvature : ndarray of shape (n_samples,)
        The weights of the loss' quadratic model at the point, as :func:`~sparsemodels.solvers.losses.curvature` gives
        them: the sample weights for the squared loss.
    penalty : NamedTuple
        The penalty's record.
    coef : ndarray of shape (n_features,)
        The coefficients.
    fit_intercept : bool
        Whether there is an unpenalised intercept, which may move, too.

    Returns
    -------
    float
        The curvature, relative to that of the loss along one column alone, so at most about 1; zero where it is zero
        up to rounding, and inf where nothing can move.

    Notes
    -----
    Costs ``O(n_samples |A|^2 + |A|^3)`` and a copy of the columns of the support.

    References
    ----------
    P. Breheny and J. Huang, "Coordinate descent algorithms for nonconvex penalized regression, with applications to
    biological feature selection", Annals of Applied Statistics 5, 2011, section 4. They ask for convexity at every
    point of the support, :math:`1/\gamma` below the smallest eigenvalue for MCP; here it is asked for at the solution,
    where coefficients on the flat part of their penalty add no concavity.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.local_convexity import smallest_curvature
    >>> from sparsemodels.solvers.penalties import MCP
    >>> X, weights, penalty = np.diag([2.0, 1.0]), np.ones(2), MCP(1.0, 2.0, np.ones(2))
    >>> smallest_curvature(X, weights, penalty, np.array([0.5, 9.0]), fit_intercept=False)
    0.875
    """
    lower, upper, slopes, curvatures = np.empty((4, coef.size))
    free = _free_coordinates(penalty, coef, np.arange(coef.size), lower, upper, slopes, curvatures)
    if free.size == 0:
        return np.inf
    columns, scale = np.empty((curvature.size, free.size), order="F"), np.empty(free.size)
    gather_normalized(X, free, np.sqrt(curvature), fit_intercept, columns, scale)
    hessian = scipy.linalg.blas.dsyrk(1.0, columns, trans=1, lower=1)
    concavity = np.divide(curvatures[: free.size], scale**2, out=curvatures[: free.size].copy(), where=scale > 0.0)
    hessian[np.diag_indices(free.size)] += concavity
    smallest = float(scipy.linalg.eigvalsh(hessian, lower=True, subset_by_index=[0, 0], overwrite_a=True)[0])
    rounding = 4.0 * free.size * np.finfo(float).eps * max(1.0, float(np.abs(concavity).max()))
    return smallest if abs(smallest) > rounding else 0.0
