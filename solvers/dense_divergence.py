r"""Updates of rows under a beta-divergence where (nearly) all entries are known: matrix products over blocks of rows.

A block of rows of the product W H lives in the second cache, is weighed entry by entry in one pass and multiplied by
the other factor; the whole product is never in memory. The Hessian matrices of a block's rows are one more product, of
the entries' curvatures with the pairwise products :math:`k_{ja} k_{jb}`. They only steer: float32 is enough for them,
the gradients and everything that is decided or certified being computed in the precision of the data.
"""

from typing import Any, NamedTuple

import numpy as np

from .beta_divergence import curvature_coefficients, dense_rows, divergence_sum
from .divergence_newton import descend_model, own_steps_squared, padded, step_length
from .kernel import kernel
from .observed_matrix import DenseMatrix, MostEntries, shape

_MOST_PAIRS = 1 << 22  # pairwise products kept for all columns at once
_CHUNK = 512  # otherwise so many columns at a time


class Work(NamedTuple):
    """Scratch of one thread for blocks of dense rows, of the type of the data."""

    data: np.ndarray
    approximation: np.ndarray
    ratio: np.ndarray
    share: np.ndarray
    bend: np.ndarray
    pairs: np.ndarray


def scratch(n_rows: int, n_columns: int, r: int, dtype: Any, newton: bool) -> Work:
    """Scratch for blocks of at most `n_rows` rows."""
    data, approximation, ratio, share = (np.empty((n_rows, n_columns), dtype=dtype) for _ in range(4))
    bend = np.empty((n_rows, n_columns), dtype=np.float32 if newton else dtype)
    pairs = np.empty((min(_CHUNK, n_columns), r * (r + 1) // 2 if newton else 0), dtype=np.float32)
    return Work(data, approximation, ratio, share, bend, pairs)


@kernel(fastmath={"contract", "nsz", "arcp"})
def _weigh_counts(X, Y, scale, largest, want_bend, ratio, bend):
    """Kullback-Leibler in one pass: x / y, and the curvature x / y**2."""
    for i in range(X.shape[0]):
        x, y, q, c = X[i], Y[i], ratio[i], bend[i]
        if want_bend:
            for j in range(x.size):
                inverse = 1.0 / y[j]
                quotient = x[j] * inverse
                q[j] = quotient
                c[j] = min(quotient * inverse * scale, largest)
        else:
            for j in range(x.size):
                q[j] = x[j] / y[j]


@kernel(fastmath={"contract", "nsz", "arcp"})
def _weigh(X, Y, a, b, scale, largest, want_bend, ratio, share, bend):
    """The same for any beta; `share` holds the power y**(beta - 2) at entry."""
    for i in range(X.shape[0]):
        x, y, p, q, c = X[i], Y[i], share[i], ratio[i], bend[i]
        for j in range(x.size):
            power = p[j]
            q[j] = x[j] * power
            p[j] = y[j] * power
            if want_bend:
                c[j] = min((a * power + b * q[j] / y[j]) * scale, largest)


@kernel
def _set_listed(indices, indptr, start, stop, value, block):
    for i in range(start, stop):
        for t in range(indptr[i], indptr[i + 1]):
            block[i - start, indices[t]] = value


@kernel
def _pairwise_products(K, inverse_scales, first, last, out):
    """The products of all pairs of entries of each row, scaled to [0, 1], the lower triangle row by row."""
    r = K.shape[1]
    k = np.empty(r, dtype=np.float32)
    for j in range(first, last):
        for a in range(r):
            k[a] = K[j, a] * inverse_scales[a]
        row, t = out[j - first], 0
        for a in range(r):
            for b in range(a + 1):
                row[t] = k[a] * k[b]
                t += 1


def pairwise_products(K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest entry of each component of a factor, and its rows' pairwise products relative to them.

    The products are empty where they would take much memory: then each block of rows forms them anew, part by part.
    """
    scales = np.maximum(K.max(axis=0).astype(np.float64), np.finfo(K.dtype).tiny)
    n, r = K.shape
    n_pairs = r * (r + 1) // 2
    pairs = np.empty((n if n * n_pairs <= _MOST_PAIRS else 0, n_pairs), dtype=np.float32)
    _pairwise_products(K, 1.0 / scales, 0, pairs.shape[0], pairs)
    return scales, pairs


@kernel
def _model_steps(
    packed, scales, unit, gradient, F, ridge, upper, beta, max_sweeps, delta, directions, totals
):  # fmt: skip
    """The KKT residual of a block of rows, and for each row the step to the minimum of its quadratic model."""
    n_rows, r = F.shape
    hessian, g = np.zeros((padded(r), padded(r))), np.zeros(padded(r))
    f, diagonal, inverse = np.empty(r), np.empty(r), np.empty(r)
    for i in range(n_rows):
        t = 0
        for a in range(r):
            for b in range(a + 1):
                value = np.float64(packed[i, t]) * (scales[a] * scales[b] * unit)
                hessian[a, b] = value
                hessian[b, a] = value
                t += 1
            # A little more than the products in float32 can be wrong by.
            hessian[a, a] = hessian[a, a] * (1.0 + 1e-6) + ridge
            diagonal[a] = hessian[a, a]
            f[a], g[a] = F[i, a], gradient[i, a]
        totals[1] += own_steps_squared(g, diagonal, f, upper, beta)
        if max_sweeps > 0:
            descend_model(hessian, g, f, inverse, upper, max_sweeps, delta)
            for a in range(r):
                directions[i, a] = f[a] - F[i, a]


@kernel
def _measure_rows(gradient, curvatures, F, ridge, upper, beta, totals):
    f, g, c = np.empty(F.shape[1]), np.empty(F.shape[1]), np.empty(F.shape[1])
    for i in range(F.shape[0]):
        for a in range(f.size):
            f[a], g[a], c[a] = F[i, a], gradient[i, a], curvatures[i, a] + ridge
        totals[1] += own_steps_squared(g, c, f, upper, beta)


@kernel
def _take_steps(X, Y, dY, directions, F, l1, ridge, upper, beta, floor):
    """Go along each row's direction as far as its objective falls; `Y` becomes the new approximation."""
    no_weights = np.empty(0)
    scratch = np.empty((4, X.shape[1]))
    bits = scratch[0].view(np.int64)
    for i in range(X.shape[0]):
        linear, quadratic = 0.0, 0.0
        for a in range(F.shape[1]):
            d = np.float64(directions[i, a])
            linear += d * (l1 + ridge * F[i, a])
            quadratic += d * d * ridge
        step = step_length(X[i], no_weights, Y[i], dY[i], linear, quadratic, beta, False, floor, scratch, bits)
        if step > 0.0:
            for a in range(F.shape[1]):
                F[i, a] = min(max(F[i, a] + step * directions[i, a], 0.0), upper)
        y, dy = Y[i], dY[i]
        for j in range(y.size):
            y[j] = max(y[j] + step * dy[j], floor)


@kernel
def _loss(X, Y, beta):
    """The divergence of a block; unknown entries are zero in both."""
    no_weights = np.empty(0)
    scratch = np.empty((3, X.shape[1]))
    bits = scratch[0].view(np.int64)
    total = 0.0
    for i in range(X.shape[0]):
        total += divergence_sum(X[i], no_weights, Y[i], beta, scratch, bits)
    return total


def _set_unknown(matrix: Any, start: int, stop: int, value: float, *blocks: np.ndarray) -> None:
    """Set what blocks of rows hold in the places of unknown entries."""
    if isinstance(matrix, MostEntries):
        for block in blocks:
            _set_listed(matrix.unknown_rows.indices, matrix.unknown_rows.indptr, start, stop, value, block)


def update_dense_rows(
    matrix: Any, F: np.ndarray, K: np.ndarray, start: int, stop: int, work: Work, *, beta: float, penalty: Any,
    floor: float, mean: float, newton: bool, exponent: float, max_repeats: int, max_sweeps: int, delta: float,
    measure: bool, want_loss: bool, column_sums: np.ndarray, scales: np.ndarray, all_pairs: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Update a block of rows of a factor, in place.

    Parameters
    ----------
    matrix : DenseMatrix, MostEntries or SparseMatrix
        The matrix.
    F : ndarray of shape (n_rows, n_components)
        The factor, changed in place.
    K : ndarray of shape (n_columns, n_components)
        The other factor.
    start, stop : int
        The rows.
    work : Work
        Scratch.
    beta : float
        Which divergence.
    penalty : RowPenalty
        The penalty of the factor.
    floor : float
        The smallest approximation.
    mean : float
        The mean of the data: their scale.
    newton : bool
        Newton steps; otherwise multiplicative updates.
    exponent : float
        Of the multiplicative updates.
    max_repeats : int
        Updates of each row; 0 only measures.
    max_sweeps, delta : int, float
        As in :func:`~sparsemodels.solvers.divergence_newton.descend_model`.
    measure : bool
        Whether to measure the KKT residual at entry.
    want_loss : bool
        Whether to sum up the divergence after the update.
    column_sums : ndarray of shape (n_components,)
        Those of `K`.
    scales, all_pairs : ndarray
        What :func:`pairwise_products` returned; for Newton steps.

    Returns
    -------
    ndarray of shape (2,)
        The divergence after the update, and the squared KKT residual before it.
    """
    totals = np.zeros(2)
    size, r = stop - start, K.shape[1]
    X = dense_rows(matrix, start, stop, work.data)
    _set_unknown(matrix, start, stop, mean, X)  # a copy; with an approximation that is equal they add nothing
    Y, ratio, share, bend = (block[:size] for block in work[1:5])
    l1, ridge, upper = penalty.l1, penalty.l2, penalty.upper_bound
    all_known = not isinstance(matrix, MostEntries)
    a, b = curvature_coefficients(beta)
    scale = float(mean ** (2.0 - beta))  # curvatures in float32 are relative to that of an average entry
    largest = 1e30 if bend.dtype == np.float32 else np.inf
    rows = F[start:stop]
    np.matmul(rows, K.T, out=Y)
    np.maximum(Y, floor, out=Y)
    for repeat in range(max(max_repeats, 1)):
        curved = (newton) or (measure and repeat == 0)
        if beta == 1.0:
            _weigh_counts(X, Y, scale, largest, curved, ratio, bend)
            if not all_known:
                share[:] = 1.0
        else:
            if beta == 0.0:
                np.square(Y, out=share)
                np.reciprocal(share, out=share)
            else:
                np.power(Y, beta - 2.0, out=share)
            _weigh(X, Y, a, b, scale, largest, curved, ratio, share, bend)
        _set_unknown(matrix, start, stop, 0.0, ratio, share, *([bend] if curved else []))
        negative = ratio @ K
        positive = column_sums if beta == 1.0 and all_known else share @ K
        gradient = positive - negative + (l1 + ridge * rows)
        if newton:
            if all_pairs.shape[0] > 0:
                packed = bend @ all_pairs
            else:
                packed = np.zeros((size, r * (r + 1) // 2), dtype=np.float32)
                for first in range(0, K.shape[0], _CHUNK):
                    last = min(first + _CHUNK, K.shape[0])
                    pairs = work.pairs[: last - first]
                    _pairwise_products(K, 1.0 / scales, first, last, pairs)
                    packed += bend[:, first:last] @ pairs
            directions = np.zeros_like(rows)
            _model_steps(
                packed, scales, 1.0 / scale, gradient, rows, ridge, upper, beta, max_sweeps, delta, directions,
                totals if repeat == 0 else np.zeros(2),
            )  # fmt: skip
            change = np.matmul(directions, K.T, out=share)
            _set_unknown(matrix, start, stop, 0.0, change)
            _take_steps(X, Y, change, directions, rows, l1, ridge, upper, beta, floor)
            continue
        if measure and repeat == 0:
            curvatures = (bend @ np.square(K)).astype(np.float64)
            curvatures /= scale
            _measure_rows(gradient, curvatures, rows, ridge, upper, beta, totals)
        if max_repeats == 0:
            break
        below = positive + (l1 + ridge * rows)
        change = negative / np.where(below > 0.0, below, 1.0)
        change[~(below > 0.0)] = 1.0
        if exponent != 1.0:
            change **= exponent
        rows *= change
        np.minimum(rows, upper, out=rows)
        if want_loss or repeat + 1 < max_repeats:
            np.matmul(rows, K.T, out=Y)
            np.maximum(Y, floor, out=Y)
    if want_loss:
        _set_unknown(matrix, start, stop, mean, Y)
        totals[0] = _loss(X, Y, beta)
    return totals


def block_scratch(matrix: Any, n_rows: int, K: np.ndarray, newton: bool) -> Work:
    """Scratch for blocks of `n_rows` rows of a matrix."""
    dtype = matrix.X.dtype if isinstance(matrix, DenseMatrix | MostEntries) else matrix.rows.data.dtype
    return scratch(n_rows, shape(matrix)[1], K.shape[1], dtype, newton)
