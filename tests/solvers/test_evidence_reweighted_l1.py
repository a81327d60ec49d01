"""Sparse Bayesian regression by weighted lassos: the lasso against CVXPY, the ascent, certificates from outside."""

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse

from sparsemodels.solvers.evidence import Noise
from sparsemodels.solvers.evidence_reweighted_l1 import evidence_reweighted_l1
from sparsemodels.solvers.shared_support_lasso import shared_support_lasso
from sparsemodels.solvers.standardized_design import standardize
from sparsemodels.solvers.working_set_evidence import ascend_evidence


def known(variance, n):
    return Noise(variance, False, 0.0, 0.0, 0.0, float(n))


def draw(n, p, k, *, n_outputs=1, is_complex=False, noise=0.05, seed=0):
    rng = np.random.default_rng(seed)
    X, W = rng.standard_normal((n, p)), np.zeros((p, n_outputs))
    if is_complex:
        X, W = X + 1j * rng.standard_normal((n, p)), W.astype(complex)
    X /= np.linalg.norm(X, axis=0)
    W[rng.choice(p, k, replace=False)] = 10.0 * rng.standard_normal((k, n_outputs)) + (1j if is_complex else 0.0)
    error = rng.standard_normal((n, n_outputs)) + (1j * rng.standard_normal((n, n_outputs)) if is_complex else 0.0)
    return X, X @ W + noise * np.sqrt(n) * error, W


def evidence_and_violation(X, Y, active, variances, s2):
    """Minus twice the log evidence of real outputs without constants, and the conditions, by dense formulas."""
    C = s2 * np.eye(len(X), dtype=X.dtype) + (X[:, active] * variances) @ X[:, active].conj().T
    white = np.linalg.solve(C, X)
    z = np.einsum("ij,ij->j", X.conj(), white).real
    ratio = np.mean(np.abs(white.conj().T @ Y) ** 2, axis=1) / z
    inactive = np.setdiff1d(np.arange(X.shape[1]), active)
    excess = max(np.max(np.abs(ratio[active] - 1.0), initial=0.0), np.max(ratio[inactive], initial=0.0) - 1.0)
    return Y.shape[1] * np.linalg.slogdet(C)[1] + np.vdot(Y, np.linalg.solve(C, Y)).real, excess


@pytest.mark.parametrize(("n_outputs", "is_complex"), [(1, False), (3, False), (1, True), (2, True)])
def test_shared_support_lasso_against_cvxpy(n_outputs, is_complex):
    X, Y, _ = draw(20, 30, 4, n_outputs=n_outputs, is_complex=is_complex)
    levels = np.geomspace(0.3, 3.0, 30)
    variable = cp.Variable((30, n_outputs), complex=is_complex)
    rows = cp.hstack([cp.norm(variable[j]) for j in range(30)])
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(Y - X @ variable) + levels @ rows))
    problem.solve(solver=cp.CLARABEL)
    solution = shared_support_lasso(X, Y, levels, np.zeros((30, n_outputs)), tol=1e-10)
    assert solution.converged
    power = 0.5 * np.sum(np.abs(Y) ** 2)
    assert solution.dual_gap <= 1e-10 * power
    assert -1e-9 * power <= solution.objective - problem.value + solution.dual_gap
    assert solution.objective <= problem.value + 1e-7 * power
    np.testing.assert_allclose(solution.coef, variable.value, atol=1e-3 * np.abs(variable.value).max())
    value = 0.5 * np.sum(np.abs(Y - X @ solution.coef) ** 2) + levels @ np.linalg.norm(solution.coef, axis=1)
    np.testing.assert_allclose(solution.objective, value, rtol=1e-12)


@pytest.mark.parametrize(("n_outputs", "is_complex"), [(1, False), (2, False), (1, True), (2, True)])
def test_one_iteration_is_the_lasso_of_the_bound(n_outputs, is_complex):
    X, Y, _ = draw(30, 50, 4, n_outputs=n_outputs, is_complex=is_complex)
    s2 = 0.1
    start = np.full(50, 2.0)
    posterior = evidence_reweighted_l1(
        standardize(X, center=False), Y, known(s2, 30), start=(np.arange(50), start), max_iter=1
    )
    C = s2 * np.eye(30) + 2.0 * X @ X.conj().T
    slopes = np.sqrt(n_outputs * np.einsum("ij,ij->j", X.conj(), np.linalg.solve(C, X)).real)
    exact = shared_support_lasso(X, Y, s2 * slopes, np.zeros((50, n_outputs)), tol=1e-13).coef
    lengths = np.linalg.norm(exact, axis=1)
    # A stationary lasso is the posterior mean at the variances that it sets.
    variances = np.zeros(50)
    variances[posterior.active] = posterior.variances
    np.testing.assert_allclose(variances, lengths / slopes, atol=2e-2 * np.max(lengths / slopes))
    before, _ = evidence_and_violation(X, Y, np.arange(50), start, s2)
    after, _ = evidence_and_violation(X, Y, posterior.active, posterior.variances, s2)
    assert after < before


@pytest.mark.parametrize(("n_outputs", "is_complex"), [(1, False), (3, False), (1, True)])
def test_evidence_never_falls_and_the_end_is_certified(n_outputs, is_complex):
    X, Y, W = draw(60, 150, 6, n_outputs=n_outputs, is_complex=is_complex)
    s2 = 0.05**2 * 60 * (2.0 if is_complex else 1.0)
    posterior = evidence_reweighted_l1(standardize(X, center=False), Y, known(s2, 60))
    assert posterior.status == "converged"
    history = posterior.log_evidences
    assert np.all(np.diff(history) >= -1e-8 * np.abs(history[-1]))
    cost, violation = evidence_and_violation(X, Y, posterior.active, posterior.variances, s2)
    assert violation <= 1e-4
    assert posterior.kkt <= 1e-4
    constant = n_outputs * 60 * np.log(np.pi * (1.0 if is_complex else 2.0))
    np.testing.assert_allclose(posterior.log_evidence, -(1.0 if is_complex else 0.5) * (cost + constant), rtol=1e-9)
    weak = np.linalg.norm(W, axis=1) < 0.5
    assert set(np.flatnonzero(~weak)) <= set(posterior.active)


@pytest.mark.parametrize(("n_outputs", "is_complex"), [(1, False), (2, True)])
def test_closed_form_on_orthonormal_designs(n_outputs, is_complex):
    X, Y, _ = draw(40, 20, 5, n_outputs=n_outputs, is_complex=is_complex)
    X = np.linalg.qr(X)[0]
    posterior = evidence_reweighted_l1(standardize(X, center=False), Y, known(0.3, 40), tol=1e-9)
    power = np.mean(np.abs(X.conj().T @ Y) ** 2, axis=1)
    np.testing.assert_array_equal(posterior.active, np.flatnonzero(power > 0.3))
    np.testing.assert_allclose(posterior.variances, power[power > 0.3] - 0.3, rtol=1e-7)


def test_scales_decide_nothing():
    X, Y, _ = draw(40, 80, 4)
    reference = evidence_reweighted_l1(standardize(X, center=False), Y, known(0.1, 40))
    for a, b in ((1e6, 1.0), (np.geomspace(1e-3, 1e3, 80), 1e-6)):
        posterior = evidence_reweighted_l1(standardize(a * X, center=False), b * Y, known(0.1 * b**2, 40))
        np.testing.assert_array_equal(posterior.active, reference.active)
        np.testing.assert_allclose(posterior.mean, b * reference.mean, rtol=1e-5)


def test_sparse_centred_and_weighted_designs():
    X, Y, _ = draw(50, 70, 4)
    X[np.abs(X) < 0.1] = 0.0
    weights = np.random.default_rng(0).integers(0, 3, 50).astype(float)
    Y = np.sqrt(weights)[:, None] * (Y - weights @ Y / weights.sum())
    noise = known(0.1, weights.sum() - 1.0)
    dense = evidence_reweighted_l1(standardize(X, weights), Y, noise)
    sparse = evidence_reweighted_l1(standardize(scipy.sparse.csc_array(X), weights), Y, noise)
    np.testing.assert_array_equal(dense.active, sparse.active)
    np.testing.assert_allclose(dense.variances, sparse.variances, rtol=1e-6)
    rows = np.repeat(np.arange(50), weights.astype(int))
    centred = X[rows] - X[rows].mean(axis=0)
    centred = centred / np.linalg.norm(centred, axis=0)
    targets = (Y / np.sqrt(np.maximum(weights, 1.0))[:, None])[rows]
    _, violation = evidence_and_violation(centred, targets, dense.active, dense.variances, 0.1)
    assert violation <= 1e-4


def test_threshold_and_learned_noise_recover_the_support():
    X, Y, W = draw(150, 600, 10, noise=0.02, seed=3)
    Y = Y / np.sqrt(np.mean(Y**2))
    noise = Noise(0.1, True, 1e-6, 0.0, 0.0, 150.0)
    posterior = evidence_reweighted_l1(standardize(X, center=False), Y, noise, threshold=2.0 * np.log(600))
    strong = np.flatnonzero(np.abs(W[:, 0]) > 2.0)
    assert set(strong) <= set(posterior.active) <= set(np.flatnonzero(W[:, 0]))
    residual = Y - X[:, posterior.active] @ np.linalg.lstsq(X[:, posterior.active], Y, rcond=None)[0]
    np.testing.assert_allclose(posterior.noise_variance, np.sum(residual**2) / (150 - len(posterior.active)), rtol=0.02)


def test_the_maximum_is_no_worse_than_a_greedy_one():
    X, Y, _ = draw(60, 150, 12, seed=7)
    design, noise, history = standardize(X, center=False), known(0.1, 60), []
    ascend_evidence(design, Y, np.empty(0, dtype=int), np.empty(0), noise, log_evidences=history)
    assert evidence_reweighted_l1(design, Y, noise).log_evidence >= history[-1] - 2.0


@pytest.mark.parametrize(("n", "p"), [(1, 4), (5, 1), (1, 1)])
def test_smallest_problems(n, p):
    X, Y, _ = draw(n, p, 1)
    posterior = evidence_reweighted_l1(standardize(X, center=False), Y, known(0.01, n))
    assert posterior.status == "converged"
    assert posterior.kkt <= 1e-4


def test_nothing_to_explain():
    X, Y, _ = draw(10, 20, 2)
    for design, targets in ((standardize(X, center=False), 0.0 * Y), (standardize(0.0 * X, center=False), Y)):
        posterior = evidence_reweighted_l1(design, targets, known(0.1, 10))
        assert not len(posterior.active)
        assert posterior.kkt == 0.0


def test_stops_return_a_valid_posterior():
    X, Y, _ = draw(40, 100, 4)
    X.setflags(write=False)
    Y.setflags(write=False)
    design, noise = standardize(X, center=False), known(0.1, 40)
    full = evidence_reweighted_l1(design, Y, noise)

    def interrupt(n_iter, value):
        raise KeyboardInterrupt

    for options, status in (
        ({"on_iteration": lambda n_iter, value: n_iter == 2}, "stopped"),
        ({"on_iteration": interrupt}, "interrupted"),
        ({"max_iter": 3}, "max_iter"),
        ({"deadline": 0.0}, "time_limit"),
    ):
        posterior = evidence_reweighted_l1(design, Y, noise, **options)
        assert posterior.status == status
        assert posterior.n_iter < full.n_iter
        _, violation = evidence_and_violation(X, Y, posterior.active, posterior.variances, 0.1)
        np.testing.assert_allclose(violation, posterior.kkt, rtol=1e-6)
    warm = evidence_reweighted_l1(design, Y, noise, start=(full.active, full.variances))
    assert warm.n_iter <= 3
    np.testing.assert_array_equal(warm.active, full.active)
