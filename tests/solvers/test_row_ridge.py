"""Ridge regressions of rows against NumPy's solver, and the alternation of two of them."""

import numpy as np
import pytest

from sparsemodels.solvers.alternating_ridge import alternate_ridge, balance, data_norm, penalty, share_biases
from sparsemodels.solvers.observed_matrix import MostEntries, SomeEntries, observe
from sparsemodels.solvers.row_ridge import entries, residuals, solve_rows

SHAPE, RANK = (30, 20), 6
RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal(SHAPE)
KNOWN = RANDOM.random(SHAPE) < 0.4
KNOWN[3] = False  # a row without entries
WEIGHTS = RANDOM.random(SHAPE) + 0.5
START, FIXED, RIDGE = RANDOM.standard_normal((30, RANK)), RANDOM.standard_normal((20, RANK)), RANDOM.random(30) + 0.1


def listed(weighted=False, dtype=np.float64):
    return entries(observe(X.astype(dtype), mask=KNOWN, weights=WEIGHTS if weighted else None))


def reference(biased, weighted):
    """Solutions, loss, and the scaled squared gradient at the start."""
    F, loss, kkt = np.empty_like(START), 0.0, 0.0
    for i in range(SHAPE[0]):
        j = KNOWN[i]
        k, x, w = FIXED[j].copy(), X[i, j].copy(), WEIGHTS[i, j] if weighted else np.ones(j.sum())
        if biased:
            x -= k[:, -1]
            k[:, -1] = 1.0
        G, b = k.T @ (w[:, None] * k) + RIDGE[i] * np.eye(RANK), k.T @ (w * x)
        F[i] = np.linalg.solve(G, b)
        loss += 0.5 * w @ (x - k @ F[i]) ** 2
        kkt += ((G @ START[i] - b) ** 2 / np.diag(G)).sum()
    return F, loss, kkt


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("solver", "n_steps"), [("cholesky", 1), ("cg", 30), ("coordinate_descent", 3000)])
def test_rows_are_ridge_regressions(biased, weighted, solver, n_steps):
    F = START.copy()
    found = solve_rows(listed(weighted).rows, F, FIXED, RIDGE, biased=biased, solver=solver, n_steps=n_steps)
    expected, loss, kkt = reference(biased, weighted)
    np.testing.assert_allclose(F, expected, atol=1e-9)
    assert found.loss == pytest.approx(loss, rel=1e-9)
    assert found.kkt_squared == pytest.approx(kkt, rel=1e-9)
    assert (F[3] == 0.0).all() if solver == "cholesky" else np.abs(F[3]).max() < 1e-9


@pytest.mark.parametrize("solver", ["cholesky", "cg", "coordinate_descent"])
def test_threads_and_precision(solver):
    one, three = START.copy(), START.copy()
    rows = listed().rows
    assert solve_rows(rows, one, FIXED, RIDGE, solver=solver) == solve_rows(
        rows, three, FIXED, RIDGE, solver=solver, n_jobs=3
    )
    np.testing.assert_array_equal(one, three)
    single = START.astype(np.float32)
    solve_rows(listed(dtype=np.float32).rows, single, FIXED.astype(np.float32), RIDGE, solver=solver)
    np.testing.assert_allclose(single, one, atol=1e-4)


def test_more_entries_than_a_tile_and_ranks_of_every_remainder():
    random = np.random.default_rng(1)
    data = random.standard_normal((3, 200))
    for rank in range(1, 10):
        K, F = random.standard_normal((200, rank)), np.zeros((3, rank))
        solve_rows(entries(observe(data)).rows, F, K, np.ones(3))
        np.testing.assert_allclose(F, np.linalg.solve(K.T @ K + np.eye(rank), K.T @ data.T).T, atol=1e-12)


def test_a_direction_that_nothing_determines_stays_zero():
    K = np.zeros((20, 2))
    K[:, 0] = 1.0
    F = np.ones((30, 2))
    solve_rows(listed().rows, F, K, np.zeros(30))
    assert np.isfinite(F).all()
    assert (F[:, 1] == 0.0).all()


@pytest.mark.parametrize("share", [0.3, 0.8, 1.0])
def test_every_record_lists_the_same_entries(share):
    known = np.random.default_rng(2).random(SHAPE) < share
    record = observe(np.where(known, X, np.nan))
    assert isinstance(record, {0.3: SomeEntries, 0.8: MostEntries}.get(share, tuple)) or known.all()
    matrix = entries(record)
    for rows, values, where in ((matrix.rows, X, known), (matrix.columns, X.T, known.T)):
        i = np.repeat(np.arange(len(values)), np.diff(rows.indptr))
        np.testing.assert_array_equal(np.column_stack([i, rows.indices]), np.argwhere(where))
        np.testing.assert_array_equal(rows.data, values[where])
    np.testing.assert_allclose(residuals(matrix.rows, START, FIXED), (X - START @ FIXED.T)[known], atol=1e-12)


def test_balanced_factors_have_the_same_product_and_the_nuclear_norm_as_penalty():
    W, Ht, ridge_H = START.copy(), FIXED.copy(), np.full(20, 0.3)
    singular_values = balance(W, Ht, RIDGE, ridge_H)
    np.testing.assert_allclose(W @ Ht.T, START @ FIXED.T, atol=1e-12)
    weighted = np.sqrt(RIDGE)[:, None] * (START @ FIXED.T) * np.sqrt(0.3)
    np.testing.assert_allclose(singular_values, np.linalg.svd(weighted)[1][:RANK], atol=1e-12)
    assert penalty(W, RIDGE) + penalty(Ht, ridge_H) == pytest.approx(singular_values.sum(), rel=1e-12)


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("solver", ["cholesky", "cg", "coordinate_descent"])
def test_alternation_falls_to_a_stationary_point(biased, weighted, solver):
    W, Ht, ridge_H = START.copy(), FIXED.copy(), np.full(20, 0.5)
    ridge_W = RIDGE + 0.5
    found = alternate_ridge(
        listed(weighted), W, Ht, ridge_W, ridge_H, biased=biased, solver=solver, tol=1e-7, max_iter=3000
    )
    assert found.status == "converged"
    assert np.diff(found.objective_history).max() <= 1e-12 * found.objective_history[0]
    # The gradient and the objective from outside, by central differences of the plain formula.
    mask = np.where(KNOWN, WEIGHTS if weighted else 1.0, 0.0)

    def objective(W, Ht):
        product = W[:, :-1] @ Ht[:, :-1].T + W[:, -1:] + Ht[:, -1] if biased else W @ Ht.T
        ridge = ridge_W @ (W**2).sum(axis=1) + ridge_H @ (Ht**2).sum(axis=1)
        return 0.5 * (mask * (X - product) ** 2).sum() + 0.5 * ridge

    assert found.objective == pytest.approx(objective(W, Ht), rel=1e-12)
    random = np.random.default_rng(3)
    for _ in range(5):
        dW, dH = random.standard_normal(W.shape), random.standard_normal(Ht.shape)
        slope = (objective(W + 1e-5 * dW, Ht + 1e-5 * dH) - objective(W - 1e-5 * dW, Ht - 1e-5 * dH)) / 2e-5
        assert abs(slope) < 1e-4 * objective(0 * W, 0 * Ht)
    assert found.kkt <= 1e-7
    assert data_norm(listed(weighted)) == pytest.approx(np.sqrt((mask * X**2).sum()))


def test_shared_biases_keep_the_fit_and_cost_the_least():
    W, Ht, ridge_H = START + 1.0, FIXED - 0.5, np.full(20, 0.3)

    def fitted():
        return W[:, :-1] @ Ht[:, :-1].T + W[:, -1:] + Ht[:, -1]

    before, cost = fitted(), penalty(W, RIDGE) + penalty(Ht, ridge_H)
    for _ in range(200):
        share_biases(W, Ht, RIDGE, ridge_H)
    np.testing.assert_allclose(fitted(), before, atol=1e-10)
    lowest = penalty(W, RIDGE) + penalty(Ht, ridge_H)
    assert lowest < cost
    # No move of a constant or of a multiple of a component to the other side costs less.
    for sign in (-1e-3, 1e-3):
        moved_W, moved_H = W.copy(), Ht.copy()
        moved_W[:, -1] += sign
        moved_H[:, -1] -= sign
        assert penalty(moved_W, RIDGE) + penalty(moved_H, ridge_H) > lowest
        for a in range(RANK - 1):
            moved_W, moved_H = W.copy(), Ht.copy()
            moved_H[:, a] += sign
            moved_W[:, -1] -= sign * W[:, a]
            assert penalty(moved_W, RIDGE) + penalty(moved_H, ridge_H) > lowest
