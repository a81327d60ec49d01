"""How a block moves: a proximal gradient step, or the exact minimum over the block.

All work is on a block's own copies of coefficients and slopes; what moved is written back by the caller.
"""

from typing import NamedTuple

import numpy as np

from .cholesky import append, solve
from .columns import SparseColumns
from .generic import generic
from .kernel import kernel
from .penalties.functions import prox, smooth_piece, value

_ROUNDS = 50
_DEPENDENT = 1e-7  # a pivot this small, relative to its column: the square root of the Gram matrix's rounding


class Blocks(NamedTuple):
    """A partition of the coordinates, with what does not change about its blocks.

    Attributes
    ----------
    starts : ndarray of shape (n_blocks + 1,), int64
        Where each block starts in `members`.
    members : ndarray of int64
        The coordinates, block after block.
    matrices : ndarray of shape (n_blocks, size, size)
        The submatrices of H, each in a corner.
    factors : ndarray of shape (n_blocks, size, size)
        Their Cholesky factors.
    regular : ndarray of shape (n_blocks,), bool
        Whether the factor exists: the submatrix is positive definite in working precision.
    lipschitz : ndarray of shape (n_blocks,)
        Their largest eigenvalues.
    """

    starts: np.ndarray
    members: np.ndarray
    matrices: np.ndarray
    factors: np.ndarray
    regular: np.ndarray
    lipschitz: np.ndarray


class BlockWork(NamedTuple):
    """Memory for the update of one block of at most `size` coordinates.

    Attributes
    ----------
    coef, slope : ndarray of shape (size,)
        The block's coefficients and slopes: where an update starts, and where it ends.
    matrix, factor : ndarray of shape (size, size)
        A submatrix of H and a Cholesky factor.
    free : ndarray of shape (size,), int64
        Coordinates inside of a smooth piece of their penalty.
    lower, upper, gradient, curvature, direction, trial : ndarray of shape (size,)
        What the Newton step needs of each of them.
    """

    coef: np.ndarray
    slope: np.ndarray
    matrix: np.ndarray
    factor: np.ndarray
    free: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    gradient: np.ndarray
    curvature: np.ndarray
    direction: np.ndarray
    trial: np.ndarray


def block_work(size: int) -> BlockWork:
    """Memory for blocks of at most `size` coordinates."""
    coef, slope, lower, upper, gradient, curvature, direction, trial = (np.empty(size) for _ in range(8))
    matrix, factor = (np.empty((size, size)) for _ in range(2))
    free = np.empty(size, dtype=np.int64)
    return BlockWork(coef, slope, matrix, factor, free, lower, upper, gradient, curvature, direction, trial)


@generic
def submatrix(H, block, place, out):
    """The rows and columns of a symmetric matrix that belong to a block, into a corner of `out`.

    `place` holds -1 for each row of H, before and after.
    """
    raise TypeError(f"not a matrix: {type(H).__name__}")


@submatrix.register(np.ndarray)
def _(H, block, place, out):
    for i in range(block.size):
        for k in range(block.size):
            out[i, k] = H[block[k], block[i]]


@submatrix.register(SparseColumns)
def _(H, block, place, out):
    for k in range(block.size):
        place[block[k]] = k
    for i in range(block.size):
        for k in range(block.size):
            out[i, k] = 0.0
        for t in range(H.indptr[block[i]], H.indptr[block[i] + 1]):
            k = place[H.indices[t]]
            if k >= 0:
                out[i, k] = H.data[t]
    for k in range(block.size):
        place[block[k]] = -1


@generic
def diagonal_entry(H, j):
    """The entry (j, j) of a symmetric matrix."""
    raise TypeError(f"not a matrix: {type(H).__name__}")


@diagonal_entry.register(np.ndarray)
def _(H, j):
    return H[j, j]


@diagonal_entry.register(SparseColumns)
def _(H, j):
    for t in range(H.indptr[j], H.indptr[j + 1]):
        if H.indices[t] == j:
            return float(H.data[t])
    return 0.0


@kernel
def gradient_step(penalty, bounds, block, work):
    """A proximal gradient step of each coordinate of a block, with the steps 1 / D of a diagonal bound of H.

    Parameters
    ----------
    penalty : NamedTuple
        The penalty's record.
    bounds : ndarray of shape (size,)
        The bounds D; where not positive, the coordinate stays.
    block : ndarray of shape (size,), int64
        The coordinates.
    work : BlockWork
        Holds the coefficients, which are updated, and the slopes, which are not.
    """
    for k in range(block.size):
        if bounds[k] > 0.0:
            point = work.coef[k] + work.slope[k] / bounds[k]
            work.coef[k] = prox(penalty, point, 1.0 / bounds[k], block[k])


@kernel
def block_minimum(penalty, matrix, factor, regular, block, work):
    r"""Minimise over a block exactly, and return the decrease of the objective.

    Newton steps on the coordinates inside of smooth pieces, cut at the kinks, in turn with sweeps of coordinate
    descent, which decide who leaves a kink: the two-metric projection of Bertsekas (1982) for bounds, for any
    separable penalty. Without a penalty it is the single step :math:`H_{bb}^{-1} s_b`.

    Parameters
    ----------
    penalty : NamedTuple
        The penalty's record.
    matrix : ndarray of shape (>= size, >= size)
        The block's submatrix of H, in its corner.
    factor : ndarray of shape (>= size, >= size)
        The submatrix' Cholesky factor, if there is one.
    regular : bool
        Whether `factor` holds it.
    block : ndarray of shape (size,), int64
        The coordinates.
    work : BlockWork
        Holds the coefficients and the slopes, both updated.

    Returns
    -------
    float
        By how much the objective went down.
    """
    size = block.size
    total = 0.0
    for _ in range(_ROUNDS + 2 * size):
        free = 0
        curved = False
        for k in range(size):
            lower, upper, slope, curvature = smooth_piece(penalty, work.coef[k], block[k])
            if lower < work.coef[k] < upper:
                work.free[free], work.lower[free], work.upper[free] = k, lower, upper
                work.gradient[free], work.curvature[free] = work.slope[k] - slope, curvature
                curved |= curvature != 0.0
                free += 1
        full = True
        if free > 0:
            if free == size and regular and not curved:
                for k in range(size):
                    work.direction[k] = work.gradient[k]
                solve(factor, size, work.direction)
                kept = size
            else:
                kept, gain, kink = _newton_direction(matrix, size, free, work)
                total += gain
                if kink:
                    continue  # one coordinate less is free: begin again
            gain, full = _cut_step(penalty, matrix, kept, block, work)
            total += gain
            if full and kept == size:
                break  # no kinks in sight, no dependent columns: this is the minimum
        changed = False
        for k in range(size):
            if not matrix[k, k] > 0.0:
                continue
            old = work.coef[k]
            new = prox(penalty, old + work.slope[k] / matrix[k, k], 1.0 / matrix[k, k], block[k])
            step = new - old
            if step == 0.0:
                continue
            low_before, high_before, _, _ = smooth_piece(penalty, old, block[k])
            low_after, high_after, _, _ = smooth_piece(penalty, new, block[k])
            changed |= low_before != low_after or high_before != high_after
            total += step * (work.slope[k] - 0.5 * matrix[k, k] * step)
            total += value(penalty, old, block[k]) - value(penalty, new, block[k])
            work.coef[k] = new
            for i in range(size):
                work.slope[i] -= step * matrix[i, k]
        if full and not changed:
            break
    return total


@kernel
def _newton_direction(matrix, size, free, work):
    """The Newton direction of the free coordinates that do not depend on others: (how many, gain, at a kink).

    A coordinate that depends on others is taken along the null direction of the block, downhill, to the first kink,
    which takes one coordinate out of the free ones. Where there is no kink, it stays as it is.
    """
    kept = 0
    for a in range(free):
        i = work.free[a]
        for b in range(kept):
            work.trial[b] = matrix[i, work.free[b]]
        pivot = append(work.factor, kept, work.trial, matrix[i, i] + work.curvature[a])
        work.free[kept], work.lower[kept], work.upper[kept] = i, work.lower[a], work.upper[a]
        work.gradient[kept], work.curvature[kept] = work.gradient[a], work.curvature[a]
        if pivot > _DEPENDENT:
            kept += 1
            continue
        if not matrix[i, i] > 0.0:
            continue
        solve(work.factor, kept, work.trial)
        descent, bend = work.gradient[kept], matrix[i, i] + work.curvature[kept]
        for b in range(kept):
            descent -= work.trial[b] * work.gradient[b]
            bend -= work.trial[b] * matrix[i, work.free[b]]
        sign = 1.0 if descent >= 0.0 else -1.0
        first, stop = np.inf, -1
        for b in range(kept + 1):
            work.direction[b] = sign if b == kept else -sign * work.trial[b]
            k = work.free[b]
            room = np.inf
            if work.direction[b] > 0.0:
                room = (work.upper[b] - work.coef[k]) / work.direction[b]
            elif work.direction[b] < 0.0:
                room = (work.lower[b] - work.coef[k]) / work.direction[b]
            if room < first:
                first, stop = room, b
        if stop < 0 or bend * first > abs(descent):
            continue
        for b in range(kept + 1):
            k = work.free[b]
            new = work.coef[k] + first * work.direction[b]
            if b == stop:
                new = work.upper[b] if work.direction[b] > 0.0 else work.lower[b]
            step = new - work.coef[k]
            work.coef[k] = min(max(new, work.lower[b]), work.upper[b])
            for c in range(size):
                work.slope[c] -= step * matrix[c, k]
        return kept, first * (abs(descent) - 0.5 * bend * first), True
    for b in range(kept):
        work.direction[b] = work.gradient[b]
    solve(work.factor, kept, work.direction)
    return kept, 0.0, False


@kernel
def _cut_step(penalty, matrix, kept, block, work):
    """Go along the Newton direction, stopping coordinates at their kinks, as far as the objective goes down."""
    t = 1.0
    for _ in range(60):
        cut = False
        gain = 0.0
        for a in range(kept):
            point = work.coef[work.free[a]] + t * work.direction[a]
            work.trial[a] = min(max(point, work.lower[a]), work.upper[a])
            cut |= point != work.trial[a]
        for a in range(kept):
            k = work.free[a]
            step = work.trial[a] - work.coef[k]
            image = work.curvature[a] * step
            for b in range(kept):
                image += matrix[k, work.free[b]] * (work.trial[b] - work.coef[work.free[b]])
            gain += step * (work.gradient[a] - 0.5 * image)  # the penalty is quadratic within its piece
        if gain >= 0.0:
            break
        t *= 0.5
    else:
        return 0.0, True
    for a in range(kept):
        k = work.free[a]
        step = work.trial[a] - work.coef[k]
        if step != 0.0:
            work.coef[k] = work.trial[a]
            for i in range(block.size):
                work.slope[i] -= step * matrix[i, k]
    return gain, not cut and t == 1.0
