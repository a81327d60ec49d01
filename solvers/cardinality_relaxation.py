r"""The perspective relaxation of a quadratic model under a limit on the number of nonzeros, in compiled code.

At a node of a branch-and-bound tree some columns are in (I), some out, and of the others (F) at most k may join:

.. math:: \min_{w, u} \tfrac12 w^T H w - c^T w + \tfrac12 \sum_{j \in I} \rho_j w_j^2
   + \tfrac12 \sum_{j \in F} \rho_j w_j^2 / u_j \quad \text{with} \quad 0 \le u \le 1, \; \sum_{j \in F} u_j \le k.

For *any* point w, with the slopes :math:`v = c - H w`, weak duality gives the lower bound

.. math:: -\tfrac12 w^T H w - \sum_{j \in I} \frac{v_j^2}{2 \rho_j}
   - \max_{T \subseteq F, |T| \le k} \sum_{j \in T} \frac{v_j^2}{2 \rho_j},

so that a relaxation solved roughly bounds as validly as one solved well. With a price in place of the limit the problem
is separable but for H, and coordinate descent solves it; a search in one dimension finds the price.
"""

import math
from typing import NamedTuple

import numpy as np

from .kernel import kernel

FREE, IN, OUT = 0, 1, 2


class Relaxed(NamedTuple):
    """The solved relaxation of a node.

    Attributes
    ----------
    bound : float
        The best bound met.
    last : float
        The bound that belongs to the slopes.
    price : float
        The price of the last point.
    coef, slope, share : ndarray of shape (n_columns,)
        The last point, slopes that prove a bound, and the shares.
    """

    bound: float
    last: float
    price: float
    coef: np.ndarray
    slope: np.ndarray
    share: np.ndarray


_EPOCHS = 200
_PRICES = 40


@kernel
def sum_of_largest(values, size, count):
    """The sum of the `count` largest of the first `size` values, which are reordered (C. A. R. Hoare's selection)."""
    if count < size:
        first, last = 0, size - 1
        while first < last:
            pivot = values[(first + last) // 2]
            i, j = first, last
            while i <= j:
                while values[i] > pivot:
                    i += 1
                while values[j] < pivot:
                    j -= 1
                if i <= j:
                    values[i], values[j] = values[j], values[i]
                    i += 1
                    j -= 1
            if count - 1 <= j:
                last = j
            elif count - 1 >= i:
                first = i
            else:
                break
    total = 0.0
    for i in range(min(count, size)):
        total += values[i]
    return total


@kernel
def _epoch(hessian, ridge, status, features, coef, slope, price):
    moved = 0.0
    for j in features:
        diagonal, old = hessian[j, j], coef[j]
        point = slope[j] + diagonal * old
        size, new = abs(point), 0.0
        if status[j] == IN:
            new = point / (diagonal + ridge[j])
        else:
            threshold = math.sqrt(2.0 * price * ridge[j])
            if size > threshold + diagonal * threshold / ridge[j]:
                new = point / (diagonal + ridge[j])
            elif size > threshold:
                new = math.copysign((size - threshold) / diagonal, point)
        change = old - new
        if change != 0.0:
            coef[j] = new
            moved += (diagonal + ridge[j]) * change * change
            row = hessian[j]
            for i in range(slope.size):
                slope[i] += change * row[i]
    return moved


@kernel
def dual_bound(correlation, ridge, status, features, room, coef, slope, work):
    r"""The lower bound of a point; see the head of this file.

    Parameters
    ----------
    correlation, ridge : ndarray of shape (n_columns,)
        The inner products c and the ridges :math:`\rho > 0`.
    status : ndarray of shape (n_columns,), int8
        ``FREE``, ``IN`` or ``OUT``.
    features : ndarray of int64
        The columns that are not out.
    room : int
        How many free columns may join.
    coef, slope : ndarray of shape (n_columns,)
        The point w and its slopes v.
    work : ndarray of shape (n_columns,)
        Memory.

    Returns
    -------
    float
        The bound.
    """
    total, count = 0.0, 0
    for j in features:
        total -= 0.5 * coef[j] * (correlation[j] - slope[j])
        term = 0.5 * slope[j] * slope[j] / ridge[j]
        if status[j] == IN:
            total -= term
        else:
            work[count] = term
            count += 1
    return total - sum_of_largest(work, count, room)


@kernel
def shares(ridge, status, features, coef, price, out):
    """The shares u of the free columns at a price (members have one), and their sum."""
    total = 0.0
    for j in features:
        out[j] = 1.0
        if status[j] == FREE:
            out[j] = min(abs(coef[j]) * math.sqrt(0.5 * ridge[j] / price), 1.0)
            total += out[j]
    return total


@kernel
def next_price(price, total, room, bracket):
    """The price to try next, from the sum of the shares at the last one; 0.0 where the best price is enclosed.

    Parameters
    ----------
    price : float
        The last price.
    total : float
        The sum of the shares there.
    room : int
        What it should be.
    bracket : ndarray of shape (4,)
        The largest price known to be too low, the smallest known to be too high, and the sums there; updated.

    Returns
    -------
    float
        The next price.
    """
    if abs(total - room) <= 1e-3 * room:
        return 0.0
    side = 0 if total > room else 1
    bracket[side], bracket[2 + side] = price, total
    low, high = bracket[0], bracket[1]
    if low > 0.0 and high < np.inf:
        if high <= low * (1.0 + 1e-7):
            return 0.0
        # Between two prices the sum of the shares falls about like a power of the price.
        part = 0.5
        if bracket[3] > 0.0:
            part = min(max(math.log(bracket[2] / room) / math.log(bracket[2] / bracket[3]), 0.1), 0.9)
        return low * (high / low) ** part
    ratio = total / room
    return price * min(max(ratio * ratio * (1.1 if ratio > 1.0 else 0.9), 0.05), 20.0)


@kernel
def relax(hessian, correlation, ridge, status, features, room, coef, slope, price, cutoff, tol, share, work):
    """Solve the relaxation of a node until its bound stands still or exceeds a cutoff.

    Parameters
    ----------
    hessian : ndarray of shape (n_columns, n_columns)
        The positive semidefinite matrix H.
    correlation, ridge : ndarray of shape (n_columns,)
        The inner products c and the ridges.
    status : ndarray of shape (n_columns,), int8
        ``FREE``, ``IN`` or ``OUT``.
    features : ndarray of int64
        The columns that are not out.
    room : int
        How many free columns may join.
    coef, slope : ndarray of shape (n_columns,)
        Where to start, and its slopes; overwritten by the last point.
    price : float
        The price to start from, > 0.
    cutoff : float
        A bound that is high enough.
    tol : float
        How much of a bound is nothing.
    share, work : ndarray of shape (n_columns,)
        The last shares, and memory.

    Returns
    -------
    bound : float
        The best bound met.
    last : float
        The bound of the last point.
    price : float
        The price of the last point.
    """
    best, last = -np.inf, -np.inf
    bracket = np.array([0.0, np.inf, 0.0, 0.0])
    stale = 0
    for k in range(_PRICES):
        for epoch in range(_EPOCHS):
            moved = _epoch(hessian, ridge, status, features, coef, slope, price)
            if epoch % 4 == 3:
                last = dual_bound(correlation, ridge, status, features, room, coef, slope, work)
                if last >= cutoff:
                    return last, last, price
            if moved <= 1e-3 * tol:
                break
        last = dual_bound(correlation, ridge, status, features, room, coef, slope, work)
        total = shares(ridge, status, features, coef, price, share)
        # Close to the best price a bound gains little; what does it matter beside the distance to the cutoff?
        stale = 0 if k == 0 or last > best + 0.01 * max(cutoff - best, tol) else stale + 1
        best, before = max(best, last), price
        if best >= cutoff or stale >= 3:
            break
        price = next_price(price, total, room, bracket)
        if price == 0.0:
            return best, last, before
    return best, last, price


@kernel
def fix(bound, ridge, status, features, room, slope, cutoff, work):
    r"""Decide the free columns whose other choice is bounded away, and count them.

    Let :math:`t_j = v_j^2 / (2 \rho_j)`, with the k-th and the next largest among the free columns. To force a column
    below them in exchanges the k-th for it, to force one of them out exchanges it for the next: the bound moves by the
    difference, and beyond the cutoff the choice is excluded (A. Atamturk and A. Gomez, "Safe screening rules for
    l0-regression from perspective relaxations", ICML 2020).

    Parameters
    ----------
    bound : float
        The bound of the point with these slopes.
    ridge : ndarray of shape (n_columns,)
        The ridges.
    status : ndarray of shape (n_columns,), int8
        ``FREE``, ``IN`` or ``OUT``; overwritten.
    features : ndarray of int64
        The columns that are not out.
    room : int
        How many free columns may join.
    slope : ndarray of shape (n_columns,)
        The slopes.
    cutoff : float
        What a bound must reach to exclude.
    work : ndarray of shape (n_columns,)
        Memory.

    Returns
    -------
    int
        How many columns were decided.
    """
    count = 0
    for j in features:
        if status[j] == FREE:
            work[count] = 0.5 * slope[j] * slope[j] / ridge[j]
            count += 1
    if count <= room:
        return 0
    sum_of_largest(work, count, room)  # the largest `room` now stand first
    smallest_in, largest_out = np.inf, 0.0
    for i in range(count):
        if i < room:
            smallest_in = min(smallest_in, work[i])
        else:
            largest_out = max(largest_out, work[i])
    decided = 0
    for j in features:
        if status[j] == FREE:
            term = 0.5 * slope[j] * slope[j] / ridge[j]
            if term <= largest_out and bound + smallest_in - term >= cutoff:
                status[j] = OUT
                decided += 1
            elif term >= smallest_in and bound + term - largest_out >= cutoff:
                status[j] = IN
                decided += 1
    return decided
