"""The sufficiently scattered condition: exact rational vertices, known answers, certificates checked from outside."""

import functools
import itertools
from fractions import Fraction

import numpy as np
import pytest

import sparsemodels.decomposition
from sparsemodels.decomposition import sufficiently_scattered
from sparsemodels.solvers.largest_norm import ascend, into_polytope, largest_norm, maximise_linear
from sparsemodels.solvers.sufficiently_scattered import unit_columns

TOL = 1e-7  # what the check counts as equal
WORKED = np.array([[1, 1, 1, 0, 0, 0], [1, 0, 0, 1, 1, 0], [0, 1, 0, 1, 0, 1], [0, 0, 1, 0, 1, 1]])
SMALL = [(3, 5, 2), (3, 16, 2), (3, 30, 2), (4, 8, 2), (4, 12, 3), (4, 20, 2)]  # rows, columns, nonzeros of each


def sparse_columns(r, n, n_nonzero, seed):
    """Small integers: columns with a given number of nonzeros."""
    random = np.random.default_rng(seed)
    H = np.zeros((r, n), dtype=int)
    for j in range(n):
        H[random.choice(r, n_nonzero, replace=False), j] = random.integers(1, 6, n_nonzero)
    return H


def null_vector(rows):
    """The vector orthogonal to r - 1 rational rows, up to scale, by Gauss-Jordan; None if they are dependent."""
    matrix = [list(map(Fraction, row)) for row in rows]
    size, pivots = len(matrix[0]), []
    for column in range(size):
        rank = len(pivots)
        pivot = next((i for i in range(rank, len(matrix)) if matrix[i][column] != 0), None)
        if pivot is None:
            continue
        matrix[rank], matrix[pivot] = matrix[pivot], matrix[rank]
        matrix[rank] = [entry / matrix[rank][column] for entry in matrix[rank]]
        for i in range(len(matrix)):
            if i != rank:
                factor = matrix[i][column]
                matrix[i] = [a - factor * b for a, b in zip(matrix[i], matrix[rank], strict=True)]
        pivots.append(column)
    if len(pivots) < size - 1:
        return None
    free = next(column for column in range(size) if column not in pivots)
    vector = [Fraction(0)] * size
    vector[free] = Fraction(1)
    for i, column in enumerate(pivots):
        vector[column] = -matrix[i][free]
    return vector


@functools.cache
def small_case(case, seed):
    """A matrix and the exact answer."""
    H = sparse_columns(*case, seed)
    return H, exact_condition(H)


def exact_condition(H):
    """(ssc1, ssc2, largest squared norm or None if unbounded) in rational arithmetic, from all vertices."""
    columns = [list(map(int, column)) for column in np.unique(H.T, axis=0) if column.any()]
    largest, touching = Fraction(0), False
    for chosen in itertools.combinations(columns, H.shape[0] - 1):
        normal = null_vector(chosen)
        if normal is None:
            continue
        products = [sum(a * b for a, b in zip(normal, column, strict=True)) for column in columns]
        for sign in (1, -1):
            if all(sign * product >= 0 for product in products):
                total = sign * sum(normal)
                if total <= 0:
                    return False, False, None
                vertex = [sign * entry / total for entry in normal]
                norm = sum(entry**2 for entry in vertex)
                largest = max(largest, norm)
                touching |= norm == 1 and 1 not in vertex
    return largest <= 1, largest <= 1 and not touching, largest


def verify(H, result):
    """The certificate says what it claims, whoever made it."""
    if result.certificate is None:
        assert result.ssc1 is not False
        assert result.ssc2 is not False
        return
    x, scale = result.certificate, np.abs(H).sum(axis=0)
    norm = x @ x
    assert abs(x.sum() - 1.0) <= 1e-12 * np.abs(x).sum()
    assert (H.T @ x >= -1e-13 * scale * np.abs(x).max()).all()
    if result.ssc1 is False:
        assert norm > 1.0 + TOL
        np.testing.assert_allclose(norm, result.value, rtol=1e-12)
        assert result.ssc2 is False
    else:
        assert abs(norm - 1.0) <= 2 * TOL
        assert x.max() < 1.0 - TOL


@pytest.mark.parametrize("method", ["qhull", "branch_and_bound"])
def test_worked_example(method):
    """All pairs of four rows: the dual cones touch beside the unit vectors, where all entries are halves."""
    result = sufficiently_scattered(WORKED, method=method)
    assert (result.ssc1, result.ssc2) == (True, False)
    np.testing.assert_allclose(result.value, 1.0, atol=1e-12)
    np.testing.assert_allclose(np.sort(result.certificate), [-0.5, 0.5, 0.5, 0.5], atol=1e-9)
    verify(WORKED, result)


@pytest.mark.parametrize("r", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("method", ["auto", "branch_and_bound"])
def test_separable_matrices_are_scattered(r, method):
    """A cone that contains all unit vectors is the orthant: nothing is more scattered."""
    random = np.random.default_rng(r)
    H = np.hstack([np.eye(r) * random.uniform(0.1, 10.0, r), random.uniform(size=(r, 7))])[:, random.permutation(r + 7)]
    for matrix in (np.eye(r), H):
        result = sufficiently_scattered(matrix, method=method)
        assert (result.ssc1, result.ssc2, result.certificate) == (True, True, None)
        assert 1.0 - 1e-12 <= result.value <= result.bound <= 1.0 + TOL


@pytest.mark.parametrize("case", SMALL)
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_exact_vertices(case, seed):
    """Every vertex of the polytope, in rational arithmetic: both conditions, and the largest norm."""
    H, (ssc1, ssc2, largest) = small_case(case, seed)
    for method in ("qhull", "branch_and_bound"):
        result = sufficiently_scattered(H, method=method)
        assert (result.ssc1, result.ssc2, result.status) == (ssc1, ssc2, "decided")
        verify(H, result)
        if method == "qhull":
            assert (largest is None) == np.isinf(result.bound)
            if largest is not None:
                np.testing.assert_allclose(result.value, float(largest), rtol=1e-9)
        elif largest is not None:
            assert result.value <= float(largest) * (1 + 1e-9)
            assert float(largest) <= result.bound * (1 + 1e-12)


def test_exact_vertices_see_both_answers():
    """The random matrices above are neither all scattered nor all not."""
    answers = [small_case(case, seed)[1][0] for case in SMALL for seed in range(3)]
    assert 0.2 < np.mean(answers) < 0.8
    assert exact_condition(WORKED) == (True, False, 1)


@pytest.mark.parametrize(
    ("r", "n", "n_nonzero"), [(4, 40, 3), (4, 20, 3), (5, 50, 3), (6, 50, 2), (6, 30, 3), (7, 60, 2)]
)
def test_branch_and_bound_agrees_with_qhull(r, n, n_nonzero):
    """Two ways that share nothing but the columns."""
    random = np.random.default_rng(n)
    H = np.where(sparse_columns(r, n, n_nonzero, 0) > 0, random.uniform(0.1, 1.0, (r, n)), 0.0)
    facets = sufficiently_scattered(H, method="qhull")
    branches = sufficiently_scattered(H, method="branch_and_bound")
    assert facets.method == "qhull"
    assert (facets.ssc1, facets.ssc2) == (branches.ssc1, branches.ssc2)
    assert branches.value <= facets.value * (1 + 1e-9)
    assert facets.value <= branches.bound * (1 + 1e-12)
    verify(H, facets)
    verify(H, branches)


@pytest.mark.parametrize("method", ["qhull", "branch_and_bound"])
def test_what_must_not_matter(method):
    """Scales of the columns, their order, repeated and zero columns, points inside the cone, the order of the rows."""
    random = np.random.default_rng(3)
    for H in (
        WORKED.astype(float),
        sparse_columns(4, 10, 2, 1).astype(float),
        sparse_columns(4, 30, 3, 0).astype(float),
    ):
        first = sufficiently_scattered(H, method=method)
        mixed = H @ random.uniform(size=(H.shape[1], 4))
        disguised = np.hstack([H * 10.0 ** random.integers(-150, 150, H.shape[1]), H, np.zeros((4, 2)), mixed])
        disguised = disguised[random.permutation(4)][:, random.permutation(disguised.shape[1])]
        second = sufficiently_scattered(disguised, method=method)
        assert (first.ssc1, first.ssc2) == (second.ssc1, second.ssc2)
        if method == "qhull":
            np.testing.assert_allclose(first.value, second.value, rtol=1e-9)


@pytest.mark.parametrize("method", ["auto", "qhull", "branch_and_bound"])
def test_columns_that_span_no_cone(method):
    """Too few columns, a rank that is not full, a row of zeros: the cone has no interior."""
    random = np.random.default_rng(0)
    for H in (
        np.ones((3, 1)),
        random.uniform(size=(5, 4)),
        random.uniform(size=(4, 2)) @ random.uniform(size=(2, 30)),
        np.vstack([np.eye(3), np.zeros((1, 3))]),
        np.array([[1.0, 2.0], [1.0, 2.0]]),
    ):
        result = sufficiently_scattered(H, method=method)
        assert (result.ssc1, result.ssc2, result.bound) == (False, False, np.inf)
        verify(H, result)


def test_two_rows():
    """For r = 2 the circular cone is the orthant itself: both unit vectors must be among the columns."""
    assert sufficiently_scattered([[1.0, 0.0, 1.0], [0.0, 2.0, 3.0]]).ssc2
    H = np.array([[1.0, 0.1], [0.1, 1.0]])
    for method in ("auto", "branch_and_bound"):
        result = sufficiently_scattered(H, method=method)
        assert (result.ssc1, result.ssc2) == (False, False)
        np.testing.assert_allclose(result.value, (1.0 + 0.01) / 0.81, rtol=1e-12)  # x = (-0.1, 1) / 0.9
        verify(H, result)
    one_sided = np.array([[1.0, 0.9], [0.0, 0.1]])  # an angle below 45 degrees from one axis: no end in one direction
    result = sufficiently_scattered(one_sided)
    assert (result.ssc1, result.bound) == (False, np.inf)
    verify(one_sided, result)


def test_zeros_carry_the_condition():
    """Without exact zeros SSC1 is lost; what noise below tol takes away does not count."""
    H = sparse_columns(4, 40, 2, 0).astype(float)
    H /= H.sum(axis=0)
    assert sufficiently_scattered(H).ssc2
    assert sufficiently_scattered(H + 1e-10).ssc1
    for method in ("qhull", "branch_and_bound"):
        result = sufficiently_scattered(H + 1e-3, method=method)
        assert result.ssc1 is False
        verify(H + 1e-3, result)


def test_uniqueness_of_what_is_scattered():
    """An invertible Q with Q^{-1} H >= 0 and W Q >= 0 is a second factorization: it exists where the check refutes."""
    H = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    assert sufficiently_scattered(H).ssc1 is False
    Q = H.copy()  # the columns themselves span a smaller simplicial cone
    assert (np.linalg.solve(Q, H) >= -1e-15).all()
    assert not np.allclose(np.sort(Q / Q.sum(axis=0), axis=0), np.sort(np.eye(3), axis=0))


def test_out_of_time():
    """What is known when the time is up: undecided, between the bounds."""
    random = np.random.default_rng(0)
    H = np.where(sparse_columns(12, 150, 4, 0) > 0, random.uniform(0.1, 1.0, (12, 150)), 0.0)
    result = sufficiently_scattered(H, time_limit=0.3)
    assert (result.ssc1, result.ssc2, result.status) == (None, None, "time_limit")
    assert 1.0 <= result.value <= 1.0 + TOL < result.bound
    assert result.certificate is None
    early = sufficiently_scattered(H, time_limit=1e-9)
    assert (early.ssc1, early.bound, early.n_nodes) == (None, np.inf, 0)


def test_auto_takes_the_facets_while_there_are_few():
    assert sufficiently_scattered(sparse_columns(5, 30, 2, 0)).method == "qhull"
    assert sufficiently_scattered(sparse_columns(12, 150, 2, 0)).method == "branch_and_bound"


def test_the_linear_bound_is_one():
    """The bound from the multipliers lies above all points of the polytope and box, and is attained."""
    random = np.random.default_rng(5)
    rows = unit_columns(sparse_columns(5, 30, 3, 0).astype(float))
    lower, upper = np.full(5, -0.6), np.full(5, 0.9)
    for _ in range(5):
        direction = random.standard_normal(5)
        point, bound, reduced = maximise_linear(rows, direction, lower, upper)
        assert abs(bound - direction @ point) <= 1e-9
        for _ in range(20):
            other, _, _ = maximise_linear(rows, random.standard_normal(5), lower, upper)
            loss = np.maximum(reduced, 0) @ (upper - other) + np.maximum(-reduced, 0) @ (other - lower)
            assert direction @ other <= bound - loss + 1e-9
    assert maximise_linear(rows, direction, np.full(5, 0.5), np.full(5, 0.9)) is None


def test_climbing_and_bounding_enclose_the_maximum():
    """On a polytope with a known maximum: thresholds on either side of it are told apart."""
    rows = unit_columns(np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0]]))
    # The vertices are (-1, 1, 1) and its permutations, of squared norm three.
    lower, upper = np.full(3, -5.0), np.full(3, 5.0)
    reached = ascend(rows, np.array([0.1, 0.0, 0.3]), lower, upper)
    np.testing.assert_allclose(reached @ reached, 3.0, atol=1e-9)
    assert largest_norm(rows, lower, upper, 3.0 + 1e-6).status == "proved"
    above = largest_norm(rows, lower, upper, 3.0 - 1e-6)
    assert above.status == "exceeded"
    assert largest_norm(rows, lower, upper, 2.0, max_nodes=1).n_nodes <= 1
    inside = largest_norm(rows, np.full(3, -0.5), np.full(3, 0.8), 3.0)
    assert inside.value <= 3 * 0.8**2
    moved = into_polytope(rows, np.array([-1.0 - 1e-9, 1.0, 1.0 + 1e-9]))
    assert (rows @ moved >= 0.0).all()


@pytest.mark.parametrize(
    ("H", "options", "message"),
    [
        ([[1.0, -0.5]], {}, "H must be nonnegative, got an entry of -0.5"),
        (np.zeros((2, 3)), {}, "H must have an entry that is not zero"),
        (np.eye(2), {"method": "gurobi"}, "method must be one of 'auto', 'qhull', 'branch_and_bound', got 'gurobi'"),
        (np.eye(2), {"tol": 0.0}, r"tol must be a number in \(0, 0.01\], got 0.0"),
        (np.eye(2), {"time_limit": -1}, "time_limit must be None or a positive number of seconds, got -1"),
        ([[np.nan, 1.0]], {}, "NaN"),
        ([1.0, 2.0], {}, "Expected 2D array"),
    ],
)
def test_bad_input(H, options, message):
    with pytest.raises(ValueError, match=message):
        sufficiently_scattered(H, **options)


def test_the_function_is_not_shadowed_by_its_module():
    """A module of the same name would replace the function on the second import."""
    assert callable(sparsemodels.decomposition.sufficiently_scattered)
    before = WORKED.copy()
    sufficiently_scattered(before)
    np.testing.assert_array_equal(before, WORKED)
