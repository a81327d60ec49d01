"""The adaptive LASSO: its weights by hand, each stage optimal for its weights, no units."""

import numpy as np
import pytest

from sparsemodels.solvers.composite import Composite
from sparsemodels.solvers.losses import Squared
from sparsemodels.solvers.penalties import L1, Box, ElasticNet
from sparsemodels.solvers.reweighting import AdaptiveSolver, adaptive_weights


def solve_adaptive(problem, penalty, *, gamma, n_reweights, **options):
    solve = AdaptiveSolver(gamma, n_reweights)
    return solve(problem, penalty, **options), solve.weights


def draw():
    rng = np.random.default_rng(0)
    X = np.asfortranarray(rng.standard_normal((40, 10)))
    y = X @ np.array([3.0, -2.0, 1.0, 0.5, -0.2, 0, 0, 0, 0, 0]) + 0.5 * rng.standard_normal(40) + 1.0
    return X, y


def problem(X, y):
    return Composite(X, Squared(y, np.full(len(y), 1.0 / len(y))), fit_intercept=True)


def test_weights_by_hand():
    coef, weights = np.array([4.0, -1.0, 0.0, 7.0, 9.0, 1.0]), np.array([1.0, 2.0, 1.0, 0.0, np.inf, 1.0])
    # The mean of 4, 1 and 1: the penalised nonzero magnitudes.
    expected = [0.5**0.5, 2.0 * 2.0**0.5, np.inf, 0.0, np.inf, 2.0**0.5]
    np.testing.assert_allclose(adaptive_weights(coef, weights, 0.5), expected, rtol=1e-15)
    np.testing.assert_allclose(adaptive_weights(-1e-9 * coef, weights, 0.5), expected, rtol=1e-14)
    np.testing.assert_array_equal(weights, [1.0, 2.0, 1.0, 0.0, np.inf, 1.0])
    # Nothing to go by: nothing is selected again.
    np.testing.assert_array_equal(adaptive_weights(np.zeros(3), np.array([1.0, 0.0, np.inf]), 1.0), [np.inf, 0, np.inf])


@pytest.mark.parametrize("n_reweights", [0, 1, 3])
def test_stages_are_lassos_under_the_weights_before(n_reweights):
    X, y = draw()
    original = np.linspace(0.5, 1.5, 10)
    solution, weights = solve_adaptive(problem(X, y), L1(0.1, original), gamma=1.0, n_reweights=n_reweights, tol=1e-12)
    expected = original
    coef = problem(X, y).solve(L1(0.1, original), tol=1e-13).coef
    for _ in range(n_reweights):
        expected = adaptive_weights(coef, original, 1.0)
        coef = problem(X, y).solve(L1(0.1, expected), tol=1e-13).coef
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    np.testing.assert_allclose(solution.coef, coef, atol=1e-6)
    assert solution.converged
    assert solution.dual_gap <= 1e-12 * solution.null_objective
    # Optimal for the weights it came with, from outside.
    slope = X.T @ (y - X @ solution.coef - solution.intercept) / 40
    support = solution.coef != 0.0
    np.testing.assert_allclose(slope[support], 0.1 * weights[support] * np.sign(solution.coef[support]), atol=1e-6)


def test_scaling_the_target_scales_the_answer():
    X, y = draw()
    one, weights = solve_adaptive(problem(X, y), L1(0.1, np.ones(10)), gamma=2.0, n_reweights=2, tol=1e-12)
    other, same = solve_adaptive(problem(X, 1e5 * y), L1(1e4, np.ones(10)), gamma=2.0, n_reweights=2, tol=1e-12)
    np.testing.assert_allclose(other.coef, 1e5 * one.coef, rtol=1e-6)
    np.testing.assert_allclose(same, weights, rtol=1e-6)


def test_bounds_hold_in_every_stage_and_other_penalties_are_refused():
    X, y = draw()
    box = Box(L1(0.1, np.ones(10)), np.zeros(10), np.full(10, 2.0))
    solution, weights = solve_adaptive(problem(X, y), box, gamma=1.0, n_reweights=1, tol=1e-10)
    assert solution.coef.min() >= 0.0
    assert solution.coef.max() == 2.0
    assert np.isinf(weights[1])  # zero in the pilot: its effect is negative
    with pytest.raises(TypeError, match="reweights an L1 penalty, got ElasticNet"):
        solve_adaptive(problem(X, y), ElasticNet(0.1, 0.5, np.ones(10)), gamma=1.0, n_reweights=1)
    np.testing.assert_array_equal(box.penalty.weights, np.ones(10))
