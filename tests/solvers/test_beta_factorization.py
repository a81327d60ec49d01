"""Factorization under beta-divergences: closed forms, certificates from outside, one answer for all forms of data."""

import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import minimize

from sparsemodels.solvers import beta_divergence as bd
from sparsemodels.solvers.alternating_factorization import alternate, certify
from sparsemodels.solvers.beta_factorization import certify_beta, factorize_beta, improve_rows
from sparsemodels.solvers.factor_penalty import RowPenalty
from sparsemodels.solvers.observed_matrix import SomeEntries, SparseMatrix, observe

BETAS = [-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0]


def draw(m=14, n=11, r=3, seed=0, positive=False):
    rng = np.random.default_rng(seed)
    X = rng.poisson(3.0 * rng.gamma(0.5, 1.0, (m, r)) @ rng.gamma(0.5, 1.0, (r, n))).astype(float)
    if positive:
        X += 0.1
    return X, rng.random((m, r)) + 0.1, rng.random((n, r)) + 0.1


def objective(X, w, W, Ht, beta, penalty_W, penalty_H):
    known = w > 0.0
    value = np.sum((w * bd.divergence(X, fit(X, W, Ht), beta))[known])
    for F, p in ((W, penalty_W), (Ht, penalty_H)):
        value += p.l1 * F.sum() + 0.5 * p.l2 * (F**2).sum()
    return value


def fit(X, F, K):
    return np.maximum(F @ K.T, 1e-60 * X.mean())  # with the smallest approximation of the solver


def gradient(X, w, F, K, beta, penalty):
    return (w * bd.derivative(X, fit(X, F, K), beta)) @ K + penalty.l1 + penalty.l2 * F


def residual(X, w, W, Ht, beta, penalty_W, penalty_H):
    """The certificate, from the formulas of the documentation."""
    total = 0.0
    for A, v, F, K, p in ((X, w, W, Ht, penalty_W), (X.T, w.T, Ht, W, penalty_H)):
        g = gradient(A, v, F, K, beta, p)
        c = (v * bd.curvature(A, fit(A, F, K), beta)) @ K**2 + p.l2
        with np.errstate(divide="ignore", invalid="ignore"):
            move = F - np.clip(np.where(c > 0.0, F - g / c, np.where(g > 0.0, 0.0, F)), 0.0, p.upper_bound)
        total += (c * move**2).sum() if beta == 2.0 else (g * move).sum()
    known = (w > 0.0) & (X > 0.0)
    return np.sqrt(total / np.sum(w[known] * X[known] ** beta))


def forms(X, w):
    """The same data as every record that can hold them."""
    known = w > 0.0
    filled = np.where(known, X, 1e300)
    if (w == 1.0).all():
        yield observe(X)
        yield observe(scipy.sparse.csr_array(X))
        # Weights that are not exactly one keep the entries listed.
        yield observe(X, weights=np.nextafter(w, 2.0))
    else:
        yield observe(filled, mask=known, weights=w)


PENALTIES = {
    "none": (RowPenalty(), RowPenalty()),
    "both": (RowPenalty(l1=0.3, l2=0.2), RowPenalty(l1=0.1, l2=0.4)),
    "bounded": (RowPenalty(upper_bound=1.2), RowPenalty(l1=0.1, upper_bound=2.0)),
}


@pytest.mark.parametrize("penalties", PENALTIES)
@pytest.mark.parametrize("kind", ["all", "most", "few", "weighted"])
@pytest.mark.parametrize("beta", BETAS)
def test_certificate(beta, kind, penalties):
    """Objective and residual recomputed from outside at a rough point and at the solution; monotone on the way."""
    X, W, Ht = draw(positive=beta <= 0.0, seed=3)
    rng = np.random.default_rng(1)
    w = np.ones_like(X)
    if kind == "most":
        w[rng.random(X.shape) < 0.2] = 0.0
    elif kind == "few":
        w[rng.random(X.shape) < 0.6] = 0.0
    elif kind == "weighted":
        w = np.where(rng.random(X.shape) < 0.3, 0.0, rng.gamma(1.0, 1.0, X.shape))
    pair = PENALTIES[penalties]
    W, Ht = np.minimum(W, pair[0].upper_bound), np.minimum(Ht, pair[1].upper_bound)
    for matrix in forms(X, w):
        value, kkt = certify_beta(matrix, W, Ht, beta, *pair)
        assert value == pytest.approx(objective(X, w, W, Ht, beta, *pair), rel=1e-12)
        assert kkt == pytest.approx(residual(X, w, W, Ht, beta, *pair), rel=1e-8)
        solution = factorize_beta(matrix, W, Ht, beta, *pair, max_iter=15, tol=0.0)
        assert solution.objective == pytest.approx(objective(X, w, solution.W, solution.Ht, beta, *pair), rel=1e-11)
        assert solution.objective == pytest.approx(solution.objective_history[-1], rel=1e-11)
        outside = residual(X, w, solution.W, solution.Ht, beta, *pair)
        assert solution.kkt == pytest.approx(outside, rel=1e-6, abs=1e-12)
        assert (np.diff(solution.objective_history) <= 0.0).all()
        assert solution.objective < value
        assert solution.n_iter == 15 == solution.objective_history.size - 1
        for F, p in ((solution.W, pair[0]), (solution.Ht, pair[1])):
            assert F.min() >= 0.0
            assert F.max() <= p.upper_bound


@pytest.mark.parametrize("solver", ["cd", "mu"])
@pytest.mark.parametrize("beta", BETAS)
def test_high_accuracy(beta, solver):
    X, W, Ht = draw(positive=beta == 0.0)
    if beta < 0.0:  # where the smallest entries decide, entries over two decades take thousands of iterations
        X += 5.0
    pair = RowPenalty(), RowPenalty()
    solution = factorize_beta(observe(X), W, Ht, beta, *pair, solver=solver, tol=1e-8, max_iter=3000)
    assert solution.status == "converged"
    assert residual(X, np.ones_like(X), solution.W, solution.Ht, beta, *pair) <= 1.1e-8


@pytest.mark.parametrize("beta", [0.0, 1.0, 1.5, 2.0, 3.0])
def test_rows_against_a_general_solver(beta):
    """With the other factor fixed every row's minimum, against L-BFGS-B."""
    X, F, K = draw(m=6, positive=beta <= 0.0, seed=2)
    penalty = RowPenalty(l1=0.2, l2=0.1, upper_bound=1.0)
    F = np.minimum(F, 1.0)
    start = F.copy()
    for _ in range(60):
        seen = improve_rows(observe(X), F, K, beta, penalty)
    assert seen.kkt_squared < 1e-18 * np.sum(X[X > 0.0] ** beta)
    ones = np.ones((1, X.shape[1]))
    for i in range(6):
        row = X[i : i + 1]

        def value(f, row=row):
            return objective(row, ones, f[None], K, beta, penalty, RowPenalty())

        def slope(f, row=row):
            return gradient(row, ones, f[None], K, beta, penalty)[0]

        # Outside of [1, 2] a row can have several minima: ours is then where theirs begins.
        begin = start[i] if bd.is_convex(beta) else F[i]
        bounds = [(1e-12, 1.0)] * 3
        theirs = minimize(value, np.maximum(begin, 1e-9), jac=slope, bounds=bounds, method="L-BFGS-B", tol=1e-13)
        assert value(F[i]) <= theirs.fun + 1e-9 * abs(theirs.fun)
        if bd.is_convex(beta):
            np.testing.assert_allclose(F[i], theirs.x, atol=2e-4)


def test_rank_one_counts():
    """Under Kullback-Leibler the best matrix of rank one is the product of row and column sums over the total."""
    X, W, Ht = draw(r=1)
    best = np.outer(X.sum(axis=1), X.sum(axis=0)) / X.sum()
    for solver in ("cd", "mu"):
        solution = factorize_beta(observe(X), W, Ht, 1.0, solver=solver, tol=1e-12)
        np.testing.assert_allclose(solution.W @ solution.Ht.T, best, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sparse", [False, True])
def test_margins_of_counts(sparse):
    """At a stationary point of Kullback-Leibler the row and column sums of W H are those of X."""
    X, *_ = draw(m=25, n=20, r=4)
    X[3], X[:, 5] = 0.0, 0.0
    matrix = observe(scipy.sparse.csr_array(X) if sparse else X)
    solution = factorize_beta(matrix, drawn(X, 4), drawn(X.T, 4), 1.0, tol=1e-9, max_iter=1000)
    assert solution.status == "converged"
    found = solution.W @ solution.Ht.T
    np.testing.assert_allclose(found.sum(axis=1), X.sum(axis=1), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found.sum(axis=0), X.sum(axis=0), rtol=1e-7, atol=1e-9)
    assert not solution.W[3].any()
    assert not solution.Ht[5].any()


def drawn(X, r, seed=0):
    return np.random.default_rng(seed).random((X.shape[0], r)) + 0.1


@pytest.mark.parametrize("solver", ["cd", "mu"])
@pytest.mark.parametrize("beta", [0.5, 1.0, 1.5, 2.0])
def test_forms_agree(beta, solver):
    """Dense, sparse, and listed entries: one trajectory."""
    X, W, Ht = draw()
    ways = [observe(X), observe(scipy.sparse.csr_array(X)), observe(X, weights=np.nextafter(np.ones_like(X), 2.0))]
    assert isinstance(ways[1], SparseMatrix)
    assert isinstance(ways[2], SomeEntries)
    found = [factorize_beta(way, W, Ht, beta, solver=solver, max_iter=12, tol=0.0) for way in ways]
    for other in found[1:]:
        # Hessian matrices in float32 for dense data steer a little differently, by their rounding times what a step
        # is from the minimum of its model.
        np.testing.assert_allclose(other.objective_history, found[0].objective_history, rtol=1e-4)
        if solver == "mu":  # and there they steer one half-step of ten
            np.testing.assert_allclose(other.objective_history[:10], found[0].objective_history[:10], rtol=1e-12)


def test_masked_positions_do_not_matter():
    X, W, Ht = draw()
    for share in (0.2, 0.7):
        mask = np.random.default_rng(0).random(X.shape) > share
        expected = None
        for fill in (0.0, 1e300, np.nan, -5.0):
            found = factorize_beta(observe(np.where(mask, X, fill), mask=mask), W, Ht, 1.0, max_iter=10, tol=0.0)
            if expected is not None:
                np.testing.assert_array_equal(found.W, expected.W)
                np.testing.assert_array_equal(found.Ht, expected.Ht)
            expected = found


@pytest.mark.parametrize("beta", [0.0, 1.0, 1.5])
def test_weights_are_repetitions(beta):
    """A row of weight two is the row twice, with one code for both."""
    X, W, Ht = draw(positive=True)
    w = np.ones_like(X)
    w[:4] = 2.0
    weighted = factorize_beta(observe(X, weights=w), W, Ht, beta, max_iter=12, tol=0.0)
    twice, codes = np.vstack([X, X[:4]]), np.vstack([W, W[:4]])
    repeated = factorize_beta(
        observe(twice, weights=np.nextafter(np.ones_like(twice), 2.0)), codes, Ht, beta, max_iter=12, tol=0.0
    )
    np.testing.assert_allclose(weighted.W, repeated.W[:14], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(weighted.objective, repeated.objective, rtol=1e-9)


def test_squared_error_agrees_with_hals():
    """From the same start to the same minimum as the solver for squared error, with its certificate."""
    X, W, Ht = draw(seed=2)
    hals = alternate(observe(X), W, Ht, tol=1e-8, max_iter=3000)
    for solver in ("mu", "cd"):
        ours = factorize_beta(observe(X), W, Ht, 2.0, solver=solver, tol=1e-8, max_iter=3000)
        assert ours.status == "converged"
        objective, kkt = certify(observe(X), ours.W, ours.Ht, RowPenalty(), RowPenalty())
        assert kkt == pytest.approx(ours.kkt, rel=1e-3)
        assert objective == pytest.approx(ours.objective, rel=1e-12)
        np.testing.assert_allclose(ours.objective, hals.objective, rtol=1e-7)


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0])
def test_scaling(beta):
    """Data times c: factors times sqrt(c), the same certificate, after the same iterations."""
    X, W, Ht = draw(positive=beta == 0.0)
    plain = factorize_beta(observe(X), W, Ht, beta, tol=1e-6, max_iter=500)
    for c in (2.0**-40, 2.0**40):  # powers of four: no rounding in the root
        scaled = factorize_beta(observe(c * X), np.sqrt(c) * W, np.sqrt(c) * Ht, beta, tol=1e-6, max_iter=500)
        np.testing.assert_allclose(scaled.W, np.sqrt(c) * plain.W, rtol=1e-7, atol=1e-9 * np.sqrt(c))
        assert scaled.n_iter == plain.n_iter
        assert scaled.kkt == pytest.approx(plain.kkt, rel=1e-2)


@pytest.mark.parametrize("solver", ["cd", "mu"])
@pytest.mark.parametrize("sparse", [False, True])
def test_float32(sparse, solver):
    X, W, Ht = draw(m=30, n=20)
    X, W, Ht = (A.astype(np.float32) for A in (X, W, Ht))
    matrix = observe(scipy.sparse.csr_array(X) if sparse else X)
    solution = factorize_beta(matrix, W, Ht, 1.0, solver=solver, tol=1e-4, max_iter=500)
    assert solution.W.dtype == solution.Ht.dtype == np.float32
    assert solution.status == "converged"
    double = observe(X.astype(np.float64))
    objective_64, kkt = certify_beta(double, solution.W.astype(float), solution.Ht.astype(float), 1.0)
    assert objective_64 == pytest.approx(solution.objective, rel=1e-5)
    assert kkt <= 2e-4


@pytest.mark.parametrize("sparse", [False, True])
def test_threads(sparse):
    """Bitwise the same factors; more than one block of rows."""
    rng = np.random.default_rng(0)
    X = rng.poisson(0.3, (2100 if sparse else 600, 30)).astype(float)
    matrix = observe(scipy.sparse.csr_array(X) if sparse else X)
    first, second = (
        factorize_beta(matrix, drawn(X, 4), drawn(X.T, 4), 1.0, max_iter=4, tol=0.0, n_jobs=jobs) for jobs in (1, 2)
    )
    np.testing.assert_array_equal(first.W, second.W)
    np.testing.assert_array_equal(first.Ht, second.Ht)
    assert first.objective == second.objective


def test_starts_at_zero_and_far_away():
    """Zeros are lifted; a start of the wrong size by 1e12 costs a few iterations; nothing is modified."""
    X, W, Ht = draw()
    W[0], W[:, 1], Ht[2, 2] = 0.0, 0.0, 0.0
    kept = W.copy(), Ht.copy(), X.copy()
    for scale in (1e-12, 1.0, 1e12):
        solution = factorize_beta(observe(X), scale * W, Ht, 1.0, tol=1e-7, max_iter=1000)
        assert solution.status == "converged"
    for before, now in zip(kept, (W, Ht, X), strict=True):
        np.testing.assert_array_equal(before, now)


def test_degenerate_data():
    for X in (np.zeros((4, 3)), np.array([[2.0]]), np.ones((5, 1)), np.eye(4)):
        for r in (1, 3):
            solution = factorize_beta(observe(X), drawn(X, r), drawn(X.T, r), 1.0, tol=1e-7, max_iter=500)
            assert solution.status == "converged"
            assert np.isfinite(solution.objective)
    np.testing.assert_allclose(solution.W @ solution.Ht.T @ np.ones(4), 1.0, atol=1e-6)


def test_many_columns_and_components():
    """Enough of both that the pairwise products are formed part by part."""
    rng = np.random.default_rng(0)
    X = rng.poisson(2.0, (40, 1200)).astype(float)
    W, Ht = drawn(X, 85), drawn(X.T, 85)
    listed = observe(X, weights=np.nextafter(np.ones_like(X), 2.0))
    dense_W, listed_W = W.copy(), W.copy()
    improve_rows(observe(X), dense_W, Ht, 1.0)
    improve_rows(listed, listed_W, Ht, 1.0)
    np.testing.assert_allclose(dense_W, listed_W, atol=2e-3)


def test_stopping():
    X, W, Ht = draw()
    seen = []
    solution = factorize_beta(
        observe(X), W, Ht, 1.0, tol=0.0, on_iteration=lambda k, value: seen.append((k, value)) or k == 3
    )
    assert (solution.status, solution.n_iter) == ("stopped", 3)
    assert [value for _, value in seen] == list(solution.objective_history[1:])
    assert factorize_beta(observe(X), W, Ht, 1.0, tol=0.0, deadline=0.0).status == "time_limit"

    def interrupt(k, value):
        raise KeyboardInterrupt

    solution = factorize_beta(observe(X), W, Ht, 1.0, tol=0.0, on_iteration=interrupt)
    assert solution.status == "interrupted"
    assert solution.objective == pytest.approx(solution.objective_history[-1])
    with pytest.raises(ValueError, match="graph_strength needs squared error"):
        factorize_beta(observe(X), W, Ht, 1.0, RowPenalty(graph=np.eye(14), graph_strength=1.0))
