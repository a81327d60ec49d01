r"""Which block to move next: the rules of block coordinate descent, and the gains they rank blocks by.

The problem is :math:`F(w) = \tfrac12 w^T H w - q^T w + \sum_j p_j(w_j)`, with the slope :math:`s = q - H w` kept
current. A greedy rule bounds the Hessian by something simple, and takes the block that would lower the bound most. For
a diagonal bound D that is a sum of gains of single coordinates,

.. math:: \max_d \; s_j d - \tfrac12 D_j d^2 + p_j(w_j) - p_j(w_j + d),

which is :math:`s_j^2 / (2 D_j)` without a penalty. The rules are those of Nutini, Laradji and Schmidt, "Let's make
block coordinate descent converge faster", JMLR 23 (2022), with the proximal gain in place of the squared gradient.
"""

import numpy as np

from .block_updates import block_minimum, submatrix
from .columns import column_axpy
from .kernel import kernel
from .penalties.functions import prox, smooth_piece, value

CYCLIC, RANDOM, GAUSS_SOUTHWELL, LIPSCHITZ, DIAGONAL, QUADRATIC = range(6)

#: The names of the rules.
RULES = {
    "cyclic": CYCLIC,
    "random": RANDOM,
    "gauss_southwell": GAUSS_SOUTHWELL,
    "gauss_southwell_lipschitz": LIPSCHITZ,
    "gauss_southwell_diagonal": DIAGONAL,
    "gauss_southwell_quadratic": QUADRATIC,
}

_THRESHOLDINGS = 10  # steps of iterative hard thresholding for a variable block by the quadratic rule


@kernel
def penalty_change(penalty, old, new, j):
    """The change of the penalty of one coordinate; within a smooth piece without cancellation."""
    lower, upper, slope, curvature = smooth_piece(penalty, old, j)
    if lower < old < upper and lower <= new <= upper:
        return (new - old) * (slope + 0.5 * curvature * (new - old))
    return value(penalty, new, j) - value(penalty, old, j)


@kernel
def coordinate_gain(penalty, coef, slope, bound, j):
    """What one proximal step of a coordinate gains on a diagonal bound of the Hessian, at least zero."""
    if not bound > 0.0:
        return 0.0
    new = prox(penalty, coef + slope / bound, 1.0 / bound, j)
    step = new - coef
    if step == 0.0:
        return 0.0
    return max(slope * step - 0.5 * bound * step * step - penalty_change(penalty, coef, new, j), 0.0)


@kernel
def coordinate_gains(penalty, coef, slope, bounds, out):
    """The gain of every coordinate on the bounds D."""
    for j in range(coef.size):
        out[j] = coordinate_gain(penalty, coef[j], slope[j], bounds[j], j)


@kernel
def largest(values, chosen):
    """The indices of the largest positive values, largest first, the lower index first among equals.

    Parameters
    ----------
    values : ndarray of shape (p,)
        The values.
    chosen : ndarray of int64
        Its length is the number wanted; overwritten by the indices.

    Returns
    -------
    int
        How many were found.
    """
    count = 0
    for j in range(values.size):
        if not values[j] > 0.0 or (count == chosen.size and values[j] <= values[chosen[count - 1]]):
            continue
        k = count if count < chosen.size else count - 1
        while k > 0 and values[chosen[k - 1]] < values[j]:
            chosen[k] = chosen[k - 1]
            k -= 1
        chosen[k] = j
        count = min(count + 1, chosen.size)
    return count


@kernel
def best_fixed_block(penalty, coef, slope, rule, blocks, bounds, work):
    """The block of a partition with the largest gain, and the gain.

    Parameters
    ----------
    penalty : NamedTuple
        The penalty's record.
    coef, slope : ndarray of shape (p,)
        The current point and its slope.
    rule : int
        `QUADRATIC` for the gain of the exact minimum over each block, else the gain on the diagonal bounds.
    blocks : Blocks
        The partition, with its submatrices of H.
    bounds : ndarray of shape (p,)
        The diagonal bounds D of the rule.
    work : BlockWork
        Memory for one block.

    Returns
    -------
    best : int
        The block; -1 if none gains anything.
    gain : float
        Its gain.
    """
    best, most = -1, 0.0
    for b in range(blocks.starts.size - 1):
        first, last = blocks.starts[b], blocks.starts[b + 1]
        if rule == QUADRATIC:
            size = last - first
            for k in range(size):
                work.coef[k], work.slope[k] = coef[blocks.members[first + k]], slope[blocks.members[first + k]]
            gain = block_minimum(
                penalty, blocks.matrices[b], blocks.factors[b], blocks.regular[b], blocks.members[first:last], work
            )
        else:
            gain = 0.0
            for k in range(first, last):
                j = blocks.members[k]
                gain += coordinate_gain(penalty, coef[j], slope[j], bounds[j], j)
        if gain > most:
            best, most = b, gain
    return best, most


@kernel
def quadratic_block(H, penalty, coef, slope, diagonal, place, chosen, other, steps, image, gains, work):
    r"""A variable block for the quadratic rule, by ten steps of iterative hard thresholding.

    The best block of a given size is combinatorially hard to find. The steps minimise the whole objective over changes
    d with at most that many entries: a proximal gradient step, then only the entries survive that would cost most to
    set to zero. The step lengths are those of the best block by the diagonal of H, with which the search starts; of
    the first block and the last the better one is taken.

    Parameters
    ----------
    H : ndarray or SparseColumns of shape (p, p)
        The Hessian.
    penalty : NamedTuple
        The penalty's record.
    coef, slope : ndarray of shape (p,)
        The current point and its slope.
    diagonal : ndarray of shape (p,)
        The diagonal of H.
    place : ndarray of shape (p,), int64
        Memory, -1 throughout, before and after.
    chosen, other : ndarray of shape (size,), int64
        Overwritten by the block, and by the one that was not taken.
    steps, image, gains : ndarray of shape (p,)
        Memory for d, for H d and for the gains.
    work : BlockWork
        Memory for one block.

    Returns
    -------
    int
        The number of coordinates chosen.
    """
    p = coef.size
    coordinate_gains(penalty, coef, slope, diagonal, gains)
    first = largest(gains, chosen)
    if first == 0:
        return 0
    steps[:] = 0.0
    for k in range(first):
        j = chosen[k]
        other[k] = j
        steps[j] = prox(penalty, coef[j] + slope[j] / diagonal[j], 1.0 / diagonal[j], j) - coef[j]
    submatrix(H, chosen[:first], place, work.matrix)
    gain = _gain_of(penalty, coef, slope, chosen[:first], work)
    for i in range(first):
        for k in range(first):
            work.matrix[i, k] /= np.sqrt(diagonal[chosen[i]] * diagonal[chosen[k]])
    stretch = largest_eigenvalue_bound(work.matrix, first)  # so much longer is H than its diagonal, on this block
    count = first
    for _ in range(_THRESHOLDINGS):
        image[:] = 0.0
        for k in range(count):
            column_axpy(H, chosen[k], steps[chosen[k]], image)
        for j in range(p):
            gains[j] = 0.0
            bound = stretch * diagonal[j]
            if not bound > 0.0:
                continue
            target = steps[j] + (slope[j] - image[j]) / bound
            moved = prox(penalty, coef[j] + target, 1.0 / bound, j) - coef[j]
            steps[j] = moved
            if moved != 0.0:
                # What it costs to stay at w_j instead: D (t^2 - (t - d)^2) / 2 + p(w) - p(w + d).
                gains[j] = bound * moved * (target - 0.5 * moved)
                gains[j] -= penalty_change(penalty, coef[j], coef[j] + moved, j)
        count = largest(gains, chosen)
        # `image` is free until the next product: it keeps the survivors while the others are cleared.
        for k in range(count):
            image[k] = steps[chosen[k]]
        steps[:] = 0.0
        for k in range(count):
            steps[chosen[k]] = image[k]
    submatrix(H, chosen[:count], place, work.matrix)
    if count == 0 or _gain_of(penalty, coef, slope, chosen[:count], work) < gain:
        count = first
        for k in range(count):
            chosen[k] = other[k]
    return count


@kernel
def _gain_of(penalty, coef, slope, block, work):
    """What the exact minimum over a block gains; its submatrix is in `work`."""
    for k in range(block.size):
        work.coef[k], work.slope[k] = coef[block[k]], slope[block[k]]
    return block_minimum(penalty, work.matrix, work.factor, False, block, work)


@kernel
def random_subset(draws, permutation, chosen):
    """A uniform random subset, by the first steps of a Fisher-Yates shuffle.

    Parameters
    ----------
    draws : ndarray of shape (size,)
        Uniform random numbers in [0, 1).
    permutation : ndarray of shape (p,), int64
        Any permutation of the coordinates; shuffled in place.
    chosen : ndarray of shape (size,), int64
        Overwritten by the subset.
    """
    p = permutation.size
    for k in range(chosen.size):
        i = k + int(draws[k] * (p - k))
        permutation[k], permutation[i] = permutation[i], permutation[k]
        chosen[k] = permutation[k]


@kernel
def absolute_row_sums(matrix, size, out):
    """Gershgorin's diagonal of the leading submatrix: the sums of absolute values, so that diag(out) bounds it."""
    for i in range(size):
        total = 0.0
        for k in range(size):
            total += abs(matrix[i, k])
        out[i] = total


@kernel
def largest_eigenvalue_bound(matrix, size):
    """An upper bound of the largest eigenvalue of a leading submatrix: the smaller of two norms."""
    rows, squares = 0.0, 0.0
    for i in range(size):
        total = 0.0
        for k in range(size):
            total += abs(matrix[i, k])
            squares += matrix[i, k] * matrix[i, k]
        rows = max(rows, total)
    return min(rows, np.sqrt(squares))
