r"""Beta-divergences: how far a nonnegative matrix is from its approximation, from squares over counts to ratios.

.. math:: d_\beta(x \mid y) = \frac{x^\beta + (\beta - 1) y^\beta - \beta x y^{\beta - 1}}{\beta (\beta - 1)}

with the limits :math:`d_1 = x \log(x / y) - x + y` (Kullback-Leibler, the Poisson likelihood of counts),
:math:`d_0 = x / y - \log(x / y) - 1` (Itakura-Saito, multiplicative errors) and :math:`d_2 = (x - y)^2 / 2`. They scale
as :math:`d_\beta(c x \mid c y) = c^\beta d_\beta(x \mid y)`: the smaller beta, the more small entries count.

Derivatives in y share one power:

.. math:: d' = (y - x)\, y^{\beta - 2}, \qquad
    d'' = (\beta - 1) y^{\beta - 2} + (2 - \beta) x y^{\beta - 3}.

Between 1 and 2 both terms of d'' are nonnegative and d is convex in y. Outside, d is a convex plus a concave function
and only the term of the convex one is kept: :func:`curvature` is the second derivative of a convex function that lies
above d once the concave part is replaced by its tangent.

References
----------
C. Févotte and J. Idier, "Algorithms for nonnegative matrix factorization with the beta-divergence", Neural Computation
23, 2011.
"""

from functools import singledispatch
from typing import Any

import numpy as np

from .kernel import kernel
from .observed_matrix import MostEntries, SomeEntries, SparseMatrix, power_sum, shape, total_weight, values

BLOCK_ENTRIES = 1 << 17  # entries of a block of dense rows: what stays in the second cache


def curvature_coefficients(beta: float) -> tuple[float, float]:
    r"""The coefficients (a, b) of the convex part's second derivative, :math:`a y^{\beta-2} + b x y^{\beta-3}`."""
    return max(beta - 1.0, 0.0), max(2.0 - beta, 0.0)


def is_convex(beta: float) -> bool:
    """Whether the divergence is convex in its second argument."""
    return 1.0 <= beta <= 2.0


def divergence(x: Any, y: Any, beta: float) -> np.ndarray:
    r"""The beta-divergence of single numbers.

    Parameters
    ----------
    x : array-like
        Data, >= 0; > 0 where `beta` <= 0.
    y : array-like
        Their approximation, > 0; zero is allowed where `x` is zero and `beta` > 0.
    beta : float
        Which divergence.

    Returns
    -------
    ndarray
        :math:`d_\beta(x \mid y)` in float64, with :math:`0 \log 0 = 0`; infinite where `y` is zero and `x` is not.

    Examples
    --------
    >>> from sparsemodels.solvers.beta_divergence import divergence
    >>> divergence([0.0, 3.0, 4.0], [2.0, 3.0, 2.0], 2.0)
    array([2., 0., 2.])
    >>> divergence([0.0, 3.0], [2.0, 3.0], 1.0)
    array([2., 0.])
    """
    x, y = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        if beta == 2.0:
            return 0.5 * np.square(x - y)
        if beta == 1.0:
            return np.where(x > 0.0, x * np.log(x / y) - x, 0.0) + y
        if beta == 0.0:
            return x / y - np.log(x / y) - 1.0
        cross = np.where(x > 0.0, x * y ** (beta - 1.0), 0.0)
        return (x**beta + (beta - 1.0) * y**beta - beta * cross) / (beta * (beta - 1.0))


def derivative(x: Any, y: Any, beta: float) -> np.ndarray:
    r"""The derivative of the beta-divergence in its second argument, :math:`(y - x) y^{\beta-2}`.

    Parameters
    ----------
    x, y : array-like
        Data >= 0 and their approximation > 0.
    beta : float
        Which divergence.

    Returns
    -------
    ndarray
        The derivatives in float64.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    return (y - x) * y ** (beta - 2.0)


def curvature(x: Any, y: Any, beta: float) -> np.ndarray:
    r"""The second derivative of the convex part of the beta-divergence in its second argument.

    Parameters
    ----------
    x, y : array-like
        Data >= 0 and their approximation > 0.
    beta : float
        Which divergence.

    Returns
    -------
    ndarray
        The curvatures, >= 0, in float64: for `beta` from 1 to 2 the second derivative itself, for `beta` < 1
        :math:`(2 - \beta) x y^{\beta-3}`, for `beta` > 2 :math:`(\beta - 1) y^{\beta-2}`.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    a, b = curvature_coefficients(beta)
    return a * y ** (beta - 2.0) + b * x * y ** (beta - 3.0)


def check_domain(matrix: Any, beta: float) -> None:
    """Refuse data for which the divergence is not defined.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The matrix.
    beta : float
        Which divergence.

    Raises
    ------
    ValueError
        For a negative entry, and for a zero where `beta` <= 0.
    """
    smallest = _smallest_known(matrix)
    if smallest < 0.0:
        raise ValueError(f"a beta-divergence needs entries >= 0, got {smallest}.")
    if beta <= 0.0 and smallest == 0.0:
        raise ValueError(
            f"the beta-divergence with beta={beta:g} is infinite at zero entries of X, and there are some: "
            "add a small positive number to X, mark them as missing, or take beta > 0."
        )


def _smallest_known(matrix: Any) -> float:
    stored = values(matrix)
    if stored.size == 0:
        return 0.0
    if isinstance(matrix, SparseMatrix):
        all_stored = stored.size == total_weight(matrix)
        return float(stored.min()) if all_stored else min(float(stored.min()), 0.0)
    if isinstance(matrix, MostEntries):
        rows, smallest = matrix.unknown_rows, np.inf
        known = np.ones(matrix.X.shape[1], dtype=bool)
        for i in range(matrix.X.shape[0]):
            unknown = rows.indices[rows.indptr[i] : rows.indptr[i + 1]]
            known[unknown] = False
            smallest = min(smallest, matrix.X[i].min(where=known, initial=np.inf))
            known[unknown] = True
        return float(smallest)
    return float(stored.min())


def mean_entry(matrix: Any) -> float:
    """The weighted mean of the known entries; 1 where all of them are zero."""
    weight = total_weight(matrix)
    mean = power_sum(matrix, 1.0) / weight if weight > 0.0 else 0.0
    return mean if mean > 0.0 else 1.0


def smallest_approximation(mean: float, beta: float, dtype: Any) -> float:
    """Below this an approximated entry counts as this, so that no power of it overflows; relative to the mean."""
    if dtype == np.float32:
        return mean * (1e-12 if beta >= 0.0 else 1e-8)
    return mean * 1e-60


def stays_sparse(matrix: Any, beta: float) -> bool:
    """Whether only listed entries need the approximation, the zeros being summed in closed form."""
    return isinstance(matrix, SomeEntries) or (isinstance(matrix, SparseMatrix) and beta in (1.0, 2.0))


def rows_per_block(matrix: Any) -> int:
    """Rows of a block of dense work: fixed by the shape, so that no answer depends on the number of threads."""
    return int(min(max(BLOCK_ENTRIES // max(shape(matrix)[1], 1), 32), 256))


@singledispatch
def dense_rows(matrix: Any, start: int, stop: int, out: np.ndarray) -> np.ndarray:
    """Some rows of a matrix, in C order, written to `out`: of a matrix with unknown entries always a copy."""
    X = matrix.X[start:stop]
    if X.flags.c_contiguous and not isinstance(matrix, MostEntries):
        return X
    np.copyto(out[: stop - start], X)
    return out[: stop - start]


@dense_rows.register
def _(matrix: SparseMatrix, start: int, stop: int, out: np.ndarray) -> np.ndarray:
    rows, block = matrix.rows, out[: stop - start]
    block[:] = 0
    for i in range(start, stop):
        entries = slice(rows.indptr[i], rows.indptr[i + 1])
        block[i - start, rows.indices[entries]] = rows.data[entries]
    return block


@kernel(fastmath={"contract", "nsz", "arcp"})
def fill_power(y, beta, out):
    r"""Write :math:`y^{\beta - 2}`."""
    n = y.size
    if beta == 1.0:
        for j in range(n):
            out[j] = 1.0 / y[j]
    elif beta == 0.0:
        for j in range(n):
            inverse = 1.0 / y[j]
            out[j] = inverse * inverse
    elif beta == 2.0:
        out[:n] = 1.0
    else:
        for j in range(n):
            out[j] = y[j] ** (beta - 2.0)


_SQUARE_ROOT_HALF = 0x3FE6A09E667F3BCD  # the bits of sqrt(1/2)
_LOG_2 = 0.6931471805599453


@kernel(fastmath={"contract", "reassoc", "nsz", "arcp"})
def sum_of_logarithms(factors, numerators, denominators, ratios, bits, exponents):
    r"""Sum of factor times logarithm of the ratio, over the positive ratios; to the last digits, and vectorized.

    A ratio is :math:`2^e m` with m in [sqrt(1/2), sqrt(2)), and
    :math:`\log m = 2 \operatorname{artanh} \frac{m - 1}{m + 1}`, of which eleven terms are exact to rounding. A
    compiled loop over a library's logarithm takes one number at a time, and three times as long.

    Parameters
    ----------
    factors, numerators, denominators : ndarray of shape (n,)
        Numbers >= 0, the denominators > 0.
    ratios : ndarray of shape (n,), float64
        Scratch.
    bits : ndarray of shape (n,), int64
        ``ratios.view(np.int64)``.
    exponents : ndarray of shape (n,), float64
        Scratch.

    Returns
    -------
    float
        The sum.
    """
    n = factors.size
    for j in range(n):
        ratio = np.float64(numerators[j]) / np.float64(denominators[j])
        ratios[j] = ratio if ratio > 1e-300 else 1.0
    for j in range(n):
        exponent = (bits[j] - np.int64(_SQUARE_ROOT_HALF)) >> np.int64(52)
        bits[j] -= exponent << np.int64(52)
        exponents[j] = np.float64(exponent)
    total = 0.0
    for j in range(n):
        s = (ratios[j] - 1.0) / (ratios[j] + 1.0)
        z = s * s
        tail = 1 / 13 + z * (1 / 15 + z * (1 / 17 + z * (1 / 19 + z * (1 / 21))))
        series = 1.0 + z * (1 / 3 + z * (1 / 5 + z * (1 / 7 + z * (1 / 9 + z * (1 / 11 + z * tail)))))
        total += np.float64(factors[j]) * (exponents[j] * _LOG_2 + 2.0 * s * series)
    return total


@kernel(fastmath={"contract", "reassoc", "nsz"})
def divergence_sum(x, weights, y, beta, scratch, bits):
    """The sum of weighted divergences of a row's entries, y > 0.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Data.
    weights : ndarray of shape (n,) or (0,)
        Weights; none if empty.
    y : ndarray of shape (n,)
        Approximation.
    beta : float
        Which divergence.
    scratch : ndarray of shape (3, n), float64
        Scratch.
    bits : ndarray of shape (n,), int64
        ``scratch[0].view(np.int64)``.

    Returns
    -------
    float
        The sum.
    """
    n = x.size
    factors = scratch[2]
    total = 0.0
    if beta == 1.0 or beta == 0.0:
        for j in range(n):
            value, fit = np.float64(x[j]), np.float64(y[j])
            w = weights[j] if weights.size > 0 else 1.0
            factors[j] = w * value if beta == 1.0 else -w
            total += w * (fit - value) if beta == 1.0 else w * (value / fit - 1.0)
        return total + sum_of_logarithms(factors, x, y, scratch[0], bits, scratch[1])
    for j in range(n):
        value, fit = np.float64(x[j]), np.float64(y[j])
        if beta == 2.0:
            d = 0.5 * (value - fit) * (value - fit)
        else:
            power = fit ** (beta - 1.0)
            d = ((value**beta - fit * power) / beta - (value - fit) * power) / (beta - 1.0)
        total += d * weights[j] if weights.size > 0 else d
    return total


@kernel(fastmath={"contract", "reassoc", "nsz"})
def divergence_change(x, weights, y, new, beta, shared, scratch, bits):
    """How much the sum of weighted divergences changes as y becomes `new`, and the size of what cancels in it.

    Parameters are those of :func:`divergence_sum`; with `shared` the change leaves out what does not depend on the
    data (Kullback-Leibler, squared error).
    """
    n = x.size
    factors = scratch[2]
    up, down = 0.0, 0.0
    if beta == 1.0 or beta == 0.0:
        for j in range(n):
            w = weights[j] if weights.size > 0 else 1.0
            if beta == 1.0:
                factors[j] = w * x[j]
                if not shared:
                    up += w * (np.float64(new[j]) - np.float64(y[j]))
            else:
                factors[j] = -w
                up += w * np.float64(x[j]) * (1.0 / np.float64(new[j]) - 1.0 / np.float64(y[j]))
        down = sum_of_logarithms(factors, new, y, scratch[0], bits, scratch[1])
        return up - down, abs(up) + abs(down)
    for j in range(n):
        w = weights[j] if weights.size > 0 else 1.0
        value, old, fit = np.float64(x[j]), np.float64(y[j]), np.float64(new[j])
        if beta == 2.0:
            down += w * value * (fit - old)
            if not shared:
                up += 0.5 * w * (fit - old) * (fit + old)
        else:
            old_power, power = old ** (beta - 1.0), fit ** (beta - 1.0)
            up += w * (fit * power - old * old_power) / beta
            down += w * value * (power - old_power) / (beta - 1.0)
    return up - down, abs(up) + abs(down)
