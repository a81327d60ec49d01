"""Accelerated proximal gradient descent on a quadratic model, for penalties that couple coordinates."""

from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse

from .certificate import model_gap, stationarity
from .penalties.vector_functions import has_conjugate, linear_pattern, penalty_value, vector_prox

_REDUCTION = 0.1  # of the gap, by one model: solving it further is lost where the next one differs
_CHECK = 10  # steps between two gaps


def largest_curvature(gram: np.ndarray, scale: np.ndarray) -> float:
    """An upper bound, tight to a percent, of the largest eigenvalue of the model's Hessian in the original units."""
    vector = scale * np.linspace(1.0, 1.5, scale.size)
    previous = 0.0
    for _ in range(100):
        norm = np.linalg.norm(vector)
        if norm == 0.0:
            return 0.0
        vector = scale * (gram @ (scale * (vector / norm)).astype(gram.dtype))
        value = float(np.linalg.norm(vector))
        if abs(value - previous) <= 1e-3 * value:
            break
        previous = value
    return 1.02 * value


def pattern_step(
    gram: np.ndarray, scale: np.ndarray, coef: np.ndarray, slope: np.ndarray, penalty: Any, features: np.ndarray
) -> bool:
    """A Newton step within the linear piece of the penalty: the support polish of clustered coefficients.

    Coefficients that are tied move together, zeros stay; the minimum over the piece is one linear solve of the size
    of the number of clusters. If it lies outside of the piece, the step is halved until it descends.

    Parameters
    ----------
    gram : ndarray of shape (m, m)
        The Gram matrix of unit columns.
    scale : ndarray of shape (m,)
        The norms of the columns.
    coef : ndarray of shape (m,)
        The coefficients, updated in place if the step descends.
    slope : ndarray of shape (m,)
        Minus the model's gradient at `coef`.
    penalty : NamedTuple
        The penalty's record.
    features : ndarray of shape (m,), int64
        The penalty's index of each coordinate.

    Returns
    -------
    bool
        Whether the coefficients moved.
    """
    pattern = linear_pattern(penalty, coef, features)
    if pattern is None or pattern[2].size == 0:
        return False
    cluster, sign, price = pattern
    inside = np.flatnonzero(cluster >= 0)
    ties = scipy.sparse.csr_array(
        ((sign * scale)[inside], (np.arange(inside.size), cluster[inside])), shape=(inside.size, price.size)
    )
    chosen = gram[np.ix_(inside, inside)]
    hessian = ties.T @ (ties.T @ chosen.astype(float)).T
    descent = np.bincount(cluster[inside], (sign * slope)[inside]) - price
    try:
        factor = scipy.linalg.cho_factor(hessian)
    except scipy.linalg.LinAlgError:
        return False
    pivots = np.diag(factor[0])
    if pivots.min() <= 1e-5 * pivots.max():  # as good as dependent: leave it to the gradient
        return False
    direction = np.zeros(coef.size)
    direction[inside] = sign[inside] * scipy.linalg.cho_solve(factor, descent)[cluster[inside]]
    image = (scale * direction).astype(gram.dtype) @ gram
    bend, gain, start = (
        float(image @ (scale * direction)),
        float(slope @ direction),
        penalty_value(penalty, coef, features),
    )
    t = 1.0
    for _ in range(6):
        trial = coef + t * direction
        change = 0.5 * t * t * bend - t * gain + penalty_value(penalty, trial, features) - start
        if change < 0.0:
            coef[:] = trial
            return True
        t *= 0.5
    return False


def proximal_descent(
    gram: np.ndarray,
    scale: np.ndarray,
    coef: np.ndarray,
    slope: np.ndarray,
    loss_norm: float,
    penalty: Any,
    features: np.ndarray,
    target: float,
    max_epochs: int,
) -> float:
    """Minimise a quadratic model plus a coupled penalty by accelerated proximal gradient steps with restarts.

    Parameters
    ----------
    gram : ndarray of shape (>= m, >= m)
        The symmetric Gram matrix of unit columns, in its first m rows and columns.
    scale : ndarray of shape (m,)
        The norms of the columns.
    coef : ndarray of shape (m,)
        The coefficients of the original columns, updated in place.
    slope : ndarray of shape (m,)
        Minus the model's gradient with respect to the coefficients, updated in place.
    loss_norm : float
        Twice the model's loss at `coef`.
    penalty : NamedTuple
        The penalty's record.
    features : ndarray of shape (m,), int64
        The penalty's index of each coordinate.
    target : float
        The duality gap that is small enough; a tenth of the gap at the start is, too.
    max_epochs : int
        The largest number of steps.

    Returns
    -------
    float
        The model's duality gap; for a penalty without a conjugate, what one step of each coordinate could gain.

    References
    ----------
    A. Beck and M. Teboulle, "A fast iterative shrinkage-thresholding algorithm", SIAM J. Imaging Sciences 2(1), 2009;
    B. O'Donoghue and E. Candes, "Adaptive restart for accelerated gradient schemes", 2015.
    """
    m = coef.size
    gram = gram[:m, :m]
    convex = has_conjugate(penalty)
    measure = model_gap if convex else stationarity
    start_coef, start_slope = coef.copy(), slope.copy()

    def slope_at(point: np.ndarray) -> np.ndarray:
        change = (scale * (point - start_coef)).astype(gram.dtype)
        return start_slope - scale * (gram @ change).astype(float)

    def gap() -> float:
        norm = max(loss_norm - (coef - start_coef) @ (start_slope + slope), 0.0)
        return measure(penalty, coef, slope, scale, features, norm)

    current = gap()
    target = max(target, (_REDUCTION if convex else _REDUCTION**3) * current)
    lipschitz = largest_curvature(gram, scale)
    if lipschitz == 0.0 or current <= target:
        return current
    step, momentum = 1.0 / lipschitz, 1.0
    ahead, ahead_slope = coef.copy(), slope.copy()
    settled = -1
    for k in range(max_epochs):
        new = vector_prox(penalty, ahead + step * ahead_slope, step, features)
        change = new - coef
        if (ahead - new) @ change > 0.0:  # the momentum points uphill: start it anew
            momentum = 1.0
        following = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum * momentum))
        ahead = new + ((momentum - 1.0) / following) * change
        momentum = following
        coef[:] = new
        ahead_slope = slope_at(ahead)
        if k % _CHECK == _CHECK - 1 or k == max_epochs - 1:
            slope[:] = slope_at(coef)
            current = gap()
            if current <= target:
                break
            clusters = np.unique(np.abs(coef)).size
            if clusters == settled and pattern_step(gram, scale, coef, slope, penalty, features):
                slope[:] = slope_at(coef)
                current = gap()
                if current <= target:
                    break
                ahead, ahead_slope, momentum = coef.copy(), slope.copy(), 1.0
            settled = clusters
    return current
