r"""The convex relaxation of a binary quadratic problem with the best diagonal: its semidefinite bound.

On codes, :math:`h_a^2 = h_a`: any diagonal :math:`s` may stand in the quadratic part if half of it is taken from the
linear one,

.. math:: f(h) = \tfrac12 h^T S h - b^T h, \qquad S = Q + \mathrm{diag}(s), \quad b = \tfrac12 s - q

with the couplings Q (zero on the diagonal) and the linear terms q. Where S is positive definite, the minimum over all
real vectors, :math:`-\frac12 b^T S^{-1} b`, bounds f from below; its maximum over s, a concave function, is the bound
of the semidefinite relaxation. A few Newton steps on

.. math:: -\tfrac12 b^T S^{-1} b + t \log\det S

with a shrinking t come close. The barrier also keeps S well conditioned, which serves the search that follows:
stopping early costs the root bound little and helps the bounds further down.

References
----------
A. Billionnet and S. Elloumi, "Using a mixed integer quadratic programming solver for the unconstrained quadratic 0-1
problem", Mathematical Programming 109, 2007 (the diagonal from the semidefinite relaxation).
"""

import numpy as np

from .kernel import kernel

_FAST = {"contract", "reassoc", "nsz", "arcp"}
_PIVOT = 1e-10  # of the diagonal: what is below counts as singular
_MOST_TRIALS = 60


@kernel(fastmath=_FAST)
def factorize(couplings, diagonal, n_bits, factor):
    """Cholesky factor, by rows, of the couplings with a diagonal.

    Parameters
    ----------
    couplings : ndarray of shape (>= n_bits, >= n_bits)
        The couplings; only what is below the diagonal is read.
    diagonal : ndarray of shape (>= n_bits,)
        The diagonal.
    n_bits : int
        The order.
    factor : ndarray of shape (>= n_bits, >= n_bits)
        Its lower triangle is overwritten by L.

    Returns
    -------
    bool
        Whether the matrix is safely positive definite.
    """
    for i in range(n_bits):
        row = factor[i]
        for j in range(i):
            other = factor[j]
            total = couplings[i, j]
            for k in range(j):
                total -= row[k] * other[k]
            row[j] = total / other[j]
        total = diagonal[i]
        for k in range(i):
            total -= row[k] * row[k]
        if not total > _PIVOT * diagonal[i]:
            return False
        row[i] = np.sqrt(total)
    return True


@kernel(fastmath=_FAST)
def invert(couplings, diagonal, n_bits, inverse, column):
    """The inverse of the couplings with a diagonal, by symmetric sweeps: half the work of an elimination on all rows.

    Parameters
    ----------
    couplings : ndarray of shape (>= n_bits, >= n_bits)
        The couplings; only what is below the diagonal is read.
    diagonal : ndarray of shape (>= n_bits,)
        The diagonal.
    n_bits : int
        The order.
    inverse : ndarray of shape (>= n_bits, >= n_bits)
        Its lower triangle is overwritten by that of the inverse.
    column : ndarray of shape (>= n_bits,)
        Work array.

    Returns
    -------
    bool
        Whether the matrix is safely positive definite; if not, `inverse` means nothing.
    """
    for i in range(n_bits):
        row, given = inverse[i], couplings[i]
        for j in range(i):
            row[j] = given[j]
        row[i] = diagonal[i]
    for k in range(n_bits):
        pivot_row = inverse[k]
        if not pivot_row[k] > _PIVOT * diagonal[k]:
            return False
        scale = 1.0 / pivot_row[k]
        for j in range(k):
            column[j] = pivot_row[j]
        column[k] = 0.0
        for i in range(k + 1, n_bits):
            column[i] = inverse[i, k]
        for i in range(n_bits):
            row, weight = inverse[i], column[i] * scale
            for j in range(i + 1):
                row[j] -= weight * column[j]
        for j in range(k):
            pivot_row[j] = column[j] * scale
        for i in range(k + 1, n_bits):
            inverse[i, k] = column[i] * scale
        pivot_row[k] = -scale
    for i in range(n_bits):
        row = inverse[i]
        for j in range(i + 1):
            row[j] = -row[j]
    return True


@kernel
def start_diagonal(couplings, diagonal, n_bits, trial, inverse, work):
    """A diagonal to begin with: the given one, raised until the matrix is well inside the cone.

    Parameters
    ----------
    couplings : ndarray of shape (>= n_bits, >= n_bits)
        The couplings, symmetric; the diagonal is not read.
    diagonal : ndarray of shape (>= n_bits,)
        The diagonal of the problem as it was given.
    n_bits : int
        The number of bits.
    trial : ndarray of shape (>= n_bits,)
        Overwritten by the diagonal.
    inverse : ndarray of shape (>= n_bits, >= n_bits)
        Its lower triangle is overwritten by that of the inverse.
    work : ndarray of shape (>= n_bits,)
        Work array.

    Returns
    -------
    bool
        Whether there is one; always but for numbers that overflow.
    """
    shift = 0.0
    for a in range(n_bits):
        shift += abs(diagonal[a])
        for b in range(n_bits):
            if b != a:
                shift += abs(couplings[a, b]) / n_bits
    shift *= 0.25 / n_bits
    for _ in range(_MOST_TRIALS):
        for a in range(n_bits):
            trial[a] = diagonal[a] + shift
        if invert(couplings, trial, n_bits, inverse, work):
            return True
        shift *= 4.0
    return False


@kernel(fastmath=_FAST)
def stationary_point(linear, diagonal, n_bits, inverse, point):
    """The minimiser over all real vectors and the minimum.

    Parameters
    ----------
    linear : ndarray of shape (>= n_bits,)
        The linear terms.
    diagonal : ndarray of shape (>= n_bits,)
        The diagonal.
    n_bits : int
        The number of bits.
    inverse : ndarray of shape (>= n_bits, >= n_bits)
        The lower triangle of the inverse of the couplings with the diagonal.
    point : ndarray of shape (>= n_bits,)
        Overwritten by the minimiser.

    Returns
    -------
    float
        The minimum.
    """
    for i in range(n_bits):
        row, total, b = inverse[i], 0.0, 0.5 * diagonal[i] - linear[i]
        for k in range(i):
            total += row[k] * (0.5 * diagonal[k] - linear[k])
            point[k] += row[k] * b
        point[i] = total + row[i] * b
    value = 0.0
    for i in range(n_bits):
        value -= 0.5 * point[i] * (0.5 * diagonal[i] - linear[i])
    return value


@kernel(fastmath=_FAST)
def tighten(couplings, linear, n_bits, upper, n_steps, diagonal, inverse, point, step, trial, factor, work):
    """Newton steps on the diagonal; stops at once where the bound reaches the best known value.

    Parameters
    ----------
    couplings : ndarray of shape (>= n_bits, >= n_bits)
        The couplings, symmetric; the diagonal is not read.
    linear : ndarray of shape (>= n_bits,)
        The linear terms.
    n_bits : int
        The number of bits.
    upper : float
        The best value known.
    n_steps : int
        How many steps.
    diagonal : ndarray of shape (>= n_bits,)
        A diagonal inside the cone, improved in place.
    inverse : ndarray of shape (>= n_bits, >= n_bits)
        The lower triangle of the inverse, at entry and, overwritten, at return.
    point : ndarray of shape (>= n_bits,)
        Overwritten by the minimiser of the last relaxation.
    step, trial : ndarray of shape (>= n_bits,)
        Work arrays.
    factor : ndarray of shape (>= n_bits, >= n_bits)
        Work array.
    work : ndarray of shape (>= n_bits,)
        Work array.

    Returns
    -------
    float
        The bound of the last diagonal, as computed: it proves nothing without a margin for rounding.
    """
    value = stationary_point(linear, diagonal, n_bits, inverse, point)
    barrier = 0.3 * max(upper - value, 1e-12 * abs(value)) / n_bits
    least_barrier = 1e-6 * barrier  # beyond, the bound gains less than the inverse loses in digits
    for _ in range(n_steps):
        if value >= upper or not barrier > least_barrier:
            break
        # The negative Hessian, (u u^T + t P) * P entry by entry with P the inverse and u the point minus 1/2, is
        # positive definite by Schur's product theorem.
        for a in range(n_bits):
            center, row, out = point[a] - 0.5, inverse[a], factor[a]
            step[a] = barrier * row[a] - 0.5 * point[a] * (1.0 - point[a])
            for b in range(a + 1):
                out[b] = (center * (point[b] - 0.5) + barrier * row[b]) * row[b]
            trial[a] = out[a]
        if not factorize(factor, trial, n_bits, factor):
            break
        for i in range(n_bits):
            total, row = step[i], factor[i]
            for k in range(i):
                total -= row[k] * step[k]
            step[i] = total / row[i]
        for i in range(n_bits - 1, -1, -1):
            row = factor[i]
            move = step[i] / row[i]
            step[i] = move
            for k in range(i):
                step[k] -= row[k] * move
        length = 1.0
        for a in range(n_bits):
            trial[a] = diagonal[a] + step[a]
        while not invert(couplings, trial, n_bits, inverse, work):
            length *= 0.6
            if not length > 1e-6:  # a direction without digits: back to where it was
                invert(couplings, diagonal, n_bits, inverse, work)
                return value
            for a in range(n_bits):
                trial[a] = diagonal[a] + length * step[a]
        for a in range(n_bits):
            diagonal[a] = trial[a]
        value = stationary_point(linear, diagonal, n_bits, inverse, point)
        if length > 0.5:
            barrier *= 0.3
    return value
