r"""Branch and bound with the additive bound: what every undecided bit can save by itself.

With the couplings :math:`q_{ab}` and the linear terms :math:`q_a`, the decided bits folded in, no completion of a
partial code is below

.. math:: \sum_{a\ \mathrm{undecided}} \min\Bigl(0,\; q_a + \tfrac12 \sum_b \min(0, q_{ab})\Bigr):

a negative coupling is shared between its two bits, a positive one is left out. It costs one addition a bit and no
factorisation, and needs no definite matrix; where the couplings are large and positive it is far weaker than
:mod:`~sparsemodels.solvers.sphere_decoder`. The two have nothing in common but the answer.
"""

import numpy as np

from .binary_objective import ROUNDING, quadratic_value, value_grid
from .kernel import kernel
from .persistency import fix_persistent_bits, free_bits, take_if_better


@kernel
def branch_and_bound(couplings, linear, n_bits, gap, max_nodes, code, best, order, rows, support, value, bits, turn):
    """Search depth first for a better code.

    Parameters
    ----------
    couplings : ndarray of shape (>= n_bits, >= n_bits)
        The couplings, symmetric; the diagonal is not read.
    linear : ndarray of shape (>= n_bits,)
        The linear terms.
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
    order : ndarray of shape (>= n_bits,), int64
        Overwritten: the bits in the order of the search, the largest savings first.
    rows : ndarray of shape (>= n_bits + 1, >= n_bits)
        Work array: the linear terms at every level.
    support : ndarray of shape (>= n_bits + 1, >= n_bits)
        Work array: half the sum of the negative couplings with the undecided bits at every level.
    value : ndarray of shape (>= n_bits + 1,)
        Work array: the value of the decided bits at every level.
    bits, turn : ndarray of shape (>= n_bits,), uint8
        Work arrays: the code, and how many children of a level were seen.

    Returns
    -------
    best : float
        The value of the code.
    n_nodes : int
        The nodes visited.
    proven : bool
        Whether the search ended: no code is better.
    """
    scale = 0.0
    for i in range(n_bits):
        scale += abs(linear[i])
        for j in range(i):
            scale += abs(couplings[i, j])
        j = i  # by insertion: few bits
        while j > 0 and linear[order[j - 1]] > linear[i]:
            order[j] = order[j - 1]
            j -= 1
        order[j] = i
    for a in range(n_bits):
        rows[0, a], support[n_bits, a] = linear[a], 0.0
    for level in range(n_bits - 1, -1, -1):
        bit = order[level]
        for a in range(n_bits):
            support[level, a] = support[level + 1, a]
            if a != bit:
                support[level, a] += 0.5 * min(0.0, couplings[a, bit])
    margin = 4.0 * (n_bits + 4) * ROUNDING * scale - 0.98 * gap
    value[0] = 0.0
    turn[0] = 0
    n_nodes, level = 0, 0
    while level >= 0:
        if turn[level] == 2:
            level -= 1
            continue
        if n_nodes >= max_nodes:
            return best, n_nodes, False
        n_nodes += 1
        bit = order[level]
        terms, below = rows[level], rows[level + 1]
        # The child that looks better by itself first.
        first = 1 if terms[bit] + support[level, bit] < 0.0 else 0
        bits[bit] = first if turn[level] == 0 else 1 - first
        turn[level] += 1
        bound = value[level]
        if bits[bit]:
            bound += terms[bit]
            value[level + 1] = bound
            for a in range(n_bits):
                below[a] = terms[a] + couplings[bit, a]
        else:
            value[level + 1] = bound
            for a in range(n_bits):
                below[a] = terms[a]
        for i in range(level + 1, n_bits):
            a = order[i]
            bound += min(0.0, below[a] + support[level + 1, a])
        if bound >= best + margin:
            continue
        if level + 1 < n_bits:
            level += 1
            turn[level] = 0
            continue
        found = quadratic_value(couplings, linear, n_bits, bits)
        if found < best:
            best = found
            for a in range(n_bits):
                code[a] = bits[a]
    return best, n_nodes, True


@kernel
def branch_and_bound_all(gram, target, todo, max_nodes, codes, values, proven, n_nodes):
    """Search every problem.

    Parameters
    ----------
    gram : ndarray of shape (1, r, r) or (n_problems, r, r)
        The matrices.
    target : ndarray of shape (n_problems, r)
        The vectors.
    todo : ndarray of int64
        The problems.
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
    free, order = free_bits(r), np.empty(r, dtype=np.int64)
    rows, support, value = np.empty((r + 1, r)), np.empty((r + 1, r)), np.empty(r + 1)
    bits, turn = np.empty(r, dtype=np.uint8), np.empty(r, dtype=np.uint8)
    for p in todo:
        matrix = gram[p if gram.shape[0] > 1 else 0]
        n_bits = fix_persistent_bits(matrix, target[p], codes[p], free)
        n_nodes[p], proven[p] = 0, True
        if n_bits > 0:
            gap = value_grid(free.couplings, free.linear, n_bits)
            best = quadratic_value(free.couplings, free.linear, n_bits, free.code)
            _, n_nodes[p], proven[p] = branch_and_bound(
                free.couplings, free.linear, n_bits, gap, max_nodes, free.code, best, order, rows, support, value,
                bits, turn,
            )  # fmt: skip
        values[p] = take_if_better(matrix, target[p], free, False, codes[p], values[p])
