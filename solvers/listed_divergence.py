r"""Updates of rows under a beta-divergence where the entries are listed: the product W H is formed only at them.

For the rows of a sparse matrix of which the zeros are data, the sum over the zeros has a closed form for two
divergences: under Kullback-Leibler it is :math:`f \cdot \sum_j k_j` over all columns, less what belongs to the
listed; under squared error :math:`\frac12 f^\top K^\top K f`. Both are passed as `shared_slope` and `shared_gram`.

A row's part of K is gathered once, transposed, to a tile that stays in the nearest cache; everything else works on
the tile.
"""

import numpy as np

from .beta_divergence import divergence_sum, fill_power
from .divergence_newton import descend_model, own_steps_squared, padded, step_length
from .kernel import kernel

_SUM = {"contract", "reassoc", "nsz", "arcp"}


@kernel
def _gather(K, indices, first, tile):
    """Copy rows of a factor to the columns of a tile, eight at a time: along its rows the tile is then vectorized."""
    r, n = tile.shape
    j = 0
    while j + 8 <= n:
        t = first + j
        k0, k1, k2, k3 = K[indices[t]], K[indices[t + 1]], K[indices[t + 2]], K[indices[t + 3]]
        k4, k5, k6, k7 = K[indices[t + 4]], K[indices[t + 5]], K[indices[t + 6]], K[indices[t + 7]]
        for a in range(r):
            row = tile[a]
            row[j], row[j + 1], row[j + 2], row[j + 3] = k0[a], k1[a], k2[a], k3[a]
            row[j + 4], row[j + 5], row[j + 6], row[j + 7] = k4[a], k5[a], k6[a], k7[a]
        j += 8
    while j < n:
        k0 = K[indices[first + j]]
        for a in range(r):
            tile[a, j] = k0[a]
        j += 1


@kernel(fastmath=_SUM)
def _approximate(tile, f, floor, y):
    """The products of the tile with a row, at least `floor`."""
    r, n = tile.shape
    y[:] = 0.0
    a = 0
    while a + 4 <= r:
        f0, f1, f2, f3 = f[a], f[a + 1], f[a + 2], f[a + 3]
        t0, t1, t2, t3 = tile[a], tile[a + 1], tile[a + 2], tile[a + 3]
        for j in range(n):
            y[j] += f0 * t0[j] + f1 * t1[j] + f2 * t2[j] + f3 * t3[j]
        a += 4
    while a < r:
        f0, t0 = f[a], tile[a]
        for j in range(n):
            y[j] += f0 * t0[j]
        a += 1
    for j in range(n):
        y[j] = max(y[j], floor)


@kernel(fastmath=_SUM)
def _add_products(tile, factors, out):
    """Add the inner products of the tile's rows with the factors."""
    r, n = tile.shape
    for a in range(0, r, 4):
        # Past the end the last one is taken again.
        a1, a2, a3 = min(a + 1, r - 1), min(a + 2, r - 1), min(a + 3, r - 1)
        t0, t1, t2, t3 = tile[a], tile[a1], tile[a2], tile[a3]
        s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
        for j in range(n):
            value = factors[j]
            s0 += value * t0[j]
            s1 += value * t1[j]
            s2 += value * t2[j]
            s3 += value * t3[j]
        out[a] += s0
        if a + 1 < r:
            out[a1] += s1
        if a + 2 < r:
            out[a2] += s2
        if a + 3 < r:
            out[a3] += s3


@kernel(fastmath=_SUM)
def _add_squares(tile, factors, left, right, sums, out):
    """Add the inner products of the tile's rows weighted by the factors; two rows with four at a time."""
    r, n = tile.shape
    for a in range(0, r, 2):
        a1 = min(a + 1, r - 1)
        ta, tb = tile[a], tile[a1]
        for j in range(n):
            left[j] = factors[j] * ta[j]
            right[j] = factors[j] * tb[j]
        for b in range(0, a1 + 1, 4):
            b1, b2, b3 = min(b + 1, a1), min(b + 2, a1), min(b + 3, a1)
            t0, t1, t2, t3 = tile[b], tile[b1], tile[b2], tile[b3]
            s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
            q0, q1, q2, q3 = 0.0, 0.0, 0.0, 0.0
            for j in range(n):
                u, v = left[j], right[j]
                p0, p1, p2, p3 = t0[j], t1[j], t2[j], t3[j]
                s0 += u * p0
                s1 += u * p1
                s2 += u * p2
                s3 += u * p3
                q0 += v * p0
                q1 += v * p1
                q2 += v * p2
                q3 += v * p3
            sums[a, b], sums[a, b1], sums[a, b2], sums[a, b3] = s0, s1, s2, s3
            sums[a1, b], sums[a1, b1], sums[a1, b2], sums[a1, b3] = q0, q1, q2, q3
    for a in range(r):
        for b in range(a):
            out[a, b] += sums[a, b]
            out[b, a] += sums[a, b]
        out[a, a] += sums[a, a]


@kernel(fastmath=_SUM)
def _add_diagonals(tile, factors, out):
    for a in range(tile.shape[0]):
        row, total = tile[a], 0.0
        for j in range(row.size):
            total += factors[j] * row[j] * row[j]
        out[a] += total


@kernel(fastmath=_SUM)
def _pointwise(x, weights, y, beta, shared, a, b, power, pull, push, bend):
    """The factors of the tile's rows in the gradient's negative and positive part and in the Hessian matrix."""
    n = y.size
    fill_power(y, beta, power)
    for j in range(n):
        pull[j] = x[j] * power[j]
        push[j] = y[j] * power[j]
        bend[j] = a * power[j] + b * pull[j] / y[j]
    if shared:
        push[:n] = 0.0
        if beta == 2.0:
            bend[:n] = 0.0
    if weights.size > 0:
        for j in range(n):
            pull[j] *= weights[j]
            push[j] *= weights[j]
            bend[j] *= weights[j]


@kernel
def update_listed_rows(
    data, indices, indptr, weights, K, F, start, stop, beta, coefficients, shared, shared_slope, shared_gram,
    l1, ridge, upper, floor, newton, exponent, max_repeats, max_sweeps, delta, measure, want_loss, totals,
):  # fmt: skip
    """Update some rows of a factor, in place.

    Parameters
    ----------
    data, indices, indptr, weights : ndarray
        The listed entries, as in :class:`~sparsemodels.solvers.observed_matrix.SparseRows`.
    K : ndarray of shape (n_columns, r)
        The other factor.
    F : ndarray of shape (n_rows, r)
        The factor, changed in place.
    start, stop : int
        The rows.
    beta : float
        Which divergence.
    coefficients : tuple of float
        Those of the curvature.
    shared : bool
        Whether the entries that are not listed are zeros, summed in closed form.
    shared_slope, shared_gram : ndarray of shape (r,), (r, r)
        The closed form: the column sums of `K` (Kullback-Leibler), or its Gram matrix (squared error); else zeros.
    l1, ridge, upper : float
        The penalty.
    floor : float
        The smallest approximation.
    newton : bool
        Newton steps; otherwise multiplicative updates with `exponent`.
    exponent : float
        Of the multiplicative updates.
    max_repeats : int
        Updates of each row; 0 only measures.
    max_sweeps, delta : int, float
        As in :func:`~sparsemodels.solvers.divergence_newton.descend_model`.
    measure : bool
        Whether to measure the KKT residual at entry; Newton steps always do.
    want_loss : bool
        Whether to sum up the divergence after the update.
    totals : ndarray of shape (2,)
        Adds up the divergence after the update, and the squared KKT residual before it.
    """
    r = K.shape[1]
    longest = 1
    for i in range(start, stop):
        longest = max(longest, indptr[i + 1] - indptr[i])
    tiles, work, all_bits = np.empty(r * longest), np.empty((10, longest)), np.empty((4, longest))
    hessian, gradient = np.zeros((padded(r), padded(r))), np.zeros(padded(r))
    sums, inverse = np.empty((r, r)), np.empty(r)
    f, trial, negative, positive, diagonal = np.empty(r), np.empty(r), np.empty(r), np.empty(r), np.empty(r)
    no_weights = np.empty(0)
    a, b = coefficients
    quadratic_rest = shared and beta == 2.0
    for i in range(start, stop):
        first = indptr[i]
        n = indptr[i + 1] - first
        tile = tiles[: r * n].reshape(r, n)
        x, y, dy = work[0, :n], work[1, :n], work[2, :n]
        power, pull, push, bend = work[3, :n], work[4, :n], work[5, :n], work[6, :n]
        scratch = all_bits[:, :n]
        bits = scratch[0].view(np.int64)
        for j in range(n):
            x[j] = data[first + j]
        w = no_weights
        if weights.size > 0:
            w = work[7, :n]
            for j in range(n):
                w[j] = weights[first + j]
        _gather(K, indices, first, tile)
        for c in range(r):
            f[c] = F[i, c]
        _approximate(tile, f, floor, y)
        for repeat in range(max(max_repeats, 1)):
            _pointwise(x, w, y, beta, shared, a, b, power, pull, push, bend)
            negative[:] = 0.0
            positive[:] = shared_slope
            _add_products(tile, pull, negative)
            if not shared:
                _add_products(tile, push, positive)
            elif quadratic_rest:
                for c in range(r):
                    for e in range(r):
                        positive[c] += shared_gram[c, e] * f[e]
            for c in range(r):
                gradient[c] = positive[c] - negative[c] + l1 + ridge * f[c]
            if newton:
                hessian[:r, :r] = shared_gram
                _add_squares(tile, bend, work[8, :n], work[9, :n], sums, hessian)
                for c in range(r):
                    hessian[c, c] += ridge
                    diagonal[c] = hessian[c, c]
            elif measure and repeat == 0:
                for c in range(r):
                    diagonal[c] = shared_gram[c, c] + ridge
                _add_diagonals(tile, bend, diagonal)
            if repeat == 0 and (newton or measure):
                totals[1] += own_steps_squared(gradient, diagonal, f, upper, beta)
            if max_repeats == 0:
                break
            if newton:
                trial[:] = f
                linear, quadratic = 0.0, 0.0
                descend_model(hessian, gradient, trial, inverse, upper, max_sweeps, delta)
                for c in range(r):
                    trial[c] -= f[c]
                    linear += trial[c] * (l1 + shared_slope[c] + ridge * f[c])
                    quadratic += trial[c] * trial[c] * ridge
                if quadratic_rest:
                    for c in range(r):
                        for e in range(r):
                            linear += trial[c] * shared_gram[c, e] * f[e]
                            quadratic += trial[c] * shared_gram[c, e] * trial[e]
                _approximate(tile, trial, -np.inf, dy)
                step = step_length(x, w, y, dy, linear, quadratic, beta, shared, floor, scratch, bits)
                if step == 0.0:
                    break
                for c in range(r):
                    f[c] = min(max(f[c] + step * trial[c], 0.0), upper)
                for j in range(n):
                    y[j] = max(y[j] + step * dy[j], floor)
            else:
                for c in range(r):
                    below = positive[c] + l1 + ridge * f[c]
                    if f[c] > 0.0 and below > 0.0:
                        change = negative[c] / below
                        f[c] = min(f[c] * (change if exponent == 1.0 else change**exponent), upper)
                if want_loss or repeat + 1 < max_repeats:
                    _approximate(tile, f, floor, y)
        if max_repeats > 0:
            for c in range(r):
                F[i, c] = f[c]
        if want_loss:
            loss = divergence_sum(x, w, y, beta, scratch, bits)
            if shared:
                for j in range(n):
                    loss -= y[j] if beta == 1.0 else 0.5 * y[j] * y[j]
                for c in range(r):
                    loss += shared_slope[c] * f[c]
                    if quadratic_rest:
                        for e in range(r):
                            loss += 0.5 * f[c] * shared_gram[c, e] * f[e]
            totals[0] += loss
