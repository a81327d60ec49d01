"""Robust losses by reweighting: bounds, monotone objectives, stationarity from outside, and what outliers do."""

import time

import numpy as np
import pytest
import scipy.sparse

from sparsemodels.solvers.alternating_factorization import alternate
from sparsemodels.solvers.factor_penalty import RowPenalty, improve, penalty_value
from sparsemodels.solvers.graph_terms import check_graph
from sparsemodels.solvers.half_quadratic_losses import LOSSES, automatic_width, robust_value, robust_weight
from sparsemodels.solvers.observed_matrix import observe, transposed
from sparsemodels.solvers.robust_factorization import column_squares, factorize_robust
from sparsemodels.solvers.scaled_rows import ScaledRows, scale_columns
from sparsemodels.solvers.simplex_factors import SimplexColumns, SimplexRows

AXES = ("features", "samples", "elements")


def problem(seed=0, m=24, n=16, r=3):
    rng = np.random.default_rng(seed)
    X = rng.random((m, r)) @ rng.random((r, n)) + 0.05 * rng.random((m, n))
    X[:, 3] = 3 * rng.random(m)  # a spoilt column, a spoilt row, spoilt entries
    X[5] = 3 * rng.random(n)
    X[rng.random(X.shape) < 0.03] += 4.0
    return X, rng.random((m, r)), rng.random((n, r))


def residual_norms(X, W, Ht, axis, weights):
    squares = weights * np.nan_to_num(X - W @ Ht.T) ** 2
    return {"features": squares.sum(axis=0), "samples": squares.sum(axis=1)}.get(axis, np.nan_to_num(X - W @ Ht.T) ** 2)


def robust_gradients(X, W, Ht, loss, axis, weights):
    """The gradient of the sum of losses, from its definition, and the weight of every entry."""
    v = robust_weight(loss, residual_norms(X, W, Ht, axis, weights))
    v = np.broadcast_to(weights * (v[:, None] if axis == "samples" else v), X.shape)
    weighted = v * np.nan_to_num(W @ Ht.T - X)
    return weighted @ Ht, weighted.T @ W, v


@pytest.mark.parametrize("name", LOSSES)
def test_losses_lie_below_their_parabolas(name):
    norms = np.concatenate([[0.0], np.geomspace(1e-3, 1e3, 60)])
    loss, wider = LOSSES[name](0.7), LOSSES[name](0.8)
    value, weight = robust_value(loss, norms**2), robust_weight(loss, norms**2)
    bound = value[:, None] + 0.5 * weight[:, None] * (norms**2 - norms[:, None] ** 2)
    assert np.all(value <= bound * (1 + 1e-12) + 1e-12)
    assert np.all(np.diff(value) >= 0.0)
    assert np.all(robust_value(wider, norms**2) >= value * (1 - 1e-12))
    step = 1e-6 * norms[1:]
    slope = (robust_value(loss, (norms[1:] + step) ** 2) - robust_value(loss, (norms[1:] - step) ** 2)) / (2 * step)
    np.testing.assert_allclose(slope, weight[1:] * norms[1:], rtol=1e-4, atol=1e-9)


def test_width_of_normal_noise():
    """Of entries with standard deviation 2, the widths with 95 % efficiency, whatever a tenth of them is."""
    rng = np.random.default_rng(0)
    squares = (2 * rng.standard_normal(200_000)) ** 2
    assert automatic_width("huber", squares, True) == pytest.approx(2.69, rel=0.02)
    squares[:20_000] = 1e12
    assert automatic_width("correntropy", squares, True) == pytest.approx(5.97, rel=0.2)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("loss", LOSSES)
def test_objective_falls_to_a_stationary_point(loss, axis):
    X, *start = problem()
    solution = factorize_robust(observe(X), *start, loss, axis, tol=1e-5, max_iter=3000)
    found = solution.factorization
    assert found.status == "converged"
    assert found.kkt <= 1e-5
    assert np.all(np.diff(found.objective_history) <= 1e-12 * found.objective_history[0])
    robust, W, Ht = LOSSES[loss](solution.sigma), found.W, found.Ht
    squares = residual_norms(X, W, Ht, axis, 1.0)
    assert found.objective == pytest.approx(robust_value(robust, squares).sum(), rel=1e-10)
    np.testing.assert_allclose(solution.weights, robust_weight(robust, squares), rtol=1e-6, atol=1e-12)
    # The certificate from outside: every entry's own step in the units of the weighted data.
    gradient_W, gradient_H, v = robust_gradients(X, W, Ht, robust, axis, 1.0)
    total = 0.0
    for F, gradient, curvature in ((W, gradient_W, v @ Ht**2), (Ht, gradient_H, v.T @ W**2)):
        safe = np.where(curvature > 0, curvature, 1.0)
        total += np.sum(curvature * (F - np.maximum(F - gradient / safe, 0.0)) ** 2)
    # Where all is rounding, as little as the tolerance.
    assert np.sqrt(total / np.sum(v * X**2)) == pytest.approx(found.kkt, rel=1e-2, abs=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_of_the_objective_by_differences(loss):
    X, W, Ht = problem(1)
    robust = LOSSES[loss](0.8)
    direction = np.random.default_rng(2).standard_normal(W.shape)
    for axis in AXES:
        gradient = robust_gradients(X, W, Ht, robust, axis, 1.0)[0]

        def value(t, axis=axis):
            return robust_value(robust, residual_norms(X, W + t * direction, Ht, axis, 1.0)).sum()

        assert (value(1e-6) - value(-1e-6)) / 2e-6 == pytest.approx(np.vdot(gradient, direction), rel=1e-5)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("form", ["few unknown", "many unknown", "weights", "sparse"])
def test_every_form_of_matrix(form, axis):
    X, *start = problem(2)
    rng = np.random.default_rng(3)
    weights = np.ones(X.shape)
    if form == "sparse":
        X = np.where(rng.random(X.shape) < 0.5, X, 0.0)
        matrix = observe(scipy.sparse.csr_array(X))
    elif form == "weights":
        weights = rng.uniform(0.5, 2.0, X.shape)
        matrix = observe(X, weights=weights)
    else:
        weights = (rng.random(X.shape) < (0.9 if form == "few unknown" else 0.45)).astype(float)
        matrix = observe(np.where(weights > 0, X, np.nan))
    solution = factorize_robust(matrix, *start, "cauchy", axis, tol=1e-4, max_iter=1500)
    found, robust = solution.factorization, LOSSES["cauchy"](solution.sigma)
    assert np.all(np.diff(found.objective_history) <= 1e-12 * found.objective_history[0])
    values = robust_value(robust, residual_norms(X, found.W, found.Ht, axis, weights))
    assert found.objective == pytest.approx(np.sum(values * weights if axis == "elements" else values), rel=1e-9)
    gradient_W, gradient_H, v = robust_gradients(X, found.W, found.Ht, robust, axis, weights)
    scale = np.sqrt(np.sum(v * X**2))
    assert np.abs(np.minimum(found.W, gradient_W)).max() < 3e-3 * scale
    assert np.abs(np.minimum(found.Ht, gradient_H)).max() < 3e-3 * scale
    given = solution.weights.toarray() if scipy.sparse.issparse(solution.weights) else solution.weights
    assert given.shape == {"features": (16,), "samples": (24,)}.get(axis, X.shape)


def test_outliers_beyond_the_width_do_not_matter():
    """Spoilt columns lose their weight, and the others are factorized as if they were alone."""
    rng = np.random.default_rng(4)
    clean = rng.random((40, 2)) @ rng.random((2, 20)) + 0.01 * rng.random((40, 20))
    X = clean.copy()
    X[:, :4] = rng.random((40, 4)) * 2
    start = rng.random((40, 2)), rng.random((20, 2))
    solution = factorize_robust(observe(X), *start, "correntropy", "features", tol=1e-6, max_iter=1000)
    assert solution.weights[:4].max() < 1e-6
    assert solution.weights[4:].min() > 0.6
    found = solution.factorization
    np.testing.assert_allclose((found.W @ found.Ht.T)[:, 4:], clean[:, 4:], atol=0.02)
    plain = alternate(observe(X), *start, tol=1e-6, max_iter=1000)
    assert np.abs((plain.W @ plain.Ht.T)[:, 4:] - clean[:, 4:]).max() > 0.1


@pytest.mark.parametrize("axis", AXES)
def test_a_large_width_is_least_squares(axis):
    X, *start = problem(5)
    plain = alternate(observe(X), *start, tol=1e-7, max_iter=2000)
    huber = factorize_robust(observe(X), *start, "huber", axis, 1e3, tol=1e-6, max_iter=2000)
    assert np.all(np.asarray(huber.weights) == 1.0)
    # Two runs towards one minimum; the objective differs by the square of the residual.
    assert huber.factorization.objective == pytest.approx(plain.objective, rel=1e-4)


def test_samples_are_the_features_of_the_transpose():
    X, W, Ht = problem(6)
    one = factorize_robust(observe(X), W, Ht, "cauchy", "samples", 0.5, tol=1e-8, max_iter=3)
    matrix = transposed(transposed(observe(X)))
    squares = column_squares(transposed(matrix), Ht, W)
    np.testing.assert_allclose(squares, np.sum((X - W @ Ht.T) ** 2, axis=1), rtol=1e-12)
    np.testing.assert_allclose(
        one.weights, 1 / (1 + np.sum((X - one.factorization.W @ one.factorization.Ht.T) ** 2, axis=1) / 0.25), rtol=1e-9
    )


@pytest.mark.parametrize("kind", ["rows", "graph", "bounded", "simplex rows", "simplex columns"])
def test_scaled_rows_are_rows_with_weights(kind):
    """One weight for each row of the factor: as scaled rows, and as weights of the entries."""
    X, K, F = problem(7)
    X, K, F = X.T, F * 0 + np.random.default_rng(8).random(F.shape), K  # rows of F belong to rows of the matrix
    F = np.random.default_rng(9).random((X.shape[0], 3))
    K = np.random.default_rng(10).random((X.shape[1], 3))
    v = np.random.default_rng(11).uniform(0.1, 2.0, X.shape[0])
    graph = check_graph(np.ones((X.shape[0],) * 2), X.shape[0])
    penalty = {
        "rows": RowPenalty(l1=0.3, l2=0.2),
        "graph": RowPenalty(l1=0.1, graph=graph, graph_strength=0.05),
        "bounded": RowPenalty(upper_bound=0.4),
        "simplex rows": SimplexRows(2.0, 0.1, graph, 0.05),
        "simplex columns": SimplexColumns(3.0, 0.1, graph, 0.05),
    }[kind]
    root = np.sqrt(v)
    scaled_matrix = transposed(scale_columns(transposed(observe(X)), root))
    np.testing.assert_allclose(scaled_matrix.X, X * root[:, None])
    weighted, scaled = F.copy(), F * root[:, None]
    options = {"max_sweeps": 30, "exact": False, "delta": 1e-9}
    weighted_matrix = observe(X, weights=np.broadcast_to(v[:, None], X.shape).copy())
    measured = dict(options, max_sweeps=0)
    one = improve(penalty, weighted_matrix, weighted, K, **measured)
    other = improve(ScaledRows(penalty, root), scaled_matrix, scaled, K, **measured)
    assert other.kkt_squared == pytest.approx(one.kkt_squared, rel=1e-9)
    for _ in range(300 if kind == "graph" else 1):  # rows joined by a graph reach their minimum step by step
        one = improve(penalty, weighted_matrix, weighted, K, **options)
        other = improve(ScaledRows(penalty, root), scaled_matrix, scaled, K, **options)
    np.testing.assert_allclose(scaled / root[:, None], weighted, atol=1e-9)
    assert other.loss == pytest.approx(one.loss, rel=1e-9)
    assert penalty_value(ScaledRows(penalty, root), scaled) == pytest.approx(penalty_value(penalty, weighted), rel=1e-9)


@pytest.mark.parametrize("axis", ["features", "samples"])
def test_constraints_and_penalties_hold(axis):
    X, W, Ht = problem(12)
    penalty_W, penalty_H = SimplexRows(), RowPenalty(l1=0.05, l2=0.1, upper_bound=0.9)
    solution = factorize_robust(
        observe(X), W, Ht, "correntropy", axis, "auto", penalty_W, penalty_H, tol=1e-5, max_iter=2000
    )
    found = solution.factorization
    assert found.status == "converged"
    np.testing.assert_allclose(found.W.sum(axis=1), 1.0, rtol=1e-12)
    assert found.Ht.max() <= 0.9 * (1 + 1e-12)
    gradient_W, gradient_H, v = robust_gradients(X, found.W, found.Ht, LOSSES["correntropy"](solution.sigma), axis, 1.0)
    scale = np.sqrt(np.sum(v * X**2))
    gradient_H += 0.05 + 0.1 * found.Ht
    step = found.Ht - np.clip(found.Ht - gradient_H, 0.0, 0.9)
    assert np.abs(step).max() < 1e-3 * scale
    gaps = np.sum(found.W * gradient_W, axis=1) - gradient_W.min(axis=1)
    assert gaps.max() < 1e-3 * scale**2


def test_scaling_threads_and_precision():
    X, W, Ht = problem(13, m=1100)
    options = {"loss": "cauchy", "axis": "features", "max_iter": 15}
    one = factorize_robust(observe(X), W, Ht, **options)
    two = factorize_robust(observe(X), W, Ht, n_jobs=2, **options)
    np.testing.assert_array_equal(two.factorization.W, one.factorization.W)
    # A power of two changes no rounding: the same path, whatever the units.
    large = factorize_robust(observe(64 * X), 8 * W, 8 * Ht, **options)
    np.testing.assert_array_equal(large.factorization.W, 8 * one.factorization.W)
    assert large.sigma == 64 * one.sigma
    assert large.factorization.kkt == pytest.approx(one.factorization.kkt, rel=1e-9)
    single = factorize_robust(observe(X.astype(np.float32)), W.astype(np.float32), Ht.astype(np.float32), **options)
    assert single.factorization.W.dtype == single.factorization.Ht.dtype == np.float32
    assert single.factorization.objective == pytest.approx(one.factorization.objective, rel=1e-2)


@pytest.mark.parametrize("axis", AXES)
def test_a_perfect_fit_and_an_empty_matrix(axis):
    rng = np.random.default_rng(14)
    W, Ht = rng.random((8, 2)), rng.random((6, 2))
    for loss in LOSSES:
        perfect = factorize_robust(observe(W @ Ht.T), W, Ht, loss, axis).factorization
        assert np.isfinite(perfect.objective)
        np.testing.assert_allclose(perfect.W @ perfect.Ht.T, W @ Ht.T, rtol=1e-6)
        nothing = factorize_robust(observe(np.zeros((8, 6))), W, Ht, loss, axis, max_iter=30).factorization
        assert nothing.objective == pytest.approx(0.0, abs=1e-12) or loss == "l21"


def test_stopping():
    X, *start = problem(15)
    before = [F.copy() for F in start]
    late = factorize_robust(observe(X), *start, "huber", "elements", deadline=time.monotonic() - 1).factorization
    assert late.status == "time_limit"
    seen = []
    stopped = factorize_robust(
        observe(X), *start, "huber", "features", tol=0.0, on_iteration=lambda n, f: seen.append((n, f)) or n >= 10
    ).factorization
    assert stopped.status == "stopped"
    assert seen[-1] == (stopped.n_iter, stopped.objective)
    exhausted = factorize_robust(observe(X), *start, "huber", "features", tol=0.0, max_iter=7).factorization
    assert (exhausted.status, exhausted.n_iter) == ("max_iter", 7)
    for F, G in zip(start, before):
        np.testing.assert_array_equal(F, G)

    def interrupt(n, f):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        factorize_robust(observe(X), *start, "huber", "features", tol=0.0, on_iteration=interrupt)
