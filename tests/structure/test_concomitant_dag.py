"""Concomitant estimation of graphs: formulas, recovery, certificates from outside, invariances, and acyclic always."""

import itertools

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from sparsemodels.solvers.acyclicity import acyclicity, invert_m_matrix, strongest_acyclic_edges, topological_order
from sparsemodels.solvers.concomitant_dag import concomitant_dag, path_value
from sparsemodels.solvers.concomitant_scores import concomitant_scales, fit_edges, residual_products
from sparsemodels.structure import (
    ConcomitantDAG,
    structural_hamming_distance,
    variance_sorted_graph,
    varsortability,
)


def random_graph(d, n_edges, seed):
    rng = np.random.default_rng(seed)
    order = rng.permutation(d)
    pairs = [(order[i], order[j]) for i, j in itertools.combinations(range(d), 2)]
    weights = np.zeros((d, d))
    for k in rng.choice(len(pairs), n_edges, replace=False):
        weights[pairs[k]] = rng.uniform(0.5, 2.0) * rng.choice([-1.0, 1.0])
    return weights


def simulate(weights, n, noise, seed):
    rng = np.random.default_rng(seed)
    error = rng.standard_normal((n, len(weights))) * noise
    return error @ np.linalg.inv(np.eye(len(weights)) - weights)


def is_acyclic(weights):
    edges = (np.asarray(weights) != 0).astype(float)
    return np.allclose(np.linalg.matrix_power(edges, len(edges)), 0.0)  # no path of length d


def small_weights(d, seed):
    rng = np.random.default_rng(seed)
    weights = rng.uniform(-0.4, 0.4, (d, d))
    np.fill_diagonal(weights, 0.0)
    return weights


@pytest.mark.parametrize("d", [1, 2, 5, 30])
def test_the_inverse_and_the_determinant(d):
    matrix = 1.1 * np.eye(d) - np.abs(small_weights(d, d)) / d
    inverse = matrix.copy()
    np.testing.assert_allclose(invert_m_matrix(inverse), np.linalg.slogdet(matrix)[1], atol=1e-12)
    np.testing.assert_allclose(inverse, np.linalg.inv(matrix), rtol=1e-10, atol=1e-13)


def test_outside_of_the_domain_there_is_no_determinant():
    # Two negative eigenvalues: the determinant is positive, yet the matrix is no M-matrix.
    matrix = np.array([[1.0, 0, -2, 0], [0, 1, 0, -2], [-2, 0, 1, 0], [0, -2, 0, 1.0]])
    assert np.linalg.det(matrix) > 0.0
    assert invert_m_matrix(matrix) == -np.inf


@pytest.mark.parametrize("seed", range(3))
def test_acyclicity_is_zero_on_acyclic_graphs_only(seed):
    weights = random_graph(8, 16, seed)
    assert abs(acyclicity(weights, 1.0, np.empty((8, 8)))) < 1e-12
    i, j = np.argwhere(weights)[0]
    weights[j, i] = 0.2
    assert acyclicity(weights, 1.0, np.empty((8, 8))) > 1e-4 or acyclicity(weights, 1.0, np.empty((8, 8))) == np.inf
    assert acyclicity(np.array([[0.0, 0.5], [0.5, 0.0]]), 1.0, np.empty((2, 2))) == pytest.approx(-np.log(1 - 0.25**2))


@pytest.mark.parametrize("equal", [True, False])
def test_the_gradient_is_that_of_finite_differences(equal):
    d, h = 5, 1e-6
    X = np.random.default_rng(0).standard_normal((40, d))
    C, weights = X.T @ X / 40, small_weights(d, 1)
    gradient, inverse, room = np.empty((d, d)), np.empty((d, d)), np.empty((2, d))

    def value(W, gradient):
        return path_value(C, W, 0.7, 0.9, equal, 1e-3, gradient, inverse, room[0], room[1])

    value(weights, gradient)
    for i, j in itertools.permutations(range(d), 2):
        up, down = weights.copy(), weights.copy()
        up[i, j] += h
        down[i, j] -= h
        difference = (value(up, np.empty((d, d))) - value(down, np.empty((d, d)))) / (2 * h)
        np.testing.assert_allclose(gradient[i, j], difference, atol=1e-7)


def test_noise_scales_have_a_closed_form():
    d = 4
    X = np.random.default_rng(0).standard_normal((50, d))
    C, weights = X.T @ X / 50, small_weights(d, 2)
    products, variances, scales = np.empty((d, d)), np.empty(d), np.empty(d)
    residual_products(C, weights, products, variances)
    residual = X @ (np.eye(d) - weights)
    np.testing.assert_allclose(variances, (residual**2).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(products, X.T @ residual / 50, atol=1e-13)
    grid = np.linspace(0.3, 3.0, 2701)
    loss = concomitant_scales(variances, False, 0.0, scales)
    np.testing.assert_allclose(scales, np.sqrt(variances), rtol=1e-12)
    np.testing.assert_allclose(loss, sum((r / (2 * grid) + grid / 2).min() for r in variances), rtol=1e-6)
    loss = concomitant_scales(variances, True, 0.0, scales)
    np.testing.assert_allclose(scales, np.sqrt(variances.mean()), rtol=1e-12)
    np.testing.assert_allclose(loss, (variances.sum() / (2 * grid) + d * grid / 2).min(), rtol=1e-6)
    loss = concomitant_scales(variances, False, 2.0, scales)
    np.testing.assert_array_equal(scales, 2.0)
    np.testing.assert_allclose(loss, (variances / 4.0 + 1.0).sum())


@pytest.mark.parametrize("seed", range(3))
def test_the_strongest_acyclic_edges(seed):
    weights = np.random.default_rng(seed).standard_normal((6, 6))
    np.fill_diagonal(weights, 0.0)
    edges, order = strongest_acyclic_edges(weights)
    assert is_acyclic(edges)
    position = np.argsort(order)
    assert all(position[i] < position[j] for i, j in np.argwhere(edges))
    # The strongest edge that was dropped, and all that are stronger, make a cycle.
    last = np.abs(weights[~edges]).max()
    assert not is_acyclic(np.abs(weights) >= last)
    assert topological_order(np.abs(weights) >= last, np.empty(6, dtype=np.int64)) < 6
    np.testing.assert_array_equal(edges, np.abs(weights) > last)


@pytest.mark.parametrize("equal", [True, False])
def test_weights_on_given_edges_agree_with_cvxpy(equal):
    cvxpy = pytest.importorskip("cvxpy")
    d, n = 5, 60
    X = simulate(random_graph(d, 7, 3), n, np.linspace(0.5, 2.0, d), 3)
    X -= X.mean(axis=0)
    levels = np.random.default_rng(0).uniform(0.02, 0.3, (d, d))
    edges = np.triu(np.ones((d, d), dtype=bool), 1)
    weights, scales, objective, gap = fit_edges(X.T @ X / n, levels, edges, equal=equal, tol=1e-12)
    W = cvxpy.Variable((d, d))
    residual = (X - X @ W) / np.sqrt(n)
    loss = np.sqrt(d) * cvxpy.norm(cvxpy.vec(residual, order="F")) if equal else cvxpy.sum(cvxpy.norm(residual, axis=0))
    problem = cvxpy.Problem(cvxpy.Minimize(loss + cvxpy.sum(cvxpy.multiply(levels, cvxpy.abs(W)))), [W[~edges] == 0])
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    np.testing.assert_allclose(objective, problem.value, rtol=1e-7)
    np.testing.assert_allclose(weights, W.value, atol=1e-4)  # as flat as the objective is
    assert 0.0 <= gap <= 1e-10
    # Any other weights: the gap from outside.
    for scale in (0.5, 0.9, 1.1):
        other, _, value, bound = fit_edges(X.T @ X / n, levels, edges, equal=equal, tol=np.inf, weights=scale * weights)
        np.testing.assert_allclose(other, scale * weights)
        assert objective - 1e-9 <= value <= objective + bound + 1e-9
    variances = ((X - X @ weights) ** 2).mean(axis=0)
    np.testing.assert_allclose(scales, np.sqrt(variances.mean() if equal else variances), rtol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_the_population_of_a_model_of_equal_variances_gives_the_model(seed):
    weights = random_graph(5, 6, seed)
    mixing = np.linalg.inv(np.eye(5) - weights)
    solution = concomitant_dag(mixing.T @ mixing, np.full((5, 5), 1e-5), equal=True)
    np.testing.assert_allclose(solution.weights, weights, atol=1e-3)
    np.testing.assert_allclose(solution.noise_scale, 1.0, atol=1e-3)
    assert solution.converged


SIZE, EDGES = 10, 20


@pytest.mark.parametrize("variance", ["equal", "unequal"])
@pytest.mark.parametrize("penalty_scaling", ["column", None])
def test_recovery_and_what_is_said_about_it(variance, penalty_scaling):
    distances = []
    for seed in range(4):
        weights = random_graph(SIZE, EDGES, seed)
        X = simulate(weights, 1000, 1.0, seed)
        alpha = 0.02 if penalty_scaling else 0.05
        model = ConcomitantDAG(alpha, variance=variance, penalty_scaling=penalty_scaling).fit(X)
        distances.append(structural_hamming_distance(weights, model.adjacency_matrix_))
        assert model.status_ == "converged"
        assert is_acyclic(model.adjacency_matrix_)
        position = np.argsort(model.causal_order_)
        assert all(position[i] < position[j] for i, j in np.argwhere(model.adjacency_matrix_))
        assert model.acyclicity_ < 1e-3
        assert model.varsortability_ > 0.8
        # The score, from outside.
        centred = X - X.mean(axis=0)
        residual = centred - centred @ model.adjacency_matrix_
        levels = alpha * (centred.std(axis=0)[:, None] if penalty_scaling else 1.0)
        sigma = model.noise_scale_
        score = ((residual**2).mean(axis=0) / (2 * sigma) + sigma / 2).sum()
        score += (levels * np.abs(model.adjacency_matrix_)).sum()
        np.testing.assert_allclose(model.objective_, score, rtol=1e-9)
        assert 0.0 <= model.dual_gap_ <= 1e-7 * centred.std(axis=0).sum()
    # The authors' code: a mean of 1.6 (equal) and 2.6 (unequal) on eight graphs of this kind; single graphs reach 9.
    assert np.mean(distances) <= (2.6 if variance == "equal" else 5.0)


def test_the_unit_of_the_data_does_not_matter():
    X = simulate(random_graph(6, 8, 0), 300, 1.5, 0)
    for variance in ("equal", "unequal"):
        first = ConcomitantDAG(variance=variance).fit(X)
        exact = ConcomitantDAG(variance=variance).fit(1024.0 * X)
        np.testing.assert_array_equal(exact.adjacency_matrix_, first.adjacency_matrix_)
        np.testing.assert_array_equal(exact.noise_scale_, 1024.0 * first.noise_scale_)
        assert exact.objective_ == 1024.0 * first.objective_
        other = ConcomitantDAG(variance=variance).fit(1e-4 * X + 3.0)
        np.testing.assert_allclose(other.adjacency_matrix_, first.adjacency_matrix_, atol=1e-6)
        np.testing.assert_allclose(other.noise_scale_, 1e-4 * first.noise_scale_, rtol=1e-6)
    # With one level for all units the penalty outweighs small numbers: everything is zero.
    assert not ConcomitantDAG(0.05, penalty_scaling=None).fit(1e-4 * X).adjacency_matrix_.any()


def test_the_order_of_the_variables_does_not_matter():
    X, order = simulate(random_graph(6, 8, 1), 300, 1.0, 1), np.random.default_rng(0).permutation(6)
    first, second = ConcomitantDAG().fit(X), ConcomitantDAG().fit(X[:, order])
    np.testing.assert_allclose(second.adjacency_matrix_, first.adjacency_matrix_[np.ix_(order, order)], atol=1e-7)


def test_weights_of_samples_are_repeated_rows():
    X, weights = simulate(random_graph(5, 6, 2), 100, 1.0, 2), np.random.default_rng(0).integers(0, 4, 100)
    first = ConcomitantDAG().fit(X, sample_weight=weights)
    second = ConcomitantDAG().fit(np.repeat(X, weights, axis=0))
    np.testing.assert_allclose(first.adjacency_matrix_, second.adjacency_matrix_, atol=1e-7)
    np.testing.assert_allclose(first.noise_scale_, second.noise_scale_, rtol=1e-7)


def test_nothing_is_modified_and_a_fit_can_be_repeated():
    X = simulate(random_graph(5, 6, 3), 100, 1.0, 3) + 7.0
    before = X.copy()
    model = ConcomitantDAG()
    first = model.fit(X).adjacency_matrix_
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(model.fit(X).adjacency_matrix_, first)
    X.flags.writeable = False
    np.testing.assert_array_equal(ConcomitantDAG().fit(X).adjacency_matrix_, first)


def test_hard_data_still_gives_an_acyclic_graph():
    rng = np.random.default_rng(0)
    common = rng.standard_normal((40, 1))
    X = np.hstack([common + 1e-3 * rng.standard_normal((40, 4)), rng.standard_normal((40, 3)), np.ones((40, 1))])
    for variance in ("equal", "unequal"):
        model = ConcomitantDAG(1e-3, variance=variance, threshold=0.0, tol=1e-4, max_iter=300).fit(X)
        assert is_acyclic(model.adjacency_matrix_)
        assert not model.adjacency_matrix_[-1].any()  # a constant causes nothing
        assert not model.adjacency_matrix_[:, -1].any()


def test_out_of_time_there_is_still_a_graph():
    X = simulate(random_graph(6, 8, 4), 200, 1.0, 4)
    with pytest.warns(ConvergenceWarning, match="raise time_limit"):
        model = ConcomitantDAG(time_limit=1e-9).fit(X)
    assert model.status_ == "time_limit"
    assert model.n_iter_ == 100
    assert is_acyclic(model.adjacency_matrix_)
    assert np.isfinite(model.dual_gap_)


def test_the_score_is_the_likelihood():
    X = simulate(random_graph(4, 4, 5), 200, 1.3, 5)
    model = ConcomitantDAG().fit(X)
    mixing = np.linalg.inv(np.eye(4) - model.adjacency_matrix_)
    covariance = mixing.T @ np.diag(model.noise_scale_**2) @ mixing
    centred = X - model.mean_
    expected = -0.5 * np.mean(np.sum(centred * np.linalg.solve(covariance, centred.T).T, axis=1))
    expected -= 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    np.testing.assert_allclose(model.score(X), expected, rtol=1e-9)


def paths(edges):
    """Every directed path of the graph by its length, start and end, each triple once."""
    d, reached, found = len(edges), np.asarray(edges, dtype=float), set()
    for length in range(1, d):
        found |= {(length, i, j) for i, j in np.argwhere(reached > 0)}
        reached = reached @ edges
    return found


def test_varsortability_counts_paths():
    edges = random_graph(7, 10, 6) != 0
    X = np.random.default_rng(6).standard_normal((50, 7)) * [1, 2, 3, 1, 5, 2, 4]
    variances = X.var(axis=0)
    grows = [variances[i] < variances[j] for _, i, j in paths(edges)]
    np.testing.assert_allclose(varsortability(X, edges), np.mean(grows))
    assert varsortability(X / X.std(axis=0), edges) == 0.5
    assert np.isnan(varsortability(X, np.zeros((7, 7))))


def test_the_baseline_knows_variances_only():
    weights = random_graph(8, 12, 7)
    X = simulate(weights, 2000, 1.0, 7)
    baseline = variance_sorted_graph(X)
    variances = X.var(axis=0)
    assert all(variances[i] < variances[j] for i, j in np.argwhere(baseline))
    sortability = varsortability(X, weights)
    assert sortability > 0.9
    assert structural_hamming_distance(weights, baseline) <= 5  # of 28 pairs


def test_structural_hamming_distance():
    graph = random_graph(6, 8, 8)
    assert structural_hamming_distance(graph, graph) == 0
    assert structural_hamming_distance(graph, graph.T) == 8
    assert structural_hamming_distance(graph, np.zeros((6, 6))) == 8
    with pytest.raises(ValueError, match="square matrix"):
        structural_hamming_distance(graph[:3], graph)
    with pytest.raises(ValueError, match="as many nodes"):
        structural_hamming_distance(graph[:3, :3], graph)
    with pytest.raises(ValueError, match="zeros on its diagonal"):
        structural_hamming_distance(np.eye(6), graph)
    with pytest.raises(ValueError, match="adjacency_matrix must have 5 rows"):
        varsortability(np.ones((3, 5)), graph)
