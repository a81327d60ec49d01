"""Descent from vertex to vertex of a piecewise-linear regression problem: a simplex method on its own ground.

One step lets go of one kink and moves along the edge of the others as long as that descends, past any number of further
kinks: to a weighted quantile of their distances [1]_ [2]_. Which kink to leave is decided by the steepest edge [3]_,
whose recurrences need one product with all columns a step and save most of the steps.

Rows keep the side on which they are until a step takes them across, also where their residual is zero: tied data make
steps of length zero, but no vertex is a dead end.

References
----------
.. [1] I. Barrodale and F. D. K. Roberts, "An improved algorithm for discrete l1 linear approximation", SIAM Journal on
   Numerical Analysis 10, 1973.
.. [2] P. Bloomfield and W. L. Steiger, "Least Absolute Deviations", 1983.
.. [3] D. Goldfarb and J. K. Reid, "A practicable steepest-edge simplex algorithm", Mathematical Programming 12, 1977.
"""

from typing import NamedTuple

import numpy as np

from .kernel import kernel
from .vertex import (
    append,
    axpy,
    delete,
    dot,
    exchange_columns,
    replace_column,
    replace_row,
    row_times_inverse,
    settle_dual,
)
from .weighted_median import weighted_quantile

OPTIMAL, OUT_OF_STEPS, DEGENERATE = range(3)
_NOISE = 1e-12  # changes below this share of the terms they are sums of are rounding
_ZERO = 1e-13  # a distance from a kink, relative to the numbers it is a difference of
_AHEAD, _MET, _CROSSED = range(3)


class Edge(NamedTuple):
    """The edge being followed: room to work in.

    Attributes
    ----------
    direction : ndarray of shape (rank + 1,)
        The change of the basic coefficients.
    change : ndarray of shape (n,)
        The change of the residuals.
    along : ndarray of shape (capacity,)
        The inner products of the change, in units of the kinks, with the columns; then with the other edges.
    along_rows : ndarray of shape (rank + 1,)
        The same for the edges that let go of a row.
    across, across_rows : ndarray of shape (capacity,) and (rank + 1,)
        How fast each edge approaches the kink that enters the basis.
    work : ndarray of shape (2 * rank + 2,)
        For intermediate results.
    kinks : ndarray of shape (2 n + ...,), int64
        The kinks ahead: row i, the zero of column n + a, or the bound of column n + capacity + a.
    times, masses : ndarray
        Their distances, and by how much the slope of the objective grows at each.
    state : ndarray, int8
        Whether each is ahead, met or crossed by the step.
    values, weights : ndarray
        For the selection of the distance to go.
    """

    direction: np.ndarray
    change: np.ndarray
    along: np.ndarray
    along_rows: np.ndarray
    across: np.ndarray
    across_rows: np.ndarray
    work: np.ndarray
    kinks: np.ndarray
    times: np.ndarray
    masses: np.ndarray
    state: np.ndarray
    values: np.ndarray
    weights: np.ndarray


@kernel
def _room(v):
    n, capacity = v.columns.shape
    rank = v.rows.size + 1
    most = n + 2 * rank + 2
    return Edge(
        np.empty(rank),
        np.empty(n),
        np.empty(capacity),
        np.empty(rank),
        np.empty(capacity),
        np.empty(rank),
        np.empty(2 * rank),
        np.empty(most, dtype=np.int64),
        np.empty(most),
        np.empty(most),
        np.empty(most, dtype=np.int8),
        np.empty(most),
        np.empty(most),
    )


@kernel
def steepest_edge(v):
    """The edge to follow: its position (basic rows first, then columns), its sign and its rate of descent; -1 if none.

    Parameters
    ----------
    v : Vertex
        The vertex.

    Returns
    -------
    position : int
        ``p < k`` lets go of the row ``rows[p]``, ``k + j`` moves column ``j >= k``; -1 at an optimal vertex.
    sign : float
        The direction of the residual or of the coefficient.
    rate : float
        By how much the objective falls for a unit step.
    """
    k, m = v.size
    position, sign, rate, best = -1, 0.0, 0.0, 0.0
    for p in range(k):
        i = v.rows[p]
        over, under = v.dual[i] - v.high[i], v.low[i] - v.dual[i]
        violation = max(over, under)
        if violation > v.row_slack[i] and violation * violation > best * v.row_weight[i]:
            best = violation * violation / v.row_weight[i]
            position, rate, sign = p, violation, 1.0 if over > under else -1.0
    for j in range(k, m):
        # The derivatives of the penalty to both sides; infinite at a bound.
        right = np.inf if v.coef[j] >= v.upper[j] else (v.level[j] if v.coef[j] >= 0.0 else -v.level[j])
        left = -np.inf if v.coef[j] <= v.lower[j] else (-v.level[j] if v.coef[j] <= 0.0 else v.level[j])
        over, under = v.slope[j] - right, left - v.slope[j]
        violation = max(over, under)
        if violation > v.column_slack[j] and violation * violation > best * v.column_weight[j]:
            best = violation * violation / v.column_weight[j]
            position, rate, sign = k + j, violation, 1.0 if over > under else -1.0
    return position, sign, rate


@kernel
def _follow(v, e, position, sign):
    # The change along an edge: of coefficients and residuals, and its products with those of the columns. Returns its
    # squared length and the size of the terms that residuals are made of.
    k, m = v.size
    from_row, j = position < k, position - k
    size, weight = 0.0, 0.0
    e.along[:m] = 0.0
    if from_row:
        for a in range(k):
            e.direction[a] = -sign * v.inverse[a, position]
        i = v.rows[position]
        weight = (v.high[i] - v.low[i]) ** 2
        axpy(sign * weight, v.columns[i], e.along, m)
    else:
        for p in range(k):
            e.work[p] = v.columns[v.rows[p], j]
        for a in range(k):
            e.direction[a] = -sign * dot(v.inverse[a], e.work, k)
        size = v.column_size[j]
    for a in range(k):
        size += v.column_size[a] * abs(e.direction[a])
    for i in range(v.residual.size):
        moved = 0.0
        if not v.interpolated[i]:
            moved = -dot(v.columns[i], e.direction, k)
            if not from_row:
                moved -= sign * v.columns[i, j]
            if abs(moved) <= _NOISE * size:
                moved = 0.0
        e.change[i] = moved
        if moved != 0.0:
            push = moved * (v.high[i] - v.low[i]) ** 2
            weight += push * moved
            axpy(push, v.columns[i], e.along, m)
    for a in range(k):
        e.along[a] -= v.column_unit[a] * e.direction[a]
        weight += v.column_unit[a] * e.direction[a] ** 2
    if not from_row:
        e.along[j] -= v.column_unit[j] * sign
        weight += v.column_unit[j]
    return weight, size


@kernel
def _look_ahead(v, e, position, sign):
    # Collects the kinks ahead; returns how many there are and by how much the slope grows over all of them.
    k, _ = v.size
    n, capacity = v.columns.shape
    count, total = 0, 0.0
    for i in range(n):
        if e.change[i] * v.sign[i] < 0.0:
            e.kinks[count] = i
            e.times[count] = max(v.residual[i] * v.sign[i], 0.0) / abs(e.change[i])
            e.masses[count] = (v.high[i] - v.low[i]) * abs(e.change[i])
            total += e.masses[count]
            count += 1
    for a in range(k + 1 if position >= k else k):
        column, speed, side = a, e.direction[a], v.side[a]
        if a == k:
            column, speed = position - k, sign
            side = np.sign(v.coef[column])
        if speed * side < 0.0 and v.level[column] > 0.0:
            e.kinks[count] = n + column
            e.times[count] = max(v.coef[column] * side, 0.0) / abs(speed)
            e.masses[count] = 2.0 * v.level[column] * abs(speed)
            total += e.masses[count]
            count += 1
        bound = v.upper[column] if speed > 0.0 else v.lower[column]
        if speed != 0.0 and abs(bound) < np.inf:
            e.kinks[count] = n + capacity + column
            e.times[count] = max((bound - v.coef[column]) / speed, 0.0)
            e.masses[count] = total = np.inf
            count += 1
    return count, total


@kernel
def _meet(v, e, position, count, rate):
    # How far to go, which kink enters the basis, and whether any is crossed. Of the kinks that are met together the
    # heaviest enters; of the others as many are crossed as the rate of descent allows.
    k, _ = v.size
    n, capacity = v.columns.shape
    e.values[:count] = e.times[:count]
    e.weights[:count] = e.masses[:count]
    distance = weighted_quantile(e.values, e.weights, count, rate)
    passed, entering = 0.0, -1
    for q in range(count):
        kink = e.kinks[q]
        if kink < n:
            speed = abs(e.change[kink])
            zero = _ZERO * (v.row_size[kink] + abs(v.residual[kink]))
        else:
            column = (kink - n) % capacity
            speed = abs(e.direction[column]) if column < k else 1.0
            zero = _ZERO * abs(v.coef[column])
        if e.times[q] == distance or abs(e.times[q] - distance) * speed <= zero:
            e.state[q] = _MET
            if entering < 0 or e.masses[q] > e.masses[entering]:
                entering = q
        elif e.times[q] < distance:
            e.state[q] = _CROSSED
            passed += e.masses[q]
        else:
            e.state[q] = _AHEAD
    for q in range(count):
        if e.state[q] == _MET and q != entering and passed + e.masses[q] < rate:
            e.state[q] = _CROSSED
            passed += e.masses[q]
    return distance, entering, passed > 0.0


@kernel
def _move(v, e, position, sign, distance, count, entering):
    # Moves along the edge; what is crossed changes sides, and the dual vector with it.
    k, m = v.size
    n, capacity = v.columns.shape
    for a in range(k):
        v.coef[a] += distance * e.direction[a]
    if position >= k:
        j = position - k
        v.coef[j] += distance * sign
        v.side[j] = sign if v.coef[j] == 0.0 else np.sign(v.coef[j])
    for i in range(n):
        v.residual[i] += distance * e.change[i]
    for q in range(count):
        if e.state[q] == _AHEAD:
            continue
        kink, crossed = e.kinks[q], e.state[q] == _CROSSED
        if kink >= n:
            if crossed and kink - n < k:
                v.side[kink - n] = -v.side[kink - n]
            continue
        if crossed:
            v.sign[kink] = -v.sign[kink]
            value = v.high[kink] if v.sign[kink] > 0.0 else v.low[kink]
            axpy(value - v.dual[kink], v.columns[kink], v.slope, m)
            v.dual[kink] = value
        if v.residual[kink] * v.sign[kink] < 0.0:
            v.residual[kink] = 0.0  # met, and beyond by rounding
    kink = e.kinks[entering]
    if kink < n:
        v.residual[kink] = 0.0
        return
    column = (kink - n) % capacity
    if kink < n + capacity:
        v.coef[column] = 0.0
    else:
        forward = (e.direction[column] if column < k else sign) > 0.0
        v.coef[column] = v.upper[column] if forward else v.lower[column]


@kernel
def _exchange_duals(v, e, position, sign, kink, leaving, weight, crossed):
    # From the dual vector of one basis to that of the next, and the lengths of their edges; returns the pivot. `kink`
    # is the row that enters, or -1 where column `leaving` is at its kink.
    k, m = v.size
    if kink >= 0:
        row_times_inverse(v, v.columns[kink], k, e.across_rows)
        e.across[:m] = v.columns[kink, :m]
    else:
        e.across_rows[:k] = v.inverse[leaving, :k]
        e.across[:m] = 0.0
    row_times_inverse(v, e.along, k, e.along_rows)
    correction = e.work[k : 2 * k]
    if crossed:  # the slopes of the basic columns are off by what was crossed
        for a in range(k):
            e.work[a] = v.level[a] * v.side[a] - v.slope[a]
        row_times_inverse(v, e.work, k, correction)
    else:
        correction[:] = 0.0
    for p in range(k):
        v.dual[v.rows[p]] += correction[p]
        _axpy_three(
            v.columns[v.rows[p]], m, correction[p], v.slope, -e.across_rows[p], e.across, -e.along_rows[p], e.along
        )
    for a in range(k):
        v.slope[a] = v.level[a] * v.side[a]

    # The entering kink's dual variable moves until that of the leaving one is at the end of its range.
    if position < k:
        i = v.rows[position]
        pivot = e.across_rows[position]
        shift = (v.dual[i] - (v.high[i] if sign > 0.0 else v.low[i])) / pivot
    else:
        j = position - k
        pivot = e.across[j]
        shift = (v.level[j] * v.side[j] - v.slope[j]) / pivot
    for p in range(k):
        v.dual[v.rows[p]] -= shift * e.across_rows[p]
    axpy(shift, e.across[k:], v.slope[k:], m - k)

    # Every edge of the new basis is one of the old minus the multiple of the one followed that stays off the new kink.
    factor = 2.0 * sign / pivot if position < k else -2.0 * sign / pivot
    scale = weight / (pivot * pivot)
    for p in range(k):
        i, speed = v.rows[p], e.across_rows[p]
        updated = v.row_weight[i] - factor * speed * e.along_rows[p] + speed * speed * scale
        v.row_weight[i] = max(updated, (v.high[i] - v.low[i]) ** 2)
    for a in range(k, m):
        speed = e.across[a]
        updated = v.column_weight[a] - factor * speed * e.along[a] + speed * speed * scale
        v.column_weight[a] = max(updated, v.column_unit[a])
    if kink >= 0:
        v.dual[kink] += shift
        v.row_weight[kink] = scale
        v.interpolated[kink] = True
    else:
        v.slope[leaving] -= shift
        v.column_weight[leaving] = scale
    return pivot


@kernel
def _axpy_three(a, size, first, b, second, c, third, d):
    for i in range(size):
        b[i] += first * a[i]
        c[i] += second * a[i]
        d[i] += third * a[i]


@kernel
def _exchange(v, e, position, sign, distance, kink, leaving, pivot):
    # The basis with the new kink in the place of the old one.
    k, _ = v.size
    if position < k:
        i = v.rows[position]
        v.residual[i], v.sign[i], v.interpolated[i] = sign * distance, sign, False
        v.dual[i] = v.high[i] if sign > 0.0 else v.low[i]
        if kink >= 0:
            replace_row(v, k, position, kink, e.across_rows)
        else:
            delete(v, k, position, leaving)
            exchange_columns(v, leaving, k - 1)
            v.size[0] = k - 1
        return
    j = position - k
    for a in range(k):
        e.direction[a] *= -sign  # the image of the column under the inverse
    v.slope[j] = v.level[j] * v.side[j]
    if kink >= 0:
        exchange_columns(v, j, k)
        append(v, k, kink, e.direction, e.across_rows, pivot)
        v.size[0] = k + 1
    else:
        replace_column(v, k, leaving, e.direction)
        exchange_columns(v, j, leaving)


@kernel
def descend(v, n_steps, patience, still):
    """Go from vertex to vertex as long as that descends.

    Parameters
    ----------
    v : Vertex
        Where to start; changed in place.
    n_steps : int
        The largest number of steps.
    patience : int
        How many steps in a row may lead nowhere.
    still : float
        A change of the residuals that counts as none.

    Returns
    -------
    steps : int
        The number of steps.
    state : int
        `OPTIMAL`, `OUT_OF_STEPS` or `DEGENERATE`.
    """
    n, capacity = v.columns.shape
    e = _room(v)
    idle = 0
    for step in range(n_steps):
        k = v.size[0]
        position, sign, rate = steepest_edge(v)
        if position < 0:
            return step, OPTIMAL
        weight, size = _follow(v, e, position, sign)
        count, total = _look_ahead(v, e, position, sign)
        if total < rate:  # no descent to be had: the rate is rounding
            if position < k:
                v.row_slack[v.rows[position]] = 2.0 * rate
            else:
                v.column_slack[position - k] = 2.0 * rate
            continue
        distance, entering, crossed = _meet(v, e, position, count, rate)
        _move(v, e, position, sign, distance, count, entering)
        kink, leaving = e.kinks[entering], -1
        if kink >= n:
            kink, leaving = -1, (kink - n) % capacity
        if leaving < k:
            pivot = _exchange_duals(v, e, position, sign, kink, leaving, weight, crossed)
            _exchange(v, e, position, sign, distance, kink, leaving, pivot)
        elif crossed:  # a coefficient moved from kink to kink: the basis stays
            settle_dual(v, e.work)
        idle = idle + 1 if distance * size <= still else 0
        if idle > patience:
            return step + 1, DEGENERATE
    return n_steps, OUT_OF_STEPS
