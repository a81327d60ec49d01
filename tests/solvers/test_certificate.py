"""Certificates against CVXPY and against the definitions of primal and dual, at the solution and far from it."""

import cvxpy as cp
import numpy as np
import pytest

from sparsemodels.solvers.composite import Composite
from sparsemodels.solvers.losses import Squared, fenchel_young, loss_value, negative_gradient
from sparsemodels.solvers.penalties import (
    L1,
    Box,
    ElasticNet,
    conjugate,
    conjugate_domain,
    subdifferential_distance,
    value,
)
from sparsemodels.solvers.penalties.vector_functions import (
    dual_scale,
    equation_coordinates,
    kkt_distances,
    penalty_gap,
    penalty_value,
)

N, P = 12, 8
KINDS = ("l1", "elastic net", "box of l1", "box of elastic net")


def draw(kind, seed):
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    X = np.asfortranarray(rng.standard_normal((N, P)) * 10.0 ** rng.uniform(-1, 1, P))
    X[:, 6] = X[:, 1] if seed % 2 else 0.0
    y = 3.0 + X[:, 0] / np.abs(X[:, 0]).max() + rng.standard_normal(N)
    sample_weights = rng.exponential(size=N)
    loss = Squared(y, sample_weights / sample_weights.sum())
    weights = rng.choice([0.5, 1.0, 2.0], P)
    if seed % 3 == 1:
        weights[2], weights[4] = 0.0, np.inf
    alpha = 0.3 * np.abs(X.T @ (loss.weights * (y - loss.weights @ y))).max()
    penalty = ElasticNet(alpha, 0.6, weights) if "elastic" in kind else L1(alpha, weights)
    if "box" in kind:
        penalty = Box(penalty, -rng.choice([0.0, 0.05, np.inf], P), rng.choice([0.0, 0.05, np.inf], P))
    return X, loss, penalty, rng


def by_cvxpy(X, loss, penalty):
    """The minimum of the objective, stated independently."""
    inner = penalty.penalty if isinstance(penalty, Box) else penalty
    ratio = inner.l1_ratio if isinstance(inner, ElasticNet) else 1.0
    w, b = cp.Variable(P), cp.Variable()
    finite = np.isfinite(inner.weights)
    weights = np.where(finite, inner.weights, 0.0)
    objective = 0.5 * cp.sum_squares(cp.multiply(np.sqrt(loss.weights), loss.y - X @ w - b))
    objective += inner.alpha * ratio * (weights @ cp.abs(w))
    objective += inner.alpha * (1.0 - ratio) * 0.5 * (weights @ cp.square(w))
    constraints = [w[~finite] == 0.0] if not finite.all() else []
    if isinstance(penalty, Box):
        for bound, sign in ((penalty.lower, -1.0), (penalty.upper, 1.0)):
            there = np.isfinite(bound)
            if there.any():
                constraints.append(sign * w[there] <= sign * bound[there])
    problem = cp.Problem(cp.Minimize(objective), constraints)
    problem.solve(cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    return problem.value


def objective(X, loss, penalty, coef, intercept):
    return loss_value(loss, X @ coef + intercept) + sum(value(penalty, w, j) for j, w in enumerate(coef))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_the_gap_bounds_the_suboptimality(kind, seed):
    X, loss, penalty, _ = draw(kind, seed)
    least = by_cvxpy(X, loss, penalty)
    oracle = 1e-9 * (1.0 + least)  # what CVXPY's own minimum is worth
    for tol, max_iter in ((1e-2, 1), (1e-2, 1000), (1e-12, 1000)):
        solution = Composite(X, loss, fit_intercept=True).solve(penalty, tol=tol, max_iter=max_iter)
        above = objective(X, loss, penalty, solution.coef, solution.intercept) - least
        assert solution.objective == pytest.approx(above + least, rel=1e-12)
        assert -oracle <= above <= solution.dual_gap + oracle
        # The dual point proves it from outside: feasible, orthogonal to the intercept, of value objective - gap.
        slope = X.T @ solution.dual
        assert abs(solution.dual.sum()) <= 1e-12 * np.abs(solution.dual).sum()
        rounding = 1e-13 * (np.abs(X).T @ np.abs(solution.dual)).max()
        for j in range(P):
            lower, upper = conjugate_domain(penalty, j)
            assert lower - rounding <= slope[j] <= upper + rounding
            slope[j] = min(max(slope[j], lower), upper)
        dual = solution.dual @ loss.y - 0.5 * np.sum(solution.dual**2 / loss.weights)
        dual -= sum(conjugate(penalty, slope[j], j) for j in range(P))
        assert dual == pytest.approx(solution.objective - solution.dual_gap, rel=1e-9, abs=1e-9)
    assert solution.converged
    assert solution.dual_gap <= 1e-12 * solution.null_objective


@pytest.mark.parametrize("kind", KINDS)
def test_the_gap_anywhere_is_primal_minus_dual_in_terms_that_are_not_negative(kind):
    for seed in range(10):
        X, loss, penalty, rng = draw(kind, 3 * seed)  # without weights of zero: every dual direction can be scaled
        coef = 0.1 * rng.standard_normal(P) * (rng.random(P) < 0.5)
        if isinstance(penalty, Box):
            coef = np.clip(coef, penalty.lower, penalty.upper)
        predictor = X @ coef
        predictor += loss.weights @ (loss.y - predictor)  # the best intercept: the slopes sum to zero
        theta = negative_gradient(loss, predictor)
        slope, features = X.T @ theta, np.arange(P)
        c = dual_scale(penalty, slope, features)
        assert 0.0 <= c <= 1.0
        # Feasible, and no larger multiple is.
        tight = c == 1.0
        for j in range(P):
            lower, upper = conjugate_domain(penalty, j)
            rounding = 1e-15 * abs(slope[j])
            assert lower - rounding <= c * slope[j] <= upper + rounding
            tight |= not lower <= 1.0001 * c * slope[j] + (c == 0.0) * slope[j] <= upper
        assert tight
        terms = [penalty_gap(penalty, coef[[j]], slope[[j]], features[[j]], c) for j in range(P)]
        assert min(terms) >= 0.0
        total = penalty_gap(penalty, coef, slope, features, c)
        assert total == pytest.approx(sum(terms), rel=1e-12)
        gap = fenchel_young(loss, predictor, c * theta) + total
        # The same from the definitions: f(z) + p(w) + f*(-c theta) + p*(c X'theta).
        primal = loss_value(loss, predictor) + penalty_value(penalty, coef, features)
        dual = c * theta @ loss.y - 0.5 * np.sum((c * theta) ** 2 / loss.weights)
        for j in range(P):
            lower, upper = conjugate_domain(penalty, j)
            dual -= conjugate(penalty, min(max(c * slope[j], lower), upper), j)
        assert gap == pytest.approx(primal - dual, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_sums_over_coordinates(kind):
    _, _, penalty, rng = draw(kind, 1)
    coef, slope = 0.04 * rng.random(P), rng.standard_normal(P)
    coef[4] = 0.0
    if isinstance(penalty, Box):
        coef = np.clip(coef, penalty.lower, penalty.upper)
    features = np.array([3, 1, 4, 0])
    out = np.empty(4)
    largest = kkt_distances(penalty, coef[features], slope[features], features, out)
    expected = [subdifferential_distance(penalty, coef[j], slope[j], j) for j in features]
    np.testing.assert_allclose(out, expected, rtol=1e-14)
    assert largest == out.max()
    total = penalty_value(penalty, coef[features], features)
    assert total == pytest.approx(sum(value(penalty, coef[j], j) for j in features), rel=1e-14)


def test_equation_coordinates():
    weights = np.array([1.0, 0.0, 0.0, 0.0, np.inf])
    features = np.array([4, 3, 2, 1, 0])
    lower, upper = np.array([0.0, -np.inf, 0.0, -1.0, 0.0]), np.array([np.inf, np.inf, np.inf, 1.0, np.inf])
    np.testing.assert_array_equal(equation_coordinates(L1(1.0, weights), features), [0, 2, 2, 2, 0])
    # A half-line asks for one sign of the slope, a bounded interval for nothing.
    np.testing.assert_array_equal(equation_coordinates(Box(L1(1.0, weights), lower, upper), features), [0, 0, 1, 2, 0])
    np.testing.assert_array_equal(equation_coordinates(ElasticNet(1.0, 0.0, weights), features), [0, 2, 2, 2, 0])
