r"""Sphere decoding: the closest point of a binary lattice, by depth-first search with partial distances.

With a diagonal that makes :math:`S = Q + \mathrm{diag}(s) = R^T R` positive definite
(:mod:`~sparsemodels.solvers.diagonal_relaxation`) the objective is half of :math:`\|y - R h\|^2` minus half of
:math:`\|y\|^2`. The rows of R are added up from the last: the sum so far bounds all codes that share the bits seen so
far, and a subtree is left out once it cannot hold a code better than the best known, *by more than the rounding of
the whole computation*: a search that ends is a proof.

How many nodes it takes depends on the diagonal more than on anything else. Of 32 correlated columns with 16
observations, any diagonal close to that of the problem leaves millions of nodes, the one of the semidefinite
relaxation some hundred; it does not matter whether there are fewer observations than bits.

References
----------
C. P. Schnorr and M. Euchner, "Lattice basis reduction: improved practical algorithms and solving subset sum problems",
Mathematical Programming 66, 1994 (the order of the children); P. W. Wolniansky et al., "V-BLAST", ISSSE 1998 (the
order of the bits); N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2002, theorems 8.5 and 10.3 (the
rounding errors).
"""

from typing import NamedTuple

import numpy as np

from .binary_objective import ROUNDING, quadratic_value, value_grid
from .diagonal_relaxation import factorize, start_diagonal, tighten
from .kernel import kernel
from .persistency import fix_persistent_bits, free_bits, take_if_better
from .tabu_search import descend

PROVEN, STOPPED, SINGULAR = 1, 0, -1
_FIRST_LOOK = 8  # nodes a bit: close to a code, the first descent ends the search
_NEWTON_STEPS = 4  # with more of them the root bound still rises, the number of nodes hardly falls


class SphereWork(NamedTuple):
    """Work arrays of a search among at most r bits.

    Attributes
    ----------
    matrix, factor : ndarray of shape (r, r)
        The couplings in the order of the search, and the Cholesky factor.
    residual : ndarray of shape (r + 1, r)
        What is left of y below every level.
    permuted, far : ndarray of shape (r,)
        The diagonal in the order of the search; the distances of the second children.
    distance : ndarray of shape (r + 1,)
        The partial distances.
    bits, leaf : ndarray of shape (r,), uint8
        The code in the order of the search and in its own.
    pending : ndarray of shape (r,), bool
        Whether the second child of a level is still to be seen.
    """

    matrix: np.ndarray
    factor: np.ndarray
    residual: np.ndarray
    permuted: np.ndarray
    far: np.ndarray
    distance: np.ndarray
    bits: np.ndarray
    leaf: np.ndarray
    pending: np.ndarray


@kernel
def sphere_work(r):
    """Allocate the work arrays.

    Parameters
    ----------
    r : int
        The largest number of bits.

    Returns
    -------
    SphereWork
        The arrays, not initialised.
    """
    return SphereWork(
        np.empty((r, r)),
        np.empty((r, r)),
        np.empty((r + 1, r)),
        np.empty(r),
        np.empty(r),
        np.empty(r + 1),
        np.empty(r, dtype=np.uint8),
        np.empty(r, dtype=np.uint8),
        np.empty(r, dtype=np.bool_),
    )


@kernel
def ascending_order(values, n_bits, order):
    """Sort by insertion, the smallest first: few bits.

    Parameters
    ----------
    values : ndarray of shape (>= n_bits,)
        What to sort by.
    n_bits : int
        The number of bits.
    order : ndarray of shape (>= n_bits,), int64
        Overwritten by the order.
    """
    for i in range(n_bits):
        j = i
        while j > 0 and values[order[j - 1]] > values[i]:
            order[j] = order[j - 1]
            j -= 1
        order[j] = i


@kernel(fastmath={"contract", "reassoc", "nsz", "arcp"})
def detection_order(inverse, n_bits, work, order):
    """Which bit to decide last, ..., first: each time the one with the largest pivot among those left.

    Parameters
    ----------
    inverse : ndarray of shape (>= n_bits, >= n_bits)
        The lower triangle of the inverse of S; destroyed.
    n_bits : int
        The number of bits.
    work : ndarray of shape (>= n_bits,)
        Work array.
    order : ndarray of shape (>= n_bits,), int64
        Overwritten: the bit of every column of R; the search starts at the last.
    """
    for i in range(n_bits):
        order[i] = i
    for place in range(n_bits - 1, 0, -1):
        chosen = 0
        for i in range(1, place + 1):
            if inverse[order[i], order[i]] < inverse[order[chosen], order[chosen]]:
                chosen = i
        bit = order[chosen]
        order[chosen] = order[place]
        order[place] = bit
        scale = 1.0 / inverse[bit, bit]
        for j in range(bit):
            work[j] = inverse[bit, j]
        for i in range(bit, n_bits):
            work[i] = inverse[i, bit]
        for i in range(place):  # the inverse of what is left
            a = order[i]
            row, weight = inverse[a], work[a] * scale
            for j in range(a + 1):
                row[j] -= weight * work[j]


@kernel(fastmath={"contract", "reassoc", "nsz", "arcp"})
def decode(couplings, linear, diagonal, order, n_bits, gap, max_nodes, code, best, work):
    r"""Search the sphere around the unconstrained minimiser for a better code.

    Parameters
    ----------
    couplings : ndarray of shape (>= n_bits, >= n_bits)
        The couplings, symmetric.
    linear : ndarray of shape (>= n_bits,)
        The linear terms.
    diagonal : ndarray of shape (>= n_bits,)
        The diagonal s.
    order : ndarray of shape (>= n_bits,), int64
        The bit of every column of R; the search starts at the last.
    n_bits : int
        The number of bits, at least 1.
    gap : float
        Codes better than the best by less than this do not exist (integer data), or 0.
    max_nodes : int
        The most nodes.
    code : ndarray of shape (>= n_bits,), uint8
        The best code known, improved in place.
    best : float
        Its value.
    work : SphereWork
        Work arrays.

    Returns
    -------
    best : float
        The value of the code.
    n_nodes : int
        The nodes visited.
    status : int
        ``PROVEN``: no code is better. ``STOPPED``: by `max_nodes`. ``SINGULAR``: S is not safely positive definite.
    """
    factor, matrix, residual = work.factor, work.matrix, work.residual
    scale = 0.0
    for i in range(n_bits):
        a = order[i]
        work.permuted[i] = diagonal[a]
        scale += np.sqrt(max(diagonal[a], 0.0))
        for j in range(i):
            matrix[i, j] = couplings[a, order[j]]
    if not factorize(matrix, work.permuted, n_bits, factor):
        return best, 0, SINGULAR
    image, square = residual[n_bits], 0.0
    for i in range(n_bits):
        total = 0.5 * work.permuted[i] - linear[order[i]]
        for k in range(i):
            total -= factor[i, k] * image[k]
        image[i] = total / factor[i, i]
        square += image[i] * image[i]
    # What rounding can add to a bound: the backward errors of the factor and of the image, those of the distances
    # and of the values are each below (r + 4) u (|y| + sum_a s_aa^(1/2))^2, where |R| of any code is at most the sum.
    margin = 4.0 * (n_bits + 4) * ROUNDING * (np.sqrt(square) + scale) ** 2 - 0.98 * gap
    radius = 2.0 * (best + margin) + square
    bits, far, distance, pending = work.bits, work.far, work.distance, work.pending
    distance[n_bits] = 0.0
    n_nodes, k, down = 0, n_bits - 1, True
    while True:
        if n_nodes >= max_nodes:
            return best, n_nodes, STOPPED
        n_nodes += 1
        if down:  # to the nearer child
            center = residual[k + 1, k]
            zero, one = center * center, (center - factor[k, k]) * (center - factor[k, k])
            bits[k], pending[k] = one < zero, True
            reached = distance[k + 1] + min(zero, one)
            far[k] = distance[k + 1] + max(zero, one)
        else:  # to its sibling
            bits[k], pending[k] = 1 - bits[k], False
            reached = far[k]
        if reached < radius:
            if k > 0:
                distance[k] = reached
                above, below, column = residual[k + 1], residual[k], factor[k]
                if bits[k]:
                    for i in range(k):
                        below[i] = above[i] - column[i]
                else:
                    for i in range(k):
                        below[i] = above[i]
                k, down = k - 1, True
                continue
            for i in range(n_bits):
                work.leaf[order[i]] = bits[i]
            value = quadratic_value(couplings, linear, n_bits, work.leaf)
            if value < best:
                best = value
                radius = 2.0 * (best + margin) + square
                for i in range(n_bits):
                    code[i] = work.leaf[i]
        while k < n_bits and not (pending[k] and far[k] < radius):
            k += 1
        if k == n_bits:
            return best, n_nodes, PROVEN
        down = False


@kernel
def decode_all(gram, target, todo, n_rows, max_nodes, codes, values, proven, n_nodes):
    """Decode every problem.

    Parameters
    ----------
    gram : ndarray of shape (1, r, r) or (n_problems, r, r)
        The matrices.
    target : ndarray of shape (n_problems, r)
        The vectors.
    todo : ndarray of int64
        The problems.
    n_rows : ndarray of shape (n_problems,), int64
        How many observations are behind each matrix; negative where unknown.
    max_nodes : int
        The most nodes of one problem.
    codes : ndarray of shape (n_problems, r), uint8
        The best codes known, improved in place.
    values : ndarray of shape (n_problems,)
        Their values, improved in place.
    proven : ndarray of shape (n_problems,), bool
        Set where the search ended.
    n_nodes : ndarray of shape (n_problems,), int64
        Overwritten by the nodes visited.
    """
    r = codes.shape[1]
    free, work = free_bits(r), sphere_work(r)
    raised, inverse, order = np.empty(r), np.empty((r, r)), np.empty(r, dtype=np.int64)
    for p in todo:
        matrix = gram[p if gram.shape[0] > 1 else 0]
        n_bits = fix_persistent_bits(matrix, target[p], codes[p], free)
        couplings, linear, code = free.couplings, free.linear, free.code
        nodes, status = 0, PROVEN
        if n_bits > 0:
            gap = value_grid(couplings, linear, n_bits)
            descend(couplings, linear, n_bits, code, free.terms)
            best, status = quadratic_value(couplings, linear, n_bits, code), STOPPED
            # First the matrix as it is, unless it is sure to be singular; then the semidefinite relaxation.
            for look in range(0 if n_rows[p] < 0 or n_rows[p] >= n_bits else 1, 2):
                limit = max_nodes - nodes
                if status == PROVEN or limit <= 0:
                    break
                if look == 0:
                    for i in range(n_bits):
                        raised[i] = free.diagonal[i]
                    ascending_order(raised, n_bits, order)
                    limit = min(limit, _FIRST_LOOK * n_bits)
                else:
                    if not start_diagonal(couplings, free.diagonal, n_bits, raised, inverse, free.least):
                        break
                    tighten(couplings, linear, n_bits, best, _NEWTON_STEPS, raised, inverse, free.terms, free.least,
                            free.most, work.factor, work.far)  # fmt: skip
                    detection_order(inverse, n_bits, free.least, order)
                best, more, status = decode(couplings, linear, raised, order, n_bits, gap, limit, code, best, work)
                nodes += more
        n_nodes[p], proven[p] = nodes, status == PROVEN
        values[p] = take_if_better(matrix, target[p], free, False, codes[p], values[p])
