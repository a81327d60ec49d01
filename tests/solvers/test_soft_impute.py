"""The nuclear norm's certificate from outside, closed forms and an independent solver."""

import cvxpy
import numpy as np
import pytest
import scipy.sparse

from sparsemodels.solvers import soft_impute as module
from sparsemodels.solvers.observed_matrix import observe
from sparsemodels.solvers.row_ridge import entries
from sparsemodels.solvers.soft_impute import alpha_max, soft_impute, spectral_norm


def problem(shape=(60, 40), rank=3, share=0.4, noise=0.1, weighted=False, seed=0):
    random = np.random.default_rng(seed)
    truth = random.standard_normal((shape[0], rank)) @ random.standard_normal((rank, shape[1]))
    X = truth + noise * random.standard_normal(shape)
    mask = np.where(random.random(shape) < share, random.random(shape) + 0.5 if weighted else 1.0, 0.0)
    return X, mask, entries(observe(X, mask=mask > 0.0, weights=mask if weighted else None))


def objective(X, mask, Z, alpha):
    return 0.5 * (mask * (X - Z) ** 2).sum() + alpha * np.linalg.norm(Z, "nuc")


def exact_gap(X, mask, Z, alpha):
    """The duality gap with the spectral norm from a full decomposition."""
    Y = mask * (X - Z)
    Y *= min(1.0, alpha / np.linalg.norm(Y, 2))
    known = mask > 0.0
    return objective(X, mask, Z, alpha) - (Y[known] @ X[known] - 0.5 * (Y[known] ** 2 / mask[known]).sum())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ratio", [0.6, 0.1, 0.02])
@pytest.mark.parametrize("shape", [(60, 40), (130, 210)])
def test_gap_from_outside(weighted, ratio, shape):
    X, mask, matrix = problem(shape, weighted=weighted)
    level = ratio * alpha_max(matrix)
    found = soft_impute(matrix, level, tol=1e-6, max_iter=2000)
    Z = found.U * found.singular_values @ found.Vt
    assert found.status == "converged"
    assert found.null_objective == pytest.approx(0.5 * (mask * X**2).sum())
    assert found.objective == pytest.approx(objective(X, mask, Z, level), rel=1e-10)
    assert found.dual_gap <= 1e-6 * found.null_objective
    # Ours scales the dual point at its best length and bounds its norm from above: neither below zero nor loose.
    assert -1e-12 * found.null_objective <= found.dual_gap
    assert exact_gap(X, mask, Z, level) <= 2e-6 * found.null_objective
    np.testing.assert_allclose(found.U.T @ found.U, np.eye(found.singular_values.size), atol=1e-8)
    np.testing.assert_allclose(found.Vt @ found.Vt.T, np.eye(found.singular_values.size), atol=1e-8)
    assert np.diff(found.objective_history).max() <= 1e-9 * found.null_objective


@pytest.mark.parametrize("weighted", [False, True])
def test_nuclear_norm_by_an_independent_solver(weighted):
    X, mask, matrix = problem((9, 7), rank=2, share=0.6, weighted=weighted)
    Z = cvxpy.Variable(X.shape)
    loss = 0.5 * cvxpy.sum_squares(cvxpy.multiply(np.sqrt(mask), X - Z))
    cvxpy.Problem(cvxpy.Minimize(loss + 0.7 * cvxpy.normNuc(Z))).solve(solver="CLARABEL")
    found = soft_impute(matrix, 0.7, tol=1e-11, max_iter=5000)
    np.testing.assert_allclose(found.U * found.singular_values @ found.Vt, Z.value, atol=1e-4)
    assert found.objective == pytest.approx(objective(X, mask, Z.value, 0.7), rel=1e-8)


@pytest.mark.parametrize("rank_max", [None, 2])
def test_everything_known_is_the_shrunk_decomposition(rank_max):
    X, mask, matrix = problem(share=1.0)
    found = soft_impute(matrix, 5.0, rank_max=rank_max)
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    shrunk = np.maximum(s - 5.0, 0.0) * (np.arange(s.size) < (rank_max or s.size))
    Z = found.U * found.singular_values @ found.Vt
    np.testing.assert_allclose(Z, U * shrunk @ Vt, atol=1e-12)
    assert found.status == ("converged" if rank_max is None else "rank_max")
    assert found.objective == pytest.approx(objective(X, mask, Z, 5.0), rel=1e-12)
    assert found.dual_gap == pytest.approx(exact_gap(X, mask, Z, 5.0), rel=1e-2, abs=1e-9)
    assert (found.Vt.max(axis=1) == np.abs(found.Vt).max(axis=1)).all()


def test_level_from_which_nothing_is_left():
    X, mask, matrix = problem((150, 120))
    largest = alpha_max(matrix)
    assert largest == pytest.approx(np.linalg.norm(mask * X, 2), rel=1e-8)
    at, below = soft_impute(matrix, largest), soft_impute(matrix, 0.99 * largest)
    assert at.singular_values.size == 0
    assert at.dual_gap <= 1e-9 * at.null_objective
    assert below.singular_values.size >= 1


def test_scaling_scales_the_answer_and_nothing_else():
    X, mask, matrix = problem()
    plain = soft_impute(matrix, 3.0, tol=1e-8)
    scaled = soft_impute(entries(observe(8.0 * X, mask=mask > 0.0)), 24.0, tol=1e-8)
    assert scaled.n_iter == plain.n_iter
    np.testing.assert_allclose(scaled.singular_values, 8.0 * plain.singular_values, rtol=1e-7)
    assert scaled.dual_gap == pytest.approx(64.0 * plain.dual_gap, rel=1e-3)


def test_limit_on_the_rank_leaves_an_honest_gap():
    _, _, matrix = problem(rank=5, share=0.6)
    found = soft_impute(matrix, 1.0, rank_max=2, tol=1e-8)
    assert found.status == "rank_max"
    assert found.singular_values.size == 2
    free = soft_impute(matrix, 1.0, tol=1e-8, max_iter=3000)
    assert found.objective - free.objective <= found.dual_gap
    assert found.objective > free.objective


def test_start_near_the_solution_saves_work():
    _, _, matrix = problem((130, 210))
    first = soft_impute(matrix, 5.0, tol=1e-6)
    root = np.sqrt(first.singular_values)
    again = soft_impute(matrix, 4.9, tol=1e-6, start=(first.U * root, np.ascontiguousarray(first.Vt.T * root)))
    assert again.status == "converged"
    assert again.n_iter < soft_impute(matrix, 4.9, tol=1e-6).n_iter


def test_bound_of_the_spectral_norm():
    random = np.random.default_rng(0)
    U, V = (np.linalg.qr(random.standard_normal((n, 4)))[0] for n in (150, 120))
    noise = random.standard_normal((150, 120))
    noise -= U @ (U.T @ noise)
    noise -= (noise @ V) @ V.T
    clustered = scipy.sparse.csr_array(3.0 * U @ V.T + 2.0 * noise / np.linalg.norm(noise, 2))
    assert spectral_norm(clustered, U, V) == pytest.approx(3.0, rel=1e-9)
    other = scipy.sparse.csr_array(random.standard_normal((150, 120)))
    exact = np.linalg.norm(other.toarray(), 2)
    assert spectral_norm(other) == pytest.approx(exact, rel=1e-8)
    assert exact <= spectral_norm(other, U, V) < 2.0 * exact


def test_interruption_and_stop_keep_the_last_model(monkeypatch):
    X, mask, matrix = problem()
    stopped = soft_impute(matrix, 1.0, tol=1e-9, on_iteration=lambda n_iter, gap: n_iter > 5)
    assert stopped.status == "stopped"
    sweeps, calls = module.alternate_ridge, []

    def interrupt(*arguments, **options):
        calls.append(0)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return sweeps(*arguments, **options)

    monkeypatch.setattr(module, "alternate_ridge", interrupt)
    found = soft_impute(matrix, 1.0, tol=1e-9)
    assert found.status == "interrupted"
    Z = found.U * found.singular_values @ found.Vt
    assert found.objective == pytest.approx(objective(X, mask, Z, 1.0), rel=1e-10)
    assert found.objective <= found.null_objective
