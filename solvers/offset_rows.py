r"""The two half-steps of a nonnegative/binary factorization, each exact for every row or column at once.

An entry is modelled as :math:`x_{ij} \approx \mu + a_i + b_j + w_i \cdot h_j` with :math:`w_i \ge 0` and
:math:`h_j \in \{0, 1\}^r`; without a baseline the first three are zero. With one side fixed, the other is a problem
for each row (or column) of its own. Its offset is the minimiser of a parabola and is eliminated: with
:math:`n = \sum_j \omega_{ij}`, :math:`s = \sum_j \omega_{ij} h_j`, t the sum of what the other side leaves and the
shrinkage :math:`\nu`,

.. math:: a = \frac{t - s \cdot w}{n + \nu}, \qquad G \to G - \frac{s s^\top}{n + \nu}, \quad
    c \to c - \frac{t}{n + \nu} s,

so that codes and offsets are optimal *together*. All of it is read off one Gram matrix of the other side's rows
extended by a column of ones and one of their offsets.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from .block_principal_pivoting import solve_row
from .kernel import kernel
from .observed_matrix import DenseMatrix, ObservedMatrix, SparseMatrix, shape
from .row_grams import row_grams

_BLOCK_BYTES = 1 << 25  # of the Gram matrices formed together
#: A code replaces another only if it is better by more than this share of the terms that were added up.
_ROUNDING = 1e-13


class Side(NamedTuple):
    """One side of the model: the factor's rows and their offsets.

    Attributes
    ----------
    factor : ndarray of shape (n, n_components)
        Nonnegative rows in float64, or codes in uint8.
    offset : ndarray of shape (n,) or (0,)
        The offsets; empty for a model without a baseline.
    """

    factor: np.ndarray
    offset: np.ndarray


class RowsStep(NamedTuple):
    """What the half-step over the nonnegative rows measured.

    Attributes
    ----------
    kkt_squared : float
        How far the rows, their offsets and the mean were from optimal before it, in the units of the data: the sum of
        curvature times squared best step of every coordinate.
    residual_sum : float
        The weighted sum of the residuals over the known entries after it.
    """

    kkt_squared: float
    residual_sum: float


class CodesStep(NamedTuple):
    """What the half-step over the codes did.

    Attributes
    ----------
    loss : float
        Half the weighted squared error after it, plus the shrinkage of this side's offsets, plus the prices of the
        bits that are set.
    n_changed : int
        Columns whose code was replaced by a better one.
    n_inexact : int
        Columns of which it is not proved that no code is better.
    """

    loss: float
    n_changed: int
    n_inexact: int


def extended(side: Side, mean: float) -> np.ndarray:
    """The rows of one side with a one and the offset behind them, or as they are without a baseline."""
    factor = side.factor.astype(np.float64, copy=False)
    if not side.offset.size:
        return np.ascontiguousarray(factor)
    return np.column_stack([factor, np.ones(len(factor)), side.offset + mean])


def blocks_of_rows(matrix: ObservedMatrix, n_columns: int) -> list[tuple[int, int]]:
    """Blocks whose Gram matrices fit the memory set aside for them: fixed, so that no answer depends on threads."""
    n_rows = shape(matrix)[0]
    per_row = 8 * n_columns if isinstance(matrix, DenseMatrix | SparseMatrix) else 8 * n_columns**2
    size = int(np.clip(_BLOCK_BYTES // per_row, 16, 8192))
    return [(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


def each_block(matrix: ObservedMatrix, n_columns: int, n_jobs: int | None, work: Callable[[int, int], Any]) -> list:
    """What ``work(start, stop)`` returns for every block of rows, in their order."""
    blocks = blocks_of_rows(matrix, n_columns)
    if effective_n_jobs(n_jobs) == 1 or len(blocks) == 1:
        return [work(*block) for block in blocks]
    return Parallel(n_jobs=n_jobs, backend="threading")(delayed(work)(*block) for block in blocks)


def _systems(matrix: ObservedMatrix, K: np.ndarray, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Gram matrices and right-hand sides of a block of rows; one Gram matrix where they share it."""
    G, right = row_grams(matrix, K, np.arange(start, stop))
    return (G[:1] if isinstance(matrix, DenseMatrix | SparseMatrix) else G), right


@kernel
def _solve_rows(G, right, F, offset, ridge, shrinkage, update, totals):
    """Rows of nonnegative least squares with their offsets; adds the squared residual and the sum of the errors."""
    n_rows, r = F.shape
    with_offset = G.shape[1] > r
    Q = np.empty((r, r))
    c = np.empty(r)
    plain = np.empty(r)
    work = np.empty((r + 6, r))
    for i in range(n_rows):
        gram, b, f = G[min(i, G.shape[0] - 1)], right[i], F[i]
        weight, target, level = 0.0, 0.0, 0.0
        if with_offset:
            weight, target, level = gram[r, r], b[r] - gram[r, r + 1], offset[i]
        total = weight + shrinkage
        violation = 0.0
        for a in range(r):
            plain[a] = b[a] - gram[a, r + 1] if with_offset else b[a]
            gradient = ridge * f[a] - plain[a]
            if with_offset:
                gradient += level * gram[a, r]
            for k in range(r):
                gradient += gram[a, k] * f[k]
            curvature = gram[a, a] + ridge
            if curvature > 0.0:
                move = max(f[a] - gradient / curvature, 0.0) - f[a]
                violation += curvature * move * move
        if with_offset:
            slope = total * level - target
            for a in range(r):
                slope += gram[a, r] * f[a]
            violation += slope * slope / total
        totals[0] += violation
        if update:
            for a in range(r):
                c[a] = plain[a]
                for k in range(r):
                    Q[a, k] = gram[a, k]
                Q[a, a] += ridge
                if with_offset:
                    c[a] -= target / total * gram[a, r]
                    for k in range(r):
                        Q[a, k] -= gram[a, r] * gram[k, r] / total
            solve_row(Q, c, np.inf, f, work)
            if with_offset:
                level = target
                for a in range(r):
                    level -= gram[a, r] * f[a]
                level /= total
                offset[i] = level
        if with_offset:
            error = target - weight * level
            for a in range(r):
                error -= gram[a, r] * f[a]
            totals[1] += error


def improve_rows(
    matrix: ObservedMatrix,
    rows: Side,
    columns: Side,
    mean: float,
    *,
    ridge: float,
    shrinkage: float,
    update: bool = True,
    n_jobs: int | None = None,
) -> RowsStep:
    r"""Minimise over all nonnegative rows and their offsets, in place, the codes fixed.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The matrix, its rows belonging to `rows`.
    rows : Side
        The nonnegative side, changed in place.
    columns : Side
        The side of the codes.
    mean : float
        The mean :math:`\mu`.
    ridge : float
        Weight of half the squared norm of the factor, for each row.
    shrinkage : float
        Weight of half the squared offsets, > 0 where there are any.
    update : bool, default=True
        Whether to change anything, or only to measure.
    n_jobs : int, optional
        Threads; the answer does not depend on them.

    Returns
    -------
    RowsStep
        How far from optimal the rows were, and what is left for the mean.
    """
    K = extended(columns, mean)

    def work(start: int, stop: int) -> np.ndarray:
        totals = np.zeros(2)
        G, right = _systems(matrix, K, start, stop)
        offset = rows.offset[start:stop] if rows.offset.size else rows.offset
        _solve_rows(G, right, rows.factor[start:stop], offset, ridge, shrinkage, update, totals)
        return totals

    kkt_squared, residual_sum = np.sum(each_block(matrix, K.shape[1], n_jobs, work), axis=0)
    return RowsStep(float(kkt_squared), float(residual_sum))


def code_problems(
    matrix: ObservedMatrix, K: np.ndarray, start: int, stop: int, price: np.ndarray, shrinkage: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The binary quadratic problems of a block of columns, their offsets eliminated.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The matrix, its *rows* belonging to the codes.
    K : ndarray of shape (n_columns, n_components or n_components + 2)
        The other side, extended.
    start, stop : int
        The rows.
    price : ndarray of shape (stop - start, n_components) or (n_components,)
        What each bit costs that is set.
    shrinkage : float
        Weight of half the squared offsets.

    Returns
    -------
    Q : ndarray of shape (stop - start or 1, n_components, n_components)
        The quadratic terms, of 1/2 h'Qh - c'h.
    c : ndarray of shape (stop - start, n_components)
        The linear terms.
    slope, level : ndarray of shape (stop - start, n_components), (stop - start,); or empty
        The offset of a code h is ``level - slope @ h``.
    constant : ndarray of shape (stop - start,)
        What is to be added, beside half the energy of the known entries, for half the squared error.
    """
    G, right = _systems(matrix, K, start, stop)
    r = price.shape[-1]
    if K.shape[1] == r:
        return G, right - price, np.empty((0, r)), np.empty(0), np.zeros(stop - start)
    total = G[:, r, r] + shrinkage
    target = right[:, r] - G[:, r, r + 1]
    sums = G[:, :r, r]
    Q = G[:, :r, :r] - sums[:, :, None] * (sums / total[:, None])[:, None, :]
    level = target / total
    c = right[:, :r] - G[:, :r, r + 1] - sums * level[:, None] - price
    constant = 0.5 * G[:, r + 1, r + 1] - right[:, r + 1] - 0.5 * target * level
    return Q, c, np.broadcast_to(sums / total[:, None], c.shape), level, constant


def code_values(Q: np.ndarray, c: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The values 1/2 h'Qh - c'h of codes, one for each problem."""
    h = codes.astype(np.float64)
    Qh = h @ Q[0] if len(Q) == 1 else np.einsum("jab,jb->ja", Q, h)
    return np.einsum("ja,ja->j", 0.5 * Qh - c, h)


def improve_codes(
    matrix: ObservedMatrix,
    codes: Side,
    others: Side,
    mean: float,
    *,
    price: np.ndarray,
    shrinkage: float,
    energy: float,
    minimize: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> CodesStep:
    r"""Replace every code by the best one, with its offset, in place, the nonnegative side fixed.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The matrix, its *rows* belonging to the codes.
    codes : Side
        The side of the codes, changed in place.
    others : Side
        The nonnegative side.
    mean : float
        The mean :math:`\mu`.
    price : ndarray of shape (n_components,) or (n, n_components)
        What each bit costs that is set.
    shrinkage : float
        Weight of half the squared offsets, > 0 where there are any.
    energy : float
        The squared norm of the known entries.
    minimize : callable
        ``minimize(Q, c, start)`` returns a code for each problem ``1/2 h'Qh - c'h`` and whether it is proved optimal.
        An answer that is not better than the code that was there is not taken.

    Returns
    -------
    CodesStep
        The loss after the step and what changed.
    """
    K = extended(others, mean)

    def work(start: int, stop: int) -> np.ndarray:
        old, block = codes.factor[start:stop], price if price.ndim == 1 else price[start:stop]
        Q, c, slope, level, constant = code_problems(matrix, K, start, stop, block, shrinkage)
        found, proven = minimize(Q, c, old)
        before, after = code_values(Q, c, old), code_values(Q, c, found)
        size = np.abs(c).sum(axis=1) + 0.5 * np.abs(Q).sum(axis=(1, 2))
        better = after < before - _ROUNDING * size
        old[better] = found[better]
        if level.size:
            codes.offset[start:stop] = level - np.einsum("ja,ja->j", slope, old.astype(np.float64))
        return np.array([np.where(better, after, before).sum() + constant.sum(), better.sum(), np.sum(~proven)])

    # One block after the other: `minimize` has threads of its own.
    value, changed, inexact = np.sum(each_block(matrix, K.shape[1], 1, work), axis=0)
    return CodesStep(float(0.5 * energy + value), int(changed), int(inexact))


def improve_offsets(
    matrix: ObservedMatrix, codes: Side, others: Side, mean: float, *, shrinkage: float, n_jobs: int | None = None
) -> float:
    r"""Minimise over the offsets of the codes alone, in place.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The matrix, its *rows* belonging to the codes.
    codes : Side
        The side of the codes; its offsets are changed in place.
    others : Side
        The nonnegative side.
    mean : float
        The mean :math:`\mu`.
    shrinkage : float
        Weight of half the squared offsets, > 0.
    n_jobs : int, optional
        Threads; the answer does not depend on them.

    Returns
    -------
    float
        Half the weighted squared error after it, less half the energy of the known entries, plus the shrinkage of
        these offsets.
    """
    K = extended(others, mean)

    def work(start: int, stop: int) -> float:
        h = codes.factor[start:stop]
        free = np.zeros(h.shape[1])
        Q, c, slope, level, constant = code_problems(matrix, K, start, stop, free, shrinkage)
        codes.offset[start:stop] = level - np.einsum("ja,ja->j", slope, h.astype(np.float64))
        return float(code_values(Q, c, h).sum() + constant.sum())

    return float(np.sum(each_block(matrix, K.shape[1], n_jobs, work)))
