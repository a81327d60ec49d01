"""The driver on losses and penalties that it has never seen, and on those it cannot solve."""

from typing import NamedTuple

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse

from sparsemodels.solvers.columns import as_columns
from sparsemodels.solvers.composite import Composite, check_pair
from sparsemodels.solvers.losses import Squared, curvature, fenchel_young, loss_value, negative_gradient
from sparsemodels.solvers.path import alpha_grid, alpha_max, solve_path
from sparsemodels.solvers.penalties import (
    L1,
    Box,
    ElasticNet,
    prox,
    smooth_piece,
    subdifferential_distance,
    value,
)


class Logistic(NamedTuple):
    """Mean logistic loss with labels -1 and 1: not quadratic, so that the driver must search along its steps."""

    y: np.ndarray
    weights: np.ndarray


@loss_value.register(Logistic)
def _(loss, predictor):
    return np.sum(loss.weights * np.logaddexp(0.0, -loss.y * predictor))


@negative_gradient.register(Logistic)
def _(loss, predictor):
    return loss.weights * loss.y / (1.0 + np.exp(loss.y * predictor))


@curvature.register(Logistic)
def _(loss, predictor):
    probability = 1.0 / (1.0 + np.exp(-predictor))
    return loss.weights * probability * (1.0 - probability)


@fenchel_young.register(Logistic)
def _(loss, predictor, dual):
    q = dual * loss.y / loss.weights
    if np.any(q < 0.0) or np.any(q > 1.0):
        return np.inf
    safe, rest = np.maximum(q, 1e-300), np.maximum(1.0 - q, 1e-300)
    conjugate = np.sum(loss.weights * (q * np.log(safe) + (1.0 - q) * np.log(rest)))
    return loss_value(loss, predictor) + conjugate + dual @ predictor


class MCP(NamedTuple):
    """Minimax concave penalty: no conjugate, so that its certificate is the KKT residual."""

    alpha: float
    gamma: float


@value.register(MCP)
def _(penalty, coef, j):
    size = abs(coef)
    if size <= penalty.gamma * penalty.alpha:
        return penalty.alpha * size - coef * coef / (2.0 * penalty.gamma)
    return 0.5 * penalty.gamma * penalty.alpha**2


@prox.register(MCP)
def _(penalty, point, step, j):
    if abs(point) > penalty.gamma * penalty.alpha:
        return point
    return np.sign(point) * max(abs(point) - step * penalty.alpha, 0.0) / (1.0 - step / penalty.gamma)


@subdifferential_distance.register(MCP)
def _(penalty, coef, slope, j):
    if coef == 0.0:
        return max(abs(slope) - penalty.alpha, 0.0)
    return abs(slope - np.sign(coef) * max(penalty.alpha - abs(coef) / penalty.gamma, 0.0))


@smooth_piece.register(MCP)
def _(penalty, coef, j):
    edge = penalty.gamma * penalty.alpha
    sign = np.sign(coef)
    if coef == 0.0:
        return 0.0, 0.0, 0.0, 0.0
    if abs(coef) < edge:
        slope = sign * penalty.alpha - coef / penalty.gamma
        return (0.0, edge, slope, -1.0 / penalty.gamma) if sign > 0 else (-edge, 0.0, slope, -1.0 / penalty.gamma)
    return (edge, np.inf, 0.0, 0.0) if sign > 0 else (-np.inf, -edge, 0.0, 0.0)


class Nothing(NamedTuple):
    """A record that registered nothing."""

    alpha: float


def problem(n=60, p=30, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) + 0.3 * rng.standard_normal((n, 1))
    return X, X[:, :4] @ [2.0, -1.5, 1.0, 0.5] + 0.5 * rng.standard_normal(n)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("sparse", [False, True])
def test_a_loss_that_is_not_quadratic(fit_intercept, sparse):
    """L1 logistic regression agrees with CVXPY, and its gap, from a loss defined here, is a bound."""
    X, y = problem()
    labels = np.where(y > 0.3, 1.0, -1.0)
    loss, penalty = Logistic(labels, np.full(60, 1 / 60)), L1(0.02, np.ones(30))
    design = as_columns(scipy.sparse.csc_array(X)) if sparse else X
    solution = Composite(design, loss, fit_intercept=fit_intercept).solve(penalty, tol=1e-9)
    assert solution.converged
    w, b = cp.Variable(30), cp.Variable()
    margins = cp.multiply(labels, X @ w + (b if fit_intercept else 0))
    objective = cp.sum(cp.logistic(-margins)) / 60 + 0.02 * cp.norm1(w)
    best = cp.Problem(cp.Minimize(objective)).solve(solver=cp.CLARABEL)
    assert abs(solution.objective - best) <= 1e-7
    assert solution.objective - solution.dual_gap <= best + 1e-8
    # The dual point proves it from outside: feasible, and its value is the objective minus the gap.
    theta = solution.dual
    assert np.abs(X.T @ theta).max() <= 0.02 * (1 + 1e-12)
    q = theta * labels * 60
    dual_value = -np.sum(q * np.log(q) + (1 - q) * np.log(1 - q)) / 60
    np.testing.assert_allclose(dual_value, solution.objective - solution.dual_gap, atol=1e-12)
    if fit_intercept:
        assert abs(theta.sum()) <= 1e-12


def test_a_penalty_without_conjugate_is_certified_by_its_kkt_residual():
    """MCP: a stationary point, reported with an infinite gap and a small KKT residual."""
    X, y = problem()
    X = (X - X.mean(0)) / X.std(0)
    solution = Composite(X, Squared(y, np.full(60, 1 / 60)), fit_intercept=True).solve(MCP(0.2, 3.0), tol=1e-10)
    assert solution.converged
    assert solution.dual_gap == np.inf
    slope = X.T @ (y - X @ solution.coef - solution.intercept) / 60
    for w, v in zip(solution.coef, slope, strict=True):
        derivative = max(0.2 - abs(w) / 3.0, 0.0)
        assert abs(v) <= 0.2 + 1e-9 if w == 0 else abs(v - np.sign(w) * derivative) <= 1e-9
    # Large coefficients are not shrunk at all: least squares on the support reproduces them.
    large = np.abs(solution.coef) > 0.6
    assert large.any()
    rest = y - y.mean() - X[:, ~large] @ solution.coef[~large]
    expected = np.linalg.lstsq(X[:, large], rest)[0]
    np.testing.assert_allclose(solution.coef[large], expected, atol=1e-8)


def test_what_cannot_be_solved_fails_up_front():
    X, y = problem()
    loss, penalty = Squared(y, np.full(60, 1 / 60)), L1(0.1, np.ones(30))
    assert check_pair(loss, penalty)
    with pytest.raises(TypeError, match=r"the penalty Nothing cannot be solved: it registers no .*prox, subdiff"):
        Composite(X, loss, fit_intercept=True).solve(Nothing(1.0))
    with pytest.raises(TypeError, match=r"the loss Nothing cannot be solved: it registers no .*loss_value"):
        Composite(X, Nothing(1.0), fit_intercept=True)
    with pytest.raises(TypeError, match=r"the penalty MCP cannot be solved: it registers no .*critical_alpha"):
        solve_path(Composite(X, loss, fit_intercept=True), MCP(1.0, 3.0), np.array([1.0]))


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", ["l1", "elastic net", "box", "free"])
def test_the_dual_point_proves_the_gap_from_outside(kind, fit_intercept):
    """Feasibility and dual value of ``Solution.dual``, written out for each penalty."""
    X, y = problem(40, 80, seed=1)
    omega = np.linspace(0.5, 2.0, 80)
    if kind == "free":
        omega[:3] = 0.0
    s = np.random.default_rng(2).uniform(0.5, 1.5, 40)
    s /= s.sum()
    alpha, rho = 0.1, 0.5 if kind == "elastic net" else 1.0
    penalty = ElasticNet(alpha, rho, omega) if kind == "elastic net" else L1(alpha, omega)
    if kind == "box":
        penalty = Box(penalty, np.full(80, -0.4), np.full(80, 0.7))
    solution = Composite(X, Squared(y, s), fit_intercept=fit_intercept).solve(penalty, tol=1e-7)
    theta = solution.dual
    v = X.T @ theta
    excess = np.maximum(np.abs(v) - alpha * rho * omega, 0.0)
    dual_value = y @ theta - 0.5 * np.sum(theta**2 / s)
    if kind == "elastic net":
        dual_value -= np.sum(excess**2 / (2 * alpha * (1 - rho) * omega))
    elif kind == "box":
        dual_value -= np.sum(excess * np.where(v > 0, 0.7, 0.4))
    else:
        assert excess.max() <= 1e-12 * np.abs(X).sum(0).max() * np.abs(theta).max()
    if fit_intercept:
        assert abs(theta.sum()) <= 1e-14 * np.abs(theta).sum() * 40
    w, b = solution.coef, solution.intercept
    primal = 0.5 * s @ (y - X @ w - b) ** 2 + alpha * omega @ (rho * np.abs(w) + (1 - rho) / 2 * w**2)
    np.testing.assert_allclose(primal, solution.objective, rtol=1e-12)
    np.testing.assert_allclose(primal - dual_value, solution.dual_gap, atol=1e-13 * solution.null_objective)
    assert solution.dual_gap <= 1e-7 * solution.null_objective


def test_lazy_slopes_change_nothing(monkeypatch):
    """A path whose slopes are always brought up to date has the same certificates, recomputed in full."""
    X, y = problem(200, 400, seed=3)
    s = np.full(200, 1 / 200)

    def run():
        composite = Composite(X, Squared(y, s), fit_intercept=True)
        penalty = L1(1.0, np.ones(400))
        alphas = alpha_grid(alpha_max(composite, penalty), 20, 1e-2)
        return composite, solve_path(composite, penalty, alphas, tol=1e-9)

    from sparsemodels.solvers import composite as module

    original, sizes = module.correlate_some, []

    def spy(X, indices, vector, out):
        sizes.append(indices.size)
        original(X, indices, vector, out)

    monkeypatch.setattr(module, "correlate_some", spy)
    composite, lazy = run()
    assert sizes  # some slopes were indeed left as they were
    assert min(sizes) < 300
    exact = X.T @ composite.theta
    stale = composite._computed_at < composite._travelled
    np.testing.assert_allclose(composite.slope[~stale], exact[~stale], atol=1e-12)
    assert (np.abs(exact[stale]) <= lazy.alphas[-1]).all()
    monkeypatch.setattr("sparsemodels.solvers.composite._LONG_COLUMN", np.inf)
    _, eager = run()
    np.testing.assert_allclose(lazy.coefs, eager.coefs, atol=1e-6)
    for k, alpha in enumerate(lazy.alphas):
        residual = y - X @ lazy.coefs[:, k] - lazy.intercepts[k]
        theta = residual * s
        theta *= min(1.0, alpha / np.abs(X.T @ theta).max())
        primal = 0.5 * s @ residual**2 + alpha * np.abs(lazy.coefs[:, k]).sum()
        gap = primal - (y @ theta - 0.5 * np.sum(theta**2 / s))
        assert gap <= 1.001e-9 * lazy.null_objective + 1e-15


def test_single_precision_models_reach_double_precision():
    """Ill-conditioned enough that refinement in single precision stalls: the model is promoted, the gap is reached."""
    rng = np.random.default_rng(4)
    base = rng.standard_normal((1500, 40))
    X = np.repeat(base, 20, axis=1) + 1e-4 * rng.standard_normal((1500, 800))  # groups of nearly equal columns
    y = base[:, :5].sum(1) + rng.standard_normal(1500)
    composite = Composite(X, Squared(y, np.full(1500, 1 / 1500)), fit_intercept=True)
    solution = composite.solve(L1(1e-3, np.ones(800)), tol=1e-12)
    assert solution.converged
    assert solution.dual_gap <= 1e-12 * solution.null_objective


def test_a_callback_stops_and_counts_passes():
    X, y = problem(60, 30)
    seen = []
    composite = Composite(X, Squared(y, np.full(60, 1 / 60)), fit_intercept=True)
    solution = composite.solve(L1(1e-3, np.ones(30)), tol=1e-14, on_pass=lambda n, gap: seen.append((n, gap)))
    assert [n for n, _ in seen] == list(range(1, solution.n_iter + 1))
    assert seen[-1][1] == solution.dual_gap
    stopped = Composite(X, Squared(y, np.full(60, 1 / 60)), fit_intercept=True).solve(
        L1(1e-3, np.ones(30)), tol=1e-14, on_pass=lambda n, gap: True
    )
    assert (stopped.status, stopped.n_iter, stopped.converged) == ("stopped", 1, False)
