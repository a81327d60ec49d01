r"""Tabu search for binary quadratic problems: steepest one-bit flips with a memory.

The best flip that was not undone lately is made, uphill where need be; the change that every flip would bring is kept
current at one addition a bit. After a while without progress the search restarts from the best code with a few bits
flipped at random.

References
----------
G. Palubeckis, "Multistart tabu search strategies for the unconstrained binary quadratic optimization problem", Annals
of Operations Research 131, 2004.
"""

import numpy as np

from .binary_objective import quadratic_value
from .kernel import kernel
from .persistency import fix_persistent_bits, free_bits, take_if_better

_MOVES = 400  # a bit


@kernel
def next_random(state):
    """The next of a sequence of pseudo-random 32-bit numbers (Marsaglia's xorshift), never zero.

    Parameters
    ----------
    state : int
        The number before; not zero.

    Returns
    -------
    int
        The number.
    """
    state ^= (state << 13) & 0xFFFFFFFF
    state ^= state >> 17
    state ^= (state << 5) & 0xFFFFFFFF
    return state


@kernel
def flip_gains(couplings, linear, n_bits, code, change):
    """How much the flip of every bit would change the objective.

    Parameters
    ----------
    couplings : ndarray of shape (>= n_bits, >= n_bits)
        The couplings, symmetric; the diagonal is not read.
    linear : ndarray of shape (>= n_bits,)
        The linear terms.
    n_bits : int
        The number of bits.
    code : ndarray of shape (>= n_bits,), uint8
        The code.
    change : ndarray of shape (>= n_bits,)
        Overwritten.
    """
    for a in range(n_bits):
        slope = linear[a]
        for b in range(n_bits):
            if b != a and code[b]:
                slope += couplings[a, b]
        change[a] = -slope if code[a] else slope


@kernel
def flip(couplings, n_bits, code, change, bit):
    """Flip one bit and bring the gains up to date.

    Parameters
    ----------
    couplings : ndarray of shape (>= n_bits, >= n_bits)
        The couplings, symmetric; the diagonal is not read.
    n_bits : int
        The number of bits.
    code : ndarray of shape (>= n_bits,), uint8
        The code, changed in place.
    change : ndarray of shape (>= n_bits,)
        The gains of :func:`flip_gains`, changed in place.
    bit : int
        The bit.
    """
    kept = change[bit]
    row = couplings[bit]
    if code[bit]:
        for b in range(n_bits):
            change[b] += row[b] if code[b] else -row[b]
    else:
        for b in range(n_bits):
            change[b] += -row[b] if code[b] else row[b]
    code[bit] = 1 - code[bit]
    change[bit] = -kept


@kernel
def descend(couplings, linear, n_bits, code, change):
    """Steepest flips down to a code that no single flip improves.

    Parameters
    ----------
    couplings : ndarray of shape (>= n_bits, >= n_bits)
        The couplings, symmetric; the diagonal is not read.
    linear : ndarray of shape (>= n_bits,)
        The linear terms.
    n_bits : int
        The number of bits.
    code : ndarray of shape (>= n_bits,), uint8
        The code, improved in place.
    change : ndarray of shape (>= n_bits,)
        Overwritten by the gains.
    """
    flip_gains(couplings, linear, n_bits, code, change)
    scale = 0.0
    for a in range(n_bits):
        scale = max(scale, abs(change[a]))
    for _ in range(100 * n_bits):  # with rounding, gains of zero could go round in circles
        chosen = 0
        for a in range(1, n_bits):
            if change[a] < change[chosen]:
                chosen = a
        if change[chosen] >= -1e-14 * scale:
            return
        flip(couplings, n_bits, code, change, chosen)


@kernel
def tabu_search(couplings, linear, n_bits, max_moves, seed, code, best, change, trial, until):
    """Search from a code; it is replaced only by a better one.

    Parameters
    ----------
    couplings : ndarray of shape (>= n_bits, >= n_bits)
        The couplings, symmetric; the diagonal is not read.
    linear : ndarray of shape (>= n_bits,)
        The linear terms.
    n_bits : int
        The number of bits, at least 1.
    max_moves : int
        How many flips.
    seed : int
        Of the random numbers, from 1 to 2**32 - 1.
    code : ndarray of shape (>= n_bits,), uint8
        The best code known, improved in place.
    best : float
        Its value.
    change : ndarray of shape (>= n_bits,)
        Work array.
    trial : ndarray of shape (>= n_bits,), uint8
        Work array.
    until : ndarray of shape (>= n_bits,), int64
        Work array: the move until which a flip is forbidden.

    Returns
    -------
    float
        The value of the code.
    """
    for a in range(n_bits):
        trial[a], until[a] = code[a], 0
    flip_gains(couplings, linear, n_bits, trial, change)
    current, since = best, 0
    patience, tenure = 20 * n_bits, n_bits // 4 + 1
    for move in range(1, max_moves + 1):
        chosen = -1
        for a in range(n_bits):
            # A flip that leads to the best value so far is never forbidden.
            if (until[a] < move or current + change[a] < best) and (chosen < 0 or change[a] < change[chosen]):
                chosen = a
        seed = next_random(seed)
        if chosen < 0:
            chosen = seed % n_bits
        current += change[chosen]
        flip(couplings, n_bits, trial, change, chosen)
        until[chosen] = move + tenure + seed % 10
        since += 1
        if current < best:
            current = quadratic_value(couplings, linear, n_bits, trial)
            if current < best:
                best, since = current, 0
                for a in range(n_bits):
                    code[a] = trial[a]
        if since >= patience:
            for a in range(n_bits):
                trial[a], until[a] = code[a], 0
            for _ in range(2 + n_bits // 4):
                seed = next_random(seed)
                bit = seed % n_bits
                trial[bit] = 1 - trial[bit]
            flip_gains(couplings, linear, n_bits, trial, change)
            current = quadratic_value(couplings, linear, n_bits, trial)
            since = 0
    return best


@kernel
def tabu_search_all(gram, target, todo, seeds, codes, values, proven):
    """Search every problem from its code.

    Parameters
    ----------
    gram : ndarray of shape (1, r, r) or (n_problems, r, r)
        The matrices.
    target : ndarray of shape (n_problems, r)
        The vectors.
    todo : ndarray of int64
        The problems.
    seeds : ndarray of shape (n_problems,), int64
        Of the random numbers, from 1 to 2**32 - 1.
    codes : ndarray of shape (n_problems, r), uint8
        The best codes known, improved in place.
    values : ndarray of shape (n_problems,)
        Their values, improved in place.
    proven : ndarray of shape (n_problems,), bool
        Set where persistency fixes every bit.
    """
    r = codes.shape[1]
    free, trial, until = free_bits(r), np.empty(r, dtype=np.uint8), np.empty(r, dtype=np.int64)
    for p in todo:
        matrix = gram[p if gram.shape[0] > 1 else 0]
        n_bits = fix_persistent_bits(matrix, target[p], codes[p], free)
        proven[p] = n_bits == 0
        if n_bits > 0:
            best = quadratic_value(free.couplings, free.linear, n_bits, free.code)
            tabu_search(
                free.couplings, free.linear, n_bits, _MOVES * n_bits, seeds[p], free.code, best, free.terms, trial,
                until,
            )  # fmt: skip
        values[p] = take_if_better(matrix, target[p], free, False, codes[p], values[p])
