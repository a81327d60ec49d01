r"""Persistency: bits of a binary quadratic problem that every optimal code shares, found without a search.

With the couplings :math:`q_{ab}` and the linear terms :math:`q_a`, where :math:`f(h) = \sum_a q_a h_a +
\sum_{a<b} q_{ab} h_a h_b`, setting bit `a` changes `f` by :math:`q_a + \sum_b q_{ab} h_b`, which lies between
:math:`q_a + \sum_b \min(0, q_{ab})` and :math:`q_a + \sum_b \max(0, q_{ab})`, the sums over the bits that are free:
where the first is positive the bit is 0, where the second is negative it is 1. Every bit that is fixed narrows the
intervals of the others.
"""

from typing import NamedTuple

import numpy as np

from .binary_objective import gram_value
from .kernel import kernel

_FREE = -1


class FreeBits(NamedTuple):
    """The problem among the bits that persistency leaves free: the leading part of every array.

    Attributes
    ----------
    couplings : ndarray of shape (r, r)
        The couplings, symmetric, zero on the diagonal.
    linear : ndarray of shape (r,)
        The linear terms, the fixed bits folded in.
    diagonal : ndarray of shape (r,)
        The diagonal of the matrix as it was given.
    code : ndarray of shape (r,), uint8
        The code: the start, then the answer.
    bits : ndarray of shape (r,), int64
        Which bits are free, ascending.
    fixed : ndarray of shape (r,), int8
        Of all bits: 0 or 1 where fixed, -1 where free.
    terms, least, most : ndarray of shape (r,)
        Work arrays.
    """

    couplings: np.ndarray
    linear: np.ndarray
    diagonal: np.ndarray
    code: np.ndarray
    bits: np.ndarray
    fixed: np.ndarray
    terms: np.ndarray
    least: np.ndarray
    most: np.ndarray


@kernel
def free_bits(r):
    """Allocate the record for problems with r bits.

    Parameters
    ----------
    r : int
        The number of bits.

    Returns
    -------
    FreeBits
        With zero couplings, everything else not initialised.
    """
    return FreeBits(
        np.zeros((r, r)),
        np.empty(r),
        np.empty(r),
        np.empty(r, dtype=np.uint8),
        np.empty(r, dtype=np.int64),
        np.empty(r, dtype=np.int8),
        np.empty(r),
        np.empty(r),
        np.empty(r),
    )


@kernel
def fix_persistent_bits(gram, target, start, free):
    r"""Fix what persistency fixes and gather the problem among the rest.

    The inequalities are strict, so that *all* optimal codes agree with the fixed bits. A bit without any coupling
    and without a linear term is not worth a search: it keeps its value in the start.

    Parameters
    ----------
    gram : ndarray of shape (r, r)
        The symmetric matrix G of :math:`\frac12 h^T G h - c^T h`.
    target : ndarray of shape (r,)
        The vector c.
    start : ndarray of shape (r,), uint8
        The warm start.
    free : FreeBits
        Overwritten.

    Returns
    -------
    int
        The number of free bits.
    """
    r = target.size
    fixed, terms, least, most = free.fixed, free.terms, free.least, free.most
    for a in range(r):
        terms[a] = 0.5 * gram[a, a] - target[a]
        low, high = 0.0, 0.0
        for b in range(r):
            if b != a:
                low += min(0.0, gram[a, b])
                high += max(0.0, gram[a, b])
        least[a], most[a] = low, high
        fixed[a] = _FREE
    changed = True
    while changed:
        changed = False
        for a in range(r):
            if fixed[a] != _FREE:
                continue
            if terms[a] + least[a] > 0.0:
                fixed[a] = 0
            elif terms[a] + most[a] < 0.0:
                fixed[a] = 1
            elif terms[a] == 0.0 and least[a] == 0.0 and most[a] == 0.0:
                fixed[a] = start[a]
            else:
                continue
            changed = True
            for b in range(r):
                if fixed[b] == _FREE:
                    coupling = gram[a, b]
                    least[b] -= min(0.0, coupling)
                    most[b] -= max(0.0, coupling)
                    if fixed[a] == 1:
                        terms[b] += coupling
    n_bits = 0
    for a in range(r):
        if fixed[a] == _FREE:
            free.bits[n_bits] = a
            free.linear[n_bits], free.diagonal[n_bits], free.code[n_bits] = terms[a], gram[a, a], start[a]
            for j in range(n_bits):
                free.couplings[n_bits, j] = free.couplings[j, n_bits] = gram[a, free.bits[j]]
            n_bits += 1
    return n_bits


@kernel
def take_if_better(gram, target, free, equal, code, value):
    """Put the answer of the free bits beside the fixed ones; keep it if it is better than what there is.

    Parameters
    ----------
    gram : ndarray of shape (r, r)
        The matrix G.
    target : ndarray of shape (r,)
        The vector c.
    free : FreeBits
        The fixed bits and the code of the free ones.
    equal : bool
        Whether to take an answer that is just as good.
    code : ndarray of shape (r,), uint8
        The code, changed in place.
    value : float
        Its value.

    Returns
    -------
    float
        The value of the code that was kept.
    """
    whole = free.most  # as numbers, for lack of another array; the bounds are not needed any more
    i = 0
    for a in range(code.size):
        whole[a] = code[a]
        if free.fixed[a] == _FREE:
            code[a] = free.code[i]
            i += 1
        else:
            code[a] = free.fixed[a]
    found = gram_value(gram, target, code)
    if found < value or (equal and found == value):
        return found
    for a in range(code.size):
        code[a] = np.uint8(whole[a])
    return value
