"""Projections against naive references (sorting, bisection, least squares, CVXPY) and their variational inequality."""

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sparsemodels.solvers.projections import (
    project_affine,
    project_box,
    project_half_space,
    project_hyperplane,
    project_l1_ball,
    project_l2_ball,
    project_nonnegative,
    project_simplex,
)

EPS = np.finfo(float).eps
NORMAL = np.array([1.0, -2.0, 0.5, 0.0, 3.0, 1.0])
MATRIX = np.array([[1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, -2.0, 0.5, 0.0, 3.0, 1.0], [2.0, -1.0, 1.5, 1.0, 4.0, 2.0]])
WEIGHTS = np.array([1.0, 0.0, 2.5, np.inf, 0.1, 1.0])
LOWER, UPPER = np.array([-1.0, 0.0, -np.inf, 2.0, -3.0, -0.5]), np.array([1.0, np.inf, 0.0, 2.0, 4.0, 0.5])

# Each set by its projection; members of it follow from projecting anything, as the references below show.
PROJECTIONS = {
    "nonnegative": project_nonnegative,
    "box": lambda x: project_box(x, LOWER, UPPER),
    "simplex": lambda x: project_simplex(x, 2.0),
    "l1_ball": lambda x: project_l1_ball(x, 2.0),
    "weighted_l1_ball": lambda x: project_l1_ball(x, 2.0, WEIGHTS),
    "l2_ball": lambda x: project_l2_ball(x, 2.0),
    "hyperplane": lambda x: project_hyperplane(x, NORMAL, 1.5),
    "half_space": lambda x: project_half_space(x, NORMAL, 1.5),
    "affine": lambda x: project_affine(x, MATRIX, np.array([1.0, 2.0, 3.0])),  # the third equation: the others' sum
}
CONSTRAINTS = {
    "nonnegative": lambda z: [z >= 0],
    "box": lambda z: [z[[0, 3, 4, 5]] >= LOWER[[0, 3, 4, 5]], z[1] >= 0, z[[0, 2, 3, 4, 5]] <= UPPER[[0, 2, 3, 4, 5]]],
    "simplex": lambda z: [z >= 0, cp.sum(z) == 2],
    "l1_ball": lambda z: [cp.norm1(z) <= 2],
    "weighted_l1_ball": lambda z: [cp.abs(z[[0, 2, 4, 5]]) @ WEIGHTS[[0, 2, 4, 5]] <= 2, z[3] == 0],
    "l2_ball": lambda z: [cp.norm2(z) <= 2],
    "hyperplane": lambda z: [NORMAL @ z == 1.5],
    "half_space": lambda z: [NORMAL @ z <= 1.5],
    "affine": lambda z: [MATRIX[:2] @ z == [1.0, 2.0]],
}
# Multiples of 1/8: ties, zeros and points on the boundary are frequent, and small sums are exact.
POINTS = arrays(np.float64, 6, elements=st.integers(-40, 40).map(lambda k: k / 8))
few = settings(max_examples=60, deadline=None, derandomize=True)


def simplex_by_sorting(x, radius):
    ordered = np.sort(x.astype(float))[::-1]
    threshold = (np.cumsum(ordered) - radius) / np.arange(1, x.size + 1)
    return np.maximum(x - threshold[np.flatnonzero(ordered > threshold)[-1]], 0.0)


def l1_ball_by_bisection(x, radius, weights):
    def shrink(threshold):
        with np.errstate(invalid="ignore"):
            moved = np.sign(x) * np.maximum(np.abs(x) - threshold * np.where(weights == np.inf, 0.0, weights), 0.0)
        return np.where(weights == np.inf, 0.0, moved)

    def norm(threshold):
        finite = weights < np.inf
        return weights[finite] @ np.abs(shrink(threshold)[finite])

    if not x[weights == np.inf].any() and norm(0.0) <= radius:
        return x
    low, high = 0.0, 1.0
    while norm(high) > radius:
        high *= 2.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if norm(middle) > radius else (low, middle)
    return shrink(high)


@pytest.mark.parametrize("name", PROJECTIONS)
def test_agrees_with_cvxpy(name):
    rng = np.random.default_rng(0)
    for scale in (0.1, 3.0):
        x = scale * rng.standard_normal(6)
        z = cp.Variable(6)
        cp.Problem(cp.Minimize(cp.sum_squares(z - x)), CONSTRAINTS[name](z)).solve(cp.CLARABEL)
        # The square root of the solver's own tolerance of 1e-8 on the objective.
        np.testing.assert_allclose(PROJECTIONS[name](x), z.value, atol=1e-4)


@pytest.mark.parametrize("name", PROJECTIONS)
@few
@given(x=POINTS, other=POINTS)
def test_variational_inequality_and_idempotence(name, x, other):
    # <x - Px, z - Px> <= 0 for every z of the set characterises the projection.
    project = PROJECTIONS[name]
    point, z = project(x), project(other)
    scale = 1.0 + np.abs(x).max() + np.abs(other).max()
    assert (x - point) @ (z - point) <= 100 * EPS * scale**2
    np.testing.assert_allclose(project(point), point, atol=20 * EPS * scale)
    # A projection moves no two points apart.
    assert np.linalg.norm(point - z) <= np.linalg.norm(x - other) + 20 * EPS * scale


@pytest.mark.parametrize("name", PROJECTIONS)
def test_rows_dtype_and_input(name):
    project = PROJECTIONS[name]
    x = np.random.default_rng(1).normal(scale=3.0, size=(5, 6))
    rows, before = project(x), x.copy()
    np.testing.assert_array_equal(x, before)
    # Row by row: equal but for the order of the products' sums.
    np.testing.assert_allclose(rows, [project(row) for row in x], rtol=0, atol=20 * EPS)
    single = project(x.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, project(x.astype(np.float32).astype(float)), rtol=1e-6, atol=1e-6)
    for view in (x[::-1, :], np.asfortranarray(x)):
        np.testing.assert_allclose(project(view), [project(row.copy()) for row in view], rtol=0, atol=20 * EPS)
    frozen = x.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(project(frozen), rows)
    whole = np.arange(6)
    np.testing.assert_array_equal(project(whole), project(whole.astype(float)))
    inside = project(x[0])
    assert not np.shares_memory(project(inside), inside)
    with pytest.raises(ValueError, match="x must be a vector or a matrix of rows, got 3 dimensions"):
        project(np.zeros((2, 2, 6)))


@few
@given(
    x=arrays(np.float64, st.integers(1, 40), elements=st.integers(-40, 40).map(lambda k: k / 8)),
    exponent=st.integers(-100, 100),
    shift=st.sampled_from([0.0, 1.0, -4.0, 2.0**27]),
)
def test_simplex_is_the_sorted_one(x, exponent, shift):
    expected = simplex_by_sorting(x, 1.5)
    point = project_simplex(x, 1.5)
    np.testing.assert_allclose(point, expected, atol=20 * EPS * 10)  # the reference adds up entries of up to 5
    assert point.min() >= 0.0
    assert abs(point.sum() - 1.5) <= 10 * EPS
    # A common offset changes nothing, exactly where the sums are exact; a power of two scales everything.
    np.testing.assert_array_equal(project_simplex(x + shift, 1.5), point)
    scale = 2.0**exponent
    np.testing.assert_array_equal(project_simplex(scale * x, scale * 1.5), scale * point)


def test_simplex_special_points():
    np.testing.assert_array_equal(project_simplex(np.array([7.0]), 3.0), [3.0])
    np.testing.assert_array_equal(project_simplex(np.full(4, -1e300)), np.full(4, 0.25))
    np.testing.assert_array_equal(project_simplex(np.array([8e307, -8e307])), [1.0, 0.0])
    np.testing.assert_array_equal(project_simplex(np.array([-np.inf, 0.0, 0.0])), [0.0, 0.5, 0.5])
    np.testing.assert_array_equal(project_simplex(np.array([1.0, 2.0]), 0.0), [0.0, 0.0])
    # Entries far above the radius: their differences decide, and these are exact.
    np.testing.assert_array_equal(project_simplex(1e8 + np.array([0.0, 0.25, 0.5]), 0.5), [0.0, 0.125, 0.375])
    # Sweeps that drop few candidates each.
    x = -(0.5 ** np.arange(60.0))
    np.testing.assert_allclose(project_simplex(x), simplex_by_sorting(x, 1.0), atol=1e-15)
    for y in (np.sort(x), np.sort(x)[::-1], np.repeat(x, 3)):
        np.testing.assert_allclose(project_simplex(y, 7.0), simplex_by_sorting(y, 7.0), atol=1e-14)


@few
@given(
    x=arrays(np.float64, 8, elements=st.integers(-40, 40).map(lambda k: k / 8)),
    weights=arrays(np.float64, 8, elements=st.sampled_from([0.0, 0.25, 1.0, 1.0, 3.0, np.inf])),
    radius=st.sampled_from([0.0, 0.5, 4.0, 1000.0]),
)
def test_l1_ball_is_the_bisected_one(x, weights, radius):
    expected = l1_ball_by_bisection(x, radius, weights)
    np.testing.assert_allclose(project_l1_ball(x, radius, weights), expected, atol=100 * EPS)
    plain = project_l1_ball(x, radius)
    np.testing.assert_allclose(plain, l1_ball_by_bisection(x, radius, np.ones(8)), atol=100 * EPS)
    np.testing.assert_allclose(plain, project_l1_ball(x, radius, np.ones(8)), atol=100 * EPS)
    assert np.abs(plain).sum() <= radius * (1 + 10 * EPS)
    # Signs and order of the coordinates do not matter; a point inside stays where it is, bit by bit.
    np.testing.assert_array_equal(project_l1_ball(-x, radius, weights), -project_l1_ball(x, radius, weights))
    np.testing.assert_allclose(project_l1_ball(x[::-1], radius), plain[::-1], atol=100 * EPS)
    if np.abs(x).sum() <= radius:
        np.testing.assert_array_equal(plain, x)


@pytest.mark.parametrize("scale", [2.0**-500, 1.0, 2.0**500])
def test_balls_scale(scale):
    x = np.random.default_rng(2).standard_normal(9)
    for project in (project_l1_ball, project_l2_ball):
        np.testing.assert_array_equal(project(scale * x, scale * 0.7), scale * project(x, 0.7))
    np.testing.assert_array_equal(
        project_l1_ball(scale * x, scale * 0.7, np.arange(1.0, 10.0)),
        scale * project_l1_ball(x, 0.7, np.arange(1.0, 10.0)),
    )


def test_l2_ball_at_the_ends_of_the_range():
    np.testing.assert_allclose(project_l2_ball(np.array([3e300, 4e300])), [0.6, 0.8], rtol=4 * EPS)
    np.testing.assert_allclose(project_l2_ball(np.array([3e-300, 4e-300]), 1e-300), [6e-301, 8e-301], rtol=4 * EPS)
    np.testing.assert_array_equal(project_l2_ball(np.array([3e-320, 4e-320])), [3e-320, 4e-320])
    np.testing.assert_array_equal(project_l2_ball(np.array([3.0, 4.0]), 0.0), [0.0, 0.0])
    np.testing.assert_array_equal(project_l2_ball(np.zeros((2, 3))), np.zeros((2, 3)))


@pytest.mark.parametrize("unit", [1e-200, 1.0, 1e200])
def test_planes_do_not_depend_on_the_units_of_their_normal(unit):
    x = np.random.default_rng(3).standard_normal(6)
    residual = (NORMAL @ x - 0.3) / (NORMAL @ NORMAL)
    plane = project_hyperplane(x, unit * NORMAL, unit * 0.3)
    np.testing.assert_allclose(plane, x - residual * NORMAL, atol=10 * EPS)
    np.testing.assert_allclose(project_affine(x, unit * NORMAL[None], [unit * 0.3]), plane, atol=10 * EPS)
    half = project_half_space(x, np.sign(residual) * unit * NORMAL, np.sign(residual) * unit * 0.3)
    np.testing.assert_allclose(half, plane, atol=10 * EPS)
    outside = project_half_space(x, -np.sign(residual) * unit * NORMAL, -np.sign(residual) * unit * 0.3)
    np.testing.assert_array_equal(outside, x)


@pytest.mark.parametrize("shape", [(1, 4), (3, 10), (7, 7), (9, 5), (0, 4)])
def test_affine_is_the_least_norm_correction(shape):
    rng = np.random.default_rng(4)
    matrix = rng.standard_normal(shape) * 10.0 ** rng.integers(-6, 7, (shape[0], 1))
    offset = matrix @ rng.standard_normal(shape[1])
    x = 100.0 * rng.standard_normal((3, shape[1]))
    # The least-norm solution by the singular value decomposition, on rows of one length.
    length = np.linalg.norm(matrix, axis=1)
    correction = np.linalg.pinv(matrix / length[:, None]) @ ((x @ matrix.T - offset) / length).T
    point = project_affine(x, matrix, offset)
    np.testing.assert_allclose(point, x - correction.T, atol=1e-10)  # 100 times a condition number of about 1e3
    assert np.all(np.abs(point @ matrix.T - offset) <= 1e-12 * length * 100.0)
    # Repeated and zero equations change nothing.
    if shape[0]:
        doubled = np.vstack([matrix, -3.0 * matrix[:1], np.zeros(shape[1])])
        np.testing.assert_allclose(
            project_affine(x, doubled, np.concatenate([offset, -3.0 * offset[:1], [0.0]])), point, atol=1e-10
        )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: project_simplex(np.ones(3), -1.0), "radius must be a number in .0, inf., got -1.0"),
        (lambda: project_simplex(np.ones(3), np.inf), "radius must be"),
        (lambda: project_l1_ball(np.ones(3), np.nan), "radius must be"),
        (lambda: project_l2_ball(np.ones(3), np.ones(3)), "radius must be"),
        (lambda: project_simplex(np.array([[0.0, 1.0], [0.0, np.nan]])), "finite largest entry .* got nan in row 1"),
        (lambda: project_simplex(np.array([0.0, np.inf])), "finite largest entry .* got inf in row 0"),
        (lambda: project_simplex(np.full(2, -np.inf)), "finite largest entry .* got -inf in row 0"),
        (lambda: project_simplex(np.empty(0)), "x must have at least one column"),
        (lambda: project_l1_ball(np.array([np.nan, 1.0])), "x must be finite"),
        (lambda: project_l1_ball(np.array([np.inf, 1.0]), 1.0, np.ones(2)), "x must be finite"),
        (lambda: project_l1_ball(np.ones(2), 1.0, np.array([1.0, -1.0])), "weights must be in .0, inf., got -1.0"),
        (lambda: project_l1_ball(np.ones(2), 1.0, np.array([1.0, np.nan])), "weights must be in .0, inf., got nan"),
        (lambda: project_l1_ball(np.ones(2), 1.0, np.ones(3)), r"weights must have shape \(2,\).*got \(3,\)"),
        (lambda: project_box(np.ones(2), 1.0, 0.0), "lower must be <= upper"),
        (lambda: project_box(np.ones(2), np.nan, 0.0), "lower must be <= upper"),
        (lambda: project_hyperplane(np.ones(2), np.zeros(2)), "normal must be finite and not zero"),
        (lambda: project_hyperplane(np.ones(2), np.ones(3)), r"normal must have shape \(2,\)"),
        (lambda: project_half_space(np.ones(2), np.array([np.nan, 1.0])), "normal must be finite and not zero"),
        (lambda: project_half_space(np.ones(2), np.ones(2), np.inf), "offset must be a finite number, got inf"),
        (lambda: project_affine(np.ones(2), np.ones((1, 3)), np.ones(1)), "matrix must have shape"),
        (lambda: project_affine(np.ones(2), np.full((1, 2), np.nan), np.ones(1)), "matrix and offset must be finite"),
        (lambda: project_affine(np.ones(2), np.ones((2, 2)), np.array([1.0, 2.0])), "contradict each other"),
        (lambda: project_affine(np.ones(2), np.zeros((1, 2)), np.ones(1)), "contradict each other: a zero row"),
    ],
)
def test_bad_input_fails_with_its_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
