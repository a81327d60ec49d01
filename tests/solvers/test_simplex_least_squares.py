"""Rows and columns on the simplex: every support tried, duality gaps and CVXPY from outside."""

import itertools

import cvxpy
import numpy as np
import pytest

from sparsemodels.solvers.alternating_factorization import RowPenalty, alternate, improve, make_feasible
from sparsemodels.solvers.observed_matrix import observe, transposed
from sparsemodels.solvers.projections import project_simplex
from sparsemodels.solvers.simplex_factors import SimplexColumns, SimplexRows
from sparsemodels.solvers.simplex_least_squares import (
    nearest_on_simplex,
    simplex_least_squares,
    solve_simplex_row,
    update_simplex_rows,
)

ROUNDING = 1e-11


def best_over_supports(Q, c, total):
    """The smallest value of the quadratic over the simplex: the best feasible stationary point of all supports."""
    r, best = c.size, np.inf
    for size in range(1, r + 1):
        for support in itertools.combinations(range(r), size):
            index = np.array(support)
            system = np.zeros((size + 1, size + 1))
            system[:size, :size], system[size, :size], system[:size, size] = Q[np.ix_(index, index)], 1.0, 1.0
            f = np.zeros(r)
            f[index] = np.linalg.lstsq(system, np.append(c[index], total), rcond=None)[0][:size]
            if f.min() >= -ROUNDING and abs(f.sum() - total) < ROUNDING:
                best = min(best, 0.5 * f @ Q @ f - c @ f)
    return best


def duality_gap(Q, c, total, f):
    gradient = Q @ f - c
    return f @ gradient - total * gradient.min()


def scratch(r):
    return np.empty(r), np.empty(r, np.int64), np.empty((r + 2, r))


@pytest.mark.parametrize("degenerate", ["", "duplicates", "zero", "few columns", "affine"])
def test_a_row_equals_the_best_of_all_supports(degenerate):
    rng = np.random.default_rng(0)
    for trial in range(25):
        r = 2 + trial % 5
        K = rng.random((3 if degenerate == "few columns" else 9, r))
        if degenerate == "duplicates":
            K[:, -1] = K[:, 0]
        elif degenerate == "zero":
            K[:, 0] = 0.0
        elif degenerate == "affine" and r > 2:
            K[:, -1] = 0.5 * (K[:, 0] + K[:, 1])
        Q, c, total = K.T @ K, K.T @ rng.random(K.shape[0]) * rng.choice([0.1, 1.0, 10.0]), rng.choice([0.3, 1.0, 4.0])
        f = rng.random(r) * (rng.random(r) < 0.5)  # a random support to begin with, perhaps none
        gap = solve_simplex_row(Q, c, total, f, *scratch(r))
        assert f.min() >= 0.0
        assert f.sum() == pytest.approx(total, rel=1e-14)
        scale = np.abs(c).max() * total + total**2
        assert 0.5 * f @ Q @ f - c @ f == pytest.approx(best_over_supports(Q, c, total), abs=ROUNDING * scale)
        assert gap == pytest.approx(duality_gap(Q, c, total, f), abs=ROUNDING * scale)
        assert gap <= ROUNDING * scale


def test_cvxpy_finds_nothing_better():
    rng = np.random.default_rng(1)
    X, H = rng.random((6, 20)), np.cumsum(rng.random((8, 20)), axis=1) / 10
    solution = simplex_least_squares(observe(X), H)
    codes = cvxpy.Variable(solution.codes.shape, nonneg=True)
    program = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(X - codes @ H) / 2), [cvxpy.sum(codes, axis=1) == 1])
    program.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    assert solution.loss == pytest.approx(program.value, rel=1e-9)
    assert 0.5 * np.sum((X - solution.codes @ H) ** 2) == pytest.approx(solution.loss, rel=ROUNDING)


def test_mixtures_are_unmixed():
    rng = np.random.default_rng(2)
    endmembers, abundances = rng.random((5, 40)), rng.dirichlet(np.full(5, 0.5), 200)
    abundances[:, 3] = 0.0
    abundances /= abundances.sum(axis=1, keepdims=True)
    codes = simplex_least_squares(observe(abundances @ endmembers), endmembers).codes
    np.testing.assert_allclose(codes, abundances, atol=1e-10)


def test_shifting_all_spectra_changes_nothing():
    """With weights that sum to one, the same spectrum added to the data and the components cancels."""
    rng = np.random.default_rng(3)
    X, H, shift = rng.random((30, 12)), rng.random((4, 12)), rng.random(12)
    plain = simplex_least_squares(observe(X), H).codes
    np.testing.assert_allclose(simplex_least_squares(observe(X + shift), H + shift).codes, plain, atol=1e-10)
    np.testing.assert_allclose(simplex_least_squares(observe(7 * X), 7 * H).codes, plain, atol=1e-10)
    np.testing.assert_allclose(simplex_least_squares(observe(X), H[::-1]).codes, plain[:, ::-1], atol=1e-10)


@pytest.mark.parametrize("share", [0.85, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_each_row_is_solved_on_its_known_entries(share, weighted):
    rng = np.random.default_rng(4)
    X, K = rng.random((25, 14)), rng.random((14, 4))
    known = rng.random(X.shape) < share
    weights = np.where(known, rng.uniform(0.2, 3.0, X.shape) if weighted else 1.0, 0.0)
    matrix = observe(np.where(known, X, np.nan), weights=weights if weighted else None)
    F, total, ridge, pull = rng.random((25, 4)), rng.uniform(0.5, 2.0, 25), rng.random(25), rng.random((25, 4))
    gaps = np.empty(25)
    update = update_simplex_rows(matrix, F, K, total, ridge, pull, gaps=gaps)
    for i in range(25):
        Q = (K.T * weights[i]) @ K + ridge[i] * np.eye(4)
        c = K.T @ (weights[i] * X[i]) + pull[i]
        assert duality_gap(Q, c, total[i], F[i]) <= ROUNDING
        assert gaps[i] <= ROUNDING
    np.testing.assert_allclose(F.sum(axis=1), total, rtol=1e-14)
    assert update.loss == pytest.approx(0.5 * np.sum(weights * (X - F @ K.T) ** 2), rel=ROUNDING)
    again = update_simplex_rows(matrix, F, K, total, ridge, pull, change=False)
    assert again.kkt_squared < 1e-20
    assert again.loss == pytest.approx(update.loss, rel=1e-14)


def test_threads_storage_and_precision():
    rng = np.random.default_rng(5)
    X, H = np.where(rng.random((2500, 15)) < 0.3, rng.random((2500, 15)), 0.0), rng.random((4, 15))
    dense = simplex_least_squares(observe(X), H)
    np.testing.assert_array_equal(simplex_least_squares(observe(X), H, n_jobs=2).codes, dense.codes)
    import scipy.sparse

    stored = simplex_least_squares(observe(scipy.sparse.csr_array(X)), H)
    np.testing.assert_allclose(stored.codes, dense.codes, atol=1e-10)
    single = simplex_least_squares(observe(X.astype(np.float32)), H.astype(np.float32))
    assert single.codes.dtype == np.float32
    # Rounding of the products in float32, times the condition of the Gram matrix.
    np.testing.assert_allclose(single.codes, dense.codes, atol=1e-4)


def test_nearest_point_of_the_simplex_in_a_metric():
    rng = np.random.default_rng(6)
    for n in (1, 2, 7, 30):
        point, out = rng.standard_normal(n), np.empty(n)
        nearest_on_simplex(point, np.full(n, 3.0), 1.5, out)
        np.testing.assert_allclose(out, project_simplex(point, 1.5), atol=1e-14)
        curvature = rng.uniform(0.1, 5.0, n)
        level = nearest_on_simplex(point, curvature, 1.5, out)
        assert out.sum() == pytest.approx(1.5, rel=1e-13)
        # Stationarity: one multiplier for all positive coordinates, a larger slope for the others.
        slope = curvature * (out - point)
        np.testing.assert_allclose(slope[out > 0], level, atol=1e-12)
        assert np.all(slope[out == 0] >= level - 1e-12)
    out = np.empty(3)
    nearest_on_simplex(np.array([0.2, -1.0, 0.5]), np.array([1.0, 1.0, 0.0]), 1.0, out)
    np.testing.assert_allclose(out, [0.2, 0.0, 0.8])  # the coordinate that costs nothing takes the rest


def test_residual_is_scale_free_and_zero_only_at_the_solution():
    rng = np.random.default_rng(7)
    X, K, F = rng.random((20, 10)), rng.random((10, 4)), rng.dirichlet(np.ones(4), 20)
    measure = {"max_sweeps": 0, "exact": False}
    before = improve(SimplexRows(), observe(X), F, K, **measure).kkt_squared
    assert before > 1e-3
    assert improve(SimplexRows(), observe(9 * X), F, 9 * K, **measure).kkt_squared == pytest.approx(81 * before)
    infeasible = improve(SimplexRows(), observe(F @ K.T), 2 * F, K, **measure).kkt_squared
    assert infeasible > 1e-3
    improve(SimplexRows(), observe(X), F, K, max_sweeps=1, exact=False)
    assert improve(SimplexRows(), observe(X), F, K, **measure).kkt_squared < 1e-24


@pytest.mark.parametrize("total", [1.0, 3.0])
@pytest.mark.parametrize("l2", [0.0, 0.4])
def test_columns_on_the_simplex_solve_their_convex_problem(total, l2):
    rng = np.random.default_rng(8)
    X, K = rng.random((15, 9)), rng.random((9, 3))
    penalty = SimplexColumns(total, l2)
    F = make_feasible(penalty, rng.random((15, 3)))
    for _ in range(200):
        update = improve(penalty, observe(X), F, K, max_sweeps=50, exact=False)
    assert improve(penalty, observe(X), F, K, max_sweeps=0, exact=False).kkt_squared < 1e-24
    assert update.loss == pytest.approx(0.5 * np.sum((X - F @ K.T) ** 2), rel=ROUNDING)
    np.testing.assert_allclose(F.sum(axis=0), total, rtol=1e-13)
    factor = cvxpy.Variable(F.shape, nonneg=True)
    value = cvxpy.sum_squares(X - factor @ K.T) / 2 + l2 / 2 * cvxpy.sum_squares(factor)
    program = cvxpy.Problem(cvxpy.Minimize(value), [cvxpy.sum(factor, axis=0) == total])
    program.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    assert update.loss + l2 / 2 * np.sum(F**2) == pytest.approx(program.value, rel=1e-8)


@pytest.mark.parametrize("extrapolate", [False, True])
@pytest.mark.parametrize(
    ("penalty_W", "penalty_H"),
    [(SimplexRows(), RowPenalty()), (SimplexRows(l2=0.1), SimplexColumns(5.0)), (RowPenalty(l1=0.1), SimplexColumns())],
)
def test_factorization_is_monotone_and_stationary(penalty_W, penalty_H, extrapolate):
    rng = np.random.default_rng(9)
    X = rng.dirichlet(np.full(3, 0.5), 40) @ rng.random((3, 15)) + 0.02 * rng.random((40, 15))
    start = rng.random((40, 3)), rng.random((15, 3))
    solution = alternate(observe(X), *start, penalty_W, penalty_H, tol=1e-7, max_iter=3000, extrapolate=extrapolate)
    assert solution.status == "converged"
    history = solution.objective_history
    assert np.all(np.diff(history) <= ROUNDING * history[0])
    W, Ht = solution.W, solution.Ht
    if isinstance(penalty_W, SimplexRows):
        np.testing.assert_allclose(W.sum(axis=1), 1.0, rtol=1e-13)
        for x, w in zip(X, W):
            Q = Ht.T @ Ht + penalty_W.l2 * np.eye(3)
            assert duality_gap(Q, Ht.T @ x, 1.0, w) <= 1e-6 * np.sum(X**2)
    if isinstance(penalty_H, SimplexColumns):
        np.testing.assert_allclose(Ht.sum(axis=0), penalty_H.total, rtol=1e-13)
        gradient = (Ht @ W.T - X.T) @ W
        for a in range(3):
            gap = Ht[:, a] @ gradient[:, a] - penalty_H.total * gradient[:, a].min()
            assert gap <= 1e-5 * np.sum(X**2)


def test_columns_with_unknown_entries_equal_their_weights_of_zero():
    rng = np.random.default_rng(10)
    X, K, F = rng.random((12, 8)), rng.random((8, 3)), rng.random((12, 3))
    known = rng.random(X.shape) < 0.7
    few, listed = observe(np.where(known, X, np.nan)), observe(X, weights=known * 2.0)
    one, other = make_feasible(SimplexColumns(), F.copy()), make_feasible(SimplexColumns(), F.copy())
    first = improve(SimplexColumns(), few, one, K, max_sweeps=20, exact=False)
    second = improve(SimplexColumns(), listed, other, K, max_sweeps=20, exact=False)
    np.testing.assert_allclose(one, other, atol=1e-12)
    assert second.loss == pytest.approx(2 * first.loss, rel=ROUNDING)
    assert first.loss == pytest.approx(0.5 * np.sum((X - one @ K.T)[known] ** 2), rel=ROUNDING)
    assert transposed(few).X.shape == (8, 12)
