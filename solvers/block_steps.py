"""Steps of block coordinate descent, compiled: a block is chosen, moves, and the slopes of all follow."""

import numpy as np

from .block_rules import (
    CYCLIC,
    GAUSS_SOUTHWELL,
    QUADRATIC,
    RANDOM,
    absolute_row_sums,
    best_fixed_block,
    coordinate_gains,
    largest,
    largest_eigenvalue_bound,
    penalty_change,
    quadratic_block,
    random_subset,
)
from .block_updates import block_minimum, gradient_step, submatrix
from .columns import column_axpy
from .forests import eliminate, grow_forest
from .kernel import kernel
from .penalties.functions import smooth_piece

GRADIENT, DIAGONAL_STEP, MATRIX, MESSAGE_PASSING = range(4)

#: The names of the updates.
UPDATES = {
    "gradient": GRADIENT,
    "diagonal": DIAGONAL_STEP,
    "matrix": MATRIX,
    "message_passing": MESSAGE_PASSING,
}


@kernel
def _kind(penalty, coef, j):
    """The kink or the smooth piece a coefficient is on, as two numbers."""
    lower, upper, _, _ = smooth_piece(penalty, coef, j)
    return lower, upper


@kernel
def _fill(penalty, coef, place, chosen, count):
    """Fill the room that is left in a block with coordinates off their kinks, which must give way to what enters.

    Those that gain nothing by themselves are at their minimum given the others. Without them a block would be solved,
    and leave them behind; with all of them it ends at the minimum over the support.
    """
    for k in range(count):
        place[chosen[k]] = k
    found = count
    for j in range(coef.size):
        if found == chosen.size:
            break
        if place[j] < 0:
            lower, upper, _, _ = smooth_piece(penalty, coef[j], j)
            if lower < coef[j] < upper:
                chosen[found] = j
                found += 1
    for k in range(count):
        place[chosen[k]] = -1
    return found


@kernel
def _apply(H, penalty, block, old, new, coef, slope):
    """Move a block and bring the slopes of all up to date: did anything move, did a kink come or go."""
    moved, switched = False, False
    for k in range(block.size):
        j = block[k]
        step = new[k] - old[k]
        if step == 0.0:
            continue
        moved = True
        switched |= _kind(penalty, old[k], j) != _kind(penalty, new[k], j)
        coef[j] = new[k]
        column_axpy(H, j, -step, slope)
    return moved, switched


@kernel
def block_steps(
    H, penalty, coef, slope, rule, update, blocks, bounds, diagonal, draws, permutation, first, chosen,
    old, place, memory, work, history,
):  # fmt: skip
    """Updates of single blocks by one rule: a batch between two certificates.

    Parameters
    ----------
    H : ndarray in Fortran order or SparseColumns of shape (p, p)
        The Hessian.
    penalty : NamedTuple
        The penalty's record.
    coef, slope : ndarray of shape (p,)
        The point and its slope ``q - H w``, updated in place.
    rule, update : int
        Codes of `RULES` and `UPDATES`.
    blocks : Blocks
        The partition; without blocks, blocks are variable.
    bounds, diagonal : ndarray of shape (p,)
        The rule's diagonal bounds of H, and the diagonal of H.
    draws : ndarray of shape (n_steps, >= 1)
        Uniform random numbers for the random rule; empty for others.
    permutation : ndarray of shape (p,), int64
        Any permutation, shuffled by the random rule; memory for the quadratic rule.
    first : int
        The number of updates made before.
    chosen : ndarray of int64
        Memory of the size of a variable block.
    old, place, memory : ndarray of shape (size,), (p,) and (3, p)
        Memory; `place` holds -1 throughout.
    work : BlockWork
        Memory for one block.
    history : ndarray of shape (n_steps + 1,)
        Holds the objective in front; the others are written.

    Returns
    -------
    n_steps : int
        The number of updates made; fewer than asked for if nothing gains any more.
    switched_at : int
        The last of them, counted from one, at which a coordinate entered or left a kink; 0 if none did.
    """
    p = coef.size
    n_blocks = blocks.starts.size - 1
    switched_at, idle = 0, 0
    for t in range(history.size - 1):
        b = -1
        if n_blocks > 0:
            if rule == CYCLIC:
                b = (first + t) % n_blocks
            elif rule == RANDOM:
                b = int(draws[t, 0] * n_blocks)
            else:
                b, _ = best_fixed_block(penalty, coef, slope, rule, blocks, bounds, work)
                if b < 0:
                    return t, switched_at
            block = blocks.members[blocks.starts[b] : blocks.starts[b + 1]]
            matrix = blocks.matrices[b]
        else:
            count = chosen.size
            if rule == CYCLIC:
                for k in range(count):
                    chosen[k] = ((first + t) * count + k) % p
            elif rule == RANDOM:
                random_subset(draws[t], permutation, chosen)
            elif rule == QUADRATIC:
                count = quadratic_block(
                    H, penalty, coef, slope, diagonal, place, chosen, permutation, memory[0], memory[1], memory[2], work
                )
            else:
                coordinate_gains(penalty, coef, slope, bounds, memory[0])
                count = largest(memory[0], chosen)
            if count == 0:
                return t, switched_at
            if update == MATRIX and rule >= GAUSS_SOUTHWELL:
                count = _fill(penalty, coef, place, chosen, count)
            block = chosen[:count]
            submatrix(H, block, place, work.matrix)
            matrix = work.matrix
        size = block.size
        for k in range(size):
            old[k] = work.coef[k] = coef[block[k]]
            work.slope[k] = slope[block[k]]
        if update == MATRIX:
            if b >= 0:
                gain = block_minimum(penalty, matrix, blocks.factors[b], blocks.regular[b], block, work)
            else:
                gain = block_minimum(penalty, matrix, work.factor, False, block, work)
        else:
            if update == DIAGONAL_STEP:
                absolute_row_sums(matrix, size, work.trial)
            else:
                work.trial[:size] = blocks.lipschitz[b] if b >= 0 else largest_eigenvalue_bound(matrix, size)
            gradient_step(penalty, work.trial, block, work)
            gain = 0.0
            for k in range(size):
                step = work.coef[k] - old[k]
                if step != 0.0:
                    image = 0.0
                    for i in range(size):
                        image += matrix[k, i] * (work.coef[i] - old[i])
                    gain += step * (work.slope[k] - 0.5 * image)
                    gain -= penalty_change(penalty, old[k], work.coef[k], block[k])
        moved, switched = _apply(H, penalty, block, old, work.coef, coef, slope)
        history[t + 1] = history[t] - gain
        if switched:
            switched_at = t + 1
        idle = 0 if moved else idle + 1
        if idle > 0 and (rule >= GAUSS_SOUTHWELL or (rule == CYCLIC and idle * size >= p + size)):
            return t, switched_at
    return history.size - 1, switched_at


@kernel
def forest_steps(
    H, penalty, coef, slope, rule, blocks, bounds, diagonal, draws, permutation, first, limit, memory, places, history
):
    """Updates of blocks on which the pattern of H is a forest, each to its exact minimum by message passing.

    Parameters
    ----------
    H : SparseColumns of shape (p, p)
        The Hessian.
    penalty : NamedTuple
        The penalty's record; smooth, and at most quadratic, on the whole line.
    coef, slope : ndarray of shape (p,)
        The point and its slope ``q - H w``, updated in place.
    rule : int
        A code of `RULES`: the order in which a forest is grown, or how one of the partition is chosen.
    blocks : Blocks
        The partition into forests; without blocks, a forest is grown for each update.
    bounds, diagonal : ndarray of shape (p,)
        The rule's diagonal bounds of H, and the diagonal of H plus the penalty's curvature.
    draws : ndarray of shape (n_steps, >= 1)
        Uniform random numbers for the random rule; empty for others.
    permutation : ndarray of shape (p,), int64
        Any permutation; shuffled by the random rule.
    first : int
        The number of updates made before.
    limit : int
        The largest size of a forest.
    memory : ndarray of shape (5, p)
        Memory.
    places : ndarray of shape (6, p), int64
        Memory: -2 throughout in the first row, -1 in the next two.
    history : ndarray of shape (n_steps + 1,)
        Holds the objective in front; the others are written.

    Returns
    -------
    int
        The number of updates made; fewer than asked for if nothing gains any more.
    """
    p = coef.size
    n_blocks = blocks.starts.size - 1
    gains, gradient, direction = memory[0], memory[1], memory[2]
    for t in range(history.size - 1):
        if n_blocks > 0:
            b = (first + t) % n_blocks
            if rule == RANDOM:
                b = int(draws[t, 0] * n_blocks)
            elif rule != CYCLIC:
                coordinate_gains(penalty, coef, slope, bounds, gains)
                most = 0.0
                for c in range(n_blocks):
                    total = 0.0
                    for k in range(blocks.starts[c], blocks.starts[c + 1]):
                        total += gains[blocks.members[k]]
                    if total > most:
                        b, most = c, total
                if most == 0.0:
                    return t
            block = blocks.members[blocks.starts[b] : blocks.starts[b + 1]]
        else:
            if rule == RANDOM:
                random_subset(draws[t], permutation, places[5])
            else:
                coordinate_gains(penalty, coef, slope, bounds, gains)
                for k in range(p):
                    gains[k] = -gains[k]
                permutation[:] = np.argsort(gains, kind="mergesort")
                if not gains[permutation[0]] < 0.0:
                    return t
            block = places[5][: grow_forest(H, permutation, limit, places[1], places[2], places[5])]
        for k in range(block.size):
            j = block[k]
            _, _, center, _ = smooth_piece(penalty, coef[j], j)
            gradient[j] = slope[j] - center
        failure = eliminate(
            H, diagonal, block, gradient, places[0], places[3], places[4], memory[3], memory[4], direction
        )
        if failure != 0:
            return t
        gain = 0.0
        moved = False
        for k in range(block.size):
            j = block[k]
            gain += 0.5 * gradient[j] * direction[j]
            if direction[j] != 0.0:
                moved = True
                coef[j] += direction[j]
                column_axpy(H, j, -direction[j], slope)
        history[t + 1] = history[t] - gain
        if not moved and rule >= GAUSS_SOUTHWELL:
            return t
    return history.size - 1
