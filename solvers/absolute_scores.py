"""The scores of the absolute loss: a weighted median for each column that could be the best.

The rules and what a score means are those of :mod:`~sparsemodels.solvers.greedy_scores`.
"""

import math

import numpy as np

from .columns import SparseColumns
from .generic import generic
from .greedy_rules import AbsoluteL0, AbsoluteL1
from .kernel import kernel
from .weighted_median import weighted_median

# --------------------------------------------------------


@generic
def gather_column(X, j, values, rows):
    """Copy the non-zero elements of column `j` and their row numbers; return how many there are."""
    raise TypeError(f"not a design matrix: {type(X).__name__}")


@gather_column.register(np.ndarray)
def _(X, j, values, rows):
    count = 0
    for i in range(X.shape[0]):
        value = np.float64(X[i, j])
        values[count] = value
        rows[count] = i
        if value != 0.0:
            count += 1
    return count


@gather_column.register(SparseColumns)
def _(X, j, values, rows):
    count = 0
    for k in range(X.indptr[j], X.indptr[j + 1]):
        value = np.float64(X.data[k])
        if value != 0.0:
            values[count] = value
            rows[count] = X.indices[k]
            count += 1
    return count


@generic
def slope_at_zero(rule, j):
    """The penalty's slope at zero: what the loss must beat for the first step to pay."""
    raise TypeError(f"not a rule of the absolute loss: {type(rule).__name__}")


@slope_at_zero.register(AbsoluteL0)
def _(rule, j):
    return 0.0


@slope_at_zero.register(AbsoluteL1)
def _(rule, j):
    return rule.penalty[j]


@generic
def fixed_cost(rule, j):
    """What any non-zero coefficient costs, whatever its size."""
    raise TypeError(f"not a rule of the absolute loss: {type(rule).__name__}")


@fixed_cost.register(AbsoluteL0)
def _(rule, j):
    return rule.penalty[j]


@fixed_cost.register(AbsoluteL1)
def _(rule, j):
    return 0.0


@generic
def absolute_gain(rule, j, value, best, saved_by_moving, saved_by_removing):
    r"""The score of one column for the absolute loss.

    Parameters
    ----------
    rule : AbsoluteL0 or AbsoluteL1
        The rule.
    j : int
        The column.
    value, best : float
        The present coefficient, and the weighted median that minimises loss and slope of the penalty.
    saved_by_moving, saved_by_removing : float
        By how much the loss falls if the coefficient becomes `best`, or zero.

    Returns
    -------
    float
        :math:`\Delta_j \ge 0`.
    """
    raise TypeError(f"not a rule of the absolute loss: {type(rule).__name__}")


@absolute_gain.register(AbsoluteL0)
def _(rule, j, value, best, saved_by_moving, saved_by_removing):
    if value == 0.0:
        return max(saved_by_moving - rule.penalty[j], 0.0)
    return max(saved_by_moving, saved_by_removing + rule.penalty[j], 0.0)


@absolute_gain.register(AbsoluteL1)
def _(rule, j, value, best, saved_by_moving, saved_by_removing):
    return max(saved_by_moving + rule.penalty[j] * (abs(value) - abs(best)), 0.0)


@kernel
def _saved(step, values, rows, count, residual, weights):
    # The fall of the loss as a sum of falls, row by row.
    total = 0.0
    for k in range(count):
        i = rows[k]
        total += weights[i] * (abs(residual[i]) - abs(residual[i] - step * values[k]))
    return total


@kernel
def _slope_beyond(step, values, rows, count, residual, weights):
    # How fast the loss falls just before `step`, in the direction of the step.
    total = 0.0
    sign = np.sign(step)
    for k in range(count):
        value = sign * values[k]
        rest = residual[rows[k]] - step * values[k]
        if rest == 0.0:
            total += weights[rows[k]] * abs(value)
        else:
            total += weights[rows[k]] * value * np.sign(rest)
    return total


@kernel
def absolute_gains(
    X, rule, coef, residual, weights, slopes, order, best, all_columns, values, rows, ratios, masses, out
):
    r"""Fill in the scores for the absolute loss: of all columns, or exactly only where they matter.

    The gain of a column, as a function of its coefficient, is concave: if it grows at the rate g at first and
    grows no more at the step b / g, it never exceeds b. So one cheap pass over a column shows that it cannot
    beat the best one so far, and only few columns need their weighted median.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n_rows, n_columns)
        The design.
    rule : AbsoluteL0 or AbsoluteL1
        The rule, with its penalties.
    coef : ndarray of shape (n_columns,)
        The present coefficients.
    residual, weights : ndarray of shape (n_rows,)
        The present residual, exactly zero where it is zero in exact arithmetic, and the row weights.
    slopes : ndarray of shape (n_columns,)
        :math:`\sum_i s_i a_{ij} \operatorname{sgn} r_i`.
    order : ndarray of shape (n_columns,), int64
        In which order to look at the columns, promising ones first.
    best : float
        A gain already known to be reached outside the support.
    all_columns : bool
        Whether every score is wanted. If not, a column outside the support that cannot beat the best one
        scores zero.
    values : ndarray of shape (n_rows + 1,), float64
        Overwritten.
    rows : ndarray of shape (n_rows + 1,), int64
        Overwritten.
    ratios, masses : ndarray of shape (n_rows + 1,), float64
        Overwritten.
    out : ndarray of shape (n_columns,)
        The scores.

    Returns
    -------
    float
        The best gain outside the support, or `best` if that is larger.
    """
    for j in order:
        value = coef[j]
        slope = slope_at_zero(rule, j)
        out[j] = 0.0
        if value == 0.0 and (math.isinf(rule.penalty[j]) or abs(slopes[j]) <= slope):
            continue
        count = gather_column(X, j, values, rows)
        if value == 0.0:
            # The cheap exact screen: at zero the loss falls slower than its kinks and the penalty rise.
            rises = slope
            for k in range(count):
                if residual[rows[k]] == 0.0:
                    rises += weights[rows[k]] * abs(values[k])
            rate = abs(slopes[j]) - rises
            if rate <= 0.0:
                continue
            if best > 0.0 and not all_columns:
                # A little short of the best, so that ties with it are still found.
                step = math.copysign((1.0 - 1e-9) * (best + fixed_cost(rule, j)) / rate, slopes[j])
                if _slope_beyond(step, values, rows, count, residual, weights) <= slope:
                    continue
        size = 0
        for k in range(count):
            mass = weights[rows[k]] * abs(values[k])
            if mass > 0.0:
                ratios[size] = residual[rows[k]] / values[k] + value
                masses[size] = mass
                size += 1
        if slope > 0.0:
            ratios[size] = 0.0
            masses[size] = slope
            size += 1
        if math.isinf(slope):
            target = 0.0
        else:
            target = weighted_median(ratios, masses, size) if size > 0 else value
        moving = _saved(target - value, values, rows, count, residual, weights)
        removing = _saved(-value, values, rows, count, residual, weights) if value != 0.0 else 0.0
        out[j] = absolute_gain(rule, j, value, target, moving, removing)
        if value == 0.0:
            best = max(best, out[j])
    return best
