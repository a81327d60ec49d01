"""The accelerated gradient: its damping, its certificate, its order among the variants, and other array libraries."""

import math
import time

import array_api_strict as strict
import numpy as np
import pytest
import scipy.sparse

from sparsemodels.solvers.accelerated_gradient import accelerated_gradient, kkt_residual, next_damping
from sparsemodels.solvers.composite import Composite
from sparsemodels.solvers.losses import Squared
from sparsemodels.solvers.losses.logistic import Logistic
from sparsemodels.solvers.penalties import L1, MCP, SCAD, Box, subdifferential_distance, value
from sparsemodels.solvers.penalties.concave_part import concave_gradient, concavity, thresholds

PENALTIES = {
    "mcp": lambda alpha, weights: MCP(alpha, 3.0, weights),
    "scad": lambda alpha, weights: SCAD(alpha, 3.7, weights),
    "l1": L1,
}
each = pytest.mark.parametrize("make", PENALTIES.values(), ids=PENALTIES)


def problem(n=60, p=100, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) + 0.3 * rng.standard_normal((n, 1)) + 1.0
    s = rng.uniform(0.5, 1.5, n)
    return X, X[:, :4] @ [2.0, -1.5, 1.0, 0.5] + 0.3 * rng.standard_normal(n), s / s.sum()


def labelled():
    """Labels that no hyperplane separates: else a penalty that is flat far out leaves the loss without a minimum."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((80, 10)) + 1.0
    y = (X[:, 0] - X[:, 1] + 1.5 * rng.standard_normal(80) > 0.0).astype(float)
    s = rng.uniform(0.5, 1.5, 80)
    return X, y, s / s.sum()


def blocks(tau, seed=0, n=300, p=570):
    """The simulated design of Yang, Asgharian and Bhatnagar, scaled down: five blocks of ten, AR(1) columns."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    for j in range(1, p):
        X[:, j] = tau * X[:, j - 1] + np.sqrt(1 - tau**2) * X[:, j]
    coef = np.zeros(p)
    for k, (mean, deviation) in enumerate([(0.5, 1), (5, 2), (10, 3), (20, 4), (50, 5)]):
        coef[130 * k : 130 * k + 10] = rng.normal(mean, deviation, 10)
    signal = X @ coef
    y = signal + rng.standard_normal(n) * signal.std() / np.sqrt(5)
    X = (X - X.mean(0)) / X.std(0)
    return X, y - y.mean()


def test_damping_is_the_reciprocal_of_fistas_sequence():
    damping, t = 1.0, 1.0
    for k in range(1, 200):
        assert damping == pytest.approx(1.0 / t, rel=1e-13)
        assert damping <= 2.0 / (k + 1) + 1e-15  # Ghadimi and Lan's choice
        # The condition of convergence with equality: (1 - a) / a^2 = 1 / (previous a)^2.
        following = next_damping(damping)
        assert (1.0 - following) / following**2 == pytest.approx(1.0 / damping**2, rel=1e-12)
        damping, t = following, (1.0 + math.sqrt(1.0 + 4.0 * t * t)) / 2.0


@pytest.mark.parametrize("make", [PENALTIES["mcp"], PENALTIES["scad"]], ids=["mcp", "scad"])
def test_order_of_the_iteration_counts(make):
    """On correlated columns: proximal gradient, Ghadimi and Lan, the optimal damping by a hair, the restart."""
    X, y = blocks(0.9)
    level = 0.3 * np.abs(X.T @ y).max() / y.size
    loss, penalty = Squared(y, np.full(y.size, 1 / y.size)), make(level, np.ones(X.shape[1]))
    counts = {}
    for damping, restart in (("none", False), ("ghadimi_lan", False), ("optimal", False), ("optimal", True)):
        found = accelerated_gradient(X, loss, penalty, tol=1e-4, damping=damping, restart=restart)
        assert found.converged
        counts[damping, restart] = found.n_iter
    plain, ghadimi_lan, optimal, restarted = counts.values()
    assert plain > 2 * ghadimi_lan
    assert optimal <= 1.03 * ghadimi_lan  # a few per cent either way
    assert restarted < 0.95 * optimal


@each
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_kkt_residual_is_that_of_the_penalty(make, fit_intercept):
    X, y, s = problem()
    weights = np.linspace(0.0, 2.0, 100)
    weights[50] = np.inf
    penalty = make(0.1, weights)
    found = accelerated_gradient(X, Squared(y, s), penalty, fit_intercept=fit_intercept, tol=1e-9)
    assert found.converged
    theta = s * (y - X @ found.coef - found.intercept)
    distances = [
        subdifferential_distance(penalty, w, v, j) for j, (w, v) in enumerate(zip(found.coef, X.T @ theta, strict=True))
    ]
    if fit_intercept:
        distances.append(abs(theta.sum()))
    else:
        assert found.intercept == 0.0
    assert max(distances) == pytest.approx(found.kkt, abs=1e-12)
    assert found.kkt <= 1e-9 * found.scale
    start = s * (y - (s @ y if fit_intercept else 0.0))
    assert found.scale == pytest.approx(np.abs(X.T @ start).max(), rel=1e-10)
    assert found.coef[50] == 0.0


@each
def test_a_stationary_point_stays(make):
    """From the answer of coordinate descent it does not move, up to the tolerance."""
    X, y, s = problem()
    penalty = make(0.3, np.ones(100))
    other = Composite(X, Squared(y, s), fit_intercept=True).solve(penalty, tol=1e-14)
    found = accelerated_gradient(X, Squared(y, s), penalty, coef=other.coef, tol=1e-9)
    assert found.converged
    np.testing.assert_allclose(found.coef, other.coef, atol=1e-6)


def test_convex_penalties_end_at_the_optimum():
    X, y, s = problem()
    lasso = Composite(X, Squared(y, s), fit_intercept=True).solve(L1(0.2, np.ones(100)), tol=1e-13)
    for penalty in (L1(0.2, np.ones(100)), MCP(0.2, np.inf, np.ones(100)), SCAD(0.2, np.inf, np.ones(100))):
        found = accelerated_gradient(X, Squared(y, s), penalty, tol=1e-10)
        np.testing.assert_allclose(found.coef, lasso.coef, atol=1e-7)
        np.testing.assert_allclose(found.intercept, lasso.intercept, atol=1e-7)


@each
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_logistic_loss(make, fit_intercept):
    X, labels, s = labelled()
    penalty = make(0.05, np.ones(10))
    found = accelerated_gradient(X, Logistic(labels, s), penalty, fit_intercept=fit_intercept, tol=1e-7)
    assert found.converged
    theta = s * (labels - 1.0 / (1.0 + np.exp(-(X @ found.coef + found.intercept))))
    slope = X.T @ theta
    distances = [
        subdifferential_distance(penalty, w, v, j) for j, (w, v) in enumerate(zip(found.coef, slope, strict=True))
    ]
    assert max(distances) <= 1e-7 * found.scale * (1 + 1e-6) + 1e-13
    assert abs(theta.sum()) <= 1e-7 * found.scale or not fit_intercept


@each
def test_sparse_is_dense_and_large_is_small(make, monkeypatch):
    X, y, s = problem()
    X = np.where(X > 1.5, X, 0.0)
    loss, penalty = Squared(y, s), make(0.1, np.ones(100))
    dense = accelerated_gradient(X, loss, penalty, tol=1e-10)
    sparse = accelerated_gradient(scipy.sparse.csc_array(X), loss, penalty, tol=1e-10)
    np.testing.assert_allclose(sparse.coef, dense.coef, atol=1e-6)
    monkeypatch.setattr("sparsemodels.solvers.accelerated_gradient._EXACT", 0)  # the power method
    powered = accelerated_gradient(X, loss, penalty, tol=1e-10)
    np.testing.assert_allclose(powered.coef, dense.coef, atol=1e-6)
    assert powered.n_iter != dense.n_iter  # its step has a margin


@each
@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_another_array_library_computes_the_same(make, loss, dtype):
    X, y, s = labelled() if loss == "logistic" else problem(40, 50)
    record = Logistic if loss == "logistic" else Squared
    penalty = make(0.1, np.ones(X.shape[1]))
    tol = 1e-6 if dtype == "float64" else 1e-3
    reference = accelerated_gradient(X, record(y, s), penalty, tol=tol)
    kind = getattr(strict, dtype)
    own = record(strict.asarray(y, dtype=kind), strict.asarray(s, dtype=kind))
    found = accelerated_gradient(strict.asarray(X, dtype=kind), own, penalty, tol=tol)
    assert found.converged
    assert isinstance(found.coef, strict._array_object.Array)
    assert found.coef.dtype == kind
    # The same iterations, but for the rounding of the library's products.
    np.testing.assert_allclose(
        np.asarray(found.coef), reference.coef, atol=1e-8 if dtype == "float64" else 0.03 * np.abs(reference.coef).max()
    )


@each
def test_the_split_is_the_penalty(make):
    """The level times the size plus the integral of the concave part's gradient, which is as steep as it says."""
    weights = np.array([0.5, 1.0, 0.0, 3.0])
    penalty = make(0.7, weights)
    levels = thresholds(penalty)
    grid = np.linspace(0.0, 12.0, 6001)
    for j in range(4):
        steps = np.array([concave_gradient(penalty, levels[[j]], np.array([u]))[0] for u in grid])
        assert (np.abs(np.diff(steps)) <= concavity(penalty) * np.diff(grid) + 1e-12).all()
        integral = np.concatenate([[0.0], np.cumsum(0.5 * (steps[1:] + steps[:-1]) * np.diff(grid))])
        for k in (0, 100, 700, 2000, 6000):
            whole = levels[j] * grid[k] + integral[k]
            assert whole == pytest.approx(value(penalty, grid[k], j), abs=1e-5)
    assert thresholds(make(0.0, np.array([np.inf, 1.0]))).tolist() == [np.inf, 0.0]


def test_kkt_residual_counts_the_intercept():
    penalty = MCP(1.0, 3.0, np.ones(2))
    assert kkt_residual(penalty, np.ones(2), np.zeros(2), np.array([0.5, -1.25])) == 0.25
    assert kkt_residual(penalty, np.ones(2), np.zeros(2), np.array([0.5, -1.25]), -0.4) == 0.4
    assert kkt_residual(penalty, np.ones(2), np.array([1.5, 9.0]), np.array([0.5, 0.0])) == 0.0


def test_it_stops_when_told_and_says_why():
    X, y, s = problem()
    penalty = MCP(0.01, 3.0, np.ones(100))
    found = accelerated_gradient(X, Squared(y, s), penalty, tol=1e-12, max_iter=7)
    assert (found.n_iter, found.status, found.converged) == (7, "max_iter", False)
    assert found.kkt > 1e-12 * found.scale
    found = accelerated_gradient(X, Squared(y, s), penalty, tol=1e-12, deadline=time.monotonic() - 1.0)
    assert (found.n_iter, found.status) == (1, "time_limit")
    with pytest.raises(TypeError, match="Box is no L1 norm plus a smooth concave function"):
        accelerated_gradient(X, Squared(y, s), Box(penalty, np.zeros(100), np.full(100, np.inf)))
