"""Sparse canonical correlation analysis: an independent solver, a planted latent variable, invariances."""

import cvxpy as cp
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from sparsemodels.cross_decomposition import SparseCCA
from sparsemodels.solvers.sparse_cca import correlation, seeded_sparse_cca, stacked_design

random = np.random.default_rng(0)
N, P, Q = 25, 12, 8


def two_views(n, p, q, n_shared, noise, seed=0):
    """Two views whose first features share one latent variable; the others are noise of unit variance."""
    draw = np.random.default_rng(seed)
    latent = draw.standard_normal((n, 1))
    X, Y = draw.standard_normal((n, p)), draw.standard_normal((n, q))
    X[:, :n_shared] = latent + noise * X[:, :n_shared]
    Y[:, :n_shared] = latent + noise * Y[:, :n_shared]
    return X, Y


STRENGTH = np.where(np.arange(100) < 5, 3.0, 1.0)
X, Y = two_views(N, P, Q, 3, 0.5)
XC = X - X.mean(0)
YC = Y - Y.mean(0)
KERNEL = YC @ YC.T


def objective(x, kernel, seed, w, e, sparsity, dual_sparsity):
    """The formula of the paper, nothing of the implementation; x has features in columns."""
    mu = sparsity * np.mean(np.abs(2 * x.T @ kernel[:, seed]))
    projected = np.eye(len(kernel))
    projected[seed, seed] = 0.0
    gamma = dual_sparsity * np.mean(np.abs(2 * projected @ kernel.T @ kernel[:, seed]))
    return np.sum((x @ w - kernel @ e) ** 2) + mu * np.abs(w).sum() + gamma * np.abs(e).sum(), mu, gamma


def quadratic_program(x, kernel, seed, sparsity, dual_sparsity):
    """The problem as it stands in the paper, by an interior-point solver."""
    w, e = cp.Variable(x.shape[1]), cp.Variable(len(kernel))
    _, mu, gamma = objective(x, kernel, seed, np.zeros(x.shape[1]), np.zeros(len(kernel)), sparsity, dual_sparsity)
    value = cp.sum_squares(x @ w - kernel @ e) + mu * cp.norm1(w) + gamma * cp.norm1(e)
    problem = cp.Problem(cp.Minimize(value), [e >= 0, e <= 1, e[seed] == 1])
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-13, tol_feas=1e-12)
    return problem.value, w.value, e.value


@pytest.mark.parametrize(("seed", "sparsity", "dual_sparsity"), [(1, 1.0, 1.0), (3, 0.3, 0.7), (7, 0.3, 0.3)])
def test_equals_a_quadratic_program(seed, sparsity, dual_sparsity):
    solution = seeded_sparse_cca(
        stacked_design(XC, KERNEL), seed, sparsity=sparsity, dual_sparsity=dual_sparsity, tol=1e-13
    )
    best, w, e = quadratic_program(XC, KERNEL, seed, sparsity, dual_sparsity)
    value, _, _ = objective(XC, KERNEL, seed, solution.weights, solution.dual_coef, sparsity, dual_sparsity)
    assert abs(value - best) <= 1e-7 * best
    np.testing.assert_allclose(solution.objective, value, rtol=1e-12)
    assert np.any(solution.weights)
    np.testing.assert_allclose(solution.weights, w, atol=1e-5 * np.abs(w).max())
    np.testing.assert_allclose(solution.dual_coef, e, atol=1e-5)


@pytest.mark.parametrize("dual_sparsity", [1.0, 0.01])
def test_constraints_hold_exactly(dual_sparsity):
    design = stacked_design(XC, KERNEL)
    inside = 0
    for seed in range(N):
        e = seeded_sparse_cca(design, seed, sparsity=0.5, dual_sparsity=dual_sparsity).dual_coef
        assert e[seed] == 1.0
        assert e.min() >= 0.0
        assert e.max() <= 1.0
        inside += np.count_nonzero(e) > 1
    assert inside > 0  # else there was nothing to constrain


def test_gap_bounds_the_distance_to_the_optimum():
    design = stacked_design(XC, KERNEL)
    best = quadratic_program(XC, KERNEL, 2, 1.0, 0.1)[0]
    for tol in (1e-1, 1e-3, 1e-6):
        solution = seeded_sparse_cca(design, 2, dual_sparsity=0.1, tol=tol)
        assert solution.dual_gap <= tol * KERNEL[:, 2] @ KERNEL[:, 2]
        assert -1e-9 * best <= solution.objective - best <= solution.dual_gap + 1e-9 * best


def test_gap_from_outside():
    # A dual point of the lasso in (w, e): the scaled residual; its value is a lower bound of the objective.
    seed = 2
    solution = seeded_sparse_cca(stacked_design(XC, KERNEL), seed, dual_sparsity=0.1, tol=1e-10)
    _, mu, gamma = objective(XC, KERNEL, seed, solution.weights, solution.dual_coef, 1.0, 0.1)
    residual = 2 * (KERNEL @ solution.dual_coef - XC @ solution.weights)
    residual *= min(1.0, mu / np.abs(XC.T @ residual).max())
    others = np.arange(N) != seed
    # min over e in [0, 1] of gamma e + residual' K e, for each of the others
    bound = np.minimum(gamma + KERNEL[others] @ residual, 0.0).sum()
    bound += gamma + residual @ KERNEL[:, seed] - 0.25 * residual @ residual
    value = solution.objective
    assert bound <= value * (1 + 1e-12)
    assert value - bound <= 1e-5 * value


def test_planted_latent_variable_is_recovered():
    x, y = two_views(80, 100, 60, 5, 0.2, seed=1)
    model = SparseCCA(scale=False).fit(x * STRENGTH[:100], y * STRENGTH[:60])
    np.testing.assert_array_equal(np.flatnonzero(model.x_weights_[:, 0]), np.arange(5))
    assert model.correlations_[0] > 0.9
    new_x, new_y = two_views(500, 100, 60, 5, 0.2, seed=2)
    x_scores, y_scores = model.transform(new_x * STRENGTH[:100], new_y * STRENGTH[:60])
    assert np.corrcoef(x_scores[:, 0], y_scores[:, 0])[0, 1] > 0.9


def test_attributes_are_what_they_say():
    model = SparseCCA(sparsity=0.3, dual_sparsity=0.7, scale=False, tol=1e-10).fit(X, Y)
    seed = model.seeds_[0]
    w, e = model.x_weights_[:, 0], model.dual_coefs_[:, 0]
    value, _, _ = objective(XC, KERNEL, seed, w, e, 0.3, 0.7)
    np.testing.assert_allclose(model.objective_[0], value, rtol=1e-12)
    np.testing.assert_allclose(model.x_scores_[:, 0], XC @ w)
    np.testing.assert_allclose(model.y_scores_[:, 0], KERNEL @ e)
    others = np.arange(N) != seed
    expected = np.corrcoef((XC @ w)[others], (KERNEL @ e)[others])[0, 1]
    np.testing.assert_allclose(model.correlations_[0], expected, rtol=1e-12)
    assert model.relative_gap_[0] <= 1e-10
    assert model.status_ == ["converged"]


def test_best_seed_by_either_criterion():
    singles = [SparseCCA(seeds=seed).fit(X, Y) for seed in range(N)]
    best = SparseCCA().fit(X, Y)
    correlations = [single.correlations_[0] for single in singles]
    assert best.correlations_[0] == max(correlations)
    assert best.seeds_[0] == int(np.argmax(correlations))
    kernel = ((Y - Y.mean(0)) / Y.std(0, ddof=1)) @ ((Y - Y.mean(0)) / Y.std(0, ddof=1)).T
    objectives = [single.objective_[0] / (kernel[:, k] @ kernel[:, k]) for k, single in enumerate(singles)]
    by_objective = SparseCCA(criterion="objective").fit(X, Y)
    assert by_objective.seeds_[0] == int(np.argmin(objectives))
    some = SparseCCA(seeds=[4, 9, 11]).fit(X, Y)
    assert some.seeds_[0] == [4, 9, 11][int(np.argmax([correlations[k] for k in (4, 9, 11)]))]


def test_scale_of_either_view_does_not_matter():
    base = SparseCCA(scale=False, tol=1e-12).fit(X, Y)
    scaled = SparseCCA(scale=False, tol=1e-12).fit(1e-3 * X, 50.0 * Y)
    np.testing.assert_allclose(scaled.dual_coefs_, base.dual_coefs_, atol=1e-8)
    np.testing.assert_allclose(scaled.x_weights_, 2500.0 * 1e3 * base.x_weights_, rtol=1e-6, atol=1e-3)
    units = SparseCCA(tol=1e-12).fit(X * np.geomspace(0.1, 10, P), Y * np.geomspace(3, 0.3, Q) + 5)
    np.testing.assert_allclose(units.dual_coefs_, SparseCCA(tol=1e-12).fit(X, Y).dual_coefs_, atol=1e-8)


def test_permutation_and_rotation():
    rows, columns = random.permutation(N), random.permutation(P)
    base = SparseCCA(scale=False, tol=1e-12).fit(X, Y)
    rotation, _ = np.linalg.qr(random.standard_normal((Q, Q)))
    other = SparseCCA(scale=False, tol=1e-12).fit(X[rows][:, columns], (Y @ rotation)[rows])
    assert rows[other.seeds_[0]] == base.seeds_[0]
    size = np.abs(base.x_weights_).max()
    np.testing.assert_allclose(other.x_weights_, base.x_weights_[columns], atol=1e-6 * size)
    np.testing.assert_allclose(other.dual_coefs_, base.dual_coefs_[rows], atol=1e-6)


def test_precomputed_kernel_equals_linear():
    linear = SparseCCA(2, scale=False, sparsity=0.3).fit(X, Y)
    kernel = SparseCCA(2, scale=False, sparsity=0.3, kernel="precomputed").fit(X, Y @ Y.T)  # centred inside
    np.testing.assert_allclose(kernel.dual_coefs_, linear.dual_coefs_, atol=1e-7)
    new_x, new_y = two_views(9, P, Q, 3, 0.5, seed=5)
    for one, other in zip(linear.transform(new_x, new_y), kernel.transform(new_x, new_y @ Y.T), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6 * np.abs(one).max())


def test_components():
    model = SparseCCA(3, sparsity=0.3).fit(X, Y)
    x_scores, y_scores = model.transform(X, Y)
    # The rotations undo the deflation: new samples get the scores that the training samples have.
    np.testing.assert_allclose(x_scores, model.x_scores_, atol=1e-10 * np.abs(x_scores).max())
    np.testing.assert_allclose(y_scores, model.y_scores_, atol=1e-10 * np.abs(y_scores).max())
    for scores in (x_scores, y_scores):
        gram = scores.T @ scores
        sizes = np.sqrt(np.outer(np.diag(gram), np.diag(gram)))
        np.testing.assert_allclose(gram / sizes, np.eye(3), atol=1e-10)
    np.testing.assert_array_equal(model.x_rotations_[:, 0], model.x_weights_[:, 0])
    first = SparseCCA(1, sparsity=0.3).fit(X, Y)
    np.testing.assert_array_equal(first.x_weights_[:, 0], model.x_weights_[:, 0])
    # The second component solves the problem of the deflated views.
    x, y = (X - X.mean(0)) / X.std(0, ddof=1), (Y - Y.mean(0)) / Y.std(0, ddof=1)
    t, u = x_scores[:, :1], y_scores[:, :1]
    x, y = x - t @ (t.T @ x) / (t.T @ t), y - u @ (u.T @ y) / (u.T @ u)
    best = quadratic_program(x, y @ y.T, model.seeds_[1], 0.3, 1.0)[0]
    np.testing.assert_allclose(model.objective_[1], best, rtol=1e-5)


def test_all_coefficients_one_cancel():
    # The kernel is centred, so e = 1 and w = 0 costs gamma n only: what too small a dual sparsity ends in.
    solution = seeded_sparse_cca(stacked_design(XC, KERNEL), 0, dual_sparsity=1e-3, tol=1e-12)
    _, _, gamma = objective(XC, KERNEL, 0, solution.weights, solution.dual_coef, 1.0, 1e-3)
    assert not solution.weights.any()
    assert solution.objective <= gamma * N


def test_nothing_to_relate():
    constant = SparseCCA().fit(X, np.ones(N))
    assert not constant.x_weights_.any()
    assert constant.correlations_[0] == 0.0
    exhausted = SparseCCA(2).fit(X, Y[:, 0])  # a view of rank one
    assert exhausted.correlations_[0] > 0.5
    assert exhausted.correlations_[1] == 0.0
    too_sparse = SparseCCA(sparsity=1e3).fit(X, Y)
    assert not too_sparse.x_weights_.any()
    assert too_sparse.status_ == ["converged"]


def test_correlation_of_constants_is_zero():
    assert correlation(np.ones(4), np.arange(4.0)) == 0.0
    assert correlation(np.arange(1.0), np.arange(1.0)) == 0.0
    np.testing.assert_allclose(correlation(np.arange(5.0), -2 * np.arange(5.0)), -1.0)


def test_out_of_time_keeps_the_best_so_far():
    with pytest.warns(ConvergenceWarning, match="time_limit"):
        model = SparseCCA(time_limit=1e-9).fit(X, Y)
    assert model.status_ == ["time_limit"]
    assert model.dual_coefs_[model.seeds_[0], 0] == 1.0
    assert np.isfinite(model.dual_gap_[0])


def test_an_interrupted_fit_keeps_the_best_so_far(monkeypatch):
    solved = []

    def solve(design, seed, **parameters):
        solution = seeded_sparse_cca(design, seed, **parameters)
        solved.append(solution)
        return solution if len(solved) < 30 else solution._replace(status="interrupted", converged=False)

    monkeypatch.setattr("sparsemodels.cross_decomposition.sparse_cca.seeded_sparse_cca", solve)
    model = SparseCCA(3)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y)
    assert len(solved) == 30  # all 25 seeds of the first component, five of the second
    assert model.status_ == ["converged", "interrupted"]
    assert model.correlations_[1] == max(solution.correlation for solution in solved[25:])
    assert model.transform(X).shape == (N, 2)


def test_input_is_not_modified():
    x, y = X.copy(), (Y @ Y.T).copy()
    SparseCCA(2, kernel="precomputed").fit(x, y).transform(x, y)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y @ Y.T)


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match=r"n_components must be at most min\(n_samples, n_features\) = 12, got 13"):
        SparseCCA(13).fit(X, Y)
    with pytest.raises(ValueError, match=r"seeds must lie in \[0, 24\]"):
        SparseCCA(seeds=25).fit(X, Y)
    with pytest.raises(ValueError, match="seeds must be an integer or an array of integers"):
        SparseCCA(seeds=[0.5]).fit(X, Y)
    with pytest.raises(ValueError, match="square kernel"):
        SparseCCA(kernel="precomputed").fit(X, Y)
    with pytest.raises(ValueError, match="symmetric kernel"):
        SparseCCA(kernel="precomputed").fit(X, random.standard_normal((N, N)))
    with pytest.raises(ValueError, match="y must have 8 columns"):
        SparseCCA().fit(X, Y).transform(X, Y[:, :3])
