r"""Constraint sets of sparse factors: one record for each, and the nearest point of each set.

A factor of a fast transform has few nonzeros, and says where they may stand: anywhere, a few in each row or column, or
on a given support. A multiple of a point of such a set is in the set too, so that the nearest point of given Frobenius
norm is the nearest point, scaled: selecting is all there is to do.

Entries that differ by less than rounding are ties, and the first of them in the order of rows and columns wins. Without
that, the support that is found in a Hadamard matrix, where all entries are of one size, would depend on the BLAS
library.

References
----------
L. Le Magoarou and R. Gribonval, "Flexible multilayer sparse approximations of matrices and applications", IEEE Journal
of Selected Topics in Signal Processing 10, 2016.
"""

from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np

_TIE = {"f": 1e-5, "d": 1e-10}  # relative differences that rounding explains, by precision


class LargestEntries(NamedTuple):
    """At most so many nonzeros in all.

    Attributes
    ----------
    n_nonzeros : int
        The bound.
    """

    n_nonzeros: int


class LargestPerRow(NamedTuple):
    """At most so many nonzeros in every row.

    Attributes
    ----------
    n_nonzeros : int
        The bound.
    """

    n_nonzeros: int


class LargestPerColumn(NamedTuple):
    """At most so many nonzeros in every column.

    Attributes
    ----------
    n_nonzeros : int
        The bound.
    """

    n_nonzeros: int


class LargestPerRowOrColumn(NamedTuple):
    """Nonzeros only where an entry is among the largest of its row or among the largest of its column.

    A selection rule rather than the nearest point of a set: every row and every column keeps its largest entries, and
    may keep more. It never leaves a row or a column empty, which the other bounds may.

    Attributes
    ----------
    n_nonzeros : int
        How many largest entries every row and every column keeps.
    """

    n_nonzeros: int


class FixedSupport(NamedTuple):
    """Nonzeros only on a given support.

    Attributes
    ----------
    support : ndarray of bool of shape (n_rows, n_columns)
        True where an entry may differ from zero.
    """

    support: np.ndarray


class BlockDiagonal(NamedTuple):
    """Nonzeros only in consecutive diagonal blocks.

    Attributes
    ----------
    row_sizes : tuple of int
        The rows of each block.
    column_sizes : tuple of int
        The columns of each block.
    """

    row_sizes: tuple[int, ...]
    column_sizes: tuple[int, ...]


class FixedFactor(NamedTuple):
    """A factor that is known.

    Attributes
    ----------
    matrix : ndarray of shape (n_rows, n_columns)
        The factor; neither changed nor scaled.
    """

    matrix: np.ndarray


@singledispatch
def project(constraint: Any, matrix: np.ndarray) -> np.ndarray:
    """The nearest matrix that satisfies a constraint.

    Parameters
    ----------
    constraint : constraint record
        A record of this module. For one of your own, register an implementation: ``project.register(cls)``.
    matrix : ndarray of shape (n_rows, n_columns)
        Real or complex; not changed.

    Returns
    -------
    ndarray of shape (n_rows, n_columns)
        The projection, in the same precision.

    Raises
    ------
    TypeError
        If nobody registered the class.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.sparse_factor_projections import LargestPerColumn, project
    >>> project(LargestPerColumn(1), np.array([[3.0, 1.0], [2.0, -4.0]]))
    array([[ 3.,  0.],
           [ 0., -4.]])
    """
    raise TypeError(f"not a constraint of a sparse factor: {type(constraint).__name__}")


@singledispatch
def shape_of(constraint: Any) -> tuple[int, int] | None:
    """The shape that a constraint prescribes, or None if it suits every shape."""
    return None


def largest_along(magnitude: np.ndarray, count: int, axis: int) -> np.ndarray:
    """True at the largest entries along an axis; of ties, at the first.

    Parameters
    ----------
    magnitude : ndarray of shape (n_rows, n_columns)
        Sizes >= 0.
    count : int
        How many entries to mark along the axis.
    axis : int
        The axis.

    Returns
    -------
    ndarray of bool of shape (n_rows, n_columns)
        The marks.
    """
    size = magnitude.shape[axis]
    if count >= size:
        return np.ones(magnitude.shape, dtype=bool)
    threshold = np.partition(magnitude, size - count, axis=axis).take([size - count], axis=axis)
    tie = _TIE.get(magnitude.dtype.char, 0.0)
    above = magnitude > threshold * (1.0 + tie)
    tied = (magnitude >= threshold * (1.0 - tie)) & ~above
    room = count - np.count_nonzero(above, axis=axis, keepdims=True)
    return above | (tied & (np.cumsum(tied, axis=axis) <= room))


def _kept(matrix: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.where(mask, matrix, matrix.dtype.type(0))


@project.register(LargestEntries)
def _(constraint, matrix):
    mask = largest_along(np.abs(matrix).reshape(1, -1), constraint.n_nonzeros, 1)
    return _kept(matrix, mask.reshape(matrix.shape))


@project.register(LargestPerRow)
def _(constraint, matrix):
    return _kept(matrix, largest_along(np.abs(matrix), constraint.n_nonzeros, 1))


@project.register(LargestPerColumn)
def _(constraint, matrix):
    return _kept(matrix, largest_along(np.abs(matrix), constraint.n_nonzeros, 0))


@project.register(LargestPerRowOrColumn)
def _(constraint, matrix):
    magnitude, count = np.abs(matrix), constraint.n_nonzeros
    return _kept(matrix, largest_along(magnitude, count, 0) | largest_along(magnitude, count, 1))


@project.register(FixedSupport)
def _(constraint, matrix):
    return _kept(matrix, constraint.support)


@shape_of.register(FixedSupport)
def _(constraint):
    return constraint.support.shape


@project.register(BlockDiagonal)
def _(constraint, matrix):
    projected, row, column = np.zeros_like(matrix), 0, 0
    for n_rows, n_columns in zip(constraint.row_sizes, constraint.column_sizes, strict=True):
        block = np.s_[row : row + n_rows, column : column + n_columns]
        projected[block] = matrix[block]
        row, column = row + n_rows, column + n_columns
    return projected


@shape_of.register(BlockDiagonal)
def _(constraint):
    return sum(constraint.row_sizes), sum(constraint.column_sizes)


@project.register(FixedFactor)
def _(constraint, matrix):
    return constraint.matrix.astype(matrix.dtype)


@shape_of.register(FixedFactor)
def _(constraint):
    return constraint.matrix.shape


def check_constraints(constraints: Any, shapes: Any) -> None:
    """Refuse constraints that nobody can project on, that allow nothing, or that do not fit the factors.

    Parameters
    ----------
    constraints : sequence of constraint records
        One a factor.
    shapes : sequence of tuple of two int
        The shapes of the factors.

    Raises
    ------
    TypeError
        If a record registers no projection.
    ValueError
        If a bound is below one, or a prescribed shape is not that of the factor.
    """
    for j, (constraint, shape) in enumerate(zip(constraints, shapes, strict=True)):
        if project.dispatch(type(constraint)) is project.dispatch(object):
            raise TypeError(f"constraints[{j}] must be a constraint record, got {type(constraint).__name__}")
        prescribed = shape_of(constraint)
        if prescribed is not None and tuple(prescribed) != tuple(shape):
            raise ValueError(
                f"constraints[{j}] prescribes the shape {tuple(prescribed)}, the factor has {tuple(shape)}"
            )
        if getattr(constraint, "n_nonzeros", 1) < 1:
            raise ValueError(f"constraints[{j}] must allow at least one nonzero, got {constraint.n_nonzeros}")
