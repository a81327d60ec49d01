"""Each projection against the definition: every support that is allowed, tried."""

import itertools
from typing import NamedTuple

import numpy as np
import pytest

from sparsemodels.solvers.sparse_factor_projections import (
    BlockDiagonal,
    FixedFactor,
    FixedSupport,
    LargestEntries,
    LargestPerColumn,
    LargestPerRow,
    LargestPerRowOrColumn,
    check_constraints,
    project,
    shape_of,
)

RNG = np.random.default_rng(0)
SUPPORT = RNG.random((3, 4)) < 0.5
CONSTRAINTS = [
    LargestEntries(3),
    LargestPerRow(2),
    LargestPerColumn(1),
    FixedSupport(SUPPORT),
    BlockDiagonal((1, 2), (3, 1)),
]
ALL = [*CONSTRAINTS, LargestPerRowOrColumn(2)]
MATRICES = {
    "float64": RNG.standard_normal((3, 4)),
    "float32": RNG.standard_normal((3, 4)).astype(np.float32),
    "complex": RNG.standard_normal((3, 4)) + 1j * RNG.standard_normal((3, 4)),
    "ties": RNG.choice([-1.0, 0.0, 1.0], (3, 4)),
    "zero": np.zeros((3, 4)),
}


def allowed(constraint, support):
    """Whether a support satisfies a constraint, by its definition."""
    if isinstance(constraint, LargestEntries):
        return support.sum() <= constraint.n_nonzeros
    if isinstance(constraint, LargestPerRow):
        return max(support.sum(axis=1)) <= constraint.n_nonzeros
    if isinstance(constraint, LargestPerColumn):
        return max(support.sum(axis=0)) <= constraint.n_nonzeros
    if isinstance(constraint, FixedSupport):
        return not np.any(support & ~constraint.support)
    inside = np.zeros(support.shape, dtype=bool)
    inside[:1, :3] = inside[1:, 3:] = True
    return not np.any(support & ~inside)


SUPPORTS = [np.array(bits, dtype=bool).reshape(3, 4) for bits in itertools.product([0, 1], repeat=12)]


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("name", MATRICES)
def test_no_allowed_matrix_is_nearer(constraint, name):
    matrix = MATRICES[name]
    projected = project(constraint, matrix)
    assert allowed(constraint, projected != 0.0)
    energies = np.abs(matrix).astype(np.float64) ** 2
    most = max(energies[support].sum() for support in SUPPORTS if allowed(constraint, support))
    # The nearest matrix on a support agrees with the given one there: it keeps the most energy.
    assert np.array_equal(projected[projected != 0.0], matrix[projected != 0.0])
    assert np.sum(np.abs(projected).astype(np.float64) ** 2) == pytest.approx(most, rel=1e-12, abs=0.0)


@pytest.mark.parametrize("constraint", ALL, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("name", MATRICES)
def test_projecting_again_or_scaled_changes_nothing(constraint, name):
    matrix = MATRICES[name]
    before = matrix.copy()
    projected = project(constraint, matrix)
    assert projected.dtype == matrix.dtype
    assert np.array_equal(project(constraint, projected), projected)
    assert np.array_equal(project(constraint, -8 * matrix), -8 * projected)
    assert np.array_equal(matrix, before)


@pytest.mark.parametrize("name", MATRICES)
def test_the_largest_of_each_row_or_column_are_kept(name):
    matrix = MATRICES[name]
    kept = project(LargestPerRowOrColumn(2), matrix)
    rows, columns = project(LargestPerRow(2), matrix), project(LargestPerColumn(2), matrix)
    assert np.array_equal(kept, np.where(rows != 0.0, rows, columns))


def test_of_ties_the_first_wins_whatever_rounding_adds():
    ones = np.ones((4, 6))
    noisy = ones + 1e-15 * RNG.standard_normal(ones.shape)
    first = np.zeros((4, 6), dtype=bool)
    first[:, :2] = True
    assert np.array_equal(project(LargestPerRow(2), noisy) != 0.0, first)
    assert np.array_equal(project(LargestPerColumn(1), noisy) != 0.0, np.arange(4)[:, None] == np.zeros(6))
    assert np.array_equal(np.flatnonzero(project(LargestEntries(7), noisy)), np.arange(7))
    # What is larger by more than rounding comes first all the same.
    noisy[2, 5] += 1e-6
    assert project(LargestPerRow(2), noisy)[2, 5] != 0.0


def test_a_fixed_factor_is_itself():
    given = MATRICES["float64"]
    assert np.array_equal(project(FixedFactor(given), np.zeros((3, 4))), given)
    assert shape_of(FixedFactor(given)) == (3, 4)
    assert shape_of(BlockDiagonal((1, 2), (3, 1))) == (3, 4)
    assert shape_of(LargestEntries(1)) is None


class Nonnegative(NamedTuple):
    """A constraint of a user's own."""


def test_a_constraint_of_ones_own_needs_one_function():
    with pytest.raises(TypeError, match=r"constraints\[0\] must be a constraint record, got Nonnegative"):
        check_constraints([Nonnegative()], [(3, 4)])
    project.register(Nonnegative, lambda constraint, matrix: np.maximum(matrix, 0.0))
    check_constraints([Nonnegative()], [(3, 4)])
    assert project(Nonnegative(), MATRICES["float64"]).min() == 0.0


def test_bad_constraints():
    with pytest.raises(TypeError, match="not a constraint of a sparse factor: str"):
        project("sparse", np.eye(2))
    with pytest.raises(ValueError, match=r"constraints\[1\] prescribes the shape \(3, 4\), the factor has \(4, 4\)"):
        check_constraints([LargestEntries(1), FixedSupport(SUPPORT)], [(3, 4), (4, 4)])
    with pytest.raises(ValueError, match=r"constraints\[0\] must allow at least one nonzero, got 0"):
        check_constraints([LargestPerRow(0)], [(3, 4)])
