"""The square-root loss: the record alone, in the composite driver, and its own driver."""

import numpy as np
import pytest
import scipy.sparse

from sparsemodels.solvers.columns import as_columns
from sparsemodels.solvers.composite import Composite
from sparsemodels.solvers.losses import SquareRoot, curvature, fenchel_young, loss_value, negative_gradient
from sparsemodels.solvers.penalties import L1
from sparsemodels.solvers.square_root_lasso import SquareRootProblem, pivotal_level

RNG = np.random.default_rng(0)
N, P = 40, 25
X = RNG.standard_normal((N, P))
Y = X[:, :3].sum(axis=1) + 0.5 * RNG.standard_normal(N)
S = RNG.uniform(0.5, 1.5, N)
S /= S.sum()
LOSS = SquareRoot(Y, S)


def test_gradient_and_majoriser():
    z, step = RNG.standard_normal(N), RNG.standard_normal(N)
    gradient, weights = -negative_gradient(LOSS, z), curvature(LOSS, z)
    slope = (loss_value(LOSS, z + 1e-6 * step) - loss_value(LOSS, z - 1e-6 * step)) / 2e-6
    assert slope == pytest.approx(gradient @ step, rel=1e-7)
    for t in (-2.0, -0.1, 0.3, 5.0):
        bound = loss_value(LOSS, z) + t * gradient @ step + 0.5 * t * t * weights @ step**2
        assert loss_value(LOSS, z + t * step) <= bound + 1e-12


def test_fenchel_young():
    z, direction = RNG.standard_normal(N), np.sqrt(S) * RNG.standard_normal(N)
    dual = 0.7 * direction / np.sqrt(np.sum(direction**2 / S))
    assert fenchel_young(LOSS, z, dual) == pytest.approx(loss_value(LOSS, z) - dual @ (Y - z))
    assert fenchel_young(LOSS, z, 2.0 * dual) == np.inf
    assert fenchel_young(LOSS, z, negative_gradient(LOSS, z)) <= 1e-15
    assert fenchel_young(LOSS, Y, dual) == 0.0  # no residual


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.5])
def test_both_drivers_agree(alpha, intercept):
    penalty = L1(alpha, RNG.uniform(0.5, 2.0, P))
    general = Composite(X, LOSS, fit_intercept=intercept).solve(penalty, tol=1e-10)
    own = SquareRootProblem(X, LOSS, fit_intercept=intercept).solve(penalty, tol=1e-10)
    assert own.converged
    assert own.dual_gap <= 1e-10 * own.null_objective
    assert own.objective == pytest.approx(general.objective, abs=1e-9)
    np.testing.assert_allclose(own.coef, general.coef, atol=1e-4)


def test_pivotal_level_ignores_what_is_not_penalised():
    omega = np.ones(P)
    omega[:5], omega[5:9] = 0.0, np.inf
    level = pivotal_level(X, S, N, omega, centred=True)
    assert level == pivotal_level(X[:, 9:], S, N, np.ones(P - 9), centred=True)
    assert pivotal_level(X, S, N, np.zeros(P), centred=True) == 0.0
    assert pivotal_level(X, S, 4.0 * N, omega, centred=True) == pytest.approx(0.5 * level)


@pytest.mark.parametrize("sparse", [False, True])
def test_interpolation_is_exact_whatever_the_tolerance(sparse):
    """Where the noise level is zero, levels alone would approach it for ever; repeated rows are weights there, too."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X, y, counts = rng.random((15, 30)), rng.integers(0, 3, 15).astype(float), rng.integers(1, 5, 15)
        coefs = []
        for repeats, weights in ((counts, np.ones(counts.sum())), (np.ones(15, dtype=int), counts.astype(float))):
            design, targets = X.repeat(repeats, axis=0), y.repeat(repeats)
            design = as_columns(scipy.sparse.csc_array(design)) if sparse else design
            problem = SquareRootProblem(design, SquareRoot(targets, weights / weights.sum()), fit_intercept=True)
            solution = problem.solve(L1(0.02, np.ones(30)), tol=1e-6)
            assert solution.status == "converged"
            assert np.abs(y - X @ solution.coef - solution.intercept).max() <= 1e-12
            assert solution.dual_gap <= 1e-8
            coefs.append(solution.coef)
        np.testing.assert_allclose(coefs[0], coefs[1], atol=1e-11)
