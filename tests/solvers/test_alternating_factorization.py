import time

import numpy as np
import pytest
import scipy.sparse

from sparsemodels.solvers.alternating_factorization import alternate, certify
from sparsemodels.solvers.factor_penalty import RowPenalty, penalty_value
from sparsemodels.solvers.observed_matrix import observe

RNG = np.random.default_rng(0)
M, N, R = 60, 40, 4
X = RNG.gamma(0.7, 1.0, (M, R)) @ RNG.gamma(0.7, 1.0, (R, N)) + 0.3 * RNG.random((M, N))
W0, H0 = RNG.random((M, R)), RNG.random((N, R))


def ring(n):
    """Affinities of neighbours on a ring."""
    i = np.arange(n)
    graph = scipy.sparse.csr_array((np.ones(n), (i, (i + 1) % n)), shape=(n, n))
    return graph + graph.T


def objective(W, Ht, p=RowPenalty(), q=RowPenalty(), X=X):
    total = 0.5 * np.sum((X - W @ Ht.T) ** 2)
    for F, penalty in ((W, p), (Ht, q)):
        total += penalty.l1 * F.sum() + 0.5 * penalty.l2 * np.sum(F**2)
        if penalty.graph is not None:
            S = penalty.graph.toarray()
            gaps = np.sum((F[:, None, :] - F[None, :, :]) ** 2, axis=2)
            total += 0.5 * penalty.graph_strength * 0.5 * np.sum(S * gaps)
    return total


def kkt_from_outside(W, Ht, p=RowPenalty(), q=RowPenalty(), X=X):
    """The certificate, written down once more: every entry's best step in the units of the data."""
    total = 0.0
    for F, K, matrix, penalty in ((W, Ht, X, p), (Ht, W, X.T, q)):
        gradient = (F @ K.T - matrix) @ K + penalty.l1 + penalty.l2 * F
        ridge = np.full(F.shape[0], penalty.l2)
        if penalty.graph is not None:
            degrees = penalty.graph.toarray().sum(axis=1)
            laplacian = np.diag(degrees) - penalty.graph.toarray()
            gradient += penalty.graph_strength * laplacian @ F
            ridge = ridge + 2.0 * penalty.graph_strength * degrees
        curvature = (K**2).sum(axis=0) + ridge[:, None]
        step = F - np.clip(F - gradient / curvature, 0.0, penalty.upper_bound)
        total += np.sum(curvature * step**2)
    return np.sqrt(total) / np.linalg.norm(X)


PENALTIES = {
    "plain": (RowPenalty(), RowPenalty()),
    "elastic net": (RowPenalty(0.5, 0.2), RowPenalty(0.1, 0.7)),
    "bounds": (RowPenalty(l2=0.1, upper_bound=1.0), RowPenalty(upper_bound=1.5)),
    "graphs": (RowPenalty(l2=0.1, graph=ring(M), graph_strength=0.8), RowPenalty(0.1, 0.1, np.inf, ring(N), 0.3)),
}


@pytest.mark.parametrize(
    ("solver", "extrapolate", "name"),
    # Without extrapolation the rows that a graph couples take tens of thousands of iterations.
    [(s, e, name) for s in ("hals", "bpp") for e in (True, False) for name in PENALTIES if e or name != "graphs"],
)
def test_reaches_a_stationary_point(solver, extrapolate, name):
    p, q = PENALTIES[name]
    tol = 1e-8 if extrapolate else 1e-5  # how far a few thousand plain iterations come
    solution = alternate(observe(X), W0, H0, p, q, solver=solver, extrapolate=extrapolate, tol=tol, max_iter=30_000)
    assert solution.status == "converged"
    assert min(solution.W.min(), solution.Ht.min()) >= 0.0
    assert solution.W.max() <= p.upper_bound
    assert solution.Ht.max() <= q.upper_bound
    np.testing.assert_allclose(solution.objective, objective(solution.W, solution.Ht, p, q), rtol=1e-12)
    outside = kkt_from_outside(solution.W, solution.Ht, p, q)
    np.testing.assert_allclose(solution.kkt, outside, rtol=1e-3, atol=1e-13)
    assert outside <= tol
    assert np.all(np.diff(solution.objective_history) <= 1e-12 * solution.objective)


def test_certificate_away_from_the_solution():
    p, q = PENALTIES["graphs"]
    value, kkt = certify(observe(X), W0, H0, p, q)
    np.testing.assert_allclose(value, objective(W0, H0, p, q), rtol=1e-12)
    np.testing.assert_allclose(kkt, kkt_from_outside(W0, H0, p, q), rtol=1e-12)


@pytest.mark.parametrize("factor", [1e-6, 1e5])
def test_scaling_the_data_scales_the_answer_and_changes_nothing_else(factor):
    one = alternate(observe(X), W0, H0, tol=1e-6)
    # The start is scaled with the data; how the scale is shared between the factors must not matter.
    other = alternate(observe(factor * X), factor * W0, H0, tol=1e-6)
    assert one.n_iter == other.n_iter
    np.testing.assert_allclose(other.W @ other.Ht.T, factor * (one.W @ one.Ht.T), rtol=1e-6)
    np.testing.assert_allclose(other.kkt, one.kkt, rtol=1e-4)


def test_scaling_components_changes_nothing():
    scales = np.array([1e-3, 1.0, 7.0, 1e4])
    one = alternate(observe(X), W0, H0, tol=1e-6)
    other = alternate(observe(X), W0 * scales, H0 / scales, tol=1e-6)
    assert one.n_iter == other.n_iter
    np.testing.assert_allclose(other.W @ other.Ht.T, one.W @ one.Ht.T, rtol=1e-6)


def test_permuting_rows_and_columns_permutes_the_factors():
    rows, columns = RNG.permutation(M), RNG.permutation(N)
    one = alternate(observe(X), W0, H0, solver="bpp", tol=1e-9, max_iter=5000)
    other = alternate(observe(X[rows][:, columns]), W0[rows], H0[columns], solver="bpp", tol=1e-9, max_iter=5000)
    np.testing.assert_allclose(other.W, one.W[rows], atol=1e-5)
    np.testing.assert_allclose(other.Ht, one.Ht[columns], atol=1e-5)


def test_rank_one_is_perron():
    solution = alternate(observe(X), W0[:, :1], H0[:, :1], tol=1e-10)
    tail = np.linalg.svd(X, compute_uv=False)[1:]
    np.testing.assert_allclose(2.0 * solution.objective, np.sum(tail**2), rtol=1e-12)


def test_strong_graph_gives_one_code_to_a_component():
    half = np.ones((M // 2, M // 2)) - np.eye(M // 2)
    halves = scipy.sparse.csr_array(scipy.sparse.block_diag([half, half]))
    spread = []
    for strength in (0.0, 1e2, 1e4):
        p = RowPenalty(l2=0.1, graph=halves, graph_strength=strength)
        solution = alternate(observe(X), W0, H0, p, RowPenalty(l2=0.1), tol=1e-6, max_iter=1000)
        W = solution.W.reshape(2, M // 2, R)
        spread.append(np.linalg.norm(W - W.mean(axis=1, keepdims=True)) / np.linalg.norm(W))
    plain = alternate(observe(X), W0, H0, RowPenalty(l2=0.1), RowPenalty(l2=0.1))
    zero = RowPenalty(l2=0.1, graph=halves, graph_strength=0.0)
    np.testing.assert_array_equal(plain.W, alternate(observe(X), W0, H0, zero, RowPenalty(l2=0.1)).W)
    assert spread[0] > 0.3 > spread[1] > spread[2]
    assert spread[2] < 1e-2


def test_sparse_equals_dense():
    holes = np.where(RNG.random((M, N)) < 0.3, X, 0.0)
    one = alternate(observe(holes), W0, H0, solver="bpp", tol=0.0, max_iter=30)
    other = alternate(observe(scipy.sparse.csr_array(holes)), W0, H0, solver="bpp", tol=0.0, max_iter=30)
    np.testing.assert_allclose(other.objective_history, one.objective_history, rtol=1e-9)


def test_inputs_are_not_changed_and_zero_data_is_fine():
    before = W0.copy(), H0.copy()
    solution = alternate(observe(np.zeros((M, N))), W0, H0)
    assert solution.objective == 0.0
    assert solution.kkt == 0.0
    np.testing.assert_array_equal(W0, before[0])
    np.testing.assert_array_equal(H0, before[1])


def test_stops_when_told_and_keeps_the_best():
    seen = []

    def on_iteration(n_iter, value):
        seen.append(value)
        return n_iter == 3

    solution = alternate(observe(X), W0, H0, tol=0.0, on_iteration=on_iteration)
    assert (solution.status, solution.n_iter) == ("stopped", 3)
    np.testing.assert_allclose(solution.objective, seen[-1], rtol=1e-12)
    late = alternate(observe(X), W0, H0, tol=0.0, deadline=time.monotonic())
    assert (late.status, late.n_iter) == ("time_limit", 1)

    def interrupt(n_iter, value):
        if n_iter == 2:
            raise KeyboardInterrupt
        return False

    broken = alternate(observe(X), W0, H0, tol=0.0, on_iteration=interrupt)
    assert broken.status == "interrupted"
    np.testing.assert_allclose(broken.objective, seen[1], rtol=1e-12)


@pytest.mark.parametrize("factor", [1.0, 1e-45, 1e42])
@pytest.mark.parametrize("noise", [0.3, 0.0])
def test_single_precision_of_large_matrices_leaves_no_trace(factor, noise):
    rng = np.random.default_rng(5)
    m, n = 400, 300  # large enough for products in float32 far from the solution
    left, right = (rng.gamma(0.7, 1.0, (size, R)) * (rng.random((size, R)) < 0.6) for size in (m, n))
    big = factor * (left @ right.T + noise * rng.random((m, n)))
    root = np.sqrt(factor)
    start = root * rng.random((m, R)), root * rng.random((n, R))
    solution = alternate(observe(big), *start, tol=1e-8, max_iter=5000, exact_codes=True)
    assert solution.status == "converged"
    assert kkt_from_outside(solution.W, solution.Ht, X=big) <= 1.01e-8
    error = 0.5 * np.sum((big / factor - (solution.W / root) @ (solution.Ht / root).T) ** 2)
    # A perfect fit is known to the rounding of its entries.
    np.testing.assert_allclose(solution.objective / factor / factor, error, rtol=1e-9, atol=1e-15 * error + 1e-20)
    history = solution.objective_history
    assert np.all(np.diff(history) <= 1e-6 * history[1:] + 1e-13 * history[0])


def test_penalty_value_of_a_graph():
    p = PENALTIES["graphs"][0]
    np.testing.assert_allclose(penalty_value(p, W0), objective(W0, H0, p) - objective(W0, H0), rtol=1e-12)
