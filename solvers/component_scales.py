r"""The best shares of two penalised factors in each component's scale.

Multiplying a column of W by s and dividing the column of the transposed H by s leaves their product as it is, but not
the penalties: over the logarithm of s they are the convex sum of exponentials

.. math:: a_1 s + \tfrac12 a_2 s^2 + b_1 s^{-1} + \tfrac12 b_2 s^{-2} .

Its minimum is found by Newton's method for all components at once. Alternating updates alone approach it slowly, since
each of them moves one factor only.
"""

import numpy as np

from .factor_penalty import RowPenalty, penalty_value


def best_scales(penalty_W: RowPenalty, penalty_H: RowPenalty, W: np.ndarray, Ht: np.ndarray) -> np.ndarray | None:
    """Find the numbers by which to multiply the columns of W, and to divide those of the transposed H.

    Parameters
    ----------
    penalty_W, penalty_H : RowPenalty
        The penalties of the two factors.
    W : ndarray of shape (n_rows, n_components)
        The first factor.
    Ht : ndarray of shape (n_columns, n_components)
        The second factor, transposed.

    Returns
    -------
    ndarray of shape (n_components,) or None
        The numbers, > 0; one where a component is zero. None where a bound or a missing penalty leaves no choice.
    """
    if not (isinstance(penalty_W, RowPenalty) and isinstance(penalty_H, RowPenalty)):
        return None
    if np.isfinite(penalty_W.upper_bound) or np.isfinite(penalty_H.upper_bound):
        return None
    a1, a2 = _linear_and_quadratic(penalty_W, W)
    b1, b2 = _linear_and_quadratic(penalty_H, Ht)
    free = (a1 + a2 > 0.0) & (b1 + b2 > 0.0)
    if not free.any():
        return None
    a1, a2, b1, b2 = (np.where(free, term, fill) for term, fill in ((a1, 0.5), (a2, 0.5), (b1, 0.5), (b2, 0.5)))
    log_scale = np.zeros(free.size)
    for _ in range(50):
        up, down = np.exp(log_scale), np.exp(-log_scale)
        slope = a1 * up + a2 * up**2 - b1 * down - b2 * down**2
        curvature = a1 * up + 2.0 * a2 * up**2 + b1 * down + 2.0 * b2 * down**2
        step = np.clip(-slope / curvature, -1.0, 1.0)
        log_scale += step
        if np.abs(step).max() <= 1e-12:
            break
    return np.exp(log_scale)


def _linear_and_quadratic(penalty: RowPenalty, F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each column of a factor costs that grows with its scale, and with the square of it."""
    linear = penalty.l1 * F.sum(axis=0, dtype=np.float64)
    quadratic_part = penalty._replace(l1=0.0)
    if penalty.graph_strength == 0.0:
        return linear, penalty.l2 * np.square(F, dtype=np.float64).sum(axis=0)
    columns = range(F.shape[1])
    return linear, np.array([2.0 * penalty_value(quadratic_part, F[:, a : a + 1]) for a in columns])
