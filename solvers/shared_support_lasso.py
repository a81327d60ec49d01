r"""The lasso of several outputs with shared support, real or complex, by block coordinate descent on a working set.

.. math:: \min_W \; \tfrac12 \|Y - X W\|_F^2 + \sum_j \lambda_j \|w_j\|

over rows :math:`w_j` of coefficients. A row's minimum, all others fixed, is a shrunken vector; rows outside of the
working set join where :math:`\|x_j^H R\| > \lambda_j`. For complex data with one output it is the complex lasso.
"""

from typing import NamedTuple

import numpy as np

_SWEEPS = 50  # over the working set between two looks at all columns
_FIRST = 10  # columns that may always join together


class SharedSupportSolution(NamedTuple):
    """A solution and how good it is.

    Attributes
    ----------
    coef : ndarray of shape (n_features, n_outputs)
        The coefficients W.
    objective : float
        The objective there.
    dual_gap : float
        How far that can be above the minimum, at most.
    n_iter : int
        Looks at all columns.
    converged : bool
        Whether the gap reached the tolerance.
    """

    coef: np.ndarray
    objective: float
    dual_gap: float
    n_iter: int
    converged: bool


def shared_support_lasso(
    X: np.ndarray, Y: np.ndarray, levels: np.ndarray, start: np.ndarray, *, tol: float = 1e-6, max_iter: int = 1000
) -> SharedSupportSolution:
    """Solve for columns of norm one.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The design; columns of norm one or zero.
    Y : ndarray of shape (n_samples, n_outputs)
        The targets.
    levels : ndarray of shape (n_features,)
        The level of each row of coefficients, > 0.
    start : ndarray of shape (n_features, n_outputs)
        Where to start; not changed. The objective does not rise above that.
    tol : float, default=1e-6
        The duality gap to reach, relative to the objective at zero.
    max_iter : int, default=1000
        The most looks at all columns.

    Returns
    -------
    SharedSupportSolution
        The solution with its duality gap.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.shared_support_lasso import shared_support_lasso
    >>> solution = shared_support_lasso(np.eye(2), np.array([[3.0, 4.0], [0.5, 0.0]]), np.ones(2), np.zeros((2, 2)))
    >>> solution.coef  # the first row shrinks from length five to four, the second to zero
    array([[2.4, 3.2],
           [0. , 0. ]])
    """
    W = np.array(start, dtype=np.result_type(X.dtype, Y.dtype, start.dtype))
    power = float(np.vdot(Y, Y).real)
    working = np.flatnonzero(W.any(axis=1))
    chosen, gram = X[:, working], None
    for n_iter in range(1, max_iter + 1):
        residual = Y - chosen @ W[working]
        slope = X.conj().T @ residual
        lengths = np.linalg.norm(slope, axis=1)
        # The dual point is the residual, shrunk until feasible; its objective is (|Y|^2 - |Y - theta|^2) / 2.
        scale = min(1.0, float(np.min(np.divide(levels, lengths, out=np.ones_like(levels), where=lengths > levels))))
        left = Y - scale * residual
        objective = 0.5 * float(np.vdot(residual, residual).real)
        objective += float(levels @ np.linalg.norm(W, axis=1))
        gap = objective - 0.5 * (power - float(np.vdot(left, left).real))
        if gap <= tol * 0.5 * power or n_iter == max_iter:
            break
        excess = lengths / levels
        excess[working] = 0.0
        joining = np.flatnonzero(excess > 1.0)
        room = max(_FIRST, len(working))
        joining = joining[np.argsort(-excess[joining], kind="stable")][:room]
        if gram is None or len(joining):
            working = np.sort(np.concatenate([working, joining]))
            chosen = X[:, working]
            gram = chosen.conj().T @ chosen
            correlations = chosen.conj().T @ Y
        W[working] = _descend(gram, correlations, levels[working], W[working], 0.1 * tol * power)
    return SharedSupportSolution(W, objective, max(gap, 0.0), n_iter, gap <= tol * 0.5 * power)


def _descend(gram, correlations, levels, W, enough):
    """Sweeps of exact minimisation over the rows, until one gains no more than `enough`."""
    slope = correlations - gram @ W
    for _ in range(_SWEEPS):
        moved = 0.0
        for j in range(len(levels)):
            if gram[j, j] == 0.0:
                continue
            target = slope[j] + W[j]
            length = np.sqrt(np.vdot(target, target).real)
            new = target * max(0.0, 1.0 - levels[j] / length) if length > 0.0 else np.zeros_like(target)
            change = new - W[j]
            size = float(np.vdot(change, change).real)
            if size > 0.0:
                slope -= gram[:, j : j + 1] * change
                W[j] = new
                moved += size
        if 0.5 * moved <= 1e-2 * enough:
            break
    return W
