"""Graph regularisation: the bound touches and lies above, the limit of large strength, stationarity from outside."""

import numpy as np
import pytest
import scipy.sparse

from sparsemodels.solvers.alternating_factorization import RowPenalty, alternate, penalty_value
from sparsemodels.solvers.graph_terms import check_graph, graph_terms, graph_value
from sparsemodels.solvers.observed_matrix import observe
from sparsemodels.solvers.simplex_factors import SimplexRows


def random_graph(n, rng, share=0.3):
    upper = np.triu(rng.random((n, n)) * (rng.random((n, n)) < share), 1)
    return check_graph(upper + upper.T, n)


def laplacian(graph):
    S = graph.toarray()
    return np.diag(S.sum(axis=1)) - S


def test_value_is_the_trace():
    rng = np.random.default_rng(0)
    graph, F = random_graph(20, rng), rng.random((20, 3))
    expected = 0.5 * np.trace(F.T @ laplacian(graph) @ F)
    assert graph_value(graph, F) == pytest.approx(expected, rel=1e-12)
    assert penalty_value(RowPenalty(graph=graph, graph_strength=3.0), F) == pytest.approx(3 * expected, rel=1e-12)
    assert penalty_value(SimplexRows(graph=graph, graph_strength=3.0), F) == pytest.approx(3 * expected, rel=1e-12)
    assert graph_value(graph, np.ones((20, 3)) / 3) == 0.0


def test_bound_touches_with_the_same_gradient_and_lies_above():
    rng = np.random.default_rng(1)
    graph, F, strength = random_graph(15, rng), rng.random((15, 2)), 0.7
    ridge, pull = graph_terms(graph, strength, F)

    def bound(Z):
        return 0.5 * ridge @ (Z**2).sum(axis=1) - np.vdot(pull, Z)

    constant = strength * graph_value(graph, F) - bound(F)
    np.testing.assert_allclose(ridge[:, None] * F - pull, strength * laplacian(graph) @ F, atol=1e-13)
    for _ in range(50):
        Z = F + rng.standard_normal(F.shape) * rng.choice([0.1, 10.0])
        assert strength * graph_value(graph, Z) <= bound(Z) + constant + 1e-9


def problem(rng):
    X = rng.random((18, 3)) @ rng.random((3, 12)) + 0.1 * rng.random((18, 12))
    return X, (rng.random((18, 3)), rng.random((12, 3)))


@pytest.mark.parametrize("penalty", [RowPenalty, SimplexRows])
@pytest.mark.parametrize("extrapolate", [False, True])
def test_objective_falls_to_a_stationary_point(penalty, extrapolate):
    rng = np.random.default_rng(3)
    X, start = problem(rng)
    graph_W, graph_H = random_graph(18, rng), random_graph(12, rng)
    penalty_W = penalty(l2=0.1, graph=graph_W, graph_strength=0.5)
    penalty_H = RowPenalty(l1=0.05, l2=0.1, graph=graph_H, graph_strength=0.2)
    options = {"tol": 1e-7, "max_iter": 1500, "extrapolate": extrapolate}
    solution = alternate(observe(X), *start, penalty_W, penalty_H, **options)
    assert solution.status == "converged"
    history = solution.objective_history
    assert np.all(np.diff(history) <= 1e-12 * history[0])
    W, Ht = solution.W, solution.Ht
    value = 0.5 * np.sum((X - W @ Ht.T) ** 2) + 0.05 * np.sum(W**2) + 0.25 * np.trace(W.T @ laplacian(graph_W) @ W)
    value += 0.05 * Ht.sum() + 0.05 * np.sum(Ht**2) + 0.1 * np.trace(Ht.T @ laplacian(graph_H) @ Ht)
    assert solution.objective == pytest.approx(value, rel=1e-10)
    # The optimality conditions of the objective itself: a nonnegative gradient that is zero on the support.
    gradient_H = (Ht @ W.T - X.T) @ W + 0.05 + 0.1 * Ht + 0.2 * laplacian(graph_H) @ Ht
    assert np.abs(np.minimum(Ht, gradient_H)).max() < 1e-5
    gradient_W = (W @ Ht.T - X) @ Ht + 0.1 * W + 0.5 * laplacian(graph_W) @ W
    if penalty is SimplexRows:
        np.testing.assert_allclose(W.sum(axis=1), 1.0, rtol=1e-13)
        gradient_W -= np.sum(W * gradient_W, axis=1, keepdims=True)
    assert np.abs(np.minimum(W, gradient_W)).max() < 1e-5


def test_no_strength_is_no_graph():
    rng = np.random.default_rng(3)
    X, start = problem(rng)
    plain = alternate(observe(X), *start, max_iter=20)
    graphs = RowPenalty(graph=random_graph(18, rng)), RowPenalty(graph=random_graph(12, rng))
    none = alternate(observe(X), *start, *graphs, max_iter=20)
    np.testing.assert_array_equal(none.W, plain.W)
    np.testing.assert_array_equal(none.Ht, plain.Ht)


@pytest.mark.parametrize("penalty", [RowPenalty, SimplexRows])
def test_large_strength_makes_connected_rows_equal(penalty):
    rng = np.random.default_rng(4)
    X, start = problem(rng)
    S = np.zeros((18, 18))
    S[:7, :7] = 1.0  # three components: 0-6, 7-16 and the single row 17
    S[7:17, 7:17] = 1.0
    graph = check_graph(S, 18)
    solution = alternate(observe(X), *start, penalty(graph=graph, graph_strength=1e5), tol=1e-9, max_iter=500)
    W = solution.W
    assert np.ptp(W[:7], axis=0).max() < 1e-4 * W.max()
    assert np.ptp(W[7:17], axis=0).max() < 1e-4 * W.max()
    assert np.ptp(W, axis=0).max() > 1e-2 * W.max()


def test_form_of_the_graph_does_not_matter():
    rng = np.random.default_rng(5)
    S = random_graph(9, rng).toarray()
    for form in (S, S.tolist(), S + np.eye(9), scipy.sparse.coo_matrix(S), scipy.sparse.csc_array(S)):
        np.testing.assert_array_equal(check_graph(form, 9).toarray(), S)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((3, 3)), r"graph_W must have shape \(4, 4\), got \(3, 3\)"),
        (-np.ones((4, 4)), "graph_W must be finite and nonnegative, got -1.0"),
        (np.full((4, 4), np.nan), "graph_W must be finite and nonnegative"),
        (np.triu(np.ones((4, 4))), "graph_W must be symmetric, got entries that differ by 1.0"),
    ],
)
def test_bad_graphs_are_named(bad, message):
    with pytest.raises(ValueError, match=message):
        check_graph(bad, 4, "graph_W")
