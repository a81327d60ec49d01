r"""Weighted quantiles in linear time; the median is the minimiser of :math:`u \mapsto \sum_i w_i |v_i - u|`."""

from .kernel import kernel


@kernel
def weighted_quantile(values, weights, size, target):
    r"""Find a weighted quantile by quickselect: the smallest value up to which the weights reach a target.

    Parameters
    ----------
    values : ndarray of shape (>= size,)
        The values; not NaN. The first `size` are reordered, together with their weights.
    weights : ndarray of shape (>= size,)
        Their weights, non-negative.
    size : int
        How many values there are, at least one.
    target : float
        The weight to reach, of all values up to and including the one sought.

    Returns
    -------
    float
        One of the values.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.weighted_median import weighted_quantile
    >>> weighted_quantile(np.array([3.0, 1.0, 2.0]), np.array([5.0, 1.0, 1.0]), 3, 2.0)
    2.0
    """
    low, high = 0, size - 1
    below = 0.0  # the weight of everything left of `low`
    pivot = values[0]
    while low < high:
        # The median of three as the pivot: sorted input, the frequent case, stays linear.
        first, middle, last = values[low], values[(low + high) // 2], values[high]
        pivot = max(min(first, middle), min(max(first, middle), last))
        less, scan, more = low, low, high
        weight_less, weight_equal = 0.0, 0.0
        while scan <= more:  # three-way partition: [low, less) < pivot, [less, scan) == pivot, (more, high] > pivot
            value, weight = values[scan], weights[scan]
            if value < pivot:
                values[scan], weights[scan] = values[less], weights[less]
                values[less], weights[less] = value, weight
                weight_less += weight
                less += 1
                scan += 1
            elif value > pivot:
                values[scan], weights[scan] = values[more], weights[more]
                values[more], weights[more] = value, weight
                more -= 1
            else:
                weight_equal += weight
                scan += 1
        if less > low and below + weight_less >= target:
            high = less - 1
        elif more == high or below + weight_less + weight_equal >= target:
            return pivot
        else:
            below += weight_less + weight_equal
            low = more + 1
    return values[low]


@kernel
def weighted_median(values, weights, size):
    r"""Find the lower weighted median by quickselect.

    It is the smallest value at which the weights up to and including it reach half of their sum, and so a
    minimiser of :math:`\sum_i w_i |v_i - u|` over `u`; between two values with exactly half of the weight on
    either side, where every point is a minimiser, it is the lower one.

    Parameters
    ----------
    values : ndarray of shape (>= size,)
        The values; not NaN. The first `size` are reordered, together with their weights.
    weights : ndarray of shape (>= size,)
        Their weights, non-negative, finite, not all zero.
    size : int
        How many values there are, at least one.

    Returns
    -------
    float
        One of the values.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.weighted_median import weighted_median
    >>> weighted_median(np.array([3.0, 1.0, 2.0]), np.array([5.0, 1.0, 1.0]), 3)
    3.0
    """
    total = 0.0
    for i in range(size):
        total += weights[i]
    return weighted_quantile(values, weights, size, 0.5 * total)
