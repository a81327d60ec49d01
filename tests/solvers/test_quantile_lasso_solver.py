"""The vertex solver against a linear program, on data with every kind of tie; its loss records; its certificate."""

import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import linprog

from sparsemodels.solvers.columns import as_columns
from sparsemodels.solvers.composite import Composite
from sparsemodels.solvers.losses import Absolute, Quantile, fenchel_young, loss_value
from sparsemodels.solvers.penalties import L1, Box, ElasticNet
from sparsemodels.solvers.quantile_lasso import VertexProblem
from sparsemodels.solvers.weighted_median import weighted_quantile


def by_linear_program(X, y, s, quantile, alpha, omega, lower, upper, intercept):
    n = y.size
    banned = np.isinf(omega)
    level = np.where(banned, 0.0, alpha * np.where(banned, 0.0, omega))
    lower, upper = np.where(banned, 0.0, lower), np.where(banned, 0.0, upper)
    cost = np.concatenate([level, level, [0.0], s * quantile, s * (1.0 - quantile)])
    equality = np.hstack([X, -X, np.ones((n, 1)), np.eye(n), -np.eye(n)])
    bounds = [(0, u if np.isfinite(u) else None) for u in upper]
    bounds += [(0, -v if np.isfinite(v) else None) for v in lower]
    bounds += [(None, None) if intercept else (0, 0)] + [(0, None)] * (2 * n)
    return linprog(cost, A_eq=equality, b_eq=y, bounds=bounds, method="highs").fun


def draw(kind, rng):
    n, p = int(rng.integers(1, 40)), int(rng.integers(1, 30))
    X = rng.standard_normal((n, p))
    y = X[:, :3].sum(axis=1) + rng.standard_t(2, n)
    s, omega = np.ones(n), np.ones(p)
    lower, upper = np.full(p, -np.inf), np.full(p, np.inf)
    everything = kind == "everything"
    if kind == "ties" or everything:
        X, y = rng.integers(-2, 3, (n, p)) * 1.0, rng.integers(-3, 4, n) * 1.0
    if kind == "repeated rows" or everything:
        X[: n // 2], y[: n // 2] = X[n - n // 2 :], y[n - n // 2 :]
    if kind == "repeated columns" or everything:
        X[:, : p // 2] = X[:, p - p // 2 :]
    if kind == "weights" or everything:
        s, omega = rng.integers(0, 4, n) * 1.0, rng.choice([0.0, 0.5, 1.0, 2.0, np.inf], p)
        s[0] = 1.0
    if kind == "bounds" or everything:
        lower = np.where(rng.random(p) < 0.5, -0.3 * rng.integers(0, 2, p), -np.inf)
        upper = np.where(rng.random(p) < 0.5, 0.3 * rng.integers(0, 2, p), np.inf)
    if kind == "binary":
        X, y = (rng.random((n, p)) < 0.2) * 1.0, rng.poisson(1, n) * 1.0
    if kind == "gross errors":
        y[::5] += 1e8
    if kind == "constant":
        X[:, 0], y[:] = 0.0, 3.0
    return X, y, s / s.sum(), omega, lower, upper


@pytest.mark.parametrize(
    "kind",
    ["plain", "ties", "repeated rows", "repeated columns", "weights", "bounds", "binary", "gross errors", "constant",
     "everything"],
)  # fmt: skip
def test_objective_equals_the_linear_program_and_the_certificate_proves_it(kind):
    rng = np.random.default_rng(0)
    for _ in range(12):
        X, y, s, omega, lower, upper = draw(kind, rng)
        quantile, intercept = float(rng.choice([0.1, 0.37, 0.5, 0.9])), bool(rng.integers(2))
        design = as_columns(scipy.sparse.csc_array(X) if rng.integers(2) else X)
        problem = VertexProblem(design, Quantile(y, s, quantile), fit_intercept=intercept)
        scale = problem.null_objective + 1e-3 * np.abs(y).max(initial=1e-300)
        for alpha in (0.1, 0.01, 0.0, 0.05):  # along a path and back
            solution = problem.solve(Box(L1(alpha, omega), lower, upper), tol=1e-12)
            value = by_linear_program(X, y, s, quantile, alpha, omega, lower, upper, intercept)
            assert solution.converged
            assert abs(solution.objective - value) <= 1e-9 * scale
            # From outside: a point in the box whose value bounds every objective from below.
            dual = solution.dual
            assert np.all(dual <= quantile * s)
            assert np.all(dual >= (quantile - 1.0) * s)
            if intercept:
                assert abs(dual.sum()) <= 1e-10
            if not (np.isfinite(lower) | np.isfinite(upper) | (omega == 0.0)).any() and alpha > 0.0:
                assert np.all(np.abs(X.T @ dual) <= alpha * omega * (1.0 + 1e-9))
                assert solution.objective - dual @ y <= 1e-9 * scale


def test_from_its_own_solution_no_step_is_needed():
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((50, 80)), rng.standard_normal(50)
    problem = VertexProblem(X, Absolute(y, np.full(50, 0.02)), fit_intercept=True)
    solution = problem.solve(L1(0.15, np.ones(80)), tol=1e-12)
    problem.restart(solution.coef)
    again = problem.solve(L1(0.15, np.ones(80)), tol=1e-12)
    assert solution.n_iter > 1
    assert again.n_iter == 1
    np.testing.assert_allclose(again.coef, solution.coef, atol=1e-12)


@pytest.mark.parametrize("loss", [Quantile, Absolute])
def test_losses(loss):
    """The Fenchel-Young loss is the loss minus theta'r inside of the box, and infinite outside."""
    rng = np.random.default_rng(2)
    y, z, s = rng.standard_normal(9), rng.standard_normal(9), np.full(9, 1 / 9)
    record = loss(y, s, 0.3) if loss is Quantile else loss(y, s)
    residual = y - z
    expected = np.mean(np.maximum(0.3 * residual, -0.7 * residual) if loss is Quantile else np.abs(residual))
    assert loss_value(record, z) == pytest.approx(expected)
    dual = 0.2 * s * rng.uniform(-1, 1, 9)
    assert fenchel_young(record, z, dual) == pytest.approx(expected - dual @ residual)
    dual[3] = 1.1 * s[3]
    assert fenchel_young(record, z, dual) == np.inf


def test_what_it_cannot_solve_says_so():
    loss = Quantile(np.ones(3), np.full(3, 1 / 3), 0.5)
    with pytest.raises(TypeError, match="ElasticNet"):
        VertexProblem(np.eye(3), loss, fit_intercept=False).solve(ElasticNet(1.0, 0.5, np.ones(3)))
    with pytest.raises(TypeError, match="Quantile"):
        Composite(np.eye(3), loss, fit_intercept=False)


def test_weighted_quantile_by_sorting():
    rng = np.random.default_rng(3)
    for _ in range(200):
        size = int(rng.integers(1, 20))
        values, weights = rng.integers(0, 6, size) * 1.0, rng.integers(1, 5, size) * 1.0
        target = rng.uniform(0.0, weights.sum())
        order = np.argsort(values)
        expected = values[order][np.searchsorted(np.cumsum(weights[order]), target)]
        assert weighted_quantile(values, weights, size, target) == expected
