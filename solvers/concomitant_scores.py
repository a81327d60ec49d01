r"""Scores of structural equation models with concomitant noise scales, and their certified minimum on given edges.

The model is :math:`x = W^T x + e`. Its score, of Saboksayr, Mateos and Tepper (ICLR 2024), is

.. math::
    S(W) = \min_{\sigma \ge \sigma_0} \sum_j \frac{r_j(W)}{2 \sigma_j} + \frac{\sigma_j}{2}
    + \sum_{ij} \lambda_{ij} |W_{ij}|, \qquad r_j(W) = [(I - W)^T C (I - W)]_{jj},

with the covariance C of the data and one noise scale for all variables, or one each. The scales are estimated with the
weights, so that the score is a square-root loss, and the right level of the penalty does not grow with the noise.
"""

import numpy as np

from .block_updates import block_minimum, block_work
from .kernel import kernel
from .penalties.l1 import L1

_SWEEPS = 1000  # of the noise scales


@kernel
def residual_products(covariance, weights, products, variances):
    """The products C (I - W), and the residual variances r on the diagonal of (I - W)' C (I - W)."""
    d = weights.shape[0]
    for i in range(d):
        row = products[i]
        for j in range(d):
            row[j] = covariance[i, j]
        for k in range(d):
            factor, other = covariance[i, k], weights[k]
            for j in range(d):
                row[j] -= factor * other[j]
    for j in range(d):
        variances[j] = products[j, j]
    for i in range(d):
        for j in range(d):
            variances[j] -= weights[i, j] * products[i, j]


@kernel
def concomitant_scales(variances, equal, floor, scales):
    r"""The noise scales that are best for given residual variances, and the value of the loss there.

    Parameters
    ----------
    variances : ndarray of shape (d,)
        The residual variances r.
    equal : bool
        Whether there is one scale, :math:`\hat\sigma^2 = \sum_j r_j / d`, or one each, :math:`\hat\sigma_j^2 = r_j`.
    floor : float
        The smallest scale allowed.
    scales : ndarray of shape (d,)
        Overwritten by the scales.

    Returns
    -------
    float
        The loss :math:`\sum_j r_j / (2 \sigma_j) + \sigma_j / 2`.
    """
    d = variances.size
    mean = 0.0
    for j in range(d):
        mean += max(variances[j], 0.0) / d
    total = 0.0
    for j in range(d):
        variance = mean if equal else max(variances[j], 0.0)
        scales[j] = max(np.sqrt(variance), floor)
        total += 0.5 * (variance / scales[j] + scales[j])
    return total


@kernel
def _fit_columns(covariance, levels, edges, weights, scales, parents, penalty_weights, work):
    """For each variable, the exact minimum over the weights of its parents, for given noise scales."""
    d = weights.shape[0]
    for j in range(d):
        count = 0
        for i in range(d):
            if edges[i, j]:
                parents[count] = i
                count += 1
        for a in range(count):
            i = parents[a]
            work.coef[a] = weights[i, j]
            total = covariance[i, j]
            for b in range(count):
                work.matrix[a, b] = covariance[i, parents[b]]
                total -= covariance[i, parents[b]] * weights[parents[b], j]
            work.slope[a] = total
            penalty_weights[a] = levels[i, j]
        # Over sigma: the loss times sigma is half a quadratic, and so is the penalty times sigma.
        penalty = L1(scales[j], penalty_weights)
        block_minimum(penalty, work.matrix, work.factor, False, np.arange(count), work)
        for a in range(count):
            weights[parents[a], j] = work.coef[a]


def fit_edges(
    covariance: np.ndarray,
    levels: np.ndarray,
    edges: np.ndarray,
    *,
    equal: bool,
    floor: float = 0.0,
    tol: float = 1e-8,
    weights: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, float, float]:
    r"""Minimise the score over the weights of given edges: a convex problem, solved with its duality gap.

    For given scales the variables part, and each is a small LASSO, solved exactly; for given weights the scales have a
    closed form. The gap is that of the smoothed square-root loss. With unit residuals :math:`\Theta = E / \sigma`,
    scaled by c until :math:`|X_i^T \Theta_j| \le \lambda_{ij}`, the dual value is :math:`c \langle \Theta, X \rangle +
    \tfrac{\sigma_0}{2} (d - c^2 \|\Theta\|^2)`; everything in it is known from C.

    Parameters
    ----------
    covariance, levels : ndarray of shape (d, d)
        C, and the level of the penalty of each weight.
    edges : ndarray of shape (d, d), bool
        The edges; of an acyclic graph, or not.
    equal : bool
        Whether all variables have the same noise scale.
    floor : float, default=0.0
        The smallest noise scale.
    tol : float, default=1e-8
        The gap to reach, relative to the score without edges.
    weights : ndarray of shape (d, d), optional
        Where to start.

    Returns
    -------
    weights : ndarray of shape (d, d)
        The minimiser.
    scales : ndarray of shape (d,)
        The noise scales.
    objective : float
        The score.
    dual_gap : float
        How far it is above the minimum at most.
    """
    d = covariance.shape[0]
    weights = np.zeros((d, d)) if weights is None else np.where(edges, weights, 0.0)
    products, variances, scales = np.empty((d, d)), np.empty(d), np.empty(d)
    parents, penalty_weights, work = np.empty(d, dtype=np.int64), np.empty(d), block_work(d)
    target = tol * concomitant_scales(np.diag(covariance).copy(), equal, floor, scales)
    best: tuple[np.ndarray, np.ndarray, float, float] | None = None
    for _ in range(_SWEEPS):
        residual_products(covariance, weights, products, variances)
        loss = concomitant_scales(variances, equal, floor, scales)
        objective = loss + float(np.sum(levels * np.abs(weights)))
        gap = _dual_gap(objective, products, variances, scales, levels, edges, equal, floor)
        if best is None or gap < best[3]:
            best = weights.copy(), scales.copy(), objective, gap
        if gap <= target or not np.all(scales > 0.0):
            break
        _fit_columns(covariance, levels, edges, weights, scales, parents, penalty_weights, work)
    assert best is not None
    return best


def _dual_gap(
    objective: float,
    products: np.ndarray,
    variances: np.ndarray,
    scales: np.ndarray,
    levels: np.ndarray,
    edges: np.ndarray,
    equal: bool,
    floor: float,
) -> float:
    safe = np.where(scales > 0.0, scales, 1.0)
    slopes = np.abs(products) / safe
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(edges & (slopes > levels), levels / slopes, 1.0)
    factor = ratio.min(axis=0)
    if equal:
        factor = np.full(factor.size, factor.min())
    inner = np.diag(products) / safe
    dual = factor * inner + 0.5 * floor * (1.0 - factor**2 * np.maximum(variances, 0.0) / safe**2)
    # The difference of two numbers of this size is known up to their rounding.
    return max(objective - float(dual.sum()), 4e-16 * abs(objective))
