"""Block descent by Gram matrix and by columns: one group against brute force, models against proximal gradient."""

import numpy as np
import pytest
from scipy.optimize import brentq

from sparsemodels.solvers.block_descent import block_descent
from sparsemodels.solvers.block_model import BlockModel
from sparsemodels.solvers.certificate import undecided_groups
from sparsemodels.solvers.composite import Composite
from sparsemodels.solvers.gram_model import GramModel
from sparsemodels.solvers.group_newton import newton_step_on_groups
from sparsemodels.solvers.group_update import Spectra, secular_root
from sparsemodels.solvers.losses import Squared
from sparsemodels.solvers.path import alpha_max
from sparsemodels.solvers.penalties import L1, MCP, SCAD, group_norm, with_alpha
from sparsemodels.solvers.penalties.vector_functions import kkt_distances, penalty_value, vector_prox

SIZES = [3, 1, 5, 4, 2, 6, 1, 4, 4]
GROUP_OF = np.repeat(np.arange(len(SIZES)), SIZES)
P = GROUP_OF.size


def kinds(alpha=0.12):
    weights = np.sqrt(SIZES)
    return {
        "group": group_norm(L1(alpha, weights), GROUP_OF),
        "sparse group": group_norm(L1(alpha, weights), GROUP_OF, l1_ratio=0.4),
        "free group": group_norm(L1(alpha, np.where(np.arange(9) == 2, 0.0, weights)), GROUP_OF),
        "l1": group_norm(L1(alpha, weights), GROUP_OF, l1_ratio=1.0),
        "mcp": group_norm(MCP(alpha, 4.0, weights), GROUP_OF),
        "scad": group_norm(SCAD(alpha, 4.0, weights), GROUP_OF, l1_ratio=0.2),
    }


def problem(n=50, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, P)) * rng.uniform(0.5, 3.0, P) + 0.6 * rng.standard_normal((n, 1))
    coef = np.where(np.isin(GROUP_OF, [0, 3, 5]), rng.standard_normal(P), 0.0)
    y = X @ coef + rng.standard_normal(n)
    return np.asfortranarray(X), y - y.mean()


def proximal_gradient(X, y, penalty, coef=None):
    """An independent slow algorithm."""
    n = y.size
    step = n / np.linalg.norm(X, 2) ** 2
    coef = np.zeros(P) if coef is None else coef
    for _ in range(20_000):
        coef = vector_prox(penalty, coef + step * X.T @ (y - X @ coef) / n, step, np.arange(P))
    return coef


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("start", [0.0, 1e-3, 1e3])
def test_secular_root(seed, start):
    """The length at which the norm of (r H + tau I)^-1 b is one, against bisection; from either side."""
    rng = np.random.default_rng(seed)
    rotated, values = rng.standard_normal(6), rng.uniform(0.0, 1.0, 6) ** 4
    values[0] = 0.0
    rotated *= 10.0 / np.linalg.norm(rotated)
    radius = rng.uniform(1.05 * abs(rotated[0]), 9.9)  # the null direction must not have a minimum at infinity
    found = secular_root(rotated, values, radius, start)
    expected = brentq(
        lambda r: np.linalg.norm(rotated / (values * r + radius)) - 1.0, 0.0, 1e12, xtol=1e-15, rtol=1e-14
    )
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("name", list(kinds()))
@pytest.mark.parametrize("kind", [GramModel, BlockModel])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_models_reach_the_minimum(name, kind, dtype):
    X, y = problem()
    penalty, n = kinds()[name], y.size
    model = kind(X, np.full(n, 1.0 / n), False, P)
    if dtype == np.float32:
        model.dtype = np.float32
        if kind is GramModel:
            model._allocate(P)
    order = np.concatenate([np.flatnonzero(g == GROUP_OF) for g in (4, 0, 8, 2, 3, 1, 7, 5, 6)])
    model.grow(order[:18])
    model.grow(order[18:])
    np.testing.assert_array_equal(model.features, order)
    coef = np.zeros(P)
    slope = X[:, order].T @ y / n
    for _ in range(40):  # each call takes off nine tenths of the gap at least
        residual = (y - X[:, order] @ coef) / np.sqrt(n)
        gap = model.solve(penalty, coef, slope, residual, 1e-25 if dtype == np.float64 else 1e-9, 1000)
    full = np.zeros(P)
    full[order] = coef
    expected = proximal_gradient(X, y, penalty, full if name in ("mcp", "scad") else None)
    tolerance = 1e-8 if dtype == np.float64 else 3e-3
    np.testing.assert_allclose(full, expected, atol=tolerance)
    np.testing.assert_allclose(slope, (X.T @ (y - X @ full) / n)[order], atol=1e-12 if dtype == np.float64 else 1e-4)
    assert 0.0 <= gap <= (1e-12 if dtype == np.float64 else 1e-6)


@pytest.mark.parametrize("name", list(kinds()))
def test_newton_step_descends_and_is_exact_at_the_end(name):
    """From close to the minimum one step gains several digits; it never goes uphill."""
    X, y = problem(1)
    penalty, n = kinds()[name], y.size
    scale = np.linalg.norm(X, axis=0) / np.sqrt(n)
    gram = (X / scale).T @ (X / scale) / n
    spectra = Spectra()
    spectra.extend(penalty, np.arange(P))

    def objective(coef):
        return 0.5 * np.mean((y - X @ coef) ** 2) + penalty_value(penalty, coef, np.arange(P))

    best = np.zeros(P)
    for _ in range(30):
        residual = y - X @ best
        slope = X.T @ residual / n
        block_descent(gram, scale, best, slope, residual @ residual / n, penalty, np.arange(P), 1e-28, 1000)
    rng = np.random.default_rng(2)
    for size in (1e-4, 1e-2, 1.0):
        coef = best * (1.0 + size * rng.uniform(-1, 1, P))
        before, distance = objective(coef), np.linalg.norm(coef - best)
        slope = X.T @ (y - X @ coef) / n / scale
        if newton_step_on_groups(gram, scale, coef, slope, penalty, np.arange(P), spectra.starts):
            assert objective(coef) <= before + 1e-14
            np.testing.assert_allclose(slope, X.T @ (y - X @ coef) / n / scale, atol=1e-12)
        if size == 1e-4 and name != "scad":
            assert np.linalg.norm(coef - best) <= 1e-2 * distance


def test_large_groups_take_gradient_steps():
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((60, 305)), rng.standard_normal(60)
    group_of = np.repeat([0, 1, 2], [300, 3, 2])
    penalty = group_norm(L1(0.02, np.sqrt([300.0, 3.0, 2.0])), group_of)
    for kind in (GramModel, BlockModel):
        model = kind(X, np.full(60, 1 / 60), False, 305)
        model.grow(np.arange(305))
        coef, slope = np.zeros(305), X.T @ y / 60
        for _ in range(10):
            model.solve(penalty, coef, slope, (y - X @ coef) / np.sqrt(60), 1e-12, 1000)
        assert kkt_distances(penalty, coef, X.T @ (y - X @ coef) / 60, np.arange(305), np.empty(305)) <= 1e-5
        assert coef.any()


@pytest.mark.parametrize("name", ["group", "sparse group", "free group", "mcp"])
@pytest.mark.parametrize("n", [15, 200])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_driver_certifies(name, n, fit_intercept, monkeypatch):
    """Fewer rows than features take the columns' model, more the Gram matrix; both end at rounding."""
    monkeypatch.setattr("sparsemodels.solvers.composite._FEW", 0)
    X, y = problem(n, 4)
    penalty = kinds()[name]
    composite = Composite(X, Squared(y, np.full(n, 1 / n)), fit_intercept=fit_intercept)
    level = 0.05 * alpha_max(composite, penalty)
    solution = composite.solve(with_alpha(penalty, level), tol=1e-12)
    assert solution.status == "converged"
    slope = X.T @ (y - solution.intercept - X @ solution.coef) / n
    distance = kkt_distances(with_alpha(penalty, level), solution.coef, slope, np.arange(P), np.empty(P))
    assert distance <= 1e-5 * level
    assert distance == pytest.approx(solution.kkt, abs=1e-12)
    assert isinstance(composite._model, BlockModel if n < P else GramModel)


def test_undecided_groups_are_those_that_may_matter():
    """Whatever the slopes within reach, a group that is left out is optimal at zero."""
    rng = np.random.default_rng(5)
    penalty = kinds(0.5)["sparse group"]
    for _ in range(20):
        slope, reach = 0.3 * rng.standard_normal(P), rng.uniform(0.0, 0.1, P)
        coef = np.where(GROUP_OF == 2, rng.standard_normal(P), 0.0)
        chosen = undecided_groups(penalty, coef, slope, reach, GROUP_OF == 7)
        assert np.isin(np.flatnonzero(np.isin(GROUP_OF, [2, 7])), chosen).all()
        left = ~np.isin(np.arange(P), chosen)
        assert left.any()
        for _ in range(50):
            moved = slope + reach * rng.choice([-1.0, 1.0], P)
            distances = np.empty(P)
            kkt_distances(penalty, np.zeros(P), moved, np.arange(P), distances)
            assert (distances[left] == 0.0).all()
