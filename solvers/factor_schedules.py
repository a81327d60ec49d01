"""What the factors of a fast transform must satisfy, and what is left at each level of a hierarchical factorization."""

import math
from typing import Any, NamedTuple

from .butterfly import Radices, butterfly_supports
from .sparse_factor_projections import (
    FixedSupport,
    LargestEntries,
    LargestPerColumn,
    LargestPerRow,
    LargestPerRowOrColumn,
)


class Schedule(NamedTuple):
    """The constraints of a hierarchical factorization.

    Attributes
    ----------
    constraints : tuple of constraint records
        One for each of J factors, left to right.
    residual_constraints : tuple of constraint records
        What must hold for the remainder after each of the first J - 2 factors was taken off, in that order.
    """

    constraints: tuple[Any, ...]
    residual_constraints: tuple[Any, ...]


def hadamard_schedule(order: int, n_factors: int | None = None) -> Schedule:
    """The constraints that find the factors of a Hadamard matrix without knowing their supports.

    Parameters
    ----------
    order : int
        The order of the matrix, a power of two.
    n_factors : int, optional
        The number of factors, at most log2(order), the default. With fewer, the outermost factor keeps more nonzeros.

    Returns
    -------
    Schedule
        Two nonzeros in each row or column of a factor; half as many in the remainder with every factor taken off.

    Raises
    ------
    ValueError
        If the order is not a power of two, or the number of factors not between one and its exponent.

    Examples
    --------
    >>> from sparsemodels.solvers.factor_schedules import hadamard_schedule
    >>> hadamard_schedule(8).residual_constraints
    (LargestPerRowOrColumn(n_nonzeros=4),)
    """
    exponent = order.bit_length() - 1
    if order < 2 or order != 1 << exponent:
        raise ValueError(f"constraints='hadamard' needs a square matrix of order 2, 4, 8, ..., got order {order}")
    count = exponent if n_factors is None else n_factors
    if not 1 <= count <= exponent:
        raise ValueError(f"n_factors must be between 1 and {exponent} for order {order}, got {n_factors}")
    rest = [LargestPerRowOrColumn(order >> level) for level in range(1, count)]
    outermost = rest[-1] if rest else LargestPerRowOrColumn(order)
    return Schedule((outermost,) + (LargestPerRowOrColumn(2),) * (count - 1), tuple(rest[:-1]))


def butterfly_schedule(radices: Radices, side: str = "right") -> Schedule:
    """The supports of a butterfly and of its partial products.

    Parameters
    ----------
    radices : sequence of tuple of two int
        Rows and columns of the blocks of each factor.
    side : {"right", "left"}, default="right"
        From which side the factors are taken off.

    Returns
    -------
    Schedule
        Fixed supports throughout.
    """
    supports = butterfly_supports(radices)
    rest = supports if side == "right" else supports[::-1]
    partial, residuals = rest[0].astype(int), []
    for support in rest[1:-1]:
        partial = partial @ support if side == "right" else support @ partial
        residuals.append(FixedSupport(partial.toarray() > 0))
    return Schedule(tuple(FixedSupport(support.toarray()) for support in supports), tuple(residuals[::-1]))


def multilayer_schedule(
    shape: tuple[int, int],
    n_factors: int,
    *,
    outer_nonzeros: int = 5,
    inner_nonzeros: int = 4,
    decay: float = 0.5,
    level: float = 1.0,
) -> Schedule:
    r"""Constraints for a matrix of which no structure is known, such as a smooth operator.

    The outer factor has the longer dimension of the matrix; all others are square of the shorter one, m. Each of them
    gets fewer nonzeros than what it is taken off from, so that the remainder thins out geometrically.

    Parameters
    ----------
    shape : tuple of two int
        The shape of the matrix. A wide one has the outer factor at the right, to be taken off from ``side="right"``; a
        tall one at the left, with ``side="left"``.
    n_factors : int
        The number of factors, at least two.
    outer_nonzeros : int, default=5
        Nonzeros of each column of a wide outer factor, or of each row of a tall one.
    inner_nonzeros : int, default=4
        Nonzeros of the square factors, per row on average.
    decay : float, default=0.5
        By which factor the nonzeros of the remainder fall with every level, in (0, 1].
    level : float, default=1.0
        The share of the remainder's entries from which they fall.

    Returns
    -------
    Schedule
        The constraints.

    Raises
    ------
    ValueError
        If there are fewer than two factors.

    References
    ----------
    L. Le Magoarou and R. Gribonval, "Flexible multilayer sparse approximations of matrices and applications", IEEE
    Journal of Selected Topics in Signal Processing 10, 2016.

    Examples
    --------
    >>> from sparsemodels.solvers.factor_schedules import multilayer_schedule
    >>> for constraint in multilayer_schedule((10, 200), 3).constraints:
    ...     print(constraint)
    LargestEntries(n_nonzeros=40)
    LargestEntries(n_nonzeros=40)
    LargestPerColumn(n_nonzeros=5)
    """
    if n_factors < 2:
        raise ValueError(f"n_factors must be at least 2, got {n_factors}")
    order = min(shape)
    inner = LargestEntries(min(inner_nonzeros * order, order * order))
    wide = shape[1] >= shape[0]
    outer = LargestPerColumn(min(outer_nonzeros, order)) if wide else LargestPerRow(min(outer_nonzeros, order))
    rest = tuple(
        LargestEntries(max(1, min(math.ceil(level * decay**depth * order * order), order * order)))
        for depth in range(1, n_factors - 1)
    )
    squares = (inner,) * (n_factors - 1)
    return Schedule((*squares, outer) if wide else (outer, *squares), rest)
