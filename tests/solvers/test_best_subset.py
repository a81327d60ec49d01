"""Best subsets against all subsets, every move against least squares, every bound against the optimum and CVXPY."""

import itertools
import time

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import minimize, minimize_scalar

from sparsemodels.solvers.best_subset import best_subset
from sparsemodels.solvers.cardinality_relaxation import FREE, IN, OUT, dual_bound, fix, relax, shares, sum_of_largest
from sparsemodels.solvers.columns import as_columns, correlate
from sparsemodels.solvers.composite import Composite
from sparsemodels.solvers.curved_exchange import CurvedSearch
from sparsemodels.solvers.gram_row_cache import GramRowCache
from sparsemodels.solvers.losses import Squared, loss_value, negative_gradient
from sparsemodels.solvers.losses.logistic import Logistic
from sparsemodels.solvers.penalties import (
    Perspective,
    conjugate,
    conjugate_maximizer,
    critical_alpha,
    prox,
    smooth_piece,
    subdifferential_distance,
    value,
)
from sparsemodels.solvers.perspective_bound import DataRelaxation, cardinality_bound, perspective_bound
from sparsemodels.solvers.subset_branch_and_bound import (
    GramRelaxation,
    branch_and_bound,
    split_curvature,
    subset_objective,
)
from sparsemodels.solvers.subset_exchange import SquaredSearch, best_addition, best_removal, best_swap
from sparsemodels.solvers.subset_search import SubsetSearch

TIGHT = {"rtol": 1e-9, "atol": 1e-12}


def problem(seed=0, n_samples=40, n_features=9, correlation=0.6, logistic=False, weighted=True):
    """Correlated columns of different sizes and means, weights, and targets of few features and much noise."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_features))
    for j in range(1, n_features):
        X[:, j] = correlation * X[:, j - 1] + np.sqrt(1.0 - correlation**2) * X[:, j]
    X = X * rng.uniform(0.3, 3.0, n_features) + rng.standard_normal(n_features)
    signal = X[:, ::3] @ rng.standard_normal(len(range(0, n_features, 3)))
    y = signal + signal.std() * rng.standard_normal(n_samples)
    weights = rng.uniform(0.5, 2.0, n_samples) if weighted else np.ones(n_samples)
    weights /= weights.sum()
    if logistic:
        return np.asfortranarray(X), Logistic((y > np.median(y)).astype(float), weights)
    return np.asfortranarray(X), Squared(y, weights)


def refit(X, loss, features, ridge, fit_intercept):
    """The least objective on a subset, by a general optimiser started from least squares; an oracle, slow."""
    features = list(features)
    Z = np.column_stack([X[:, features], np.ones(len(X))]) if fit_intercept else X[:, features]
    ridges = np.full(Z.shape[1], ridge)
    if fit_intercept:
        ridges[-1] = 0.0
    if isinstance(loss, Squared):
        root = np.sqrt(loss.weights)
        A = np.vstack([root[:, None] * Z, np.diag(np.sqrt(ridges))])
        w = np.linalg.lstsq(A, np.concatenate([root * loss.y, np.zeros(len(ridges))]), rcond=None)[0]
        return loss_value(loss, Z @ w) + 0.5 * ridges @ w**2

    def objective(w):
        return loss_value(loss, Z @ w) + 0.5 * ridges @ w**2, ridges * w - Z.T @ negative_gradient(loss, Z @ w)

    if Z.shape[1] == 0:
        return loss_value(loss, np.zeros(len(X)))
    return minimize(objective, np.zeros(Z.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-10}).fun


def optimum(X, loss, size, ridge, fit_intercept):
    return min(refit(X, loss, s, ridge, fit_intercept) for s in itertools.combinations(range(X.shape[1]), size))


# --- the moves -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_every_move_gains_what_least_squares_says(fit_intercept, ridge):
    X, loss = problem(1)
    state = SquaredSearch(X, loss, fit_intercept, ridge, 6)
    rng = np.random.default_rng(0)
    objective = lambda features: refit(X, loss, features, ridge, fit_intercept)  # noqa: E731
    for _ in range(12):  # a walk of additions and removals: the tableau is updated, never computed afresh
        inside = sorted(state.features.tolist())
        outside = [j for j in range(X.shape[1]) if j not in inside]
        here = objective(inside)
        np.testing.assert_allclose(state.objective, here, **TIGHT)
        if len(inside) < 5:
            gain, j = best_addition(state.tableau)
            gains = {k: here - objective([*inside, k]) for k in outside}
            assert j == max(gains, key=gains.get)
            np.testing.assert_allclose(0.5 * gain, gains[j], **TIGHT)
        if inside:
            cost, position = best_removal(state.tableau, state.size)
            costs = {k: objective([i for i in inside if i != k]) - here for k in inside}
            assert state.features[position] == min(costs, key=costs.get)
            np.testing.assert_allclose(0.5 * cost, min(costs.values()), **TIGHT)
            gain, position, j = best_swap(state.tableau, state.size, -1e100)
            swaps = {(i, k): here - objective([*(m for m in inside if m != i), k]) for i in inside for k in outside}
            assert (state.features[position], j) == max(swaps, key=swaps.get)
            np.testing.assert_allclose(0.5 * gain, max(swaps.values()), **TIGHT)
        if len(inside) < 2 or (len(inside) < 5 and rng.random() < 0.6):
            state._join(int(rng.choice(outside)), 0)
        else:
            state._leave(int(rng.integers(len(inside))))
    slopes, pivots = state.tableau.slopes.copy(), state.tableau.pivots.copy()
    state.reset(state.features)
    np.testing.assert_allclose(slopes, state.tableau.slopes, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(pivots, state.tableau.pivots, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", [SquaredSearch, CurvedSearch])
def test_a_local_minimum_has_no_better_swap(kind):
    X, loss = problem(2, n_features=12, logistic=kind is CurvedSearch)
    state = kind(X, loss, True, 0.01, 4)
    state.reset([0, 1, 2, 4])
    start = state.objective
    assert state.exchange(100)
    assert state.objective < start
    inside = state.features.tolist()
    for i, k in itertools.product(inside, set(range(12)) - set(inside)):
        assert refit(X, loss, [*(m for m in inside if m != i), k], 0.01, True) >= state.objective - 1e-9


def test_gram_rows_are_found_again(monkeypatch):
    X, loss = problem(3, n_features=30)
    mean = loss.weights @ X
    expected = (X - mean).T @ (loss.weights[:, None] * (X - mean))
    monkeypatch.setattr("sparsemodels.solvers.gram_row_cache.MEMORY", 40 * 30 * 8)  # rows are dropped on the way
    rng = np.random.default_rng(0)
    cache = GramRowCache(X, loss.weights, mean)
    for _ in range(60):
        j, keep = int(rng.integers(30)), rng.choice(30, 3, replace=False)
        np.testing.assert_allclose(
            cache.row(j, rng.uniform(-1.0, 1.0, 30), keep, int(rng.integers(6))), expected[j], **TIGHT
        )
    np.testing.assert_allclose(cache.rows(np.array([5, 29, 0])), expected[[5, 29, 0]], **TIGHT)


# --- the answer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ridge", [0.0, 0.05])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_proven_subsets_are_the_best_of_all(seed, fit_intercept, ridge):
    X, loss = problem(seed)
    fit = best_subset(X, loss, [0, 1, 3, 9], fit_intercept=fit_intercept, ridge=ridge)
    assert fit.statuses == ["optimal"] * 4
    for k, size in enumerate(fit.sizes):
        best = optimum(X, loss, size, ridge, fit_intercept)
        np.testing.assert_allclose(fit.objectives[k], best, **TIGHT)
        assert best - 1.1e-6 * fit.null_objective <= fit.lower_bounds[k] <= best * (1.0 + 1e-12)
        np.testing.assert_allclose(refit(X, loss, fit.supports[k], ridge, fit_intercept), best, **TIGHT)
        # The model itself, from outside.
        w = fit.coefs[:, k]
        np.testing.assert_array_equal(np.flatnonzero(w), fit.supports[k])
        value = loss_value(loss, X @ w + fit.intercepts[k]) + 0.5 * ridge * w @ w
        np.testing.assert_allclose(value, fit.objectives[k], **TIGHT)
    assert fit.intercepts.any() == fit_intercept


@pytest.mark.parametrize("ridge", [0.0, 0.05])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_logistic_subsets(seed, ridge):
    X, loss = problem(seed, n_features=8, logistic=True)
    fit = best_subset(X, loss, [1, 3], ridge=ridge)
    for k, size in enumerate(fit.sizes):
        objectives = {s: refit(X, loss, s, ridge, True) for s in itertools.combinations(range(8), int(size))}
        best = min(objectives.values())
        assert fit.lower_bounds[k] <= best + 1e-12
        chosen = set(fit.supports[k].tolist())
        if ridge:
            assert fit.statuses[k] == "optimal"
            assert fit.lower_bounds[k] >= best - 1e-6 * fit.null_objective - 1e-12
            np.testing.assert_allclose(fit.objectives[k], best, rtol=1e-8)
        else:  # the loss with all features bounds it, and no exchange of one feature is better
            assert fit.lower_bounds[k] == pytest.approx(refit(X, loss, range(8), 0.0, True), rel=1e-7)
            assert (
                fit.objectives[k] <= min(f for s, f in objectives.items() if len(chosen & set(s)) >= size - 1) + 1e-10
            )
        w = fit.coefs[:, k]
        value = loss_value(loss, X @ w + fit.intercepts[k]) + 0.5 * ridge * w @ w
        np.testing.assert_allclose(value, fit.objectives[k], rtol=1e-12)


@pytest.mark.parametrize("max_nodes", [1, 4])
@pytest.mark.parametrize("ridge", [0.0, 0.1])
@pytest.mark.parametrize("correlation", [0.0, 0.95])
def test_an_unfinished_proof_bounds_the_optimum(correlation, ridge, max_nodes):
    for seed in range(6):
        X, loss = problem(seed, 30, 10, correlation)
        fit = best_subset(X, loss, [2, 4], ridge=ridge, max_nodes=max_nodes)
        for k, size in enumerate(fit.sizes):
            assert 0.0 <= fit.lower_bounds[k] <= optimum(X, loss, size, ridge, True) * (1.0 + 1e-12)
            assert fit.statuses[k] in ("optimal", "max_nodes")


def test_branch_and_bound_repairs_a_bad_start():
    X, loss = problem(4, n_features=11)
    centred = (X - loss.weights @ X) * np.sqrt(loss.weights)[:, None]
    gram, correlation = centred.T @ centred, centred.T @ (np.sqrt(loss.weights) * loss.y)
    null = refit(X, loss, [], 0.0, True)
    relaxation = GramRelaxation(gram, correlation, 0.0, 4)
    proof = branch_and_bound(relaxation, 4, features=np.array([0, 1, 2, 10]), tol=1e-9 * null, max_nodes=10_000)
    best = optimum(X, loss, 4, 0.0, True)
    assert proof.status == "optimal"
    np.testing.assert_allclose(null + proof.objective, best, **TIGHT)
    np.testing.assert_allclose(null + proof.lower_bound, best, rtol=1e-8)
    assert proof.root_bound <= proof.lower_bound


@pytest.mark.parametrize("kind", ["gram", "data", "logistic"])
def test_a_node_bounds_the_subsets_that_obey_it(kind):
    X, loss = problem(4, n_features=9, logistic=kind == "logistic")
    if kind == "gram":
        centred = (X - loss.weights @ X) * np.sqrt(loss.weights)[:, None]
        correlation = centred.T @ (np.sqrt(loss.weights) * loss.y)
        relaxation, constant = GramRelaxation(centred.T @ centred, correlation, 0.1, 3), refit(X, loss, [], 0.0, True)
    else:
        task = Composite(X, loss, fit_intercept=True)
        state = (CurvedSearch if kind == "logistic" else SquaredSearch)(X, loss, True, 0.1, 3)
        relaxation, constant = DataRelaxation(task, 0.1, state, np.inf), 0.0
    subsets = {s: refit(X, loss, s, 0.1, True) for s in itertools.combinations(range(9), 3)}
    for s in [(0, 1, 2), (3, 5, 8)]:
        assert constant + relaxation.evaluate(np.array(s)) == pytest.approx(subsets[s], rel=1e-8)
    for inside, outside in itertools.product([(), (0,), (2, 7)], [(), (3,), (1, 4, 8)]):
        status = np.zeros(9, dtype=np.int8)
        status[list(inside)], status[list(outside)] = IN, OUT
        node = relaxation.relax(status, np.flatnonzero(status != OUT), 3 - len(inside), np.zeros(9), None, np.inf, 1e-9)
        best = min(f for s, f in subsets.items() if set(inside) <= set(s) and not set(outside) & set(s))
        assert 0.5 * best < constant + node.bound <= best + 1e-10  # valid, and not for nothing
        assert node.last <= node.bound


def test_sizes_help_each_other_and_never_hurt():
    X, loss = problem(5, 60, 40, 0.9)
    sizes = [1, 2, 3, 5, 8, 12]
    together = best_subset(X, loss, sizes, certify=False)
    assert np.all(np.diff(together.objectives) <= 0.0)
    for k, size in enumerate(sizes):
        alone = best_subset(X, loss, [size], certify=False)
        assert together.objectives[k] <= alone.objectives[0] * (1.0 + 1e-10)
    assert together.lower_bounds.max() == 0.0
    assert set(together.statuses) == {"not_certified"}
    some = best_subset(X, loss, sizes, certify=[2, 3])
    assert [status == "not_certified" for status in some.statuses] == [False, False, False, True, True, True] or (
        np.all(some.lower_bounds[:3] > 0.0)
    )
    assert np.all(np.diff(some.lower_bounds) <= 0.0)


@pytest.mark.parametrize("logistic", [False, True])
def test_storage_and_units_do_not_matter(logistic):
    X, loss = problem(6, 50, 20, logistic=logistic)
    X = np.where(np.abs(X) < 0.7, 0.0, np.round(X, 1))
    expected = best_subset(np.asfortranarray(X), loss, [4], ridge=0.01)
    for design in (np.ascontiguousarray(X), as_columns(scipy.sparse.csc_array(X))):
        fit = best_subset(design, loss, [4], ridge=0.01)
        np.testing.assert_array_equal(fit.supports[0], expected.supports[0])
        np.testing.assert_allclose(fit.coefs, expected.coefs, rtol=1e-7)
        np.testing.assert_allclose(fit.lower_bounds, expected.lower_bounds, rtol=1e-3)
    order = np.random.default_rng(0).permutation(20)
    fit = best_subset(np.asfortranarray(X[:, order]), loss, [4], ridge=0.01)
    np.testing.assert_array_equal(np.sort(order[fit.supports[0]]), expected.supports[0])
    # Without a ridge the units of single columns are free, too.
    scale = 10.0 ** np.random.default_rng(1).integers(-4, 5, 20)
    plain, scaled = (best_subset(np.asfortranarray(X * c), loss, [4]) for c in (1.0, scale))
    np.testing.assert_array_equal(plain.supports[0], scaled.supports[0])
    np.testing.assert_allclose(scaled.coefs * scale[:, None], plain.coefs, rtol=1e-6)
    np.testing.assert_allclose(scaled.objectives, plain.objectives, rtol=1e-9)
    if not logistic:
        np.testing.assert_allclose(scaled.lower_bounds, plain.lower_bounds, rtol=1e-5)
        for c in (1e-8, 1e8):
            fit = best_subset(np.asfortranarray(X), loss._replace(y=c * loss.y), [4], ridge=0.01)
            np.testing.assert_array_equal(fit.supports[0], expected.supports[0])
            np.testing.assert_allclose(fit.lower_bounds, c**2 * expected.lower_bounds, rtol=1e-6)


@pytest.mark.parametrize("logistic", [False, True])
def test_degenerate_columns(logistic):
    X, loss = problem(7, logistic=logistic)
    X = np.column_stack([X[:, :3], X[:, 0], np.full(40, 5.0), np.zeros(40), X[:, 1] + X[:, 2]])
    fit = best_subset(np.asfortranarray(X), loss, [1, 3, 7])
    assert fit.supports[2].size == 3  # the rank
    assert not set(fit.supports[2]) & {4, 5}
    for k, size in enumerate((1, 3, 3)):
        best = min(refit(X, loss, s, 0.0, True) for s in itertools.combinations((0, 1, 2, 6), size))
        np.testing.assert_allclose(fit.objectives[k], best, rtol=1e-8)
        assert fit.lower_bounds[k] <= best
    one = best_subset(np.asfortranarray(X[:, :1]), loss, [1])
    np.testing.assert_allclose(one.objectives, refit(X, loss, [0], 0.0, True), rtol=1e-8)
    if not logistic:
        flat = best_subset(np.asfortranarray(X), loss._replace(y=np.full(40, 3.0)), [2])
        assert flat.objectives[0] == flat.lower_bounds[0] == 0.0
        assert flat.statuses == ["optimal"]
        assert flat.intercepts[0] == pytest.approx(3.0)


def test_separable_classes_end_somewhere():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 6))
    loss = Logistic((X[:, 2] > 0.0).astype(float), np.full(30, 1.0 / 30.0))
    fit = best_subset(np.asfortranarray(X), loss, [1, 2])
    assert fit.supports[0].tolist() == [2]
    assert np.all(fit.objectives <= 1e-7)
    assert np.isfinite(fit.coefs).all()


def test_deadline_and_stop_keep_what_there_is():
    X, loss = problem(8, 60, 40, 0.9)
    fit = best_subset(X, loss, [3, 6], deadline=time.monotonic() - 1.0)
    assert fit.statuses == ["time_limit", "time_limit"]
    assert np.all(fit.objectives < fit.null_objective)
    fit = best_subset(X, loss, [3, 6], max_swaps=0, max_nodes=1)
    assert np.all(fit.lower_bounds > 0.0)
    seen = []
    fit = best_subset(X, loss, [3, 6], max_nodes=5, on_size=lambda *result: seen.append(result) or True)
    assert [result[0] for result in seen] == [6]
    assert fit.statuses[0] == "stopped"


def test_interruption_keeps_the_search(monkeypatch):
    X, loss = problem(8, 60, 40, 0.9)

    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(SubsetSearch, "_neighbours", interrupt)
    fit = best_subset(X, loss, [3, 6])
    assert fit.statuses == ["interrupted", "interrupted"]
    assert [support.size for support in fit.supports] == [3, 6]


@pytest.mark.parametrize("sizes", [[], [-1]])
def test_bad_sizes(sizes):
    with pytest.raises(ValueError, match="sizes must hold"):
        best_subset(*problem(), sizes)


# --- the bounds ------------------------------------------------------------------------------------------------------


def perspective_problem(X, loss, size, ridge):
    """The relaxation as a conic program, its value to the solver's accuracy."""
    w, b, t, u = cp.Variable(X.shape[1]), cp.Variable(), cp.Variable(X.shape[1]), cp.Variable(X.shape[1])
    z = X @ w + b
    if isinstance(loss, Squared):
        fidelity = 0.5 * cp.sum(cp.multiply(loss.weights, cp.square(loss.y - z)))
    else:
        fidelity = cp.sum(cp.multiply(loss.weights, cp.logistic(z) - cp.multiply(loss.y, z)))
    # w^2 <= t u as second-order cones.
    cones = [cp.SOC(t[j] + u[j], cp.hstack([2.0 * w[j], t[j] - u[j]])) for j in range(X.shape[1])]
    program = cp.Problem(cp.Minimize(fidelity + 0.5 * ridge * cp.sum(t)), [*cones, u >= 0, u <= 1, cp.sum(u) <= size])
    return program.solve(solver="CLARABEL", tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)


@pytest.mark.parametrize("logistic", [False, True])
@pytest.mark.parametrize("ridge", [0.02, 0.3])
def test_relaxation_on_the_data_equals_the_conic_program(ridge, logistic):
    X, loss = problem(3, 40, 15, logistic=logistic)
    task = Composite(X, loss, fit_intercept=True)
    null = task.null_objective
    bound = perspective_bound(task, ridge, 3, cutoff=null, tol=1e-9)
    exact = perspective_problem(X, loss, 3, ridge)
    assert bound.lower_bound <= exact + 1e-9 * null
    assert bound.lower_bound >= exact - 2e-3 * null
    # Recomputed from the dual point alone.
    np.testing.assert_allclose(bound.slope, X.T @ bound.dual, rtol=1e-9, atol=1e-12)
    assert abs(bound.dual.sum()) <= 1e-12
    top = np.sort(bound.slope**2)[-3:].sum() / (2.0 * ridge)
    s = loss.weights
    if logistic:
        q = loss.y - bound.dual / s
        conjugate_value = np.sum(s * (q * np.log(q) + (1.0 - q) * np.log(1.0 - q)))
    else:
        conjugate_value = np.sum(bound.dual**2 / (2.0 * s) - bound.dual * loss.y)
    np.testing.assert_allclose(bound.lower_bound, -conjugate_value - top, rtol=1e-9)


@pytest.mark.parametrize("ridge", [0.02, 0.3])
def test_relaxation_of_the_gram_matrix_equals_the_conic_program(ridge):
    X, loss = problem(4, 40, 15)
    root = np.sqrt(loss.weights)
    centred = (X - loss.weights @ X) * root[:, None]
    target = root * (loss.y - loss.weights @ loss.y)
    gram, correlation, ridges = centred.T @ centred, centred.T @ target, np.full(15, ridge)
    status, features = np.zeros(15, dtype=np.int8), np.arange(15)
    coef, slope, share, work = np.zeros(15), correlation.copy(), np.empty(15), np.empty(15)
    bound, last, price = relax(
        gram, correlation, ridges, status, features, 3, coef, slope, 0.01, np.inf, 1e-12, share, work
    )
    exact = perspective_problem(X, loss, 3, ridge)
    half = 0.5 * target @ target
    # With an infinite cutoff nothing but the search for the price ends it.
    np.testing.assert_allclose(half + bound, exact, rtol=1e-3)
    assert half + bound <= exact + 1e-9
    np.testing.assert_allclose(slope, correlation - gram @ coef, rtol=1e-8, atol=1e-10)
    assert last <= bound
    assert shares(ridges, status, features, coef, price, share) == pytest.approx(share.sum())


def test_any_point_bounds_all_subsets():
    rng = np.random.default_rng(5)
    X, loss = problem(5, 30, 8)
    root = np.sqrt(loss.weights)
    centred = (X - loss.weights @ X) * root[:, None]
    target = root * (loss.y - loss.weights @ loss.y)
    gram, correlation = centred.T @ centred, centred.T @ target
    moved = split_curvature(gram)
    assert np.linalg.eigvalsh(gram - np.diag(moved)).min() >= 0.0
    assert moved.min() > 0.0
    half, best = 0.5 * target @ target, optimum(X, loss, 3, 0.1, True)
    status, features, work = np.zeros(8, dtype=np.int8), np.arange(8), np.empty(8)
    task = Composite(X, loss, fit_intercept=True)
    for _ in range(200):
        w = rng.standard_normal(8) * rng.choice([0.0, 0.1, 1.0], 8)
        for ridges, hessian in ((np.full(8, 0.1), gram), (moved + 0.1, gram - np.diag(moved))):
            bound = dual_bound(correlation, ridges, status, features, 3, w, correlation - hessian @ w, work)
            assert half + bound <= best + 1e-12
        task.restart(w)
        assert cardinality_bound(task, 0.1, 3) <= best + 1e-12


def test_what_a_bound_decides_is_right():
    decisions = 0
    for seed in range(8):
        X, loss = problem(seed, 60, 9, 0.3)
        best = optimum(X, loss, 3, 0.2, True)
        task = Composite(X, loss, fit_intercept=True)
        bound = perspective_bound(task, 0.2, 3, cutoff=best, tol=1e-9)
        status = np.zeros(9, dtype=np.int8)
        fix(bound.lower_bound, np.full(9, 0.2), status, np.arange(9), 3, bound.slope, best - 1e-9, np.empty(9))
        for j in np.flatnonzero(status != FREE):
            subsets = [s for s in itertools.combinations(range(9), 3) if (j in s) == (status[j] == OUT)]
            assert min(refit(X, loss, s, 0.2, True) for s in subsets) >= best - 2e-9
            decisions += 1
    assert decisions > 5


def test_fix_counts_and_leaves_the_rest():
    ridge, status, work = np.ones(5), np.zeros(5, dtype=np.int8), np.empty(5)
    slope = np.sqrt(2.0 * np.array([9.0, 5.0, 4.0, 1.0, 0.0]))
    assert fix(0.0, ridge, status, np.arange(5), 2, slope, 3.5, work) == 3
    np.testing.assert_array_equal(status, [IN, FREE, FREE, OUT, OUT])
    assert fix(0.0, ridge, np.zeros(5, dtype=np.int8), np.arange(5), 5, slope, 3.5, work) == 0


def test_sum_of_largest():
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 50):
        for count in range(size + 3):
            values = rng.integers(0, 6, size).astype(float)  # many ties
            expected = np.sort(values)[::-1][:count].sum()
            shuffled = values.copy()
            assert sum_of_largest(shuffled, size, count) == expected
            np.testing.assert_array_equal(np.sort(shuffled), np.sort(values))


def test_objective_of_a_subset():
    X, loss = problem(0)
    root = np.sqrt(loss.weights)
    centred = (X - loss.weights @ X) * root[:, None]
    target = root * (loss.y - loss.weights @ loss.y)
    gram, correlation = centred.T @ centred, centred.T @ target
    members = np.array([1, 4, 7])
    work = np.empty((3, 3)), np.empty(3), np.empty(3)
    found = subset_objective(gram, correlation, 0.1, members, *work)
    np.testing.assert_allclose(0.5 * target @ target + found, refit(X, loss, members, 0.1, True), **TIGHT)
    gram[7] = gram[4]
    gram[:, 7] = gram[:, 4]
    assert subset_objective(gram, correlation, 0.0, members, *work) == np.inf


def test_the_slopes_of_a_bound_are_fresh():
    # The composite problem keeps slopes that cannot matter to its own certificate; here all of them do.
    X, loss = problem(9, 60, 120, 0.5)
    task = Composite(X, loss, fit_intercept=True)
    bound = perspective_bound(task, 0.1, 5, cutoff=task.null_objective, tol=1e-9)
    np.testing.assert_allclose(bound.slope, correlate(X, bound.dual), rtol=1e-9, atol=1e-12)


# --- the penalty -----------------------------------------------------------------------------------------------------

PENALTY = Perspective(0.7, 0.4, np.array([1.0, 0.0, np.inf, 2.5]))


def definition(u, j):
    """The minimum over the share, by a search."""
    price = PENALTY.alpha * PENALTY.weights[j] if np.isfinite(PENALTY.weights[j]) else np.inf
    if u == 0.0 or price == np.inf:
        return 0.0 if u == 0.0 else np.inf
    share = lambda s: price * s + PENALTY.ridge * u * u / (2.0 * s)  # noqa: E731
    found = minimize_scalar(share, bounds=(1e-9, 1.0), method="bounded", options={"xatol": 1e-12})
    return min(found.fun, share(1.0))


@pytest.mark.parametrize("j", range(4))
def test_perspective_value_prox_and_conjugate(j):
    grid = np.linspace(-12.0, 12.0, 48_001)
    values = np.array([value(PENALTY, u, j) for u in grid])
    for u in (-6.0, -1.0, -0.2, 0.0, 0.5, 1.9, 8.0):
        assert value(PENALTY, u, j) == pytest.approx(definition(u, j), rel=1e-8)
    for point, step in itertools.product((-5.0, -1.2, 0.3, 0.9, 2.0, 7.0), (0.3, 1.0, 4.0)):
        objective = (grid - point) ** 2 / (2.0 * step) + values
        u = prox(PENALTY, point, step, j)
        assert (u - point) ** 2 / (2.0 * step) + value(PENALTY, u, j) <= objective.min() + 1e-12
        assert subdifferential_distance(PENALTY, u, (point - u) / step, j) <= 1e-12
        assert abs(u - grid[np.argmin(objective)]) <= 1e-3
    for slope in (-2.0, -0.8, 0.0, 0.5, 1.1, 3.0):
        supremum = (slope * grid - values).max()
        assert conjugate(PENALTY, slope, j) == pytest.approx(supremum, abs=1e-6)
        best = conjugate_maximizer(PENALTY, slope, j)
        assert slope * best - value(PENALTY, best, j) == pytest.approx(conjugate(PENALTY, slope, j), abs=1e-12)


def test_perspective_pieces_and_critical_level():
    for j, u in itertools.product((0, 1, 3), (-6.0, -0.5, 0.3, 1.0, 5.0)):
        low, high, slope, curvature = smooth_piece(PENALTY, u, j)
        assert low < u < high
        for v in np.linspace(max(low, u - 1.0), min(high, u + 1.0), 9):
            model = value(PENALTY, u, j) + slope * (v - u) + 0.5 * curvature * (v - u) ** 2
            assert value(PENALTY, v, j) == pytest.approx(model, rel=1e-12)
    assert smooth_piece(PENALTY, 0.0, 0) == smooth_piece(PENALTY, 0.0, 2) == (0.0, 0.0, 0.0, 0.0)
    for j in (0, 3):
        level = critical_alpha(PENALTY, 1.3, j)
        for factor, zero in ((1.0 + 1e-9, True), (1.0 - 1e-6, False)):
            assert (prox(PENALTY._replace(alpha=factor * level), 1.3, 1.0, j) == 0.0) == zero
    assert critical_alpha(PENALTY, 1.3, 1) == critical_alpha(PENALTY, 1.3, 2) == 0.0
