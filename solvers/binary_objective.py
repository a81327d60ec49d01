r"""The value of a code: :math:`\sum_a q_a h_a + \sum_{a<b} q_{ab} h_a h_b`, always summed in the same order."""

import numpy as np

from .kernel import kernel

ROUNDING = 2.0**-52


@kernel
def quadratic_value(couplings, linear, n_bits, code):
    """The value of a code from its linear terms; exact for integers.

    Parameters
    ----------
    couplings : ndarray of shape (>= n_bits, >= n_bits)
        The couplings; only what is below the diagonal is read.
    linear : ndarray of shape (>= n_bits,)
        The linear terms.
    n_bits : int
        The number of bits.
    code : ndarray of shape (>= n_bits,), uint8
        The code.

    Returns
    -------
    float
        The value.
    """
    total = 0.0
    for a in range(n_bits):
        if code[a]:
            part = linear[a]
            for b in range(a):
                if code[b]:
                    part += couplings[a, b]
            total += part
    return total


@kernel
def gram_value(gram, target, code):
    r"""The value of a code as :math:`\frac12 h^T G h - c^T h`; exact for integers.

    Parameters
    ----------
    gram : ndarray of shape (r, r)
        The matrix G; what is above the diagonal is not read.
    target : ndarray of shape (r,)
        The vector c.
    code : ndarray of shape (r,), uint8
        The code.

    Returns
    -------
    float
        The value.
    """
    total = 0.0
    for a in range(code.size):
        if code[a]:
            part = 0.5 * gram[a, a] - target[a]
            for b in range(a):
                if code[b]:
                    part += gram[a, b]
            total += part
    return total


@kernel
def gram_values(gram, target, codes, values):
    """The values of many codes.

    Parameters
    ----------
    gram : ndarray of shape (1, r, r) or (n_problems, r, r)
        The matrices.
    target : ndarray of shape (n_problems, r)
        The vectors.
    codes : ndarray of shape (n_problems, r), uint8
        The codes.
    values : ndarray of shape (n_problems,)
        Overwritten.
    """
    for p in range(codes.shape[0]):
        values[p] = gram_value(gram[p if gram.shape[0] > 1 else 0], target[p], codes[p])


@kernel
def value_grid(couplings, linear, n_bits):
    """How far apart two different values are at least: 1/2 for integer data, or 0 where nothing is known.

    Parameters
    ----------
    couplings : ndarray of shape (>= n_bits, >= n_bits)
        The couplings; only what is below the diagonal is read.
    linear : ndarray of shape (>= n_bits,)
        The linear terms.
    n_bits : int
        The number of bits.

    Returns
    -------
    float
        The distance.
    """
    total = 0.0
    for a in range(n_bits):
        if 2.0 * linear[a] != np.floor(2.0 * linear[a]):
            return 0.0
        total += abs(linear[a])
        for b in range(a):
            if couplings[a, b] != np.floor(couplings[a, b]):
                return 0.0
            total += abs(couplings[a, b])
    return 0.5 if total < 2.0**50 else 0.0
