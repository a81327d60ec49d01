"""A Cholesky factor that grows and shrinks by one row: the Gram matrix of a changing set of columns.

The factor :math:`L` of :math:`G = L L^T` is the leading ``size`` x ``size`` lower triangle of a caller's
array with room to grow; what stands above the diagonal and beyond ``size`` is never read. Appending costs
``size**2`` operations, deleting at most ``3 * size**2``, where a new factorisation would cost ``size**3 /
3``.
"""

import math

from .kernel import kernel


@kernel
def solve_lower(factor, size, vector):
    """Overwrite a vector by the solution of :math:`L x = b` (forward substitution).

    Parameters
    ----------
    factor : ndarray of shape (capacity, capacity)
        The factor in its leading lower triangle.
    size : int
        Its order.
    vector : ndarray of shape (>= size,)
        The right side `b`, overwritten by `x`.
    """
    for i in range(size):
        total = vector[i]
        for k in range(i):
            total -= factor[i, k] * vector[k]
        vector[i] = total / factor[i, i]


@kernel
def solve_upper(factor, size, vector):
    """Overwrite a vector by the solution of :math:`L^T x = b` (back substitution, by rows).

    Parameters
    ----------
    factor : ndarray of shape (capacity, capacity)
        The factor in its leading lower triangle.
    size : int
        Its order.
    vector : ndarray of shape (>= size,)
        The right side `b`, overwritten by `x`.
    """
    for i in range(size - 1, -1, -1):
        value = vector[i] / factor[i, i]
        vector[i] = value
        for k in range(i):
            vector[k] -= factor[i, k] * value


@kernel
def solve(factor, size, vector):
    """Overwrite a vector by the solution of :math:`L L^T x = b`.

    Parameters
    ----------
    factor : ndarray of shape (capacity, capacity)
        The factor in its leading lower triangle.
    size : int
        Its order.
    vector : ndarray of shape (>= size,)
        The right side `b`, overwritten by `x`.
    """
    solve_lower(factor, size, vector)
    solve_upper(factor, size, vector)


@kernel
def append(factor, size, gram_row, squared_norm):
    """Border the factor by one row and say how independent the new column is.

    Parameters
    ----------
    factor : ndarray of shape (capacity, capacity)
        The factor of order `size`; row `size` is written.
    size : int
        The order before.
    gram_row : ndarray of shape (>= size,)
        The inner products of the new column with those in the factor; not modified.
    squared_norm : float
        The new column's inner product with itself.

    Returns
    -------
    float
        The relative pivot: the distance of the new column from the span of the others, over its norm; 0.0
        where rounding leaves nothing of it. The caller decides: a column whose pivot is below some 1e-7 (the
        square root of the rounding error of the Gram matrix) is linearly dependent in working precision, and
        the factor is kept as it was by not counting the new row.
    """
    remainder = squared_norm
    for i in range(size):
        total = gram_row[i]
        for k in range(i):
            total -= factor[i, k] * factor[size, k]
        total /= factor[i, i]
        factor[size, i] = total
        remainder -= total * total
    if not remainder > 0.0:
        factor[size, size] = 0.0
        return 0.0
    factor[size, size] = math.sqrt(remainder)
    return math.sqrt(remainder / squared_norm)


@kernel
def delete(factor, size, position):
    """Take one row and column of the Gram matrix out of the factor, by Givens rotations.

    Parameters
    ----------
    factor : ndarray of shape (capacity, capacity)
        The factor of order `size`; afterwards of order ``size - 1``.
    size : int
        The order before.
    position : int
        Which row goes, ``0 <= position < size``. Those behind it move up by one.
    """
    for i in range(position, size - 1):
        for k in range(i + 2):
            factor[i, k] = factor[i + 1, k]
    # The rows moved up have one element too many, right of the diagonal: rotate it into the diagonal.
    for i in range(position, size - 1):
        diagonal, beyond = factor[i, i], factor[i, i + 1]
        length = math.hypot(diagonal, beyond)
        cosine, sine = diagonal / length, beyond / length
        factor[i, i] = length
        for m in range(i + 1, size - 1):
            left, right = factor[m, i], factor[m, i + 1]
            factor[m, i] = cosine * left + sine * right
            factor[m, i + 1] = cosine * right - sine * left
