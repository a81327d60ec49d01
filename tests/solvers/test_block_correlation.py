"""Blocks with correlated coefficients: closed forms, dense formulas, an independent algorithm, and what r is worth."""

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse

from sparsemodels.solvers.block_correlation import block_evidence
from sparsemodels.solvers.evidence import Noise
from sparsemodels.solvers.evidence_fixed_point import component_fixed_point
from sparsemodels.solvers.standardized_design import columns, standardize
from sparsemodels.solvers.variance_components import Groups

KINDS = pytest.mark.parametrize("is_complex", [False, True])
LABELS = np.array([7, 7, 7, 2, 2, 2, 2, 5, 0, 0, 0, 9, 9, 9, 9, 9])


def fixed(variance, n):
    return Noise(variance, False, 0.0, 0.0, 0.0, float(n))


def learned(n):
    return Noise(0.1, True, 1e-4, 0.0, 0.0, float(n))


def correlated(rng, size, r, is_complex=False):
    draw = rng.standard_normal(size) + (1j * rng.standard_normal(size) if is_complex else 0.0)
    return np.linalg.cholesky(scipy.linalg.toeplitz(r ** np.arange(size))) @ draw


def problem(n, labels, blocks, seed=0, r=0.9, noise=0.05, is_complex=False):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, len(labels))) + (1j * rng.standard_normal((n, len(labels))) if is_complex else 0.0)
    coef = np.zeros(len(labels), dtype=X.dtype)
    for block in blocks:
        coef[labels == block] = correlated(rng, int(np.sum(labels == block)), r, is_complex)
    y = X @ coef
    error = rng.standard_normal(n) + (1j * rng.standard_normal(n) if is_complex else 0.0)
    y = y + np.sqrt(noise * np.mean(np.abs(y) ** 2) / (2.0 if is_complex else 1.0)) * error
    scale = np.sqrt(np.mean(np.abs(y) ** 2))
    return X, (y / scale)[:, None], coef / scale


def intra(level, size):
    return level[:size, :size] if isinstance(level, np.ndarray) else scipy.linalg.toeplitz(level ** np.arange(size))


def dense(design, Y, labels, answer, level):
    """Prior covariance, log evidence, posterior and the conditions of the blocks, by their definitions."""
    n, p = design.X.shape
    X, prior = columns(design, np.arange(p)), np.zeros((p, p))
    for block, variance in zip(answer.blocks, answer.block_variances, strict=True):
        at = np.flatnonzero(labels == block)
        prior[np.ix_(at, at)] = variance * intra(level, len(at))
    noise = answer.posterior.noise_variance
    C = noise * np.eye(n) + X @ prior @ X.conj().T
    inverse = np.linalg.inv(C)
    half, circle = (1.0, np.pi) if np.iscomplexobj(X) else (0.5, 2.0 * np.pi)
    value = -half * (n * np.log(circle) + np.linalg.slogdet(C)[1] + np.vdot(Y, inverse @ Y).real)
    mean = prior @ X.conj().T @ inverse @ Y
    covariance = prior - prior @ X.conj().T @ inverse @ X @ prior
    violation = 0.0
    for block in np.unique(labels):
        at = np.flatnonzero(labels == block)
        B, q = intra(level, len(at)), X[:, at].conj().T @ inverse @ Y
        ratio = np.vdot(q, B @ q).real / np.trace(B @ X[:, at].conj().T @ inverse @ X[:, at]).real
        violation = max(violation, abs(ratio - 1.0) if block in answer.blocks else ratio - 1.0)
    return prior, value, mean, covariance, violation


@KINDS
@pytest.mark.parametrize("level", ["ar1", 0.0, -0.6, "matrix"])
@pytest.mark.parametrize("n", [12, 40])
def test_posterior_and_certificate_from_outside(n, level, is_complex):
    X, Y, _ = problem(n, LABELS, [7, 0], is_complex=is_complex)
    if level == "matrix":
        level = np.eye(5) + 0.3 * np.ones((5, 5)) + 0.1 * np.diag(np.arange(5))
    design = standardize(X, center=False)
    answer = block_evidence(design, Y, fixed(0.05, n), labels=LABELS, correlation=level, tol=1e-6, max_iter=2000)
    posterior = answer.posterior
    used = answer.correlation if isinstance(level, str) else level
    prior, value, mean, covariance, violation = dense(design, Y, LABELS, answer, used)
    assert posterior.status == "converged"
    assert 0 < len(answer.blocks) < 5
    assert np.array_equal(posterior.active, np.flatnonzero(np.isin(LABELS, answer.blocks)))
    assert np.isclose(posterior.log_evidence, value, rtol=1e-9)
    assert np.allclose(posterior.variances, np.diag(prior)[posterior.active], rtol=1e-9)
    assert np.allclose(posterior.mean, mean[posterior.active], rtol=0.0, atol=1e-9)
    assert np.allclose(
        posterior.covariance, covariance[np.ix_(posterior.active, posterior.active)], rtol=0.0, atol=1e-9
    )
    assert abs(posterior.kkt - max(violation, 0.0)) < 1e-8
    assert violation < 1.1e-6
    assert answer.correlation_kkt <= 1e-6
    assert np.diff(posterior.log_evidences).min() > -1e-9


def test_learned_correlation_is_stationary():
    X, Y, _ = problem(40, LABELS, [7, 0, 9])
    design = standardize(X, center=False)
    answer = block_evidence(design, Y, fixed(0.05, 40), labels=LABELS, tol=1e-7, max_iter=2000)
    at, step = answer.correlation, 1e-4
    ahead, here, behind = (dense(design, Y, LABELS, answer, r)[1] for r in (at + step, at, at - step))
    assert 0.2 < at < 0.99
    assert here >= max(ahead, behind)
    assert abs(ahead - behind) / (2.0 * step) < 1e-3


@KINDS
def test_no_correlation_is_groups(is_complex):
    X, Y, _ = problem(30, LABELS, [7, 0], is_complex=is_complex)
    design = standardize(X)
    groups = np.unique(LABELS, return_inverse=True)[1]
    one = block_evidence(design, Y, learned(29), labels=LABELS, correlation=0.0, tol=1e-8)
    other = component_fixed_point(design, Y, learned(29), prior=Groups(groups), tol=1e-8)
    assert np.array_equal(one.blocks, np.unique(LABELS)[other.components])
    assert np.allclose(one.block_variances, other.component_variances, rtol=1e-7)
    assert np.allclose(one.posterior.mean, other.posterior.mean, rtol=0.0, atol=1e-9)
    assert np.isnan(block_evidence(design, Y, learned(29), labels=LABELS, correlation=np.eye(5)).correlation)


@KINDS
def test_closed_form_of_blocks_on_orthonormal_designs(is_complex):
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((40, 16)) + (1j * rng.standard_normal((40, 16)) if is_complex else 0.0))[0]
    Y = Q @ (np.where(LABELS > 4, 4.0, 0.3) * rng.standard_normal(16))[:, None]
    answer = block_evidence(standardize(Q, center=False), Y, fixed(1.0, 40), labels=LABELS, correlation=0.0, tol=1e-10)
    power = {g: np.mean(np.abs(Q.conj().T @ Y)[LABELS == g] ** 2) for g in np.unique(LABELS)}
    expected = {g: value - 1.0 for g, value in power.items() if value > 1.0}
    assert answer.blocks.tolist() == list(expected)
    assert 0 < len(expected) < 5
    assert np.allclose(answer.block_variances, list(expected.values()), rtol=1e-8)


def bound_optimization(X, y, labels, level, noise, n_iter=3000):
    """BSBL-BO of Zhang and Rao with a known B and known noise, by the covariance of the targets."""
    names = np.unique(labels)
    gamma, at = np.ones(len(names)), [np.flatnonzero(labels == g) for g in names]
    roots = [scipy.linalg.sqrtm(intra(level, len(a))).real for a in at]
    for _ in range(n_iter):
        C = noise * np.eye(len(y))
        for g, a, root in zip(gamma, at, roots, strict=True):
            C = C + g * X[:, a] @ root @ root @ X[:, a].T
        H = np.linalg.solve(C, X).T
        for i, (a, root) in enumerate(zip(at, roots, strict=True)):
            trace = np.trace(H[a] @ X[:, a] @ root @ root)
            gamma[i] *= np.linalg.norm(root @ (H[a] @ y)) / np.sqrt(trace)
    return gamma


def test_same_variances_as_bound_optimization():
    X, Y, _ = problem(40, LABELS, [7, 0])
    design = standardize(X, center=False)
    expected = bound_optimization(columns(design, np.arange(16)), Y[:, 0], LABELS, 0.7, 0.05)
    answer = block_evidence(design, Y, fixed(0.05, 40), labels=LABELS, correlation=0.7, tol=1e-9)
    kept = np.searchsorted(np.unique(LABELS), answer.blocks)
    assert np.allclose(answer.block_variances, expected[kept], rtol=1e-6)
    assert np.delete(expected, kept).max() < 1e-6 * expected.max()


def test_learning_the_correlation_pays():
    """Blocks with correlation 0.9: lower median error and higher evidence than without."""
    labels, errors, gains, estimates = np.repeat(np.arange(20), 6), [], [], []
    for seed in range(9):
        X, Y, coef = problem(36, labels, [2, 5, 11], seed=seed, r=0.95, noise=0.1)
        design = standardize(X, center=False)
        answers = [
            block_evidence(design, Y, fixed(0.1, 36), labels=labels, correlation=level) for level in ("ar1", 0.0)
        ]
        error = []
        for answer in answers:
            estimate = np.zeros(120)
            estimate[answer.posterior.active] = answer.posterior.mean[:, 0]
            error.append(np.sum((estimate / design.norms - coef) ** 2) / np.sum(coef**2))
        errors.append(error)
        gains.append(answers[0].posterior.log_evidence - answers[1].posterior.log_evidence)
        estimates.append(answers[0].correlation)
    assert np.median(errors, axis=0)[0] < 0.9 * np.median(errors, axis=0)[1]
    assert np.median(gains) > 3.0
    assert np.median(estimates) > 0.7


def test_scaling_and_order_of_blocks():
    X, Y, _ = problem(40, LABELS, [7, 0])
    sizes = 10.0 ** np.random.default_rng(0).uniform(-4.0, 4.0, 16)
    one = block_evidence(standardize(X), Y, learned(39), labels=LABELS, tol=1e-8, max_iter=2000)
    noise = learned(39)._replace(variance=1e5, floor=100.0)
    other = block_evidence(standardize(X * sizes), 1e3 * Y, noise, labels=LABELS, tol=1e-8, max_iter=2000)
    assert np.isclose(one.correlation, other.correlation, atol=1e-6)
    assert np.allclose(other.posterior.mean, 1e3 * one.posterior.mean, rtol=0.0, atol=1e-3)
    # Only the order inside a block matters.
    order = np.argsort(np.random.default_rng(1).permutation(16)[LABELS], kind="stable")
    mixed = block_evidence(standardize(X[:, order]), Y, learned(39), labels=LABELS[order], tol=1e-8, max_iter=2000)
    assert np.array_equal(np.sort(order[mixed.posterior.active]), one.posterior.active)
    assert np.isclose(mixed.posterior.log_evidence, one.posterior.log_evidence, rtol=1e-7)


def test_constant_columns_single_columns_and_sparse_designs():
    X, Y, _ = problem(40, LABELS, [7, 0])
    X[:, [1, 9]] = 3.0
    dense_answer = block_evidence(standardize(X), Y, learned(39), labels=LABELS)
    sparse_answer = block_evidence(standardize(scipy.sparse.csc_array(X)), Y, learned(39), labels=LABELS)
    assert not np.isin([1, 9], dense_answer.posterior.active).any()
    assert np.allclose(dense_answer.posterior.mean, sparse_answer.posterior.mean, rtol=0.0, atol=1e-6)
    single = block_evidence(standardize(X), Y, learned(39), labels=np.arange(16))
    assert single.correlation == 0.0
    assert single.posterior.status == "converged"


def test_stopping_early_leaves_a_certified_answer():
    X, Y, _ = problem(40, LABELS, [7, 0])
    design = standardize(X)
    for limit in (1, 12, 15):
        few = block_evidence(design, Y, learned(39), labels=LABELS, tol=1e-12, max_iter=limit)
        stopped = block_evidence(
            design, Y, learned(39), labels=LABELS, tol=1e-12, on_iteration=lambda n, value, limit=limit: n >= limit
        )
        assert few.posterior.n_iter == limit
        assert few.posterior.status == "max_iter"
        assert limit <= stopped.posterior.n_iter <= limit + 1
        assert stopped.posterior.status == "stopped"
        assert np.isfinite(few.posterior.kkt)
        assert np.all(np.isfinite(few.posterior.mean))
    assert block_evidence(design, Y, learned(39), labels=LABELS, deadline=0.0).posterior.status == "time_limit"
