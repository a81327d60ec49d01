"""SLOPE, k-support and fused penalties against CVXPY and their definitions."""

import warnings

import cvxpy as cp
import numpy as np
import pytest

from sparsemodels.solvers.columns import as_columns
from sparsemodels.solvers.composite import Composite
from sparsemodels.solvers.isotonic import decreasing_isotonic
from sparsemodels.solvers.losses import Squared
from sparsemodels.solvers.path import alpha_max
from sparsemodels.solvers.penalties import Fused, KSupport, Slope, with_alpha
from sparsemodels.solvers.penalties.vector_functions import (
    dual_scale,
    kkt_distances,
    largest_critical_alpha,
    linear_pattern,
    penalty_gap,
    penalty_value,
    vector_prox,
)
from sparsemodels.solvers.total_variation import total_variation_prox

P = 9
FEATURES = np.arange(P)
GROUP = np.array([0, 0, 1, 1, 1, 2, 3, 3, 4])
CVXPY = {"solver": "CLARABEL", "tol_gap_abs": 1e-9, "tol_gap_rel": 1e-9, "tol_feas": 1e-9}


def slope(alpha=0.7):
    return Slope(alpha, np.array([3.0, 2.5, 2.0, 2.0, 1.5, 1.0, 0.5, 0.2, 0.1]))


def k_support(alpha=0.7, k=3.0):
    return KSupport(alpha, k, np.arange(P), np.ones(P))


def groups(alpha=0.7, k=3.5):
    return KSupport(alpha, k, GROUP, np.array([1.0, 2.0, 0.5, 1.5, 1.0]))


def fused(alpha=0.7):
    return Fused(alpha, 0.3, P)


PENALTIES = [slope, k_support, groups, fused]


def expression(penalty, w):
    """The penalty by its definition, in CVXPY."""
    if isinstance(penalty, Slope):
        drops = -np.diff(penalty.weights, append=0.0)
        return penalty.alpha * sum(d * cp.sum_largest(cp.abs(w), i + 1) for i, d in enumerate(drops))
    if isinstance(penalty, Fused):
        return penalty.alpha * (penalty.l1_ratio * cp.norm1(w) + (1 - penalty.l1_ratio) * cp.norm1(cp.diff(w)))
    raise TypeError


def minimise(penalty, smooth, w):
    constraints = []
    if isinstance(penalty, KSupport):
        m = penalty.costs.size
        u, t = cp.Variable(m), cp.Variable(m)
        constraints = [u >= 0, u <= 1, penalty.costs @ u <= penalty.k]
        for g in range(m):
            constraints.append(cp.quad_over_lin(w[np.flatnonzero(penalty.group == g)], u[g]) <= t[g])
        cost = smooth + 0.5 * penalty.alpha * cp.sum(t)
    else:
        cost = smooth + expression(penalty, w)
    problem = cp.Problem(cp.Minimize(cost), constraints)
    with warnings.catch_warnings():
        # Shares of zero lie at the apex of their cones: Clarabel stops at 1e-7 there and says so.
        warnings.filterwarnings("ignore", "Solution may be inaccurate")
        problem.solve(**CVXPY)
    return problem.value, w.value


def minimise_at(penalty, point):
    if isinstance(penalty, KSupport):
        return minimise(penalty, 0.0, cp.Constant(point))[0]
    return expression(penalty, cp.Constant(point)).value


def points(seed):
    rng = np.random.default_rng(seed)
    point = rng.normal(size=P)
    yield point
    tied = np.round(point)
    yield tied
    sparse = np.where(np.arange(P) % 3 == seed % 3, point, 0.0)
    yield sparse
    yield np.repeat([1.5, 0.0, -1.5], 3)
    yield np.zeros(P)


@pytest.mark.parametrize("make", PENALTIES)
def test_value(make):
    for point in points(0):
        # CVXPY's cones are good to 1e-7 of the value
        assert penalty_value(make(), point, FEATURES) == pytest.approx(minimise_at(make(), point), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("make", PENALTIES)
@pytest.mark.parametrize("step", [0.05, 1.0, 8.0])
def test_prox_minimises(make, step):
    for point in points(1):
        got = vector_prox(make(), point, step, FEATURES)
        w = cp.Variable(P)
        best, _ = minimise(make(), cp.sum_squares(w - point) / (2 * step), w)
        value = np.sum((got - point) ** 2) / (2 * step) + penalty_value(make(), got, FEATURES)
        assert value <= best + 1e-6 * max(1.0, abs(best))
        # And it satisfies the optimality condition (v - x) / t in the subdifferential of p at x, to rounding.
        out = np.empty(P)
        assert kkt_distances(make(), got, (point - got) / step, FEATURES, out) <= 1e-12 * (
            1.0 + np.abs(point).max() / step
        )


@pytest.mark.parametrize("make", [slope, fused])
def test_distance_is_that_to_the_subdifferential(make):
    """The subdifferential of a norm: the dual ball where u'w = p(w); projected on by CVXPY."""
    penalty = make()
    rng = np.random.default_rng(2)
    for point in points(2):
        v = 2.0 * rng.normal(size=P)
        u = cp.Variable(P)
        if make is slope:
            sums = penalty.alpha * np.cumsum(penalty.weights)
            constraints = [cp.sum_largest(cp.abs(u), k + 1) <= sums[k] for k in range(P)]
        else:
            z = cp.Variable(P - 1)
            difference = np.diff(np.eye(P), axis=0)
            flat, sparse = penalty.alpha * (1 - penalty.l1_ratio), penalty.alpha * penalty.l1_ratio
            constraints = [cp.abs(z) <= flat, cp.abs(u - difference.T @ z) <= sparse]
        constraints.append(u @ point == penalty_value(penalty, point, FEATURES))
        problem = cp.Problem(cp.Minimize(cp.sum_squares(u - v)), constraints)
        problem.solve(**CVXPY)
        out = np.empty(P)
        largest = kkt_distances(penalty, point, v, FEATURES, out)
        assert largest == out.max()
        assert np.sum(out**2) == pytest.approx(problem.value, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("make", PENALTIES)
def test_gap_is_value_plus_conjugate_minus_product(make):
    rng = np.random.default_rng(3)
    for point in points(3):
        v = rng.normal(size=P)
        c = dual_scale(make(), v, FEATURES)
        assert 0.0 < c <= 1.0
        gap = penalty_gap(make(), point, v, FEATURES, c)
        conjugate = 0.0  # of a norm at a feasible point
        if isinstance(make(), KSupport):
            u = cp.Variable(make().costs.size)
            energy = np.bincount(make().group, v**2)
            knapsack = cp.Problem(cp.Maximize(energy @ u), [u >= 0, u <= 1, make().costs @ u <= make().k])
            conjugate = knapsack.solve(**CVXPY) / (2 * make().alpha)
        expected = penalty_value(make(), point, FEATURES) + conjugate - c * (v @ point)
        assert gap == pytest.approx(expected, rel=1e-7, abs=1e-8)


@pytest.mark.parametrize("make", [slope, fused])
def test_critical_level_is_the_dual_norm(make):
    v = np.random.default_rng(4).normal(size=P)
    level = largest_critical_alpha(make(), v)
    assert dual_scale(with_alpha(make(), level), v, FEATURES) == pytest.approx(1.0, rel=1e-12)
    assert dual_scale(with_alpha(make(), 0.5 * level), v, FEATURES) == pytest.approx(0.5, rel=1e-12)
    out = np.empty(P)
    assert kkt_distances(with_alpha(make(), level * (1 + 1e-12)), np.zeros(P), v, FEATURES, out) == 0.0
    assert kkt_distances(with_alpha(make(), level * (1 - 1e-6)), np.zeros(P), v, FEATURES, out) > 0.0


@pytest.mark.parametrize("make", PENALTIES)
@pytest.mark.parametrize("shape", [(30, P), (6, P)])
def test_composite_agrees_with_cvxpy(make, shape):
    rng = np.random.default_rng(5)
    X = rng.normal(size=shape)
    X[:, 3] = X[:, 2] + 0.05 * X[:, 3]
    y = X @ np.repeat([1.0, 0.0, -1.0], 3) + 0.3 * rng.normal(size=shape[0])
    s = rng.uniform(0.5, 2.0, shape[0])
    s /= s.sum()
    problem = Composite(as_columns(X), Squared(y, s), fit_intercept=True)
    alpha = 0.2 if isinstance(make(), KSupport) else 0.1 * alpha_max(problem, make())
    penalty = make(alpha)
    solution = problem.solve(penalty, tol=1e-12)
    assert solution.converged, solution.status
    w, b = cp.Variable(P), cp.Variable()
    best, _ = minimise(penalty, 0.5 * cp.sum(cp.multiply(s, cp.square(y - X @ w - b))), w)
    assert solution.objective == pytest.approx(best, rel=1e-7)
    assert solution.objective - solution.dual_gap <= best * (1 + 1e-7)
    assert solution.kkt <= 1e-5


def test_slope_of_equal_weights_is_the_lasso_and_k_support_of_all_is_ridge():
    rng = np.random.default_rng(6)
    v = rng.normal(size=P)
    equal = Slope(0.4, np.ones(P))
    np.testing.assert_allclose(
        vector_prox(equal, v, 1.0, FEATURES), np.sign(v) * np.maximum(np.abs(v) - 0.4, 0), atol=1e-15
    )
    np.testing.assert_allclose(vector_prox(k_support(0.4, P), v, 1.0, FEATURES), v / 1.4, rtol=1e-14)
    assert penalty_value(k_support(0.4, P), v, FEATURES) == pytest.approx(0.2 * v @ v, rel=1e-14)
    assert penalty_value(k_support(0.4, 1.0), v, FEATURES) == pytest.approx(0.2 * np.abs(v).sum() ** 2, rel=1e-12)


@pytest.mark.parametrize("make", [slope, fused])
def test_linear_pattern_is_the_derivative(make):
    for point in points(7):
        pattern = linear_pattern(make(), point, FEATURES)
        cluster, sign, price = pattern
        for c in range(price.size):
            direction = np.where(cluster == c, sign, 0.0)
            step = 1e-6
            ahead, behind = (penalty_value(make(), point + h * direction, FEATURES) for h in (step, -step))
            assert (ahead - behind) / (2 * step) == pytest.approx(price[c], rel=1e-7, abs=1e-8)
        np.testing.assert_array_equal(cluster < 0, point == 0.0)


def test_isotonic_regression_and_total_variation():
    rng = np.random.default_rng(8)
    for n in (1, 2, 7, 40):
        y = rng.normal(size=n)
        result = np.empty(n)
        decreasing_isotonic(y, result)
        assert (np.diff(result) <= 0.0).all()
        # The optimality conditions of the projection on a cone: the residual is orthogonal, its sums are one-sided.
        sums = np.cumsum(y - result)
        assert (sums <= 1e-12).all()
        assert abs(sums[-1]) <= 1e-12
        assert abs(result @ (y - result)) <= 1e-12
        for level in (0.0, 0.1, 1.0, 50.0):
            x = total_variation_prox(y, level)
            flow = np.cumsum(x - y)  # the dual: bounded by the level, at the bound where the sequence jumps
            assert (np.abs(flow) <= level + 1e-12).all()
            assert abs(flow[-1]) <= 1e-12
            jumps = np.diff(x)
            np.testing.assert_allclose(flow[:-1][jumps != 0.0], level * np.sign(jumps[jumps != 0.0]), atol=1e-12)
