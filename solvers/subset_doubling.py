r"""All codes of a small binary quadratic problem, by doubling a table.

The values of :math:`f(h) = \sum_a q_a h_a + \sum_{a<b} q_{ab} h_a h_b` over all codes of the first `i` bits, and over
the same codes with bit `i` set, differ by a function that is linear in the code; it is tabulated by doubling, too.
Every step is one contiguous addition: about :math:`3 \cdot 2^r` of them in all. Beyond 2^12 codes the table of the
low bits is kept in the nearest cache and the high bits are looped over.

The last bit of a code is the lowest of its place in the table, so that places are in lexicographic order.
"""

import numpy as np

from .binary_objective import ROUNDING
from .kernel import kernel
from .persistency import fix_persistent_bits, free_bits, take_if_better

TABLE_BITS = 12


@kernel
def double_linear(terms, n_bits, table):
    """Tabulate a linear function of the code.

    Parameters
    ----------
    terms : ndarray of shape (>= n_bits,)
        The term of every bit.
    n_bits : int
        The number of bits.
    table : ndarray of shape (>= 2**n_bits,)
        Overwritten by the function's values.
    """
    table[0] = 0.0
    size = 1
    for i in range(n_bits):
        term = terms[n_bits - 1 - i]
        for place in range(size):
            table[size + place] = table[place] + term
        size *= 2


@kernel
def double_quadratic(couplings, linear, n_bits, offset, table, slope):
    r"""Tabulate a quadratic function of the code.

    Parameters
    ----------
    couplings : ndarray of shape (>= offset + n_bits, >= offset + n_bits)
        The couplings; the diagonal is not read.
    linear : ndarray of shape (>= offset + n_bits,)
        The linear terms.
    n_bits : int
        The number of bits.
    offset : int
        The first of them.
    table : ndarray of shape (>= 2**n_bits,)
        Overwritten by the function's values.
    slope : ndarray of shape (>= 2**(n_bits - 1),)
        Work array.
    """
    table[0] = 0.0
    size = 1
    last = offset + n_bits - 1
    for i in range(n_bits):
        a = last - i
        slope[0] = linear[a]
        half = 1
        for j in range(i):
            coupling = couplings[a, last - j]
            for place in range(half):
                slope[half + place] = slope[place] + coupling
            half *= 2
        for place in range(size):
            table[size + place] = table[place] + slope[place]
        size *= 2


@kernel
def _distance(place, start):
    difference = place ^ start
    count = 0
    while difference:
        difference &= difference - 1
        count += 1
    return count


@kernel
def search_table(couplings, linear, n_bits, tabulated, table, code, sums, terms):
    r"""The best of all codes; of equally good ones the closest to the start, of these the first lexicographically.

    Values within the rounding of the sums count as equal.

    Parameters
    ----------
    couplings : ndarray of shape (>= n_bits, >= n_bits)
        The couplings, symmetric; the diagonal is not read.
    linear : ndarray of shape (>= n_bits,)
        The linear terms.
    n_bits : int
        The number of bits, at least 1 and at most 62.
    tabulated : bool
        Whether the table has the linear terms of the low bits in it; without them one table serves all problems with
        the same couplings.
    table : ndarray of shape (>= 2**min(n_bits, TABLE_BITS),)
        The table of the last bits from :func:`double_quadratic`.
    code : ndarray of shape (>= n_bits,), uint8
        The start, overwritten by the best code.
    sums : ndarray of shape (>= 2**min(n_bits, TABLE_BITS),)
        Work array.
    terms : ndarray of shape (>= n_bits,)
        Work array.
    """
    low = min(n_bits, TABLE_BITS)
    high = n_bits - low
    size = 1 << low
    scale, start_place = 0.0, 0
    for a in range(n_bits):
        scale += abs(linear[a])
        for b in range(a):
            scale += abs(couplings[a, b])
        start_place = 2 * start_place + int(code[a])
    plain = tabulated and high == 0
    if plain:
        sums = table
    best = np.inf
    for block in range(1 << high):
        if not plain:
            _fill(couplings, linear, high, low, block, tabulated, table, sums, terms)
        best = min(best, _least(sums, size))
    threshold = best + 4.0 * n_bits * ROUNDING * scale
    best_place, best_distance = start_place, n_bits + 1
    for block in range(1 << high):
        if high:
            _fill(couplings, linear, high, low, block, tabulated, table, sums, terms)
            if _least(sums, size) > threshold:
                continue
        for k in range(size):
            if sums[k] <= threshold:
                place = block * size + k
                distance = _distance(place, start_place)
                if distance < best_distance:
                    best_place, best_distance = place, distance
    for a in range(n_bits):
        code[a] = (best_place >> (n_bits - 1 - a)) & 1


@kernel(fastmath={"contract", "reassoc", "nsz", "arcp"})
def _fill(couplings, linear, high, low, block, tabulated, table, sums, terms):
    """The values with the given high bits; nothing is carried from block to block, where rounding would pile up."""
    constant = 0.0
    for b in range(low):
        terms[b] = 0.0 if tabulated else linear[high + b]
    for a in range(high):
        if (block >> (high - 1 - a)) & 1:
            constant += linear[a]
            for b in range(a):
                if (block >> (high - 1 - b)) & 1:
                    constant += couplings[a, b]
            for b in range(low):
                terms[b] += couplings[a, high + b]
    double_linear(terms, low, sums)
    for k in range(1 << low):
        sums[k] += table[k] + constant


@kernel
def _least(values, size):
    """The least of a table: four running minima, which compilers turn into vector instructions."""
    if size < 8:
        least = values[0]
        for k in range(1, size):
            least = min(least, values[k])
        return least
    first, second, third, fourth = values[0], values[1], values[2], values[3]
    for k in range(4, size, 4):
        first = values[k] if values[k] < first else first
        second = values[k + 1] if values[k + 1] < second else second
        third = values[k + 2] if values[k + 2] < third else third
        fourth = values[k + 3] if values[k + 3] < fourth else fourth
    return min(min(first, second), min(third, fourth))


@kernel
def enumerate_all(gram, target, todo, most_bits, codes, values, proven, left):
    """Enumerate the codes of every problem with few free bits.

    Parameters
    ----------
    gram : ndarray of shape (1, r, r) or (n_problems, r, r)
        The matrices. One for all problems is tabulated once.
    target : ndarray of shape (n_problems, r)
        The vectors.
    todo : ndarray of int64
        The problems.
    most_bits : int
        How many free bits are few, at most 62.
    codes : ndarray of shape (n_problems, r), uint8
        The best codes known, improved in place.
    values : ndarray of shape (n_problems,)
        Their values, improved in place.
    proven : ndarray of shape (n_problems,), bool
        Set where the codes were enumerated.
    left : ndarray of shape (n_problems,), int64
        Overwritten by the number of free bits where they are too many, else by 0.
    """
    r = codes.shape[1]
    shared = gram.shape[0] == 1
    free, terms = free_bits(r), np.empty(r)
    size = 1 << min(r, TABLE_BITS)
    table, sums = np.empty(size), np.empty(size)
    one_table = shared and todo.size > 1 and 0 < r <= min(TABLE_BITS, most_bits)
    if one_table:
        for a in range(r):
            free.linear[a] = 0.0
            free.fixed[a] = -1
        double_quadratic(gram[0], free.linear, r, 0, table, sums)
    for p in todo:
        matrix = gram[0 if shared else p]
        left[p] = 0
        if one_table:
            n_bits = r
            for a in range(r):
                free.linear[a] = 0.5 * matrix[a, a] - target[p, a]
                free.code[a] = codes[p, a]
                for b in range(a):
                    free.couplings[a, b] = free.couplings[b, a] = matrix[a, b]
        else:
            n_bits = fix_persistent_bits(matrix, target[p], codes[p], free)
            if n_bits > most_bits:
                left[p] = n_bits
                continue
            if n_bits > 0:
                low = min(n_bits, TABLE_BITS)
                double_quadratic(free.couplings, free.linear, low, n_bits - low, table, sums)
        if n_bits > 0:
            search_table(free.couplings, free.linear, n_bits, not one_table, table, free.code, sums, terms)
        proven[p] = True
        values[p] = take_if_better(matrix, target[p], free, True, codes[p], values[p])
