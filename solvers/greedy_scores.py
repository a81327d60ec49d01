r"""What one more column can gain: the best one-coordinate move of a regularised loss, for six rules.

With :math:`G(x) = F(y - X x) + \mathrm{pen}(x)`, the score of column `j` at the point `x` is

.. math:: \Delta_j = G(x) - \min_t G(x + t e_j) \ge 0.

The six rules are the pairs of a loss F, :math:`\|r\|_2^2`, :math:`\|r\|_2` or :math:`\|r\|_1`, with row weights
:math:`s_i` inside, and a penalty, :math:`P_j [x_j \ne 0]` or :math:`\kappa_j |x_j|`
(:mod:`~sparsemodels.solvers.greedy_rules`). One formula each covers columns inside and outside the support, of
any norm, with any residual; all are written as sums of gains, never as differences of losses, so that they
keep their digits when a gain is tiny beside the loss. Those of the absolute loss stand in
:mod:`~sparsemodels.solvers.absolute_scores`.

After S. Mohammad-Taheri and S. Brugiapaglia, "The greedy side of the LASSO", arXiv:2303.00844, where the
columns have norm one.
"""

import math
from typing import Any

import numpy as np

from .absolute_scores import absolute_gains, slope_at_zero
from .column_moments import column_moments
from .columns import column_axpy, correlate, shape
from .generic import generic, require
from .greedy_rules import SquaredL0, SquaredL1, SquareRootL0, SquareRootL1
from .kernel import kernel


@generic
def euclidean_gain(rule, j, correlation, square, value, norm, distance):
    r"""The score of one column for a loss of :math:`R = \|r\|_2`.

    Parameters
    ----------
    rule : SquaredL0, SquaredL1, SquareRootL0 or SquareRootL1
        The rule.
    j : int
        The column.
    correlation, square : float
        :math:`\rho = a_j^T r` and :math:`c = \|a_j\|_2^2 > 0`.
    value : float
        The present coefficient :math:`x`.
    norm : float
        :math:`R`.
    distance : float
        :math:`d = \|r - (\rho / c) a_j\|_2`, the norm at the best coefficient.

    Returns
    -------
    float
        :math:`\Delta_j \ge 0`.
    """
    raise TypeError(f"not a rule of the Euclidean norm: {type(rule).__name__}")


@euclidean_gain.register(SquaredL0)
def _(rule, j, correlation, square, value, norm, distance):
    fitting = correlation * correlation / square
    if value == 0.0:
        return max(fitting - rule.penalty[j], 0.0)
    removing = rule.penalty[j] - value * (2.0 * correlation + square * value)
    return max(fitting, removing, 0.0)


@euclidean_gain.register(SquaredL1)
def _(rule, j, correlation, square, value, norm, distance):
    threshold = 0.5 * rule.penalty[j]
    if value == 0.0:
        excess = max(abs(correlation) - threshold, 0.0)
        return excess * excess / square
    if math.isinf(threshold):
        return math.inf
    # The three places of the best coefficient u: on the side of the present one, across zero, or zero.
    sign = math.copysign(1.0, value)
    removed = sign * (correlation + square * value)
    if removed > threshold:
        step = correlation - sign * threshold
        return step * step / square
    if removed < -threshold:
        step = correlation + sign * threshold
        return step * step / square + 4.0 * threshold * abs(value)
    return max(abs(value) * (2.0 * threshold - square * abs(value) - 2.0 * sign * correlation), 0.0)


@kernel
def _loss_by_removal(correlation, square, value, norm, distance):
    # R - R~ with R~ = ||r + x a||, without cancellation; and R~ itself.
    removed = math.hypot(distance, (correlation + square * value) / math.sqrt(square))
    total = norm + removed
    return (-value * (2.0 * correlation + square * value) / total if total > 0.0 else 0.0), removed


@euclidean_gain.register(SquareRootL0)
def _(rule, j, correlation, square, value, norm, distance):
    total = norm + distance
    fitting = correlation * correlation / (square * total) if total > 0.0 else 0.0
    if value == 0.0:
        return max(fitting - rule.penalty[j], 0.0)
    removing = rule.penalty[j] + _loss_by_removal(correlation, square, value, norm, distance)[0]
    return max(fitting, removing, 0.0)


@euclidean_gain.register(SquareRootL1)
def _(rule, j, correlation, square, value, norm, distance):
    root = math.sqrt(square)
    cosine = rule.penalty[j] / root  # of the angle theta: kappa against the norm of the column
    saved, norm_removed = 0.0, norm
    if value != 0.0:
        if math.isinf(cosine):
            return math.inf
        # Taking the column out altogether saves this; what follows comes on top.
        saved, norm_removed = _loss_by_removal(correlation, square, value, norm, distance)
        saved += rule.penalty[j] * abs(value)
    projection = abs(correlation + square * value) / root
    if cosine >= 1.0 or projection <= cosine * norm_removed:
        return max(saved, 0.0)
    theta = math.atan2(math.sqrt((1.0 - cosine) * (1.0 + cosine)), cosine)
    phi = math.atan2(distance, projection)
    half = math.sin(0.5 * (theta - phi))
    return max(saved + 2.0 * norm_removed * half * half, 0.0)


@kernel
def _distance(X, j, step, mean, weights, residual, work):
    for i in range(work.size):
        work[i] = residual[i] + step * mean[j]
    column_axpy(X, j, -step, work)
    total = 0.0
    for i in range(work.size):
        total += weights[i] * work[i] * work[i]
    return math.sqrt(total)


@kernel
def euclidean_gains(X, rule, correlation, square, mean, coef, residual, weights, norm, rounding, usable, work, out):
    """Fill in the scores of all columns for a loss of the Euclidean norm.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n_rows, n_columns)
        The design; read only for columns almost parallel to the residual.
    rule : SquaredL0, SquaredL1, SquareRootL0 or SquareRootL1
        The rule, with its penalties.
    correlation, square, mean : ndarray of shape (n_columns,)
        Of the centred columns: weighted products with the residual, weighted squared norms; and the means.
    coef : ndarray of shape (n_columns,)
        The present coefficients.
    residual, weights : ndarray of shape (n_rows,)
        The present residual and the row weights.
    norm : float
        The weighted norm of the residual.
    rounding : ndarray of shape (n_columns,)
        A correlation up to this size is rounding error and counts as zero.
    usable : ndarray of shape (n_columns,), bool
        Columns that can be moved at all; the others score zero.
    work : ndarray of shape (n_rows,)
        Overwritten.
    out : ndarray of shape (n_columns,)
        The scores.
    """
    for j in range(out.size):
        if not usable[j]:
            out[j] = 0.0
            continue
        product = correlation[j] if abs(correlation[j]) > rounding[j] else 0.0
        if product == 0.0 and coef[j] == 0.0:
            out[j] = 0.0
            continue
        along = abs(product) / math.sqrt(square[j])
        remainder = (norm - along) * (norm + along)
        # For a column almost parallel to the residual this difference has no digits left.
        if remainder > 1e-3 * norm * norm:
            distance = math.sqrt(remainder)
        else:
            distance = _distance(X, j, product / square[j], mean, weights, residual, work)
        out[j] = euclidean_gain(rule, j, product, square[j], coef[j], norm, distance)


def one_coordinate_gains(
    X: Any, residual: np.ndarray, coef: np.ndarray, rule: Any, sample_weight: np.ndarray | None = None
) -> np.ndarray:
    r"""The largest decrease of the penalised loss by a change of one coefficient, for every column.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n_rows, n_columns)
        The design; columns of any norm.
    residual : ndarray of shape (n_rows,)
        :math:`y - X x`; not modified.
    coef : ndarray of shape (n_columns,)
        The present coefficients `x`.
    rule : SquaredL0, SquaredL1, SquareRootL0, SquareRootL1, AbsoluteL0 or AbsoluteL1
        Loss and penalty, with one :math:`P_j` or :math:`\kappa_j` in [0, inf] a column.
    sample_weight : ndarray of shape (n_rows,), optional
        Row weights :math:`s_i` of the losses :math:`\sum s_i r_i^2`, its square root, and :math:`\sum s_i
        |r_i|`; ones by default.

    Returns
    -------
    ndarray of shape (n_columns,)
        :math:`\Delta_j \ge 0`.

    Raises
    ------
    TypeError
        If `rule` is not a record of a rule.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.greedy_rules import SquaredL0
    >>> from sparsemodels.solvers.greedy_scores import one_coordinate_gains
    >>> one_coordinate_gains(np.eye(2), np.array([3.0, 1.0]), np.zeros(2), SquaredL0(np.full(2, 4.0)))
    array([5., 0.])
    """
    n_rows, n_columns = shape(X)
    residual = np.asarray(residual, dtype=np.float64)
    coef = np.asarray(coef, dtype=np.float64)
    weights = np.ones(n_rows) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    out = np.empty(n_columns)
    if type(rule) in slope_at_zero.registry:
        buffers = np.empty((3, n_rows + 1))
        rows = np.empty(n_rows + 1, dtype=np.int64)
        slopes = correlate(X, weights * np.sign(residual))
        absolute_gains(
            X, rule, coef, residual, weights, slopes, np.arange(n_columns), 0.0, True,
            buffers[0], rows, buffers[1], buffers[2], out,
        )  # fmt: skip
        return out
    require(rule, {"euclidean_gain": euclidean_gain}, "rule")
    mean, square, correlation = column_moments(X, weights, weights * residual, centred=False)
    norm = float(np.sqrt(weights @ residual**2))
    euclidean_gains(
        X, rule, correlation, square, mean, coef, residual, weights, norm,
        np.zeros(n_columns), square > 0.0, np.empty(n_rows), out,
    )  # fmt: skip
    return out
